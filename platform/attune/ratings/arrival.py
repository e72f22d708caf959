"""Which step a rater is at before the pairs of a study."""

import enum
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from attune.raters.errors import ArrivalError
from attune.raters.models import Rater
from attune.raters.selectors import has_consented
from attune.ratings.arrival_models import Arrival, DeviceCheckRule, DeviceResult, PanelPerson
from attune.ratings.models import Study
from attune.ratings.selectors import open_studies

MAXIMUM_DEVICE_TRIES = 2
DEVICE_TIME = timedelta(minutes=2)
SCREENED_OUT = "screened_out"
OTHER_STUDY = "other_study"


class ArrivalStep(enum.Enum):
    """What a rater does next. RATING: all that the study asks for is done."""

    CONSENT = "consent"
    VOLUME = "volume"
    DEVICE_CHECK = "device_check"
    SCREENED_OUT = "screened_out"
    PRACTICE = "practice"
    RATING = "rating"


# Raters read these; the address of the step is not in them, since scripts rate as well.
REFUSALS = {
    ArrivalStep.CONSENT: _("agree to the study's terms before you are given a pair"),
    ArrivalStep.VOLUME: _("set your volume before you are given a pair"),
    ArrivalStep.DEVICE_CHECK: _("make the headphone check before you are given a pair"),
    ArrivalStep.SCREENED_OUT: _("this study needs headphones, and the check heard none"),
    ArrivalStep.PRACTICE: _("go through the practice pairs before you are given a pair"),
}


def next_step(rater: Rater, study: Study) -> ArrivalStep:
    """What the rater does next in the study; simulated raters are asked nothing.

    Asks the database only when the study asks for something.
    """
    if rater.is_simulated or not asked_steps(study):
        return ArrivalStep.RATING
    if study.consent_id is not None and not has_consented(rater, study.consent_id):
        return ArrivalStep.CONSENT
    return decide_step(study, Arrival.objects.filter(rater=rater, study=study).first())


def find_study_now(rater: Rater) -> tuple[Study, ArrivalStep] | None:
    """The rater's study and step: the oldest open one whose headphone check lets them in."""
    found = None
    for study in open_studies(rater).select_related("consent"):
        step = next_step(rater, study)
        if step is not ArrivalStep.SCREENED_OUT:
            return study, step
        found = found or (study, step)
    return found


def decide_step(study: Study, arrival: Arrival | None) -> ArrivalStep:
    """The step after consent, for an arrival as it stands; None for one that has not begun."""
    if study.asks_volume and (arrival is None or arrival.volume_set_at is None):
        return ArrivalStep.VOLUME
    if study.device_check != DeviceCheckRule.OFF:
        result = DeviceResult.OPEN if arrival is None else DeviceResult(arrival.device_result)
        if result is DeviceResult.OPEN:
            return ArrivalStep.DEVICE_CHECK
        if study.device_check == DeviceCheckRule.EXCLUDE and result is not DeviceResult.PASSED:
            return ArrivalStep.SCREENED_OUT
    # A study may ask for fewer practice pairs than somebody has answered already.
    n_practised = 0 if arrival is None else len(arrival.practice)
    is_practised = arrival is not None and arrival.practice_done_at is not None
    if n_practised < study.n_practice and not is_practised:
        return ArrivalStep.PRACTICE
    return ArrivalStep.RATING


def asked_steps(study: Study) -> list[ArrivalStep]:
    """The steps that the study puts before its pairs, in their order."""
    asked = {
        ArrivalStep.CONSENT: study.consent_id is not None,
        ArrivalStep.VOLUME: study.asks_volume,
        ArrivalStep.DEVICE_CHECK: study.device_check != DeviceCheckRule.OFF,
        ArrivalStep.PRACTICE: study.n_practice > 0,
    }
    return [step for step, is_asked in asked.items() if is_asked]


def check_arrival(rater: Rater, study: Study) -> None:
    """Raise ArrivalError unless the rater may rate for the study, and has done what comes first.

    A panel's person has one study, and no other by naming it.
    """
    if rater.is_simulated:
        return
    if PanelPerson.objects.filter(rater=rater).exclude(study=study).exists():
        # Only scripts name a study, so only they read this.
        raise ArrivalError("you came by a panel for another study", code=OTHER_STUDY)
    step = next_step(rater, study)
    if step is ArrivalStep.RATING:
        return
    code = SCREENED_OUT if step is ArrivalStep.SCREENED_OUT else f"{step.value}_needed"
    raise ArrivalError(str(REFUSALS[step]), code=code)


def may_check_again(study: Study, arrival: Arrival) -> bool:
    """True if a headphone check that kept the rater out may be made once more."""
    return (
        study.device_check == DeviceCheckRule.EXCLUDE
        and arrival.device_result not in {DeviceResult.OPEN, DeviceResult.PASSED}
        and arrival.n_device_tries < MAXIMUM_DEVICE_TRIES
    )


def is_out_of_time(arrival: Arrival, now: datetime) -> bool:
    """True if the headphone check has gone on for two minutes."""
    started_at = arrival.device_started_at
    return started_at is not None and now - started_at > DEVICE_TIME

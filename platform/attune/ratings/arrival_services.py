"""Writes of the steps before the first pair: consent, volume, headphone check, practice."""

import secrets
from datetime import datetime
from typing import assert_never

import structlog
from django.contrib.auth.models import User
from django.db import transaction

from attune.raters.consent_services import record_consent, write_consent_text
from attune.raters.device_check import N_INTERVALS, N_TRIALS, PASS_AT, count_right
from attune.raters.errors import ConsentError, DeviceCheckError, PracticeError
from attune.raters.models import Consent, ConsentText, DeviceCheck, DeviceCheckKind, Rater
from attune.ratings.arrival import MAXIMUM_DEVICE_TRIES, is_out_of_time, may_check_again
from attune.ratings.arrival_models import Arrival, DeviceCheckRule, DeviceResult
from attune.ratings.assignment_services import check_population, lock_rater
from attune.ratings.choices import Choice
from attune.ratings.models import Study

log = structlog.get_logger(__name__)

SEED_BITS = 62


@transaction.atomic
def publish_consent_text(*, text: ConsentText) -> int:
    """How many studies ask for this version from now on: those that asked for an older one.

    Their raters agree anew before their next pair.
    """
    older = Study.objects.filter(consent__name=text.name, consent__version__lt=text.version)
    n_moved = older.update(consent=text)
    log.info("consent_text_published", text=str(text), n_studies=n_moved)
    return n_moved


@transaction.atomic
def replace_consent_text(
    *, name: str, title: str, text: str, language: str = "en", written_by: User | None = None
) -> tuple[ConsentText, int]:
    """(the new version, how many studies ask for it now)."""
    written, _ = write_consent_text(
        name=name, title=title, text=text, language=language, written_by=written_by
    )
    return written, publish_consent_text(text=written)


@transaction.atomic
def agree(*, rater: Rater, study: Study, text_id: int, now: datetime) -> Consent:
    """The rater's agreement to the study's consent text, which must be the version they read."""
    locked = _lock(rater, study)
    if study.consent is None:
        raise ConsentError("this study asks for no consent")
    if study.consent.pk != text_id:
        raise ConsentError("the text has changed since you read it: read the new version")
    consent = record_consent(rater=locked, text=study.consent, now=now)
    Arrival.objects.filter(rater=locked, study=study).update(declined_at=None)
    return consent


@transaction.atomic
def decline(*, rater: Rater, study: Study, now: datetime) -> Arrival:
    """The arrival of a rater who read the text and did not agree; nothing else is stored."""
    arrival = _arrival(_lock(rater, study), study)
    arrival.declined_at = now
    arrival.save(update_fields=["declined_at"])
    log.info("consent_declined", rater=str(rater.pseudonym), text=str(study.consent))
    return arrival


@transaction.atomic
def confirm_volume(*, rater: Rater, study: Study, now: datetime) -> Arrival:
    """The arrival of a rater who says that the reference sound is comfortable."""
    arrival = _arrival(_lock(rater, study), study)
    arrival.volume_set_at = now
    arrival.save(update_fields=["volume_set_at"])
    return arrival


@transaction.atomic
def start_device_check(*, rater: Rater, study: Study, now: datetime) -> DeviceCheck:
    """The headphone check that is being made, or a new one; DeviceCheckError if it is settled.

    A check that was left until its two minutes were over is settled here, and returned where it
    was the last.
    """
    arrival = _arrival(_lock(rater, study), study)
    if study.device_check == DeviceCheckRule.OFF:
        raise DeviceCheckError("this study asks for no headphone check")
    if arrival.device_result != DeviceResult.OPEN and not may_check_again(study, arrival):
        raise DeviceCheckError("the headphone check is done")
    check = arrival.device_check
    if arrival.device_result == DeviceResult.OPEN and check is not None:
        if not is_out_of_time(arrival, now):
            return check
        _finish(check, now)
        _settle(arrival, DeviceResult.FAILED)
        if not may_check_again(study, arrival):
            return check
    arrival.device_check = _draw(rater, DeviceCheckKind.HUGGINS_PITCH, now)
    arrival.device_result = DeviceResult.OPEN
    arrival.device_started_at = now
    arrival.n_device_tries += 1
    arrival.save()
    return arrival.device_check


@transaction.atomic
def answer_device_check(
    *, rater: Rater, study: Study, check_id: int, trial: int, interval: int, now: datetime
) -> Arrival:
    """The arrival after one trial's answer; its check may be done, or be the next one.

    The same answer sent twice is counted once. The check ends after two minutes, with what was
    answered by then.
    """
    if not 0 <= interval < N_INTERVALS:
        raise DeviceCheckError(f"interval {interval}: expected 0, 1 or 2")
    arrival = _arrival(_lock(rater, study), study)
    check = DeviceCheck.objects.filter(pk=check_id, rater=rater).first()
    if check is None:
        raise DeviceCheckError("you have no such headphone check")
    if trial < len(check.answers):
        return arrival
    if check.finished_at is not None or arrival.device_check_id != check.pk:
        raise DeviceCheckError("this headphone check is done")
    if is_out_of_time(arrival, now):
        _finish(check, now)
        _settle(arrival, DeviceResult.FAILED)
        return arrival
    if trial > len(check.answers):
        raise DeviceCheckError(f"trial {trial}: trial {len(check.answers)} is asked now")
    check.answers = [*check.answers, interval]
    check.n_trials = len(check.answers)
    check.n_correct = count_right(check.seed, check.kind, check.answers)
    check.save(update_fields=["answers", "n_trials", "n_correct"])
    if check.n_trials == N_TRIALS:
        _finish(check, now)
        _go_on(arrival, check, now)
    return arrival


@transaction.atomic
def skip_device_check(*, rater: Rater, study: Study, now: datetime) -> Arrival:
    """The arrival of a rater who says to have no headphones; only where the check is recorded."""
    arrival = _arrival(_lock(rater, study), study)
    if study.device_check != DeviceCheckRule.RECORD:
        raise DeviceCheckError("this study takes part with headphones only")
    if arrival.device_result == DeviceResult.OPEN:
        if arrival.device_check is not None:
            _finish(arrival.device_check, now)
        _settle(arrival, DeviceResult.NO_HEADPHONES)
    return arrival


@transaction.atomic
def stop_checking(*, rater: Rater, study: Study) -> Arrival:
    """The arrival of a rater whom the check keeps out and who wants no second try."""
    arrival = _arrival(_lock(rater, study), study)
    if may_check_again(study, arrival):
        arrival.n_device_tries = MAXIMUM_DEVICE_TRIES
        arrival.save(update_fields=["n_device_tries"])
    return arrival


@transaction.atomic
def record_practice(
    *, rater: Rater, study: Study, number: int, choice: Choice | str, now: datetime
) -> Arrival:
    """The arrival with the answer to practice pair `number`; its first answer is the one kept.

    Answers to practice pairs are no ratings: no round, statistic or export reads them.
    """
    arrival = _arrival(_lock(rater, study), study)
    n_done = len(arrival.practice)
    if not 0 <= number < study.n_practice or number > n_done:
        raise PracticeError(f"practice pair {number}: pair {n_done} is asked now")
    if number == n_done:
        arrival.practice = [*arrival.practice, Choice(choice).value]
        if len(arrival.practice) == study.n_practice:
            arrival.practice_done_at = now
        arrival.save(update_fields=["practice", "practice_done_at"])
    return arrival


def _lock(rater: Rater, study: Study) -> Rater:
    locked = lock_rater(rater)
    check_population(study, locked)
    return locked


def _arrival(rater: Rater, study: Study) -> Arrival:
    """The rater's arrival in the study; its rater's row is locked."""
    arrival, _ = Arrival.objects.select_related("device_check").get_or_create(
        rater=rater, study=study
    )
    return arrival


def _draw(rater: Rater, kind: DeviceCheckKind, now: datetime) -> DeviceCheck:
    """A new check of sounds that nobody can foretell."""
    return DeviceCheck.objects.create(
        rater=rater, kind=kind, seed=secrets.randbits(SEED_BITS), created_at=now
    )


def _go_on(arrival: Arrival, check: DeviceCheck, now: datetime) -> None:
    """Settles the arrival after a whole check, or draws the check that comes after it."""
    if check.n_correct >= PASS_AT:
        _settle(arrival, DeviceResult.PASSED)
        return
    kind = DeviceCheckKind(check.kind)
    match kind:
        case DeviceCheckKind.HUGGINS_PITCH:
            arrival.device_check = _draw(arrival.rater, DeviceCheckKind.ANTIPHASE, now)
            arrival.save(update_fields=["device_check"])
        case DeviceCheckKind.ANTIPHASE:
            _settle(arrival, DeviceResult.FAILED)
        case _:
            assert_never(kind)


def _finish(check: DeviceCheck, now: datetime) -> None:
    check.finished_at = now
    check.save(update_fields=["finished_at"])


def _settle(arrival: Arrival, result: DeviceResult) -> None:
    arrival.device_result = result
    arrival.save(update_fields=["device_result"])
    log.info("device_check_settled", rater=str(arrival.rater.pseudonym), result=result.value)

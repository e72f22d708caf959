"""Rounds that start by themselves once enough new preferences have come in."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from django.contrib.auth.models import User
from django.db import transaction

from attune.catalog.models import (
    Checkpoint,
    RotationAction,
    RotationEntry,
    RotationEvent,
    RotationRole,
)
from attune.catalog.selectors import find_anchor
from attune.ratings.models import Study
from attune.rounds.choices import REWARDED_METHODS, RoundMethod
from attune.rounds.config import check_config, outcomes_of
from attune.rounds.errors import RoundError
from attune.rounds.evidence import decided_pairs_by_base, select_for_round
from attune.rounds.freeze_services import create_round
from attune.rounds.models import RUNNING_STATES, Round, RoundPreference, RoundSchedule

log = structlog.get_logger(__name__)

UNSCHEDULED_METHODS = (*REWARDED_METHODS, RoundMethod.MIX)
"""Methods that name other checkpoints, which a person chooses."""


@dataclass(frozen=True)
class Due:
    """How far a study is from its next round by schedule."""

    base_checkpoint: Checkpoint | None
    n_new: int
    n_needed: int
    running: Round | None

    @property
    def is_due(self) -> bool:
        """Whether the next round may start."""
        has_enough = self.base_checkpoint is not None and self.n_new >= self.n_needed
        return has_enough and self.running is None


def set_schedule(
    *,
    study: Study,
    is_on: bool,
    every_n_preferences: int,
    method: str = RoundMethod.DPO,
    config: Mapping[str, object] | None = None,
    changed_by: User | None = None,
) -> RoundSchedule:
    """The study's schedule. ConfigError or RoundError for one that could start nothing."""
    if method not in RoundMethod.values or method in UNSCHEDULED_METHODS:
        allowed = [m.value for m in RoundMethod if m not in UNSCHEDULED_METHODS]
        raise RoundError(f"a schedule's method is one of {', '.join(allowed)}, got {method!r}")
    if not 1 <= every_n_preferences <= 1_000_000:
        raise RoundError(
            f"a schedule waits for 1 to 1000000 preferences, got {every_n_preferences}"
        )
    schedule, _ = RoundSchedule.objects.update_or_create(
        study=study,
        defaults={
            "is_on": is_on,
            "every_n_preferences": every_n_preferences,
            "method": method,
            "config": check_config(config or {}, RoundMethod(method)),
            "changed_by": changed_by,
            "last_refusal": "",
        },
    )
    log.info(
        "schedule_set",
        study=study.slug,
        is_on=is_on,
        every=every_n_preferences,
        by=changed_by.get_username() if changed_by else "the command line",
    )
    return schedule


def find_scheduled_base(study: Study) -> Checkpoint | None:
    """The base of the next round: what was promoted last and still makes clips, else the anchor."""
    full = RotationEntry.objects.filter(population=study.population, role=RotationRole.FULL)
    in_rotation = set(full.values_list("checkpoint_id", flat=True))
    newest = (
        RotationEvent.objects.filter(
            population=study.population,
            action=RotationAction.PROMOTE,
            checkpoint__in=in_rotation,
            checkpoint__is_retired=False,
        )
        .select_related("checkpoint")
        .order_by("-pk")
        .first()
    )
    return newest.checkpoint if newest is not None else find_anchor(study.population)


def get_due(schedule: RoundSchedule) -> Due:
    """How many usable preferences of the next base no round has used yet, and what is in the way.

    Any round of the study on that base counts as a use, failed and cancelled ones too: what
    failed once is not started again and again by itself.
    """
    study = schedule.study
    base = find_scheduled_base(study)
    running = Round.objects.filter(study=study, state__in=RUNNING_STATES).first()
    if base is None or running is not None:
        return Due(base, 0, schedule.every_n_preferences, running)
    used = set(
        RoundPreference.objects.filter(round__study=study, round__base_checkpoint=base)
        .values_list("pair_id", flat=True)
        .distinct()
    )
    method = RoundMethod(schedule.method)
    outcomes = outcomes_of(method, schedule.config)
    # Counting is cheap and selecting is not: select only where the count could be enough.
    at_most = decided_pairs_by_base(study, outcomes=outcomes).get(base.pk, 0)
    if at_most < schedule.every_n_preferences:
        return Due(
            base, min(at_most, schedule.every_n_preferences - 1), schedule.every_n_preferences, None
        )
    selection = select_for_round(study, base, outcomes=outcomes)
    n_new = sum(preference.pair_id not in used for preference in selection.preferences)
    return Due(base, n_new, schedule.every_n_preferences, None)


@transaction.atomic
def start_scheduled_round(*, schedule: RoundSchedule) -> Round | None:
    """The study's next round, if it is due; None where it is not, or where it was refused.

    May be called at any time and twice at once: the study is locked, so that the second call
    finds the first one's round.
    """
    study = Study.objects.select_for_update().get(pk=schedule.study_id)
    schedule = RoundSchedule.objects.select_related("study").get(pk=schedule.pk)
    if not (schedule.is_on and study.is_open):
        return None
    due = get_due(schedule)
    if not due.is_due or due.base_checkpoint is None:
        return None
    by = schedule.changed_by.get_username() if schedule.changed_by else "the command line"
    try:
        with transaction.atomic():
            round = create_round(
                study=study,
                base_checkpoint=due.base_checkpoint,
                method=schedule.method,
                config=schedule.config,
                started_because=(
                    f"schedule of {study.slug}, set by {by}: {due.n_new} new preferences on "
                    f"{due.base_checkpoint.name}, {due.n_needed} asked for"
                ),
            )
    except RoundError as exc:
        _note_refusal(schedule, str(exc))
        return None
    _note_refusal(schedule, "")
    log.info("round_scheduled", round=round.name, study=study.slug, n_new=due.n_new)
    return round


def _note_refusal(schedule: RoundSchedule, refusal: str) -> None:
    if schedule.last_refusal != refusal:
        RoundSchedule.objects.filter(pk=schedule.pk).update(last_refusal=refusal)
        if refusal:
            log.warning("scheduled_round_refused", study=schedule.study.slug, error=refusal)

"""Writes of rounds: freeze, start, log, publish, judge, end."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from attune.catalog.errors import RotationError
from attune.catalog.models import (
    Checkpoint,
    Population,
    RotationRole,
)
from attune.catalog.services import add_checkpoint, enter_rotation
from attune.jobs.models import Job, JobKind, JobQueue, JobState
from attune.jobs.services import enqueue_job, request_job_cancel
from attune.ratings.models import Rating, Study
from attune.rounds.config import check_config
from attune.rounds.dataset import dataset_sha256, preference_rows
from attune.rounds.eligibility import select_preferences
from attune.rounds.errors import (
    BaseCheckpointError,
    NotEnoughPreferences,
    RoundError,
    RoundRunningError,
    RoundStateError,
)
from attune.rounds.gate import CHECKS, canary_share_of, check_gate, judge, thresholds_of
from attune.rounds.models import (
    RUNNING_STATES,
    Evaluation,
    Round,
    RoundMethod,
    RoundMetric,
    RoundPreference,
    RoundState,
    Split,
    Verdict,
)
from attune.rounds.selectors import (
    describe_running,
    find_base_refusal,
    find_running_round,
    has_entered_rotation,
    rating_rows,
)

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@transaction.atomic
def create_round(
    *,
    study: Study,
    base_checkpoint: Checkpoint,
    method: str = RoundMethod.DPO,
    config: Mapping[str, object] | None = None,
    name: str | None = None,
    created_by: User | None = None,
) -> Round:
    """A round with its preferences frozen and its job queued.

    The eligible ratings are locked, read and marked frozen in one transaction; from then on
    no rater can change them. Raises ConfigError, BaseCheckpointError, RoundRunningError or
    NotEnoughPreferences before anything is written.
    """
    if method not in RoundMethod.values:
        raise RoundError(f"unknown method {method!r}; known are {', '.join(RoundMethod.values)}")
    checked_config = check_config(config or {})
    # Two engineers who start the same round at once wait for each other here.
    study = Study.objects.select_for_update().get(pk=study.pk)
    check_gate(study.gate, population=study.population)
    refusal = find_base_refusal(study, base_checkpoint)
    if refusal is not None:
        raise BaseCheckpointError(refusal)
    running = find_running_round(study, base_checkpoint)
    if running is not None:
        raise RoundRunningError(describe_running(running))
    name = _free_name(study, method) if name is None else _check_name(name)

    # A change of one of these waits until they are frozen; ratings that arrive meanwhile are
    # left to the next round.
    study_ratings = Rating.objects.select_for_update(of=("self",)).filter(pair__study=study)
    locked = set(study_ratings.values_list("pk", flat=True))
    selection = select_preferences(
        [row for row in rating_rows(study) if row.rating_id in locked],
        base_checkpoint_id=base_checkpoint.pk,
        is_simulated=study.population == Population.REHEARSAL,
    )
    n_needed = int(settings.ATTUNE_MINIMUM_PREFERENCES)
    if selection.n_usable < n_needed:
        raise NotEnoughPreferences(
            n_usable=selection.n_usable, n_needed=n_needed, counts=selection.counts
        )
    if selection.n_train == 0:
        raise RoundError(f"all {selection.n_usable} preferences are on held-out prompts")

    round = Round.objects.create(
        name=name,
        study=study,
        population=study.population,
        method=method,
        base_checkpoint=base_checkpoint,
        config=checked_config,
        counts=dict(selection.counts),
        created_by=created_by,
    )
    RoundPreference.objects.bulk_create(
        RoundPreference(
            round=round,
            pair_id=preference.pair_id,
            chosen_clip_id=preference.chosen_clip_id,
            rejected_clip_id=preference.rejected_clip_id,
            weight=preference.weight,
            n_ratings=preference.n_ratings,
            split=Split.HELD_OUT if preference.is_held_out else Split.TRAIN,
        )
        for preference in selection.preferences
    )
    Rating.objects.filter(pk__in=selection.rating_ids).update(is_frozen=True)
    round.dataset_sha256 = dataset_sha256(preference_rows(round))
    round.job = enqueue_job(
        kind=JobKind.RUN_ROUND, queue=JobQueue.DEVICE, arguments={"round": round.pk}
    )
    round.save(update_fields=["dataset_sha256", "job"])
    return round


def _free_name(study: Study, method: str) -> str:
    """The first of slug-dpo-1, slug-dpo-2, ... that no round and no checkpoint has."""
    number = Round.objects.filter(study=study).count() + 1
    while _is_taken(f"{study.slug}-{method}-{number}"):
        number += 1
    return f"{study.slug}-{method}-{number}"


def _check_name(name: str) -> str:
    """The name, which also names the checkpoint and its folder."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise RoundError(
            "a round's name has 1 to 120 letters, digits, dots, hyphens and underscores and "
            f"starts with a letter or digit, got {name!r}"
        )
    if _is_taken(name):
        raise RoundError(f"the name {name!r} is taken by a round or a checkpoint")
    return name


def _is_taken(name: str) -> bool:
    return Round.objects.filter(name=name).exists() or Checkpoint.objects.filter(name=name).exists()


def start_training(*, round: Round, now: datetime | None = None) -> bool:
    """Marks the round as training; False when it has ended or is already past training.

    May be called again by the next attempt.
    """
    now = now or timezone.now()
    changed = Round.objects.filter(
        pk=round.pk, state__in=[RoundState.FROZEN, RoundState.TRAINING]
    ).update(state=RoundState.TRAINING)
    Round.objects.filter(pk=round.pk, state=RoundState.TRAINING, started_at__isnull=True).update(
        started_at=now
    )
    round.refresh_from_db()
    return changed == 1


@transaction.atomic
def record_round_metric(
    *, round: Round, step: int, n_steps: int, values: Mapping[str, float | None]
) -> RoundMetric:
    """What the trainer logged at a step; more values of the same step are added to it."""
    metric, is_new = RoundMetric.objects.get_or_create(
        round=round, step=step, defaults={"n_steps": n_steps, "values": _storable(values)}
    )
    if not is_new:
        metric.n_steps = n_steps
        metric.values = {**metric.values, **_storable(values)}
        metric.save()
    return metric


@transaction.atomic
def publish_checkpoint(*, round: Round, folder: Path, summary: Mapping[str, Any]) -> Checkpoint:
    """The trained checkpoint as a candidate in the catalog; the round goes on to its gate.

    A round publishes once: a second call returns the same row. Another round that learned the
    very same weights, say a repeat of a cancelled one, has a row of its own, so that each goes
    through its own gate. The checkpoint is simulated when the round is a rehearsal's or its
    parent is simulated. Raises RoundStateError when the round has been cancelled or failed
    meanwhile.
    """
    stored = Round.objects.select_for_update().get(pk=round.pk)
    if stored.state not in (RoundState.TRAINING, RoundState.EVALUATING):
        raise RoundStateError(f"round {stored.name} is {stored.state}, not training")
    checkpoint = stored.produced_checkpoint
    if checkpoint is None:
        checkpoint = add_checkpoint(
            folder=folder,
            parent=stored.base_checkpoint,
            is_simulated=stored.population == Population.REHEARSAL,
            reuse=False,
        )
    stored.produced_checkpoint = checkpoint
    stored.summary = _storable(summary)
    stored.state = RoundState.EVALUATING
    stored.save(update_fields=["produced_checkpoint", "summary", "state"])
    round.refresh_from_db()
    return checkpoint


@transaction.atomic
def queue_gate(*, round: Round, priority: int = 0) -> Job:
    """The job that runs the round's gate, from now on the round's own: cancelling reaches it."""
    job = enqueue_job(
        kind=JobKind.RUN_GATE,
        queue=JobQueue.DEVICE,
        arguments={"round": round.pk},
        priority=priority,
    )
    Round.objects.filter(pk=round.pk).update(job=job)
    return job


def record_evaluation(
    *,
    round: Round,
    check_name: str,
    figure: float | None,
    details: Mapping[str, Any] | None = None,
) -> Evaluation:
    """One check of the gate, judged with the study's threshold; a repeat replaces it."""
    threshold = thresholds_of(round.study.gate).get(check_name)
    judgement = judge(check_name, figure, threshold)
    evaluation, _ = Evaluation.objects.update_or_create(
        round=round,
        check_name=check_name,
        defaults={
            "figure": _storable(figure),
            "threshold": judgement.threshold,
            "verdict": Verdict.PASSED if judgement.has_passed else Verdict.FAILED,
            "sentence": judgement.sentence,
            "details": _storable(details or {}),
        },
    )
    return evaluation


@transaction.atomic
def finish_gate(*, round: Round, now: datetime | None = None) -> bool:
    """Ends the round: True when the checkpoint passed all checks and entered rotation.

    A check that was not recorded is recorded as failed. A second call changes nothing.
    """
    stored = Round.objects.select_for_update().get(pk=round.pk)
    if stored.state == RoundState.DONE:
        return has_entered_rotation(stored)
    if stored.state != RoundState.EVALUATING or stored.produced_checkpoint is None:
        raise RoundStateError(f"round {stored.name} is {stored.state}, not evaluating")
    recorded = set(stored.evaluations.values_list("check_name", flat=True))
    for check_name in CHECKS:
        if check_name not in recorded:
            record_evaluation(round=stored, check_name=check_name, figure=None)
    failed = list(stored.evaluations.exclude(verdict=Verdict.PASSED).order_by("pk"))
    checkpoint = stored.produced_checkpoint
    if failed:
        reasons = "; ".join(
            f"{evaluation.check_name}: {evaluation.sentence}" for evaluation in failed
        )
        stored.outcome = f"{checkpoint.name} stays out of rotation. {reasons}"
    else:
        stored.outcome = _enter_as_canary(stored, checkpoint)
    stored.state = RoundState.DONE
    stored.finished_at = now or timezone.now()
    stored.save(update_fields=["outcome", "state", "finished_at"])
    round.refresh_from_db()
    return has_entered_rotation(stored)


def _enter_as_canary(round: Round, checkpoint: Checkpoint) -> str:
    """Puts the checkpoint into rotation; returns the sentence of what happened."""
    share = canary_share_of(round.study.gate, population=round.population)
    reason = f"Passed all {len(CHECKS)} checks of the gate after round {round.name}."
    try:
        with transaction.atomic():
            enter_rotation(
                checkpoint=checkpoint,
                population=Population(round.population),
                role=RotationRole.CANARY,
                share=share,
                reason=reason,
            )
    except RotationError as exc:
        return f"{checkpoint.name} passed the gate but stays out of rotation: {exc}"
    return f"{checkpoint.name} entered rotation as a canary for {share:.0%} of new clips. {reason}"


def fail_round(*, round: Round, error: str, now: datetime | None = None) -> bool:
    """Ends a running round as failed; what it saved stays. False when it had ended already."""
    changed = Round.objects.filter(pk=round.pk, state__in=RUNNING_STATES).update(
        state=RoundState.FAILED,
        error=error,
        outcome="The round failed; no checkpoint entered rotation.",
        finished_at=now or timezone.now(),
    )
    round.refresh_from_db()
    return changed == 1


@transaction.atomic
def cancel_round(*, round: Round, actor: User | None, now: datetime | None = None) -> Round:
    """Ends a running round and asks its job to stop; what it saved stays.

    Raises RoundStateError when it has ended already.
    """
    now = now or timezone.now()
    by = f" by {actor.get_username()}" if actor is not None else ""
    if not _end_as_cancelled(round, by=by, now=now):
        raise RoundStateError(f"round {round.name} is {round.get_state_display()} already")
    if round.job is not None:
        request_job_cancel(job=round.job, now=now)
    return round


def _end_as_cancelled(round: Round, *, by: str, now: datetime | None) -> bool:
    changed = Round.objects.filter(pk=round.pk, state__in=RUNNING_STATES).update(
        state=RoundState.CANCELLED,
        outcome=f"Cancelled{by}; no checkpoint entered rotation.",
        finished_at=now or timezone.now(),
    )
    round.refresh_from_db()
    return changed == 1


def close_abandoned_rounds(*, now: datetime | None = None) -> int:
    """Ends running rounds whose job has ended without them; returns how many."""
    n_closed = 0
    abandoned = Round.objects.filter(
        state__in=RUNNING_STATES,
        job__state__in=[JobState.DONE, JobState.FAILED, JobState.CANCELLED],
    )
    for round in abandoned.select_related("job"):
        job = round.job
        if job is not None and job.state == JobState.CANCELLED:
            n_closed += _end_as_cancelled(round, by="", now=now)
        else:
            error = (job.error if job is not None else "") or "its job ended without finishing it"
            n_closed += fail_round(round=round, error=error, now=now)
    return n_closed


def _storable(value: Any) -> Any:
    """The value with NaN and infinities as None: JSON has no word for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value

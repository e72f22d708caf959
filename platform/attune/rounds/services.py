"""Writes of rounds: freeze, start, log, publish, judge, end."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from attune.catalog.errors import RotationError
from attune.catalog.models import (
    Checkpoint,
    CheckpointMix,
    Population,
    RotationRole,
)
from attune.catalog.services import add_checkpoint, enter_rotation
from attune.jobs.models import Job, JobKind, JobQueue, JobState
from attune.jobs.services import enqueue_job, request_job_cancel
from attune.rounds.choices import RoundMethod
from attune.rounds.errors import RoundStateError
from attune.rounds.freeze_services import create_mix, create_round
from attune.rounds.gate import (
    CHECKS,
    canary_share_of,
    judge,
    least_of,
    remark_of,
    thresholds_of,
)
from attune.rounds.models import (
    RUNNING_STATES,
    Evaluation,
    Round,
    RoundEvent,
    RoundEventKind,
    RoundMetric,
    RoundSample,
    RoundState,
    Verdict,
)
from attune.rounds.resume_services import resume_round
from attune.rounds.selectors import has_entered_rotation

__all__ = [
    "cancel_round",
    "close_abandoned_rounds",
    "create_mix",
    "create_round",
    "fail_round",
    "finish_gate",
    "publish_checkpoint",
    "queue_gate",
    "record_evaluation",
    "record_round_metric",
    "record_round_sample",
    "resume_round",
    "start_training",
]


def start_training(*, round: Round, device: str = "", now: datetime | None = None) -> bool:
    """Marks the round as training; False when it has ended or is already past training.

    May be called again by the next attempt.
    """
    now = now or timezone.now()
    changed = Round.objects.filter(
        pk=round.pk, state__in=[RoundState.FROZEN, RoundState.TRAINING]
    ).update(state=RoundState.TRAINING, device=device)
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


def record_round_sample(
    *,
    round: Round,
    step: int,
    number: int,
    prompt: str,
    seed: int | None,
    audio_path: str,
    duration_s: float,
) -> RoundSample:
    """A clip that the policy made at a step; a resumed run makes the same one again."""
    sample, _ = RoundSample.objects.update_or_create(
        round=round,
        step=step,
        number=number,
        defaults={
            "prompt": prompt,
            "seed": seed,
            "audio_path": audio_path,
            "duration_s": duration_s,
        },
    )
    return sample


@transaction.atomic
def publish_checkpoint(*, round: Round, folder: Path, summary: Mapping[str, Any]) -> Checkpoint:
    """The trained checkpoint as a candidate in the catalog; the round goes on to its gate.

    A reward model makes no clips: it has no gate, and its round is done.

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
    is_reward_model = stored.method == RoundMethod.REWARD
    if checkpoint is None:
        checkpoint = add_checkpoint(
            folder=folder,
            parent=None if is_reward_model else stored.base_checkpoint,
            is_simulated=(
                stored.population == Population.REHEARSAL or stored.base_checkpoint.is_simulated
            ),
            reuse=False,
        )
        if stored.method == RoundMethod.MIX:
            _record_parts(checkpoint, stored)
    stored.produced_checkpoint = checkpoint
    stored.summary = _storable(summary)
    stored.state = RoundState.EVALUATING
    if is_reward_model:
        stored.state = RoundState.DONE
        stored.outcome = f"{checkpoint.name} scores clips; a reward model never enters rotation."
        stored.finished_at = timezone.now()
    stored.save(update_fields=["produced_checkpoint", "summary", "state", "outcome", "finished_at"])
    round.refresh_from_db()
    return checkpoint


def _record_parts(checkpoint: Checkpoint, round: Round) -> None:
    """Notes of which adapters the checkpoint was mixed, for the lineage."""
    for told in round.config["parts"]:
        CheckpointMix.objects.create(
            checkpoint=checkpoint,
            part=Checkpoint.objects.get(name=told["checkpoint"]),
            weight=told["weight"],
        )


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
    told = details or {}
    judgement = judge(check_name, figure, threshold, remark=remark_of(told), least=least_of(told))
    evaluation, _ = Evaluation.objects.update_or_create(
        round=round,
        check_name=check_name,
        defaults={
            "figure": _storable(figure),
            "threshold": judgement.threshold,
            "verdict": judgement.verdict,
            "sentence": judgement.sentence,
            "details": _storable(told),
        },
    )
    return evaluation


@transaction.atomic
def finish_gate(*, round: Round, now: datetime | None = None) -> bool:
    """Ends the round: True when the checkpoint passed all checks and entered rotation.

    A check that was not recorded is recorded as not measured, and lets nothing through. A second
    call changes nothing.
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
    stopped = list(stored.evaluations.exclude(verdict=Verdict.PASSED).order_by("pk"))
    checkpoint = stored.produced_checkpoint
    if stopped:
        stored.outcome = f"{checkpoint.name} stays out of rotation. {_reasons(stopped)}"
    else:
        stored.outcome = _enter_as_canary(stored, checkpoint)
    stored.state = RoundState.DONE
    stored.finished_at = now or timezone.now()
    stored.save(update_fields=["outcome", "state", "finished_at"])
    round.refresh_from_db()
    return has_entered_rotation(stored)


def _reasons(stopped: Sequence[Evaluation]) -> str:
    """Which checks failed and which were not measured, each with what was found."""
    parts = []
    for verdict in (Verdict.FAILED, Verdict.NOT_MEASURED):
        told = "; ".join(
            f"{check.check_name}: {check.sentence}" for check in stopped if check.verdict == verdict
        )
        if told:
            parts.append(f"{verdict.label.capitalize()}: {told}.")
    return " ".join(parts)


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


@transaction.atomic
def fail_round(*, round: Round, error: str, now: datetime | None = None) -> bool:
    """Ends a running round as failed; what it saved stays. False when it had ended already."""
    now = now or timezone.now()
    changed = Round.objects.filter(pk=round.pk, state__in=RUNNING_STATES).update(
        state=RoundState.FAILED,
        error=error,
        outcome="The round failed; no checkpoint entered rotation.",
        finished_at=now,
    )
    if changed:
        _record_event(round, RoundEventKind.FAILED, error, actor=None, now=now)
    round.refresh_from_db()
    return changed == 1


@transaction.atomic
def cancel_round(*, round: Round, actor: User | None, now: datetime | None = None) -> Round:
    """Ends a running round and asks its job to stop; what it saved stays.

    Raises RoundStateError when it has ended already.
    """
    now = now or timezone.now()
    if not _end_as_cancelled(round, actor=actor, now=now):
        raise RoundStateError(f"round {round.name} is {round.get_state_display()} already")
    if round.job is not None:
        request_job_cancel(job=round.job, now=now)
        round.job.refresh_from_db()
    return round


def _end_as_cancelled(round: Round, *, actor: User | None, now: datetime) -> bool:
    by = f" by {actor.get_username()}" if actor is not None else ""
    outcome = f"Cancelled{by}; no checkpoint entered rotation."
    changed = Round.objects.filter(pk=round.pk, state__in=RUNNING_STATES).update(
        state=RoundState.CANCELLED, outcome=outcome, finished_at=now
    )
    if changed:
        _record_event(round, RoundEventKind.CANCELLED, outcome, actor=actor, now=now)
    round.refresh_from_db()
    return changed == 1


def _record_event(
    round: Round, kind: RoundEventKind, sentence: str, *, actor: User | None, now: datetime
) -> None:
    RoundEvent.objects.create(
        round=round, kind=kind, sentence=sentence, actor=actor, happened_at=now
    )


@transaction.atomic
def close_abandoned_rounds(*, now: datetime | None = None) -> int:
    """Ends running rounds whose job has ended without them; returns how many."""
    now = now or timezone.now()
    n_closed = 0
    abandoned = Round.objects.filter(
        state__in=RUNNING_STATES,
        job__state__in=[JobState.DONE, JobState.FAILED, JobState.CANCELLED],
    )
    for round in abandoned.select_related("job"):
        job = round.job
        if job is not None and job.state == JobState.CANCELLED:
            n_closed += _end_as_cancelled(round, actor=None, now=now)
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

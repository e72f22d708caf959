"""What a round would cost on this site: its former rounds, its disk and its device workers."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db.models import FloatField, Max
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from attune.catalog.models import Checkpoint
from attune.catalog.storage import checkpoint_folder, full_checkpoint
from attune.jobs.models import JobQueue, WorkerReport
from attune.jobs.selectors import busy_workers, find_worker_report
from attune.rounds.choices import RoundMethod
from attune.rounds.config import Value, default_numbers
from attune.rounds.eligibility import Selection
from attune.rounds.estimates import (
    Estimate,
    FormerRound,
    disk_megabytes,
    estimate_round,
    work_of,
)
from attune.rounds.models import Round, RoundMetric, RoundState
from attune.rounds.plans import Plan

MEGABYTE = 1_000_000
WORKER_SILENCE_S = 90.0
SHOWN_FORMER_ROUNDS = 5


@dataclass(frozen=True)
class WorkerState:
    """Whether somebody would take the round's job, and what is known of the machine."""

    is_alive: bool
    is_busy: bool
    seen_at: datetime | None
    device: str
    memory_mb: int | None
    n_cores: int | None


def estimate_plan(plan: Plan, config: Mapping[str, Value], selection: Selection) -> Estimate:
    defaults = default_numbers(plan.method)
    return estimate_round(
        work_of(
            selection.counts,
            config,
            defaults=defaults,
            clip_duration_s=plan.study.clip_duration_s,
            has_reward_model=plan.reward_model is not None,
        ),
        weights_mb=_stored_megabytes(full_checkpoint(plan.base_checkpoint)),
        former=_former_rounds(plan),
        has_formula=plan.method in (RoundMethod.DPO, RoundMethod.KTO, RoundMethod.EXPERT),
    )


def disk_space_needed(plan: Plan) -> float:
    """Megabytes that a round's saves and result may take together."""
    return disk_megabytes(_stored_megabytes(full_checkpoint(plan.base_checkpoint)))


def _stored_megabytes(checkpoint: Checkpoint) -> float:
    folder = checkpoint_folder(checkpoint)
    names = checkpoint.card.get("files", {})
    sizes = [(folder / name).stat().st_size for name in names if (folder / name).is_file()]
    return sum(sizes) / MEGABYTE


def _former_rounds(plan: Plan) -> list[FormerRound]:
    """The last rounds of the method on the same full weights and device, the newest first."""
    full = full_checkpoint(plan.base_checkpoint)
    report = find_worker_report(JobQueue.DEVICE)
    found = (
        Round.objects.filter(method=plan.method, state=RoundState.DONE, summary__has_key="wall_s")
        .select_related("study", "base_checkpoint__parent__parent__parent")
        .order_by("-pk")
    )
    if report is not None and report.device:
        found = found.filter(device__in=["", report.device])
    same = [
        round
        for round in found[: 4 * SHOWN_FORMER_ROUNDS]
        if full_checkpoint(round.base_checkpoint) == full
    ][:SHOWN_FORMER_ROUNDS]
    peaks = peak_memories(same)
    defaults = default_numbers(plan.method)
    return [
        FormerRound(
            work=work_of(
                round.counts,
                round.config,
                defaults=defaults,
                clip_duration_s=round.study.clip_duration_s,
                has_reward_model=round.reward_model_id is not None,
            ),
            wall_s=float(round.summary["wall_s"]),
            peak_memory_mb=round.summary.get("memory_mb") or peaks.get(round.pk),
        )
        for round in same
    ]


def peak_memories(rounds: Sequence[Round]) -> dict[int, float]:
    """Round id -> the most memory its trainer reported, for those that reported any."""
    reported = Cast(KeyTextTransform("memory_mb", "values"), FloatField())
    found = (
        RoundMetric.objects.filter(round__in=[round.pk for round in rounds])
        .values_list("round_id")
        .annotate(peak=Max(reported))
        .order_by()
    )
    return {round_id: peak for round_id, peak in found if peak is not None}


def device_worker(*, now: datetime) -> WorkerState:
    """What is known of the workers on the device queue."""
    report: WorkerReport | None = find_worker_report(JobQueue.DEVICE)
    busy = busy_workers(queue=JobQueue.DEVICE, now=now)
    answered_at = report.answered_at if report else None
    seen_at = max((time for time in (answered_at, *busy) if time is not None), default=None)
    is_recent = seen_at is not None and now - seen_at < timedelta(seconds=WORKER_SILENCE_S)
    return WorkerState(
        is_alive=bool(busy) or is_recent,
        is_busy=bool(busy),
        seen_at=seen_at,
        device=report.device if report else "",
        memory_mb=report.memory_mb if report else None,
        n_cores=report.n_cores if report else None,
    )


def free_megabytes(folder: Path) -> float:
    """The free space of the disk that a folder lies on, or will lie on."""
    place = folder
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free / MEGABYTE

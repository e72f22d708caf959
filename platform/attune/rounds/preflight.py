"""What a round would use if it started now, what it would cost, and all that is against it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from attune.catalog.models import Checkpoint
from attune.ratings.models import Study
from attune.rounds.choices import RoundMethod
from attune.rounds.config import check_config, outcomes_of
from attune.rounds.costs import WorkerState, device_worker, estimate_plan, free_megabytes
from attune.rounds.eligibility import EXCLUSION_RULES, Selection
from attune.rounds.estimates import Estimate
from attune.rounds.evidence import Duplicates, find_duplicates, select_for_round
from attune.rounds.plans import Plan
from attune.rounds.refusals import (
    find_disk_refusals,
    find_plan_refusals,
    find_selection_refusals,
    n_needed_for,
)
from attune.rounds.selectors import describe_running, find_running_round
from attune.rounds.separation import HeldOut, Leakage, held_out_of, leakage_of


@dataclass(frozen=True)
class Preflight:
    """The numbers shown before a round starts, what stands against it, and what to think of."""

    study: Study
    base_checkpoint: Checkpoint
    method: RoundMethod
    exclusion_rules: str
    n_usable: int
    n_needed: int
    counts: Mapping[str, int]
    held_out: HeldOut
    leakage: Leakage
    duplicates: Duplicates
    estimate: Estimate
    free_disk_mb: float
    worker: WorkerState
    refusals: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def n_missing(self) -> int:
        """How many more preferences are needed."""
        return max(0, self.n_needed - self.n_usable)

    @property
    def can_start(self) -> bool:
        """Whether nothing stands against the round."""
        return not self.refusals


def preflight(
    study: Study, base_checkpoint: Checkpoint, *, now: datetime | None = None, **wanted: object
) -> Preflight:
    """The preflight of a round by the fields of its plan."""
    return examine_plan(
        Plan(study=study, base_checkpoint=base_checkpoint, **wanted),  # type: ignore[arg-type]
        now=now,
    )


def examine_plan(plan: Plan, *, now: datetime | None = None) -> Preflight:
    """Everything that can be known of a round before it is started.

    Raises ConfigError for settings that its method does not have.
    """
    now = now or timezone.now()
    config = check_config(plan.config or {}, plan.method)
    selection = select_for_round(
        plan.study,
        plan.base_checkpoint,
        filter=plan.filter,
        outcomes=outcomes_of(plan.method, config),
    )
    duplicates = find_duplicates(plan.study, plan.base_checkpoint, selection.preferences)
    estimate = estimate_plan(plan, config, selection)
    worker = device_worker(now=now)
    free_disk_mb = free_megabytes(Path(settings.ATTUNE_ROUNDS))
    leakage = leakage_of(selection, duplicates)
    refusals = [
        *find_plan_refusals(plan),
        *find_selection_refusals(plan, selection),
        *find_disk_refusals(estimate.disk_mb, free_disk_mb),
    ]
    running = find_running_round(plan.study, plan.base_checkpoint)
    if running is not None:
        refusals.append(describe_running(running))
    return Preflight(
        study=plan.study,
        base_checkpoint=plan.base_checkpoint,
        method=plan.method,
        exclusion_rules=EXCLUSION_RULES,
        n_usable=selection.n_usable,
        n_needed=n_needed_for(plan.method),
        counts=selection.counts,
        held_out=(held_out := held_out_of(plan, selection)),
        leakage=leakage,
        duplicates=duplicates,
        estimate=estimate,
        free_disk_mb=free_disk_mb,
        worker=worker,
        refusals=tuple(refusals),
        warnings=tuple(
            _warnings(
                plan=plan,
                selection=selection,
                held_out=held_out,
                leakage=leakage,
                duplicates=duplicates,
                estimate=estimate,
                worker=worker,
                now=now,
            )
        ),
    )


def _warnings(
    *,
    plan: Plan,
    selection: Selection,
    held_out: HeldOut,
    leakage: Leakage,
    duplicates: Duplicates,
    estimate: Estimate,
    worker: WorkerState,
    now: datetime,
) -> list[str]:
    counts = selection.counts
    found = []
    if not held_out.is_enough:
        found.append(held_out.sentence)
    if leakage.n_raters:
        found.append(
            f"{leakage.n_held_out_by_known_raters} of {counts['held_out']} held-out preferences "
            f"have ratings by {leakage.n_raters} raters who also train"
        )
    if leakage.n_clips:
        found.append(f"{leakage.n_clips} clips are in training and in held-out preferences")
    if duplicates.n_repeated_pairs:
        found.append(f"{duplicates.n_repeated_pairs} preferences repeat two clips of another one")
    if counts["contradicting_pairs"]:
        found.append(f"{counts['contradicting_pairs']} pairs are left out: their ratings disagree")
    if (
        estimate.memory_mb is not None
        and worker.memory_mb is not None
        and estimate.memory_mb > worker.memory_mb
    ):
        found.append(
            f"about {estimate.memory_mb:.0f} MB of memory are needed, {worker.device} has "
            f"{worker.memory_mb}: a smaller batch with more accumulation_steps needs less"
        )
    if not worker.is_alive:
        said = (
            f"the last one was heard {(now - worker.seen_at).total_seconds():.0f} s ago"
            if worker.seen_at
            else "none was ever heard"
        )
        found.append(f"no device worker answers ({said}): the round would wait for one")
    elif worker.is_busy:
        found.append("the device worker is at work: the round would wait for its turn")
    if plan.base_checkpoint.is_simulated:
        found.append(f"checkpoint {plan.base_checkpoint.name} was trained on simulated ratings")
    return found

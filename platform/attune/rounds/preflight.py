"""What a round would use if it started now, what it would cost, and all that is against it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import FloatField, Max
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone

from attune.catalog.models import Checkpoint, CheckpointKind, Population
from attune.catalog.storage import checkpoint_folder, full_checkpoint
from attune.jobs.models import JobQueue, WorkerReport
from attune.jobs.selectors import busy_workers, find_worker_report
from attune.ratings.models import Study
from attune.rounds.choices import REWARDED_METHODS, Outcome, RoundMethod
from attune.rounds.config import (
    MAY_HAVE_REWARD_MODEL,
    TIE_AWARE_LOSSES,
    Value,
    check_config,
    default_numbers,
    outcomes_of,
)
from attune.rounds.eligibility import EXCLUSION_RULES, Selection
from attune.rounds.estimates import (
    Estimate,
    FormerRound,
    disk_megabytes,
    estimate_round,
    work_of,
)
from attune.rounds.evidence import (
    NO_FILTER,
    Duplicates,
    RoundFilter,
    find_duplicates,
    select_for_round,
)
from attune.rounds.gate import fewest_held_out, thresholds_of
from attune.rounds.models import Round, RoundMetric, RoundState
from attune.rounds.selectors import describe_running, find_base_refusal, find_running_round

MEGABYTE = 1_000_000
WORKER_SILENCE_S = 90.0
SHOWN_FORMER_ROUNDS = 5


@dataclass(frozen=True)
class Plan:
    """A round as somebody wants it."""

    study: Study
    base_checkpoint: Checkpoint
    method: RoundMethod = RoundMethod.DPO
    config: Mapping[str, object] | None = None
    filter: RoundFilter = NO_FILTER
    reward_model: Checkpoint | None = None
    judge_model: Checkpoint | None = None
    parts: Sequence[tuple[Checkpoint, float]] = ()
    """For a mix: the adapters and their weights."""


@dataclass(frozen=True)
class Leakage:
    """What the held-out preferences share with those that are trained on."""

    n_prompts: int
    n_raters: int
    n_clips: int
    n_held_out_by_known_raters: int

    @property
    def is_clean(self) -> bool:
        """Whether prompts, raters and clips are all apart."""
        return not (self.n_prompts or self.n_raters or self.n_clips)


@dataclass(frozen=True)
class HeldOut:
    """How many held-out preferences the gate could measure the round on, and how many it needs."""

    n: int
    n_needed: int

    @property
    def is_enough(self) -> bool:
        """Whether the gate's check of them could fail, and so says anything when it passes."""
        return self.n >= self.n_needed

    @property
    def sentence(self) -> str:
        """What follows where they are not enough."""
        if self.n == 0:
            found = "nothing is held out"
        else:
            found = f"{self.n} preference{' is' if self.n == 1 else 's are'} held out"
        return (
            f"{found}, {self.n_needed} are needed for the gate to tell whether the round learned: "
            "its checkpoint will stay out of rotation until an engineer lets it in"
        )


@dataclass(frozen=True)
class WorkerState:
    """Whether somebody would take the round's job, and what is known of the machine."""

    is_alive: bool
    is_busy: bool
    seen_at: datetime | None
    device: str
    memory_mb: int | None
    n_cores: int | None


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
    estimate = _estimate(plan, config, selection)
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


def n_needed_for(method: RoundMethod) -> int:
    """How many preferences a round needs; one that does not learn from them only measures."""
    if method in (*REWARDED_METHODS, RoundMethod.MIX):
        return 0
    return int(settings.ATTUNE_MINIMUM_PREFERENCES)


def find_plan_refusals(plan: Plan) -> list[str]:
    """What is wrong with the checkpoints that a round names."""
    found = []
    if plan.method is RoundMethod.MIX:
        found += _find_mix_refusals(plan)
    elif (refusal := find_base_refusal(plan.study, plan.base_checkpoint)) is not None:
        found.append(refusal)
    return found + _find_reward_refusals(plan)


def _find_reward_refusals(plan: Plan) -> list[str]:
    needed = plan.method in REWARDED_METHODS
    may_be_named = {
        "reward model": plan.method in MAY_HAVE_REWARD_MODEL,
        "judge model": needed,
    }
    named = {"reward model": plan.reward_model, "judge model": plan.judge_model}
    found = []
    for role, checkpoint in named.items():
        if checkpoint is None:
            if needed:
                stored = Checkpoint.objects.filter(kind=CheckpointKind.REWARD, is_retired=False)
                found.append(
                    f"{plan.method} needs a {role}; {stored.count()} reward models are stored"
                )
        elif not may_be_named[role]:
            found.append(f"{plan.method} reads no {role}, got {checkpoint.name}")
        elif checkpoint.kind != CheckpointKind.REWARD:
            found.append(f"checkpoint {checkpoint.name} is {checkpoint.kind}, no {role}")
        else:
            found += _find_source_refusals(plan.study, checkpoint)
    if plan.reward_model is not None and plan.reward_model == plan.judge_model:
        found.append(
            f"reward model and judge model are both {plan.reward_model.name}: 2 different "
            "ones are needed, because the judge must not be what is learned from"
        )
    loss = (plan.config or {}).get("loss")
    if plan.reward_model is not None and loss in TIE_AWARE_LOSSES:
        found.append(
            f"loss {loss} learns from ties, and a reward model names none; take another loss "
            "or no reward model"
        )
    return found


def _find_source_refusals(study: Study, checkpoint: Checkpoint) -> list[str]:
    """Why no round of the study may learn from this adapter or reward model."""
    found = []
    if checkpoint.is_retired:
        found.append(f"checkpoint {checkpoint.name} is retired")
    if study.population == Population.PEOPLE and checkpoint.is_simulated:
        found.append(
            f"checkpoint {checkpoint.name} was trained on simulated ratings; "
            f"study {study.slug} is people's"
        )
    return found


def _find_mix_refusals(plan: Plan) -> list[str]:
    if len(plan.parts) < 2:
        return [f"a mix has at least 2 adapters, got {len(plan.parts)}"]
    found = []
    names = [part.name for part, _ in plan.parts]
    if len(set(names)) < len(names):
        found.append(f"a mix names each adapter once, got {', '.join(names)}")
    for part, weight in plan.parts:
        if part.kind != CheckpointKind.ADAPTER or part.parent_id != plan.base_checkpoint.pk:
            found.append(
                f"checkpoint {part.name} is {part.kind} on "
                f"{part.parent.name if part.parent else 'nothing'}, "
                f"not an adapter on {plan.base_checkpoint.name}"
            )
        found += _find_source_refusals(plan.study, part)
        if not -2.0 <= weight <= 2.0:
            found.append(f"the weight of {part.name} is {weight:g}, expected -2 to 2")
    return found


def find_selection_refusals(plan: Plan, selection: Selection) -> list[str]:
    """Why what was found is not enough."""
    n_needed = n_needed_for(plan.method)
    n_missing = n_needed - selection.n_usable
    if n_missing > 0:
        return [
            f"{selection.n_usable} usable preferences, {n_needed} needed: {n_missing} more "
            f"{'is' if n_missing == 1 else 'are'} needed"
        ]
    if n_needed and selection.n_train == 0:
        return [f"all {selection.n_usable} preferences are on held-out prompts"]
    return []


def find_disk_refusals(needed_mb: float, free_mb: float) -> list[str]:
    """Whether the round's files would fit."""
    if free_mb >= needed_mb:
        return []
    return [f"{free_mb:.0f} MB of disk are free, about {needed_mb:.0f} MB are needed"]


def disk_space_needed(plan: Plan) -> float:
    """Megabytes that a round's saves and result may take together."""
    return disk_megabytes(_stored_megabytes(full_checkpoint(plan.base_checkpoint)))


def held_out_of(plan: Plan, selection: Selection) -> HeldOut:
    """What the gate could measure the round on; a reward model goes through none."""
    n = sum(
        preference.is_held_out and preference.outcome is Outcome.CHOSEN
        for preference in selection.preferences
    )
    threshold = thresholds_of(plan.study.gate)["held_out_accuracy"]
    n_needed = fewest_held_out(threshold) or 1
    return HeldOut(n, 0 if plan.method is RoundMethod.REWARD else n_needed)


def leakage_of(selection: Selection, duplicates: Duplicates) -> Leakage:
    """What training and held-out preferences share."""
    sides: dict[bool, set[int]] = {True: set(), False: set()}
    for preference in selection.preferences:
        sides[preference.is_held_out].add(preference.prompt_id)
    return Leakage(
        n_prompts=len(sides[True] & sides[False]),
        n_raters=selection.counts["raters_on_both_sides"],
        n_clips=duplicates.n_clips_on_both_sides,
        n_held_out_by_known_raters=(
            selection.counts["held_out"] - selection.counts["held_out_by_new_raters"]
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


def _estimate(plan: Plan, config: Mapping[str, Value], selection: Selection) -> Estimate:
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

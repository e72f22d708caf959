"""Reads of rounds: what a round would use, what it froze, and how it goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, QuerySet, Subquery

from attune.catalog.models import (
    Checkpoint,
    CheckpointKind,
    Population,
    RotationAction,
    RotationEntry,
    RotationEvent,
)
from attune.ratings.models import Study
from attune.rounds.evidence import decided_pairs_by_base, select_for_round
from attune.rounds.models import (
    RUNNING_STATES,
    Evaluation,
    Round,
    RoundEvent,
    RoundMetric,
    RoundSample,
)


@dataclass(frozen=True)
class RoundDetail:
    """A round with everything its page shows."""

    round: Round
    counts: Mapping[str, int]
    metrics: Sequence[RoundMetric]
    evaluations: Sequence[Evaluation]
    rotation_event: RotationEvent | None
    samples: Sequence[RoundSample] = ()
    events: Sequence[RoundEvent] = ()

    @property
    def peak_memory_mb(self) -> float | None:
        """The most memory that the trainer reported."""
        reported = [memory for _, memory in self.series("memory_mb")]
        return max(reported, default=None)

    @property
    def latest_metric(self) -> RoundMetric | None:
        """What was logged last."""
        return self.metrics[-1] if self.metrics else None

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of one logged quantity, where it was logged."""
        return [
            (metric.step, metric.values[name])
            for metric in self.metrics
            if metric.values.get(name) is not None
        ]


def rounds(*, study: Study | None = None, population: Population | None = None) -> QuerySet[Round]:
    """The rounds, newest first."""
    found = Round.objects.select_related(
        *("study", "base_checkpoint", "produced_checkpoint", "job", "created_by"),
        *("reward_model", "judge_model"),
    )
    if study is not None:
        found = found.filter(study=study)
    if population is not None:
        found = found.filter(population=population)
    return found.order_by("-pk")


def get_round_detail(round: Round) -> RoundDetail:
    """The round's metrics by step, its evaluations, and what rotation made of it."""
    rotation_event = None
    if round.produced_checkpoint_id is not None:
        rotation_event = (
            RotationEvent.objects.filter(
                checkpoint_id=round.produced_checkpoint_id, population=round.population
            )
            .order_by("pk")
            .first()
        )
    return RoundDetail(
        round=round,
        counts=round.counts,
        metrics=list(round.metrics.order_by("step")),
        evaluations=list(round.evaluations.order_by("pk")),
        rotation_event=rotation_event,
        samples=list(round.samples.order_by("step", "number")),
        events=list(round.events.select_related("actor").order_by("pk")),
    )


def latest_metrics(rounds: Iterable[Round]) -> dict[int, RoundMetric]:
    """Round id -> what was logged last, for the rounds that have logged anything."""
    newest = RoundMetric.objects.filter(round=OuterRef("round")).order_by("-step")
    found = RoundMetric.objects.filter(
        round__in=[round.pk for round in rounds], step=Subquery(newest.values("step")[:1])
    )
    return {metric.round_id: metric for metric in found}


def find_base_refusal(study: Study, base_checkpoint: Checkpoint) -> str | None:
    """Why no round of the study may start from this checkpoint, or None."""
    if base_checkpoint.kind == CheckpointKind.REWARD:
        return f"checkpoint {base_checkpoint.name} is a reward model: it makes no clips"
    if base_checkpoint.is_retired:
        return f"checkpoint {base_checkpoint.name} is retired"
    if study.population == Population.PEOPLE and base_checkpoint.is_simulated:
        return (
            f"checkpoint {base_checkpoint.name} was trained on simulated ratings; "
            f"study {study.slug} is people's"
        )
    names = list(
        RotationEntry.objects.filter(population=study.population)
        .order_by("checkpoint__name")
        .values_list("checkpoint__name", flat=True)
    )
    if base_checkpoint.name not in names:
        return (
            f"checkpoint {base_checkpoint.name} is not in the rotation for {study.population}; "
            f"in it are {', '.join(names) or 'none'}"
        )
    return None


def find_running_round(study: Study, base_checkpoint: Checkpoint) -> Round | None:
    """The round on this study and base that has not ended, or None."""
    return Round.objects.filter(
        study=study, base_checkpoint=base_checkpoint, state__in=RUNNING_STATES
    ).first()


def describe_running(round: Round) -> str:
    """A sentence that names the round that is in the way."""
    return (
        f"round {round.name} on {round.base_checkpoint.name} and study {round.study.slug} "
        f"is {round.get_state_display()}"
    )


def find_default_base(study: Study) -> Checkpoint | None:
    """The checkpoint in rotation with the most usable preferences, the newer one of equals."""
    in_rotation = Checkpoint.objects.filter(
        rotation_entries__population=study.population, is_retired=False
    )
    most = decided_pairs_by_base(study)
    best, n_best = None, -1
    # No checkpoint has more usable preferences than decided pairs: most are never counted.
    for checkpoint in sorted(in_rotation, key=lambda c: (most.get(c.pk, 0), c.pk), reverse=True):
        if most.get(checkpoint.pk, 0) < n_best:
            break
        n_usable = select_for_round(study, checkpoint).n_usable if checkpoint.pk in most else 0
        if best is None or (n_usable, checkpoint.pk) > (n_best, best.pk):
            best, n_best = checkpoint, n_usable
    return best


def has_entered_rotation(round: Round) -> bool:
    """Whether the round's checkpoint was let into its population's rotation, then or later."""
    return RotationEvent.objects.filter(
        checkpoint=round.produced_checkpoint,
        population=round.population,
        action=RotationAction.ENTER,
    ).exists()

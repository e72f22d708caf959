"""Reads of rounds: what a round would use, what it froze, and how it goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery, TextField
from django.db.models.functions import Cast

from attune.catalog.models import (
    Checkpoint,
    ClipStatus,
    Population,
    RotationAction,
    RotationEntry,
    RotationEvent,
)
from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.models import Rating, Study
from attune.rounds.eligibility import RatingRow, select_preferences
from attune.rounds.models import (
    RUNNING_STATES,
    Evaluation,
    Round,
    RoundMetric,
)

_RATING_COLUMNS = (
    "pk",
    "rater_id",
    "pair_id",
    "pair__prompt_id",
    "pair__purpose",
    "choice",
    "pair__first_checkpoint_id",
    "pair__second_checkpoint_id",
    "pair__first_clip_id",
    "pair__second_clip_id",
    "pair__first_clip__duration_s",
    "pair__second_clip__duration_s",
    "assignment__is_swapped",
    "assignment__is_repeat",
    "is_simulated",
    "rater__withdrawn_at",
    "pair__is_withdrawn",
    "pair__prompt__is_held_out",
    "pair__prompt__melody_id",
    "pair__first_clip__status",
    "pair__second_clip__status",
    "pair__first_clip__codes_path",
    "pair__second_clip__codes_path",
    "first_header",
    "second_header",
)


@dataclass(frozen=True)
class Preflight:
    """What a round would use if it started now, and why it would be refused."""

    study: Study
    base_checkpoint: Checkpoint
    n_usable: int
    n_needed: int
    counts: Mapping[str, int]
    refusals: tuple[str, ...]

    @property
    def n_missing(self) -> int:
        """How many more preferences are needed."""
        return max(0, self.n_needed - self.n_usable)

    @property
    def can_start(self) -> bool:
        """Whether nothing stands against the round."""
        return not self.refusals


@dataclass(frozen=True)
class RoundDetail:
    """A round with everything its page shows."""

    round: Round
    counts: Mapping[str, int]
    metrics: Sequence[RoundMetric]
    evaluations: Sequence[Evaluation]
    rotation_event: RotationEvent | None

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
    found = Round.objects.select_related("study", "base_checkpoint", "produced_checkpoint", "job")
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
    )


def latest_metrics(rounds: Iterable[Round]) -> dict[int, RoundMetric]:
    """Round id -> what was logged last, for the rounds that have logged anything."""
    newest = RoundMetric.objects.filter(round=OuterRef("round")).order_by("-step")
    found = RoundMetric.objects.filter(
        round__in=[round.pk for round in rounds], step=Subquery(newest.values("step")[:1])
    )
    return {metric.round_id: metric for metric in found}


def rating_rows(study: Study) -> list[RatingRow]:
    """Every rating of the study with the facts that decide whether it counts."""
    # Headers are only compared; as text they need no parsing.
    found = Rating.objects.filter(pair__study=study).annotate(
        first_header=Cast("pair__first_clip__header", TextField()),
        second_header=Cast("pair__second_clip__header", TextField()),
    )
    return [
        _rating_row(dict(zip(_RATING_COLUMNS, values, strict=True)))
        for values in found.order_by("pk").values_list(*_RATING_COLUMNS)
    ]


def _rating_row(values: Mapping[str, Any]) -> RatingRow:
    statuses = (values["pair__first_clip__status"], values["pair__second_clip__status"])
    paths = (values["pair__first_clip__codes_path"], values["pair__second_clip__codes_path"])
    return RatingRow(
        rating_id=values["pk"],
        rater_id=values["rater_id"],
        pair_id=values["pair_id"],
        prompt_id=values["pair__prompt_id"],
        purpose=PairPurpose(values["pair__purpose"]),
        choice=Choice(values["choice"]),
        first_checkpoint_id=values["pair__first_checkpoint_id"],
        second_checkpoint_id=values["pair__second_checkpoint_id"],
        first_clip_id=values["pair__first_clip_id"],
        second_clip_id=values["pair__second_clip_id"],
        first_duration_s=values["pair__first_clip__duration_s"],
        second_duration_s=values["pair__second_clip__duration_s"],
        is_swapped=values["assignment__is_swapped"],
        is_repeat=values["assignment__is_repeat"],
        is_simulated=values["is_simulated"],
        is_rater_withdrawn=values["rater__withdrawn_at"] is not None,
        is_pair_withdrawn=values["pair__is_withdrawn"],
        is_prompt_held_out=values["pair__prompt__is_held_out"],
        has_ready_codes=all(status == ClipStatus.READY for status in statuses) and all(paths),
        has_equal_headers=values["first_header"] == values["second_header"],
        has_melody=values["pair__prompt__melody_id"] is not None,
    )


def preflight(study: Study, base_checkpoint: Checkpoint) -> Preflight:
    """The numbers shown before a round starts, and every reason against it."""
    selection = select_preferences(
        rating_rows(study),
        base_checkpoint_id=base_checkpoint.pk,
        is_simulated=study.population == Population.REHEARSAL,
    )
    n_needed = int(settings.ATTUNE_MINIMUM_PREFERENCES)
    refusals = []
    base_refusal = find_base_refusal(study, base_checkpoint)
    if base_refusal is not None:
        refusals.append(base_refusal)
    running = find_running_round(study, base_checkpoint)
    if running is not None:
        refusals.append(describe_running(running))
    if selection.n_usable < n_needed:
        refusals.append(
            f"{selection.n_usable} usable preferences, {n_needed} needed: "
            f"{n_needed - selection.n_usable} more are needed"
        )
    return Preflight(
        study=study,
        base_checkpoint=base_checkpoint,
        n_usable=selection.n_usable,
        n_needed=n_needed,
        counts=selection.counts,
        refusals=tuple(refusals),
    )


def find_base_refusal(study: Study, base_checkpoint: Checkpoint) -> str | None:
    """Why no round of the study may start from this checkpoint, or None."""
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
    rows = rating_rows(study)

    def usable(checkpoint: Checkpoint) -> tuple[int, int]:
        selection = select_preferences(
            rows,
            base_checkpoint_id=checkpoint.pk,
            is_simulated=study.population == Population.REHEARSAL,
        )
        return selection.n_usable, checkpoint.pk

    return max(in_rotation, key=usable, default=None)


def has_entered_rotation(round: Round) -> bool:
    """Whether the round's checkpoint was let into its population's rotation, then or later."""
    return RotationEvent.objects.filter(
        checkpoint=round.produced_checkpoint,
        population=round.population,
        action=RotationAction.ENTER,
    ).exists()

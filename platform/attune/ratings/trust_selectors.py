"""Reads about trusting raters: figures, standing exclusions, and what to tell a rater."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import Count, Exists, Max, OuterRef, QuerySet

from attune.raters.models import Rater
from attune.ratings.choices import AssignmentState, Choice, PairPurpose
from attune.ratings.models import Assignment, Rating, Study
from attune.ratings.trust import AnswerRow, TrustFigures, trust_figures
from attune.ratings.trust_models import RaterExclusion, RaterWarning, WorkDecision

LATEST_ANSWERS = 500
"""Answers that a rater's figures are made of: enough for tight intervals, and quick to read."""
ANSWER_FIELDS = (
    *("pair_id", "pair__purpose", "choice", "assignment__is_swapped"),
    *("assignment__is_repeat", "assignment__handed_out_at", "created_at"),
)
"""The columns of a rating that `answer_row` takes, in its order."""


class NoticeKind(StrEnum):
    """What a rater may be told. The words stand on the page; these travel to it."""

    LISTEN_CLOSELY = "listen_closely"


@dataclass(frozen=True)
class Notice:
    """Something to tell a rater, kindly and once."""

    kind: NoticeKind


@dataclass(frozen=True)
class RaterTrust:
    """One rater, under the pseudonym, with the figures and what was decided."""

    rater: Rater
    n_ratings: int
    figures: TrustFigures
    exclusion: RaterExclusion | None
    n_warnings: int
    work: tuple[WorkDecision, ...]


def rater_notice(rater: Rater) -> Notice | None:
    """What the rater is to be told with the next pair.

    Due from the warning until the rater has answered a pair that was handed out after it.
    """
    made_at = RaterWarning.objects.filter(rater=rater).aggregate(at=Max("made_at"))["at"]
    if made_at is None:
        return None
    answered = Assignment.objects.filter(
        rater=rater,
        state=AssignmentState.ANSWERED,
        handed_out_at__gte=made_at,
        lease_until__gte=made_at,
    )
    return None if answered.exists() else Notice(NoticeKind.LISTEN_CLOSELY)


def standing_exclusions() -> QuerySet[RaterExclusion]:
    """Exclusions that hold now, newest first."""
    return RaterExclusion.objects.filter(lifted_at__isnull=True).order_by("-made_at", "-pk")


def is_excluded(rater_path: str) -> Exists:
    """True where the rater that `rater_path` leads to is left out of datasets."""
    return Exists(RaterExclusion.objects.filter(rater=OuterRef(rater_path), lifted_at__isnull=True))


def exclusions_of(rater: Rater) -> QuerySet[RaterExclusion]:
    """All exclusions of a rater, lifted ones too, newest first."""
    return rater.exclusions.select_related("made_by", "lifted_by").order_by("-made_at", "-pk")


def rating_raters(*, is_simulated: bool = False, study: Study | None = None) -> QuerySet[Rater]:
    """Raters who have answered anything, or anything in a study, the busiest first."""
    found = Rater.objects.filter(is_simulated=is_simulated)
    if study is not None:
        found = found.filter(ratings__pair__study=study)
    return (
        found.annotate(n_ratings=Count("ratings"))
        .filter(n_ratings__gt=0)
        .order_by("-n_ratings", "pk")
    )


def answer_rows(rater: Rater, *, study: Study | None = None) -> list[AnswerRow]:
    """The rater's latest 500 answers, oldest first."""
    found = Rating.objects.filter(rater=rater)
    if study is not None:
        found = found.filter(pair__study=study)
    rows = found.order_by("-created_at", "-pk").values_list(*ANSWER_FIELDS)[:LATEST_ANSWERS]
    return [answer_row(*row) for row in rows][::-1]


def answer_row(  # noqa: PLR0917
    pair_id: int,
    purpose: str,
    choice: str,
    is_swapped: bool,
    is_repeat: bool,
    handed_out_at: datetime,
    answered_at: datetime,
) -> AnswerRow:
    """What the ANSWER_FIELDS of a rating say."""
    return AnswerRow(
        pair_id=pair_id,
        purpose=PairPurpose(purpose),
        choice=Choice(choice),
        is_swapped=is_swapped,
        is_repeat=is_repeat,
        handed_out_at=handed_out_at,
        answered_at=answered_at,
    )


def rater_trusts(raters: Iterable[Rater], *, study: Study | None = None) -> list[RaterTrust]:
    """The figures of each rater, in the given order; raters come from `rating_raters`."""
    shown = list(raters)
    standing = {each.rater_id: each for each in standing_exclusions().filter(rater__in=shown)}
    warned = dict(
        RaterWarning.objects.filter(rater__in=shown)
        .values_list("rater")
        .annotate(n=Count("pk"))
        .values_list("rater", "n")
    )
    work: dict[int, dict[int, WorkDecision]] = {}
    decisions = WorkDecision.objects.filter(rater__in=shown).select_related("study")
    for decision in decisions.order_by("decided_at", "pk"):
        if study is None or decision.study_id == study.pk:
            work.setdefault(decision.rater_id, {})[decision.study_id] = decision
    return [
        RaterTrust(
            rater=rater,
            n_ratings=getattr(rater, "n_ratings", 0),
            figures=trust_figures(answer_rows(rater, study=study)),
            exclusion=standing.get(rater.pk),
            n_warnings=warned.get(rater.pk, 0),
            work=tuple(work.get(rater.pk, {}).values()),
        )
        for rater in shown
    ]

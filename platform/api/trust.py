"""Raters under their pseudonyms: how far their answers can be trusted, and what was decided."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Router, Schema, Status
from pydantic import Field

from api.access import ENGINEERS, READERS, allow, caller
from api.shapes import Json, Limit, Offset, Request
from api.studies import get_study
from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.ratings.trust import Median, Share
from attune.ratings.trust_models import RaterExclusion
from attune.ratings.trust_selectors import (
    RaterTrust,
    exclusions_of,
    rater_trusts,
    rating_raters,
)
from attune.ratings.trust_services import decide_work, exclude_rater, lift_exclusion

router = Router(tags=["raters"])

Reason = Annotated[str, Field(min_length=1, max_length=500)]


class ShareAnswer(Schema):
    """A share, None of nothing, with its count and Wilson's 95% interval."""

    value: float | None
    n: int
    of: int
    low: float
    high: float


class MedianAnswer(Schema):
    """A median in seconds with a distribution-free 95% interval, which fewer than 6 lack."""

    value_s: float | None
    n: int
    low_s: float | None
    high_s: float | None


class ExclusionAnswer(Schema):
    """An exclusion from datasets: by which rule, on which figures, and how it ended."""

    rule: str
    rule_version: int
    figures: Json
    reason: str
    made_at: datetime
    made_by: str | None
    lifted_at: datetime | None
    lifted_by: str | None
    lift_reason: str


class WorkAnswer(Schema):
    """Whether work in a study was accepted; says nothing about its use."""

    study: str
    is_accepted: bool
    n_ratings: int
    reason: str
    decided_at: datetime


class RaterAnswer(Schema):
    """A rater's figures, of the latest 500 answers, and what was decided.

    `is_used` says whether the answers may enter datasets, `work` whether they were accepted.
    """

    pseudonym: UUID
    is_simulated: bool
    n_ratings: int
    gold: ShareAnswer
    n_gold_undecided: int
    agreement: ShareAnswer
    side_a: ShareAnswer
    has_side_bias: bool
    ties: ShareAnswer
    both_bad: ShareAnswer
    time: MedianAnswer
    n_warnings: int
    is_used: bool
    exclusion: ExclusionAnswer | None
    work: list[WorkAnswer]


class RaterDetailAnswer(RaterAnswer):
    """The same with every exclusion there ever was, newest first."""

    exclusions: list[ExclusionAnswer]


class ReasonRequest(Request):
    """Why; it stays on record."""

    reason: Reason


class WorkRequest(ReasonRequest):
    """Whether the rater's work in a study is accepted."""

    study: str
    is_accepted: bool


def _get_rater(pseudonym: UUID) -> Rater:
    rater = Rater.objects.filter(pseudonym=pseudonym).first()
    if rater is None:
        raise Http404(f"no rater {pseudonym}")
    return rater


def _share(share: Share) -> ShareAnswer:
    low, high = share.interval
    return ShareAnswer(value=share.value, n=share.n, of=share.of, low=low, high=high)


def _median(median: Median) -> MedianAnswer:
    low_s, high_s = median.interval_s or (None, None)
    return MedianAnswer(value_s=median.value_s, n=median.n, low_s=low_s, high_s=high_s)


def _exclusion(exclusion: RaterExclusion) -> ExclusionAnswer:
    made_by, lifted_by = exclusion.made_by, exclusion.lifted_by
    return ExclusionAnswer(
        rule=exclusion.rule,
        rule_version=exclusion.rule_version,
        figures=exclusion.figures,
        reason=exclusion.reason,
        made_at=exclusion.made_at,
        made_by=made_by.get_username() if made_by else None,
        lifted_at=exclusion.lifted_at,
        lifted_by=lifted_by.get_username() if lifted_by else None,
        lift_reason=exclusion.lift_reason,
    )


def _answer(trust: RaterTrust) -> RaterAnswer:
    figures = trust.figures
    return RaterAnswer(
        pseudonym=trust.rater.pseudonym,
        is_simulated=trust.rater.is_simulated,
        n_ratings=trust.n_ratings,
        gold=_share(figures.gold),
        n_gold_undecided=figures.n_gold_undecided,
        agreement=_share(figures.agreement),
        side_a=_share(figures.side_a),
        has_side_bias=figures.has_side_bias,
        ties=_share(figures.ties),
        both_bad=_share(figures.both_bad),
        time=_median(figures.time),
        n_warnings=trust.n_warnings,
        is_used=trust.exclusion is None,
        exclusion=_exclusion(trust.exclusion) if trust.exclusion else None,
        work=[
            WorkAnswer(
                study=decision.study.slug,
                is_accepted=decision.is_accepted,
                n_ratings=decision.n_ratings,
                reason=decision.reason,
                decided_at=decision.decided_at,
            )
            for decision in trust.work
        ],
    )


def _detail(rater: Rater) -> RaterDetailAnswer:
    shown = rating_raters(is_simulated=rater.is_simulated).filter(pk=rater.pk)
    (trust,) = rater_trusts(shown or [rater])
    exclusions = [_exclusion(exclusion) for exclusion in exclusions_of(rater)]
    return RaterDetailAnswer(**_answer(trust).model_dump(), exclusions=exclusions)


@router.get("raters", response=list[RaterAnswer], auth=allow(READERS))
def list_raters(
    request: HttpRequest,
    *,
    study: str | None = None,
    population: Population = Population.PEOPLE,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[RaterAnswer]:
    """Raters who have answered anything, or anything in a study; the busiest first."""
    of_study = None if study is None else get_study(study)
    found = rating_raters(is_simulated=population == Population.REHEARSAL, study=of_study)
    return [
        _answer(trust) for trust in rater_trusts(found[offset : offset + limit], study=of_study)
    ]


@router.get("raters/{uuid:pseudonym}", response=RaterDetailAnswer, auth=allow(READERS))
def read_rater(request: HttpRequest, pseudonym: UUID) -> RaterDetailAnswer:
    """One rater."""
    return _detail(_get_rater(pseudonym))


@router.post(
    "raters/{uuid:pseudonym}/exclusion",
    response={201: RaterDetailAnswer},
    auth=allow(ENGINEERS),
)
def exclude(
    request: HttpRequest, pseudonym: UUID, body: ReasonRequest
) -> Status[RaterDetailAnswer]:
    """Leaves the rater's answers out of datasets frozen from now on; accepted work stays so."""
    rater = _get_rater(pseudonym)
    exclude_rater(rater=rater, actor=caller(request), reason=body.reason, now=timezone.now())
    return Status(201, _detail(rater))


@router.post(
    "raters/{uuid:pseudonym}/exclusion/lift", response=RaterDetailAnswer, auth=allow(ENGINEERS)
)
def lift(request: HttpRequest, pseudonym: UUID, body: ReasonRequest) -> RaterDetailAnswer:
    """Lifts the exclusion: the rater's answers count again. 409 where none stands."""
    rater = _get_rater(pseudonym)
    lift_exclusion(rater=rater, actor=caller(request), reason=body.reason, now=timezone.now())
    return _detail(rater)


@router.post(
    "raters/{uuid:pseudonym}/work", response={201: RaterDetailAnswer}, auth=allow(ENGINEERS)
)
def decide(request: HttpRequest, pseudonym: UUID, body: WorkRequest) -> Status[RaterDetailAnswer]:
    """Accepts the rater's work in a study, or not; whether it is used is another fact."""
    rater = _get_rater(pseudonym)
    decide_work(
        rater=rater,
        study=get_study(body.study),
        is_accepted=body.is_accepted,
        actor=caller(request),
        reason=body.reason,
        now=timezone.now(),
    )
    return Status(201, _detail(rater))

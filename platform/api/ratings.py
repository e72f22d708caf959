"""What raters do: fetch a pair, answer it, change the answer, report a clip.

Answers here carry nothing by which a clip, its checkpoint or its round could be known.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import numpy as np
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from ninja import Router, Schema, Status
from pydantic import Field, FiniteFloat, model_validator

from api.access import RATERS, allow, get_rater
from api.shapes import Request
from attune.raters.errors import ArrivalError
from attune.raters.models import Rater
from attune.ratings.arrival import SCREENED_OUT
from attune.ratings.choices import Aspect, Choice, Side
from attune.ratings.models import Study
from attune.ratings.selectors import AssignmentView, SideView, get_assignment_view, open_studies
from attune.ratings.services import assign_pair, change_rating, record_rating, report_clip
from attune.ratings.trust_selectors import Notice, rater_notice

router = Router(tags=["ratings"], auth=allow(RATERS))

RETRY_AFTER_S = 3
MAXIMUM_SEGMENTS = 2000

Segment = tuple[Annotated[FiniteFloat, Field(ge=0)], Annotated[FiniteFloat, Field(ge=0)]]
Strength = Annotated[int, Field(ge=1, le=3, description="1 slightly, 2 clearly, 3 much")]


class AssignmentRequest(Request):
    """Which study to rate for; any open one when left out. `after` is the assignment being
    rated now: the answer is then the one after it, for a page that loads ahead."""

    study: str | None = None
    after: UUID | None = None


class SideAnswer(Schema):
    """One side as a rater may know it; the gain brings both sides to one level."""

    audio_url: str
    gain_db: float
    duration_s: float
    peaks: list[float]


class RemarkAnswer(Schema):
    """A remark of the rater, pinned to a moment of one side."""

    client_id: UUID
    side: Side
    at_s: float
    text: str


class NoticeAnswer(Schema):
    """Something to tell the rater, by kind; the page has the words."""

    kind: str


class AssignmentAnswer(Schema):
    """A pair to rate until `expires_at`. `aspects` are asked one by one after the answer."""

    id: UUID
    prompt: str
    question: str
    minimum_listening_s: float
    asks_strength: bool
    aspects: list[Aspect]
    shows_history: bool
    break_after_min: int
    expires_at: datetime
    n_done: int
    n_target: int
    notice: NoticeAnswer | None
    remarks: list[RemarkAnswer]
    a: SideAnswer
    b: SideAnswer


class Opinion(Request):
    """A choice and, for A or B only, how strong it is."""

    choice: Choice
    strength: Strength | None = None

    @model_validator(mode="after")
    def check_strength(self) -> "Opinion":
        """Refuses a strength without a preferred side."""
        if self.strength is not None and self.choice not in (Choice.A, Choice.B):
            raise ValueError(f"strength is for A or B only, not for {self.choice.value}")
        return self


class RatingRequest(Opinion):
    """An answer. `client_id` is made by the caller: sent twice, the answer is stored once."""

    client_id: UUID
    assignment: UUID
    heard: dict[Side, Annotated[list[Segment], Field(max_length=MAXIMUM_SEGMENTS)]] = {}


class RatingAnswer(Schema):
    """A stored answer; `created` is false when it was stored before."""

    id: int
    choice: Choice
    strength: int | None
    created: bool


class ReportRequest(Request):
    """Something is wrong with one side's clip; the pair is skipped."""

    assignment: UUID
    side: Side
    remark: Annotated[str, Field(max_length=500)] = ""


class ReportAnswer(Schema):
    """A stored report."""

    id: int


@router.post("assignments", response={200: AssignmentAnswer, 204: None})
def create_assignment(
    request: HttpRequest, response: HttpResponse, body: AssignmentRequest | None = None
) -> Status[AssignmentAnswer | None]:
    """A pair to rate; the same one until it is answered. 204 when there is none right now."""
    rater = get_rater(request)
    after = None if body is None else body.after
    rng = np.random.default_rng()
    refusal = None
    for study in _studies(rater, None if body is None else body.study):
        try:
            assignment = assign_pair(
                study=study, rater=rater, rng=rng, now=timezone.now(), after=after
            )
        except ArrivalError as exc:
            if exc.code != SCREENED_OUT:
                raise
            refusal = exc  # another study may do without headphones
            continue
        if assignment is not None:
            view = get_assignment_view(assignment)
            return Status(200, assignment_answer(view, rater_notice(rater)))
    if refusal is not None:
        raise refusal
    response["Retry-After"] = str(RETRY_AFTER_S)
    return Status(204, None)


def _studies(rater: Rater, slug: str | None) -> list[Study]:
    """The named study, or the open ones of the rater's population, oldest first."""
    if slug is None:
        return list(open_studies(rater))
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        raise Http404(f"no study {slug!r}")
    return [study]


def assignment_answer(view: AssignmentView, notice: Notice | None = None) -> AssignmentAnswer:
    """The assignment as it is sent to its rater."""
    return AssignmentAnswer(
        id=view.id,
        prompt=view.prompt,
        question=view.question,
        minimum_listening_s=view.minimum_listening_s,
        asks_strength=view.asks_strength,
        aspects=[Aspect(name) for name in view.aspects],
        shows_history=view.shows_history,
        break_after_min=view.break_after_min,
        expires_at=view.expires_at,
        n_done=view.n_done,
        n_target=view.n_target,
        notice=None if notice is None else NoticeAnswer(kind=notice.kind.value),
        remarks=[
            RemarkAnswer(
                client_id=remark.client_id, side=remark.side, at_s=remark.at_s, text=remark.text
            )
            for remark in view.remarks
        ],
        a=_side_answer(view.a),
        b=_side_answer(view.b),
    )


def _side_answer(side: SideView) -> SideAnswer:
    return SideAnswer(
        audio_url=reverse("signed-audio", args=[side.url_token]),
        gain_db=side.gain_db,
        duration_s=side.duration_s,
        peaks=list(side.peaks),
    )


@router.post("ratings", response={200: RatingAnswer, 201: RatingAnswer})
def create_rating(request: HttpRequest, body: RatingRequest) -> Status[RatingAnswer]:
    """Stores an answer: 201 the first time, 200 when the same client id was stored before."""
    rating, created = record_rating(
        rater=get_rater(request),
        assignment_id=body.assignment,
        client_id=body.client_id,
        choice=body.choice,
        strength=body.strength,
        heard=body.heard,
        now=timezone.now(),
    )
    answer = RatingAnswer(
        id=rating.pk, choice=Choice(rating.choice), strength=rating.strength, created=created
    )
    return Status(201 if created else 200, answer)


@router.patch("ratings/{int:rating_id}", response=RatingAnswer)
def update_rating(request: HttpRequest, rating_id: int, body: Opinion) -> RatingAnswer:
    """Changes an answer, until a round has frozen it; what it said before is kept."""
    rating = change_rating(
        rater=get_rater(request),
        rating_id=rating_id,
        choice=body.choice,
        strength=body.strength,
        now=timezone.now(),
    )
    return RatingAnswer(
        id=rating.pk, choice=Choice(rating.choice), strength=rating.strength, created=False
    )


@router.post("reports", response={201: ReportAnswer})
def create_report(request: HttpRequest, body: ReportRequest) -> Status[ReportAnswer]:
    """Reports a clip; the assignment is skipped and the next one can be fetched."""
    report = report_clip(
        rater=get_rater(request),
        assignment_id=body.assignment,
        side=body.side,
        remark=body.remark,
        now=timezone.now(),
    )
    return Status(201, ReportAnswer(id=report.pk))

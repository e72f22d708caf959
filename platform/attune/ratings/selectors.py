"""Reads of studies, pairs and assignments that follow a rule."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.core import signing
from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
)
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from attune.catalog.models import Clip, ClipStatus, Population
from attune.raters.models import Rater
from attune.ratings.arrival_models import PanelPerson
from attune.ratings.choices import AssignmentState, Side
from attune.ratings.levels import Level, pair_gains_db
from attune.ratings.models import Assignment, Rating, Study
from attune.ratings.pairing_selectors import EVIDENCE, has_left_rotation
from attune.ratings.sessions import count_session

AUDIO_SALT = "audio"
DEFAULT_QUESTION = gettext_noop("Which do you prefer?")
FAILURES_TO_PAUSE = 4


@dataclass(frozen=True)
class SideView:
    """One side as a rater's page knows it: a signed address, a length, a gain, an outline."""

    url_token: str
    duration_s: float
    gain_db: float
    peaks: tuple[float, ...]


@dataclass(frozen=True)
class RemarkView:
    """A remark of the rater on one side, in seconds of the clip."""

    client_id: UUID
    side: Side
    at_s: float
    text: str


@dataclass(frozen=True)
class AssignmentView:
    """All that a rater may know of an assignment. No checkpoint, clip, seed or round."""

    id: UUID
    prompt: str
    question: str
    minimum_listening_s: float
    asks_strength: bool
    aspects: tuple[str, ...]
    shows_history: bool
    break_after_min: int
    expires_at: datetime
    n_done: int
    n_target: int
    remarks: tuple[RemarkView, ...]
    a: SideView
    b: SideView


@dataclass(frozen=True)
class StudyCounts:
    """Pairs of a study by state, and its ratings. Withdrawn pairs count under their own name."""

    n_pending: int
    n_ready: int
    n_rated: int
    n_withdrawn: int
    n_ratings: int

    def as_mapping(self) -> dict[str, int]:
        """The counts by the names the API gives them."""
        return {
            "pending": self.n_pending,
            "ready": self.n_ready,
            "rated": self.n_rated,
            "withdrawn": self.n_withdrawn,
            "ratings": self.n_ratings,
        }


def open_studies(rater: Rater) -> QuerySet[Study]:
    """Open studies of the rater's population, oldest first; a panel's person has one only."""
    population = Population.REHEARSAL if rater.is_simulated else Population.PEOPLE
    studies = Study.objects.filter(is_open=True, population=population).order_by("pk")
    if rater.is_simulated:
        return studies
    came_by_panel = Exists(PanelPerson.objects.filter(rater=rater))
    came_to_it = PanelPerson.objects.filter(rater=rater, study=OuterRef("pk"))
    return studies.filter(~came_by_panel | Exists(came_to_it))


def study_counts(studies: Iterable[Study]) -> dict[int, StudyCounts]:
    """Study id -> how far it is. Ready pairs wait for their first rating.

    Pairs whose checkpoint has left the rotation count as withdrawn until they are rated. Gold
    pairs, which only check raters, are counted under none of these; ratings of them are ratings.
    """
    ids = [study.pk for study in studies]
    left = has_left_rotation("pairs__")
    evidence = Q(pairs__purpose__in=EVIDENCE)
    kept = evidence & Q(pairs__is_withdrawn=False) & ~left
    pairs = Study.objects.filter(pk__in=ids).annotate(
        n_pending=Count("pairs", filter=kept & Q(pairs__is_ready=False)),
        n_ready=Count("pairs", filter=kept & Q(pairs__is_ready=True, pairs__n_ratings=0)),
        n_rated=Count("pairs", filter=evidence & Q(pairs__n_ratings__gt=0)),
        n_withdrawn=Count(
            "pairs",
            filter=evidence & (Q(pairs__is_withdrawn=True) | (left & Q(pairs__n_ratings=0))),
        ),
    )
    ratings = dict(
        Rating.objects.filter(pair__study__in=ids)
        .values_list("pair__study")
        .annotate(n=Count("pk"))
        .values_list("pair__study", "n")
    )
    columns = ("pk", "n_pending", "n_ready", "n_rated", "n_withdrawn")
    return {
        pk: StudyCounts(
            n_pending=n_pending,
            n_ready=n_ready,
            n_rated=n_rated,
            n_withdrawn=n_withdrawn,
            n_ratings=ratings.get(pk, 0),
        )
        for pk, n_pending, n_ready, n_rated, n_withdrawn in pairs.values_list(*columns)
    }


def count_waiting_pairs(study: Study) -> int:
    """Fresh pairs, ready or pending, that have no rating, nor a rater now."""
    taken = Assignment.objects.filter(pair=OuterRef("pk"), state=AssignmentState.OPEN)
    waiting = study.pairs.filter(is_withdrawn=False, n_ratings=0, purpose__in=EVIDENCE)
    return waiting.filter(~Exists(taken), ~has_left_rotation()).count()


def has_pair_since(study: Study, checkpoint_id: int, *, since: datetime) -> bool:
    """True if a pair of the checkpoint was drawn for the study since then."""
    of_it = Q(first_checkpoint=checkpoint_id) | Q(second_checkpoint=checkpoint_id)
    drawn = study.pairs.filter(of_it, is_drawn=True, purpose__in=EVIDENCE)
    return drawn.filter(created_at__gte=since).exists()


def has_only_failed_lately(study: Study, *, since: datetime) -> bool:
    """True if clips failed in each of the last few pairs requested since then, and in some."""
    failed = Q(first_clip__status=ClipStatus.FAILED) | Q(second_clip__status=ClipStatus.FAILED)
    latest = (
        study.pairs.filter(created_at__gte=since)
        .annotate(is_failed=ExpressionWrapper(failed, output_field=BooleanField()))
        .order_by("-pk")
        .values_list("is_failed", flat=True)[:FAILURES_TO_PAUSE]
    )
    return len(latest) > 0 and all(latest)


def side_clip(assignment: Assignment, side: Side) -> Clip:
    """The clip that the assignment played on a side."""
    is_first = (side == Side.A) != assignment.is_swapped
    return assignment.pair.first_clip if is_first else assignment.pair.second_clip


def sign_side(assignment: Assignment, side: Side) -> str:
    """A signed, dated token that stands for one side of an assignment."""
    return signing.dumps({"a": str(assignment.pk), "s": side.value}, salt=AUDIO_SALT)


def find_assignment_side(token: str, *, max_age_s: float) -> tuple[Assignment, Side] | None:
    """What a token of `sign_side` stands for; None if it is forged, too old or unknown."""
    try:
        content = signing.loads(token, salt=AUDIO_SALT, max_age=timedelta(seconds=max_age_s))
        assignment_id, side = UUID(content["a"]), Side(content["s"])
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        return None
    assignment = (
        Assignment.objects.select_related("rater", "pair__first_clip", "pair__second_clip")
        .filter(pk=assignment_id)
        .first()
    )
    return (assignment, side) if assignment else None


def get_assignment_view(assignment: Assignment, *, now: datetime | None = None) -> AssignmentView:
    """What the rater's page shows. `now` is the lease's start unless given."""
    study = assignment.pair.study
    clips = {side: side_clip(assignment, side) for side in Side}
    gains = pair_gains_db(_level(clips[Side.A]), _level(clips[Side.B]))
    answered_at = (
        Rating.objects.filter(rater=assignment.rater, pair__study=study)
        .order_by("-created_at")
        .values_list("created_at", flat=True)[: study.pairs_per_session]
    )
    views = {
        side: SideView(
            url_token=sign_side(assignment, side),
            duration_s=clips[side].duration_s or 0.0,
            gain_db=round(gain_db, 2),
            peaks=tuple(clips[side].peaks),
        )
        for side, gain_db in zip(Side, gains, strict=True)
    }
    return AssignmentView(
        id=assignment.pk,
        prompt=assignment.pair.prompt.text,
        # The default question is translated; an engineer's own words stay as written.
        question=_(study.question),
        minimum_listening_s=study.minimum_listening_s,
        asks_strength=study.asks_strength,
        aspects=tuple(study.aspects),
        shows_history=study.shows_history,
        break_after_min=study.break_after_min,
        expires_at=assignment.lease_until,
        n_done=count_session(answered_at, now or assignment.handed_out_at),
        n_target=study.pairs_per_session,
        remarks=tuple(
            RemarkView(remark.client_id, Side(remark.side), remark.at_s, remark.text)
            for remark in assignment.remarks.order_by("at_s", "pk")
        ),
        a=views[Side.A],
        b=views[Side.B],
    )


def _level(clip: Clip) -> Level:
    return Level(loudness_lufs=clip.loudness_lufs, gain_db=clip.gain_db or 0.0)


def prompt_usage(study: Study, *, is_held_out: bool) -> dict[int, int]:
    """Prompt id -> pairs of this study it has, for the prompts in use of one kind.

    Prompts that follow a recording only judge: rounds do not learn from their clips.
    """
    prompts = study.prompt_set.prompts.filter(is_active=True, is_held_out=is_held_out)
    if not is_held_out:
        prompts = prompts.filter(melody=None)
    rows = (
        prompts.annotate(
            n_pairs=Count("pairs", filter=Q(pairs__study=study, pairs__is_withdrawn=False))
        )
        .order_by("pk")
        .values_list("pk", "n_pairs")
    )
    return dict(rows)

"""Reads that gather what a page of the console shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet, Sum

from attune.catalog.models import (
    Checkpoint,
    Clip,
    ClipStatus,
    Population,
    Prompt,
    PromptSet,
    RotationEntry,
    RotationRole,
)
from attune.catalog.rotation import rotation_shares
from attune.catalog.selectors import rotation_entries
from attune.jobs.models import Job, JobState
from attune.leaderboard.models import PairCount
from attune.leaderboard.selectors import (
    gate_of_people,
    get_opponent,
    is_held_by_hand,
    people_gate,
    win_rate,
)
from attune.leaderboard.sequential import SequentialVerdict
from attune.leaderboard.win_rates import WinRate
from attune.ratings.models import Rating, Study
from attune.ratings.people_gate import PeopleGate
from attune.ratings.selectors import StudyCounts, study_counts
from attune.rounds.models import Round
from attune.rounds.selectors import rounds
from console.charts import Part, stacked_bar

ROLE_TONES = {RotationRole.ANCHOR: "soft", RotationRole.CANARY: "b", RotationRole.FULL: "ok"}


@dataclass(frozen=True)
class LoopState:
    """Where the loop of one population stands."""

    n_clips_waiting: int
    n_clips_ready: int
    n_pairs_ready: int
    n_pairs_pending: int
    n_ratings: int
    n_ratings_today: int
    n_raters_today: int
    latest_round: Round | None


@dataclass(frozen=True)
class Place:
    """An entry of the rotation with its part of new clips."""

    entry: RotationEntry
    new_clip_share: float


@dataclass(frozen=True)
class StudyRow:
    """A study with how far it is."""

    study: Study
    counts: StudyCounts


@dataclass(frozen=True)
class PromptSetRow:
    """A prompt set with how many prompts it holds, and how many of them follow a recording."""

    prompt_set: PromptSet
    n_prompts: int
    n_following: int


@dataclass(frozen=True)
class Duel:
    """A checkpoint against its parent, and what the ratings say should become of it.

    Where the parent has left rotation, `parent` is the nearest ancestor that has not.
    """

    checkpoint: Checkpoint
    parent: Checkpoint
    entry: RotationEntry | None
    rate: WinRate
    verdict: SequentialVerdict
    asked: PeopleGate
    is_held_by_hand: bool

    @property
    def n_wanted(self) -> int | None:
        """Decided ratings by which the verdict is expected; None where it is not in sight."""
        n_more = self.verdict.n_more
        return None if n_more is None else self.verdict.n_decided + n_more

    @property
    def is_canary(self) -> bool:
        """Whether the checkpoint waits for a decision."""
        return self.entry is not None and self.entry.role == RotationRole.CANARY

    @property
    def n_answers(self) -> int:
        """All answers, those that chose neither side included."""
        return self.rate.n_decided + self.rate.n_ties + self.rate.n_both_bad

    @property
    def tie_share(self) -> float | None:
        """Ties among all answers."""
        return self.rate.n_ties / self.n_answers if self.n_answers else None

    @property
    def both_bad_share(self) -> float | None:
        """Both-bad among all answers."""
        return self.rate.n_both_bad / self.n_answers if self.n_answers else None


@dataclass(frozen=True)
class BoardCounts:
    """How many ratings and raters a leaderboard stands on."""

    n_ratings: int
    n_raters: int


def get_loop_state(population: Population, *, now: datetime) -> LoopState:
    """The counts of the overview."""
    clips = Clip.objects.aggregate(
        n_waiting=Count("pk", filter=Q(status__in=[ClipStatus.REQUESTED, ClipStatus.GENERATING])),
        n_ready=Count("pk", filter=Q(status=ClipStatus.READY)),
    )
    studies = study_rows(population)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ratings = Rating.objects.filter(pair__study__population=population)
    counts = ratings.aggregate(
        n=Count("pk"),
        n_today=Count("pk", filter=Q(created_at__gte=today)),
        n_raters=Count("rater", filter=Q(created_at__gte=today), distinct=True),
    )
    return LoopState(
        n_clips_waiting=clips["n_waiting"],
        n_clips_ready=clips["n_ready"],
        n_pairs_ready=sum(row.counts.n_ready for row in studies if row.study.is_open),
        n_pairs_pending=sum(row.counts.n_pending for row in studies if row.study.is_open),
        n_ratings=counts["n"],
        n_ratings_today=counts["n_today"],
        n_raters_today=counts["n_raters"],
        latest_round=rounds(population=population).first(),
    )


def study_rows(population: Population | None = None) -> list[StudyRow]:
    """The studies, open ones first, newest first, with their counts."""
    found = Study.objects.select_related("prompt_set").order_by("-is_open", "-pk")
    if population is not None:
        found = found.filter(population=population)
    studies = list(found)
    counts = study_counts(studies)
    return [StudyRow(study, counts[study.pk]) for study in studies]


def prompt_set_rows() -> list[PromptSetRow]:
    """The prompt sets by name, with their counts."""
    found = PromptSet.objects.annotate(
        n_prompts=Count("prompts"), n_following=Count("prompts__melody")
    )
    return [PromptSetRow(row, row.n_prompts, row.n_following) for row in found.order_by("name")]


def prompts_of(set_name: str) -> QuerySet[Prompt]:
    """The prompts of the named set, or of all, newest first; `n_clips` are ready to be heard."""
    prompts = Prompt.objects.select_related("prompt_set", "melody").annotate(
        n_clips=Count("clips", filter=Q(clips__status=ClipStatus.READY))
    )
    if set_name:
        prompts = prompts.filter(prompt_set__name=set_name)
    return prompts.order_by("-pk")


def places(population: Population) -> list[Place]:
    """The rotation with each entry's part of new clips, largest first."""
    entries = list(rotation_entries(population))
    shares = rotation_shares(entries)
    found = [Place(entry, shares[entry.checkpoint_id]) for entry in entries]
    return sorted(found, key=lambda place: -place.new_clip_share)


def shares_bar(rotation: list[Place]) -> tuple[Part, ...]:
    """The rotation as one bar."""
    return stacked_bar(
        [
            (
                place.entry.checkpoint.name,
                ROLE_TONES[RotationRole(place.entry.role)],
                place.new_clip_share,
            )
            for place in rotation
        ]
    )


def board_counts(population: Population) -> BoardCounts:
    """What the latest refresh of the leaderboard counted."""
    found = PairCount.objects.filter(population=population)
    total = found.aggregate(
        n=Sum(F("n_first_wins") + F("n_second_wins") + F("n_ties") + F("n_both_bad")),
        n_raters=Count("rater", distinct=True),
    )
    return BoardCounts(n_ratings=total["n"] or 0, n_raters=total["n_raters"])


def duels(population: Population, *, limit: int = 3) -> list[Duel]:
    """Canaries against their parents, newest first; without one, the newest that has a parent."""
    entries = _entries_with_parent(population)
    canaries = [entry for entry in entries if entry.role == RotationRole.CANARY]
    chosen = canaries[::-1][:limit] or entries[::-1][:1]
    return [duel for entry in chosen if (duel := _duel(entry, population)) is not None]


def rotation_duels(population: Population, *, limit: int = 8) -> list[Duel]:
    """What is in rotation and came from another checkpoint, canaries first, then the newest."""
    newest = _entries_with_parent(population)[::-1]
    chosen = sorted(newest, key=lambda entry: entry.role != RotationRole.CANARY)[:limit]
    return [duel for entry in chosen if (duel := _duel(entry, population)) is not None]


def _entries_with_parent(population: Population) -> list[RotationEntry]:
    entries = rotation_entries(population).select_related("checkpoint__parent")
    is_judged = (RotationRole.CANARY, RotationRole.FULL)
    return [e for e in entries if e.checkpoint.parent is not None and e.role in is_judged]


def _duel(entry: RotationEntry, population: Population) -> Duel | None:
    checkpoint = entry.checkpoint
    if checkpoint.parent is None:
        return None
    parent = get_opponent(checkpoint, population)
    return Duel(
        checkpoint=checkpoint,
        parent=parent,
        entry=entry,
        rate=win_rate(checkpoint, parent, population),
        verdict=gate_of_people(checkpoint, population, parent),
        asked=people_gate(checkpoint),
        is_held_by_hand=is_held_by_hand(entry),
    )


def checkpoint_entries() -> dict[int, list[RotationEntry]]:
    """Checkpoint id -> its entries in both rotations."""
    found: dict[int, list[RotationEntry]] = {}
    for entry in RotationEntry.objects.order_by("population"):
        found.setdefault(entry.checkpoint_id, []).append(entry)
    return found


def checkpoint_tree() -> list[tuple[int, Checkpoint]]:
    """(generation, checkpoint): children under their parents, the oldest family first."""
    checkpoints: list[Checkpoint] = list(
        Checkpoint.objects.select_related("parent")
        .annotate(n_clips=Count("clips", filter=Q(clips__status=ClipStatus.READY)))
        .order_by("pk")
    )
    children: dict[int | None, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        children.setdefault(checkpoint.parent_id, []).append(checkpoint)
    tree: list[tuple[int, Checkpoint]] = []
    waiting = [(0, checkpoint) for checkpoint in reversed(children.get(None, []))]
    while waiting:
        generation, checkpoint = waiting.pop()
        tree.append((generation, checkpoint))
        below = reversed(children.get(checkpoint.pk, []))
        waiting += [(generation + 1, child) for child in below]
    return tree


def lineage(checkpoint: Checkpoint) -> list[Checkpoint]:
    """The checkpoint's ancestors, the oldest first, then itself."""
    chain = [checkpoint]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return chain[::-1]


@dataclass(frozen=True)
class JobCount:
    """How many jobs of one queue are in one state."""

    queue: str
    state: str
    n: int


def job_counts() -> list[JobCount]:
    """Jobs by queue and state."""
    rows = Job.objects.values_list("queue", "state").annotate(n=Count("pk"))
    return [JobCount(queue, state, n) for queue, state, n in rows.order_by("queue", "state")]


def jobs_at_work() -> QuerySet[Job]:
    """Running jobs: one for each process that is at work."""
    return Job.objects.filter(state=JobState.RUNNING).order_by("queue", "owner")


def recent_failures(*, now: datetime) -> int:
    """How many jobs failed within a day."""
    return Job.objects.filter(
        state=JobState.FAILED, finished_at__gte=now - timedelta(days=1)
    ).count()

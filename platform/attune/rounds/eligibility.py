"""Ratings -> preferences: who counts, what a pair's ratings say together, what may train.

Only A and B decide. Ties and both-bad are answers of their own, never turned into a win or half
a win: a pair may have one of them as its outcome. Every rating that does not count is counted
under the name of its reason, so that a round's counts add up to the ratings that were seen.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from attune.ratings.choices import Choice, PairPurpose
from attune.rounds.choices import Outcome

HELD_OUT_SHARE = 0.15
MINIMUM_RATERS_TO_SPLIT = 8
DURATION_TOLERANCE_S = 0.001


EXCLUSION_RULES = "on-policy-3"
"""Name and version of the rules below. A change of what counts is a new version."""
PREFERRED = frozenset({Outcome.CHOSEN})


class Exclusion(StrEnum):
    """Why a rating says nothing about the preferences of one base checkpoint."""

    OTHER_POPULATION = "other_population"
    JUDGING = "judging"
    GOLD = "gold"
    OFF_POLICY = "off_policy"
    WITHDRAWN_RATER = "withdrawn_rater"
    EXCLUDED_RATER = "excluded_rater"
    WITHDRAWN_PAIR = "withdrawn_pair"
    REPEAT = "repeat"
    CLIP_NOT_READY = "clip_not_ready"
    FOLLOWS_MELODY = "follows_melody"
    UNEQUAL_DURATION = "unequal_duration"
    UNEQUAL_HEADER = "unequal_header"
    IDENTICAL_CLIPS = "identical_clips"
    OTHER_RATER = "other_rater"
    OTHER_PROMPT = "other_prompt"


@dataclass(frozen=True)
class Scope:
    """Whose ratings of which prompts a round learns from; None stands for all."""

    rater_ids: frozenset[int] | None = None
    prompt_ids: frozenset[int] | None = None


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class RatingRow:
    """One rating with the facts of its pair that decide whether it counts."""

    rating_id: int
    rater_id: int
    pair_id: int
    prompt_id: int
    purpose: PairPurpose
    choice: Choice
    first_checkpoint_id: int
    second_checkpoint_id: int
    first_clip_id: UUID
    second_clip_id: UUID
    first_duration_s: float | None
    second_duration_s: float | None
    is_swapped: bool
    is_repeat: bool
    is_simulated: bool
    is_rater_withdrawn: bool
    is_pair_withdrawn: bool
    is_prompt_held_out: bool
    has_ready_codes: bool
    has_equal_headers: bool
    has_melody: bool
    has_identical_clips: bool = False
    is_rater_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Votes:
    """How many ratings of a pair said what, the first clip's wins apart from the second's."""

    first: int = 0
    second: int = 0
    tie: int = 0
    both_bad: int = 0

    @property
    def decided(self) -> int:
        """Ratings for one of the two clips."""
        return self.first + self.second


@dataclass(frozen=True, slots=True)
class Preference:
    """What the ratings of one pair say together.

    The weight of a preferred clip is |wins - losses| / decided ratings; that of a pair without
    one is 1. `votes` are seen from the chosen clip. `raters` count from 1 within a selection.
    """

    pair_id: int
    chosen_clip_id: UUID
    rejected_clip_id: UUID
    weight: float
    n_ratings: int
    is_held_out: bool
    prompt_id: int
    outcome: Outcome = Outcome.CHOSEN
    votes: Votes = Votes(first=1)
    raters: tuple[int, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The preferences in pair order, the ratings behind the counts, and the counts."""

    preferences: tuple[Preference, ...]
    rating_ids: tuple[int, ...]
    held_out_prompt_ids: frozenset[int]
    counts: Mapping[str, int]

    @property
    def n_usable(self) -> int:
        """Preferences, trained on or held out."""
        return len(self.preferences)

    @property
    def n_train(self) -> int:
        """Preferences that are learned from."""
        return sum(not preference.is_held_out for preference in self.preferences)


def find_exclusion(
    row: RatingRow, *, base_checkpoint_id: int, is_simulated: bool, scope: Scope = EVERYTHING
) -> Exclusion | None:
    """The first reason why the rating does not count, or None when it does."""
    if row.is_simulated != is_simulated:
        return Exclusion.OTHER_POPULATION
    match row.purpose:
        case PairPurpose.TRAINING:
            pass
        case PairPurpose.JUDGING:
            return Exclusion.JUDGING
        case PairPurpose.GOLD:
            return Exclusion.GOLD
        case _:
            assert_never(row.purpose)
    return _find_exclusion_of_training_pair(row, base_checkpoint_id, scope)


def _find_exclusion_of_training_pair(
    row: RatingRow, base_checkpoint_id: int, scope: Scope
) -> Exclusion | None:
    durations_s = (row.first_duration_s, row.second_duration_s)
    reasons = (
        (
            {row.first_checkpoint_id, row.second_checkpoint_id} != {base_checkpoint_id},
            Exclusion.OFF_POLICY,
        ),
        (row.is_rater_withdrawn, Exclusion.WITHDRAWN_RATER),
        (row.is_rater_excluded, Exclusion.EXCLUDED_RATER),
        (row.is_pair_withdrawn, Exclusion.WITHDRAWN_PAIR),
        (row.is_repeat, Exclusion.REPEAT),
        (not row.has_ready_codes or None in durations_s, Exclusion.CLIP_NOT_READY),
        # What a clip was conditioned on is rebuilt from its header, which holds no melody.
        (row.has_melody, Exclusion.FOLLOWS_MELODY),
        (not _are_equal_durations(*durations_s), Exclusion.UNEQUAL_DURATION),
        (not row.has_equal_headers, Exclusion.UNEQUAL_HEADER),
        (row.has_identical_clips, Exclusion.IDENTICAL_CLIPS),
        (
            scope.rater_ids is not None and row.rater_id not in scope.rater_ids,
            Exclusion.OTHER_RATER,
        ),
        (
            scope.prompt_ids is not None and row.prompt_id not in scope.prompt_ids,
            Exclusion.OTHER_PROMPT,
        ),
    )
    return next((exclusion for holds, exclusion in reasons if holds), None)


def _are_equal_durations(first_s: float | None, second_s: float | None) -> bool:
    if first_s is None or second_s is None:
        return False
    return abs(first_s - second_s) <= DURATION_TOLERANCE_S


def prefers_first(row: RatingRow) -> bool | None:
    """Whether the pair's first clip was preferred; None when the rating does not decide."""
    match row.choice:
        case Choice.A:
            return not row.is_swapped
        case Choice.B:
            return row.is_swapped
        case Choice.TIE | Choice.BOTH_BAD:
            return None
        case _:
            assert_never(row.choice)


def held_out_ids(ids: Iterable[int], *, kind: str) -> frozenset[int]:
    """About 15% of the ids, always the same ones for the same ids and kind.

    Each id hashes to a number in [0, 1) and is held out below the share, so that an id
    keeps its side as others join. The count is kept within a third of the share, and at
    least one of two or more ids is held out, so that small sets measure something too.
    """
    positions = sorted((_hash_position(kind, number), number) for number in set(ids))
    n_ids = len(positions)
    n_below = sum(position < HELD_OUT_SHARE for position, _ in positions)
    fewest = max(1, round(n_ids * HELD_OUT_SHARE * 2 / 3)) if n_ids >= 2 else 0
    most = math.ceil(n_ids * HELD_OUT_SHARE * 4 / 3) if n_ids >= 2 else 0
    n_held_out = min(max(n_below, fewest), most)
    return frozenset(number for _, number in positions[:n_held_out])


def _hash_position(kind: str, number: int) -> float:
    digest = hashlib.sha256(f"{kind}:{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def outcome_of(votes: Votes) -> Outcome | None:
    """What a pair's ratings say together; None where they contradict each other exactly.

    Both bad, where that was said more often than all else. Else a tie, where ties outnumber
    the ratings for a clip or these are balanced. Else the clip that most are for.
    """
    if votes.both_bad > votes.decided + votes.tie:
        return Outcome.BOTH_BAD
    if votes.tie > votes.decided or (votes.tie and votes.first == votes.second):
        return Outcome.TIE
    return Outcome.CHOSEN if votes.first != votes.second else None


def select_preferences(
    rows: Sequence[RatingRow],
    *,
    base_checkpoint_id: int,
    is_simulated: bool,
    scope: Scope = EVERYTHING,
    outcomes: frozenset[Outcome] = PREFERRED,
    elsewhere: Mapping[Exclusion, int] | None = None,
) -> Selection:
    """The preferences that a round on `base_checkpoint_id` may use, and all counts.

    Prompts are split: none is on both sides, and a prompt that the catalog holds out never
    trains. With at least 8 raters some raters are held out as well: on prompts that train
    their ratings are left out; held-out prompts keep the ratings of everybody, and how many
    of those come from raters never trained on is counted.

    outcomes: which pairs become preferences. elsewhere: ratings that were counted without being
    read, because nothing of theirs could count.
    """
    excluded: Counter[Exclusion] = Counter(elsewhere or {})
    n_seen = len(rows) + sum(excluded.values())
    eligible: list[RatingRow] = []
    for row in rows:
        exclusion = find_exclusion(
            row, base_checkpoint_id=base_checkpoint_id, is_simulated=is_simulated, scope=scope
        )
        if exclusion is None:
            eligible.append(row)
        else:
            excluded[exclusion] += 1

    held_out_prompts = {row.prompt_id for row in eligible if row.is_prompt_held_out}
    held_out_prompts |= held_out_ids(
        (row.prompt_id for row in eligible if not row.is_prompt_held_out), kind="prompt"
    )
    raters = {row.rater_id for row in eligible}
    is_split_by_rater = len(raters) >= MINIMUM_RATERS_TO_SPLIT
    held_out_raters = held_out_ids(raters, kind="rater") if is_split_by_rater else frozenset()
    used = [
        row
        for row in eligible
        if row.prompt_id in held_out_prompts or row.rater_id not in held_out_raters
    ]

    numbers = {rater: number for number, rater in enumerate(sorted(raters), start=1)}
    by_pair: dict[int, list[RatingRow]] = defaultdict(list)
    for row in used:
        by_pair[row.pair_id].append(row)
    said = [
        (pair_rows, _join(pair_rows, held_out_prompts=held_out_prompts, numbers=numbers))
        for _, pair_rows in sorted(by_pair.items())
    ]
    found: Counter[Outcome] = Counter(joined.outcome for _, joined in said if joined is not None)
    kept = [
        (pair_rows, joined)
        for pair_rows, joined in said
        if joined is not None and joined.outcome in outcomes
    ]
    preferences = tuple(joined for _, joined in kept)
    n_decided = sum(prefers_first(row) is not None for row in eligible)
    n_decided_used = sum(prefers_first(row) is not None for row in used)
    training_raters = {
        row.rater_id for pair_rows, joined in kept if not joined.is_held_out for row in pair_rows
    }
    of_held_out = [pair_rows for pair_rows, joined in kept if joined.is_held_out]

    counts = {"ratings": n_seen}
    counts |= {exclusion.value: excluded[exclusion] for exclusion in Exclusion}
    counts |= {
        "ties": sum(row.choice == Choice.TIE for row in eligible),
        "both_bad": sum(row.choice == Choice.BOTH_BAD for row in eligible),
        "decided": n_decided,
        "held_out_rater": n_decided - n_decided_used,
        "tie_pairs": found[Outcome.TIE],
        "both_bad_pairs": found[Outcome.BOTH_BAD],
        "contradicting_pairs": sum(joined is None for _, joined in said),
        "usable": len(preferences),
        "usable_ties": sum(joined.outcome is Outcome.TIE for joined in preferences),
        "usable_both_bad": sum(joined.outcome is Outcome.BOTH_BAD for joined in preferences),
        "train": sum(not joined.is_held_out for joined in preferences),
        "held_out": len(of_held_out),
        "held_out_by_new_raters": sum(
            all(row.rater_id not in training_raters for row in pair_rows)
            for pair_rows in of_held_out
        ),
        "raters": len(raters),
        "raters_held_out": len(held_out_raters),
        "raters_on_both_sides": len(
            training_raters & {row.rater_id for pair_rows in of_held_out for row in pair_rows}
        ),
        "prompts": len({row.prompt_id for row in eligible}),
        "prompts_held_out": len(held_out_prompts),
        "is_split_by_rater": int(is_split_by_rater),
    }
    return Selection(
        preferences=preferences,
        rating_ids=tuple(sorted(row.rating_id for row in eligible)),
        held_out_prompt_ids=frozenset(held_out_prompts),
        counts=counts,
    )


def _join(
    rows: Sequence[RatingRow], *, held_out_prompts: Set[int], numbers: Mapping[int, int]
) -> Preference | None:
    """What one pair's ratings say together; None where they contradict each other exactly."""
    sides = Counter(prefers_first(row) for row in rows)
    votes = Votes(
        first=sides[True],
        second=sides[False],
        tie=sum(row.choice == Choice.TIE for row in rows),
        both_bad=sum(row.choice == Choice.BOTH_BAD for row in rows),
    )
    outcome = outcome_of(votes)
    if outcome is None:
        return None
    row = rows[0]
    clips = (row.first_clip_id, row.second_clip_id)
    if outcome is Outcome.CHOSEN and votes.second > votes.first:
        clips = (row.second_clip_id, row.first_clip_id)
        votes = replace(votes, first=votes.second, second=votes.first)
    return Preference(
        pair_id=row.pair_id,
        chosen_clip_id=clips[0],
        rejected_clip_id=clips[1],
        weight=_weight(outcome, votes),
        n_ratings=_n_ratings(outcome, votes),
        is_held_out=row.prompt_id in held_out_prompts,
        prompt_id=row.prompt_id,
        outcome=outcome,
        votes=votes,
        raters=tuple(sorted({numbers[each.rater_id] for each in rows})),
    )


def _weight(outcome: Outcome, votes: Votes) -> float:
    if outcome is Outcome.CHOSEN:
        return round((votes.first - votes.second) / votes.decided, 6)
    return 1.0


def _n_ratings(outcome: Outcome, votes: Votes) -> int:
    """The ratings that were counted to find the outcome: for a preferred clip those that decide."""
    if outcome is Outcome.CHOSEN:
        return votes.decided
    return votes.decided + votes.tie + votes.both_bad

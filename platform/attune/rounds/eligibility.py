"""Ratings -> preferences: who counts, which side a pair leans to, what may train.

Only A and B decide. Ties and both-bad are answers of their own: they are counted here and
never turned into a win or half a win. Every rating that does not count is counted under the
name of its reason, so that the counts of a round add up to the ratings that were seen.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from attune.ratings.choices import Choice, PairPurpose

HELD_OUT_SHARE = 0.15
MINIMUM_RATERS_TO_SPLIT = 8
DURATION_TOLERANCE_S = 0.001


class Exclusion(StrEnum):
    """Why a rating says nothing about the preferences of one base checkpoint."""

    OTHER_POPULATION = "other_population"
    JUDGING = "judging"
    GOLD = "gold"
    OFF_POLICY = "off_policy"
    WITHDRAWN_RATER = "withdrawn_rater"
    WITHDRAWN_PAIR = "withdrawn_pair"
    REPEAT = "repeat"
    CLIP_NOT_READY = "clip_not_ready"
    FOLLOWS_MELODY = "follows_melody"
    UNEQUAL_DURATION = "unequal_duration"
    UNEQUAL_HEADER = "unequal_header"


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


@dataclass(frozen=True, slots=True)
class Preference:
    """Chosen over rejected, with |wins - losses| / decided ratings as weight."""

    pair_id: int
    chosen_clip_id: UUID
    rejected_clip_id: UUID
    weight: float
    n_ratings: int
    is_held_out: bool


@dataclass(frozen=True)
class Selection:
    """The preferences in pair order, the ratings behind the counts, and the counts."""

    preferences: tuple[Preference, ...]
    rating_ids: tuple[int, ...]
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
    row: RatingRow, *, base_checkpoint_id: int, is_simulated: bool
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
    return _find_exclusion_of_training_pair(row, base_checkpoint_id)


def _find_exclusion_of_training_pair(row: RatingRow, base_checkpoint_id: int) -> Exclusion | None:
    durations_s = (row.first_duration_s, row.second_duration_s)
    reasons = (
        (
            {row.first_checkpoint_id, row.second_checkpoint_id} != {base_checkpoint_id},
            Exclusion.OFF_POLICY,
        ),
        (row.is_rater_withdrawn, Exclusion.WITHDRAWN_RATER),
        (row.is_pair_withdrawn, Exclusion.WITHDRAWN_PAIR),
        (row.is_repeat, Exclusion.REPEAT),
        (not row.has_ready_codes or None in durations_s, Exclusion.CLIP_NOT_READY),
        # What a clip was conditioned on is rebuilt from its header, which holds no melody.
        (row.has_melody, Exclusion.FOLLOWS_MELODY),
        (not _are_equal_durations(*durations_s), Exclusion.UNEQUAL_DURATION),
        (not row.has_equal_headers, Exclusion.UNEQUAL_HEADER),
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


def select_preferences(
    rows: Sequence[RatingRow], *, base_checkpoint_id: int, is_simulated: bool
) -> Selection:
    """The preferences that a round on `base_checkpoint_id` may use, and all counts.

    Prompts are split: none is on both sides, and a prompt that the catalog holds out never
    trains. With at least 8 raters some raters are held out as well: on prompts that train
    their ratings are left out; held-out prompts keep the ratings of everybody, and how many
    of those come from raters never trained on is counted.
    """
    excluded: Counter[Exclusion] = Counter()
    eligible: list[RatingRow] = []
    for row in rows:
        exclusion = find_exclusion(
            row, base_checkpoint_id=base_checkpoint_id, is_simulated=is_simulated
        )
        if exclusion is None:
            eligible.append(row)
        else:
            excluded[exclusion] += 1
    decided = [row for row in eligible if prefers_first(row) is not None]

    held_out_prompts = {row.prompt_id for row in decided if row.is_prompt_held_out}
    held_out_prompts |= held_out_ids(
        (row.prompt_id for row in decided if not row.is_prompt_held_out), kind="prompt"
    )
    raters = {row.rater_id for row in decided}
    is_split_by_rater = len(raters) >= MINIMUM_RATERS_TO_SPLIT
    held_out_raters = held_out_ids(raters, kind="rater") if is_split_by_rater else frozenset()
    used = [
        row
        for row in decided
        if row.prompt_id in held_out_prompts or row.rater_id not in held_out_raters
    ]

    by_pair: dict[int, list[RatingRow]] = defaultdict(list)
    for row in used:
        by_pair[row.pair_id].append(row)
    leanings = [
        (pair_rows, _majority(pair_rows, is_held_out=pair_rows[0].prompt_id in held_out_prompts))
        for _, pair_rows in sorted(by_pair.items())
    ]
    preferences = tuple(preference for _, preference in leanings if preference is not None)

    counts = {"ratings": len(rows)}
    counts |= {exclusion.value: excluded[exclusion] for exclusion in Exclusion}
    counts |= {
        "ties": sum(row.choice == Choice.TIE for row in eligible),
        "both_bad": sum(row.choice == Choice.BOTH_BAD for row in eligible),
        "decided": len(decided),
        "held_out_rater": len(decided) - len(used),
        "contradicting_pairs": len(leanings) - len(preferences),
        "usable": len(preferences),
        "train": sum(not preference.is_held_out for preference in preferences),
        "held_out": sum(preference.is_held_out for preference in preferences),
        "held_out_by_new_raters": sum(
            preference is not None
            and preference.is_held_out
            and all(row.rater_id in held_out_raters for row in pair_rows)
            for pair_rows, preference in leanings
        ),
        "raters": len(raters),
        "raters_held_out": len(held_out_raters),
        "prompts": len({row.prompt_id for row in decided}),
        "prompts_held_out": len(held_out_prompts),
        "is_split_by_rater": int(is_split_by_rater),
    }
    return Selection(
        preferences=preferences,
        rating_ids=tuple(sorted(row.rating_id for row in eligible)),
        counts=counts,
    )


def _majority(rows: Sequence[RatingRow], *, is_held_out: bool) -> Preference | None:
    """The preference of one pair's decided ratings; None when they split exactly."""
    n_first = sum(prefers_first(row) is True for row in rows)
    n_second = len(rows) - n_first
    if n_first == n_second:
        return None
    first, second = rows[0].first_clip_id, rows[0].second_clip_id
    return Preference(
        pair_id=rows[0].pair_id,
        chosen_clip_id=first if n_first > n_second else second,
        rejected_clip_id=second if n_first > n_second else first,
        weight=round(abs(n_first - n_second) / len(rows), 6),
        n_ratings=len(rows),
        is_held_out=is_held_out,
    )

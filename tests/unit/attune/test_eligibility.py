"""Which ratings become preferences, with which weight and split, and how the rest is counted."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from attune.ratings.choices import Choice, PairPurpose
from attune.rounds.choices import Outcome
from attune.rounds.eligibility import (
    EXCLUSION_RULES,
    Exclusion,
    RatingRow,
    Scope,
    Selection,
    Votes,
    held_out_ids,
    outcome_of,
    select_preferences,
)

BASE = 7


def row(number: int, *, pair: int | None = None, **changes: Any) -> RatingRow:
    """Rating `number` of an eligible training pair, preferring the pair's first clip."""
    pair = number if pair is None else pair
    eligible = RatingRow(
        rating_id=number,
        rater_id=1,
        pair_id=pair,
        prompt_id=pair,
        purpose=PairPurpose.TRAINING,
        choice=Choice.A,
        first_checkpoint_id=BASE,
        second_checkpoint_id=BASE,
        first_clip_id=UUID(int=2 * pair),
        second_clip_id=UUID(int=2 * pair + 1),
        first_duration_s=5.0,
        second_duration_s=5.0,
        is_swapped=False,
        is_repeat=False,
        is_simulated=False,
        is_rater_withdrawn=False,
        is_pair_withdrawn=False,
        is_prompt_held_out=False,
        has_ready_codes=True,
        has_equal_headers=True,
        has_melody=False,
    )
    return replace(eligible, **changes)


def select(*rows: RatingRow, **options: Any) -> Selection:
    return select_preferences(rows, base_checkpoint_id=BASE, is_simulated=False, **options)


@pytest.mark.parametrize(
    ("choice", "is_swapped", "chosen"),
    [
        (Choice.A, False, "first"),
        (Choice.B, False, "second"),
        (Choice.A, True, "second"),
        (Choice.B, True, "first"),
    ],
)
def test_the_chosen_clip_is_the_one_that_played_on_the_chosen_side(
    choice: Choice, is_swapped: bool, chosen: str
) -> None:
    rating = row(3, choice=choice, is_swapped=is_swapped)
    (preference,) = select(rating).preferences
    clips = {"first": rating.first_clip_id, "second": rating.second_clip_id}
    assert preference.chosen_clip_id == clips.pop(chosen)
    assert [preference.rejected_clip_id] == list(clips.values())
    assert preference.weight == 1.0


@pytest.mark.parametrize("choice", [Choice.TIE, Choice.BOTH_BAD])
def test_ties_and_both_bad_are_counted_and_never_become_preferences(choice: Choice) -> None:
    selection = select(row(1, choice=choice))
    assert selection.preferences == ()
    assert selection.counts["ties"] == (choice == Choice.TIE)
    assert selection.counts["both_bad"] == (choice == Choice.BOTH_BAD)
    assert selection.rating_ids == (1,), "a counted tie is frozen too, so that counts stay true"


def test_several_ratings_of_a_pair_become_one_weighted_majority() -> None:
    """Wins 3 : 1 weigh (3 - 1) / 4; the tie beside them is no fifth rating."""
    selection = select(
        *(row(number, pair=1, rater_id=number) for number in (1, 2, 3)),
        row(4, pair=1, rater_id=4, choice=Choice.B),
        row(5, pair=1, rater_id=5, choice=Choice.TIE),
    )
    (preference,) = selection.preferences
    assert preference.chosen_clip_id == UUID(int=2)
    assert (preference.weight, preference.n_ratings) == (0.5, 4)


def test_a_pair_that_splits_exactly_is_left_out_and_counted_as_contradicting() -> None:
    selection = select(row(1, pair=1), row(2, pair=1, rater_id=2, choice=Choice.B))
    assert selection.preferences == ()
    assert selection.counts["contradicting_pairs"] == 1
    assert selection.counts["decided"] == 2


@pytest.mark.parametrize(
    ("changes", "exclusion"),
    [
        ({"is_simulated": True}, Exclusion.OTHER_POPULATION),
        ({"purpose": PairPurpose.JUDGING}, Exclusion.JUDGING),
        ({"purpose": PairPurpose.GOLD}, Exclusion.GOLD),
        ({"first_checkpoint_id": 8, "second_checkpoint_id": 8}, Exclusion.OFF_POLICY),
        ({"second_checkpoint_id": 8}, Exclusion.OFF_POLICY),
        ({"is_rater_withdrawn": True}, Exclusion.WITHDRAWN_RATER),
        ({"is_rater_excluded": True}, Exclusion.EXCLUDED_RATER),
        ({"is_pair_withdrawn": True}, Exclusion.WITHDRAWN_PAIR),
        ({"is_repeat": True}, Exclusion.REPEAT),
        ({"has_ready_codes": False}, Exclusion.CLIP_NOT_READY),
        ({"first_duration_s": None}, Exclusion.CLIP_NOT_READY),
        ({"second_duration_s": 4.96}, Exclusion.UNEQUAL_DURATION),
        ({"has_equal_headers": False}, Exclusion.UNEQUAL_HEADER),
        ({"has_melody": True}, Exclusion.FOLLOWS_MELODY),
        ({"has_identical_clips": True}, Exclusion.IDENTICAL_CLIPS),
    ],
)
def test_each_exclusion_is_counted_under_its_name(
    changes: dict[str, Any], exclusion: Exclusion
) -> None:
    selection = select(row(1, **changes), row(2))
    assert [preference.pair_id for preference in selection.preferences] == [2]
    assert selection.counts[exclusion] == 1
    assert sum(selection.counts[other] for other in Exclusion) == 1
    assert selection.rating_ids == (2,)


def test_counts_add_up_to_the_ratings_seen() -> None:
    choices = [Choice.A, Choice.TIE, Choice.B, Choice.BOTH_BAD]
    rows = [
        row(
            number,
            pair=number // 2,
            rater_id=number % 11,
            choice=choices[number % 4],
            is_repeat=number % 13 == 0,
            is_pair_withdrawn=number % 17 == 0,
        )
        for number in range(400)
    ]
    selection = select(*rows)
    counts = selection.counts
    excluded = sum(counts[exclusion] for exclusion in Exclusion)
    assert counts["ratings"] == 400
    assert counts["ratings"] == excluded + counts["ties"] + counts["both_bad"] + counts["decided"]
    assert counts["usable"] == counts["train"] + counts["held_out"] == len(selection.preferences)
    in_preferences = sum(preference.n_ratings for preference in selection.preferences)
    assert in_preferences + counts["held_out_rater"] <= counts["decided"]


def test_no_prompt_is_on_both_sides_of_the_split() -> None:
    rows = [row(number, prompt_id=number % 40) for number in range(400)]
    selection = select(*rows)
    prompt_of = {rating.pair_id: rating.prompt_id for rating in rows}
    train = {prompt_of[p.pair_id] for p in selection.preferences if not p.is_held_out}
    held_out = {prompt_of[p.pair_id] for p in selection.preferences if p.is_held_out}
    assert not train & held_out
    assert len(train) + len(held_out) == 40
    assert 4 <= len(held_out) <= 8, "about 15% of 40 prompts"


def test_a_prompt_that_the_catalog_holds_out_never_trains() -> None:
    selection = select(*(row(number, is_prompt_held_out=number < 5) for number in range(30)))
    sides = {preference.pair_id: preference.is_held_out for preference in selection.preferences}
    assert all(sides[pair] for pair in range(5))
    assert not all(sides[pair] for pair in range(5, 30))


def test_ratings_of_held_out_raters_do_not_train_when_there_are_eight_raters() -> None:
    rows = [row(number, rater_id=number % 8) for number in range(400)]
    selection = select(*rows)
    held_out_raters = held_out_ids(range(8), kind="rater")
    rater_of = {rating.pair_id: rating.rater_id for rating in rows}
    train = [p for p in selection.preferences if not p.is_held_out]
    held_out = [p for p in selection.preferences if p.is_held_out]
    assert held_out_raters
    assert {rater_of[p.pair_id] for p in train} == set(range(8)) - held_out_raters
    assert {rater_of[p.pair_id] for p in held_out} == set(range(8))
    assert selection.counts["is_split_by_rater"] == 1
    assert selection.counts["raters_held_out"] == len(held_out_raters)
    assert selection.counts["held_out_rater"] == 400 - len(train) - len(held_out) > 0
    assert selection.counts["held_out_by_new_raters"] == sum(
        rater_of[p.pair_id] in held_out_raters for p in held_out
    )


def test_with_seven_raters_only_prompts_are_split_and_the_counts_say_so() -> None:
    selection = select(*(row(number, rater_id=number % 7) for number in range(400)))
    assert selection.counts["is_split_by_rater"] == 0
    assert selection.counts["held_out_rater"] == selection.counts["raters_held_out"] == 0
    assert selection.counts["usable"] == 400


def test_the_split_depends_on_ids_alone() -> None:
    rows = [row(number, rater_id=number % 9) for number in range(100)]
    assert select(*rows) == select(*reversed(rows))


@pytest.mark.parametrize("n_ids", [2, 3, 8, 20, 100, 1000])
def test_the_held_out_share_is_near_fifteen_per_cent_and_never_nothing(n_ids: int) -> None:
    n_held_out = len(held_out_ids(range(n_ids), kind="prompt"))
    assert 1 <= n_held_out <= max(1, 0.2 * n_ids + 1)
    assert n_held_out >= 0.1 * n_ids - 1


def test_most_prompts_keep_their_side_as_others_join() -> None:
    before = held_out_ids(range(100), kind="prompt")
    after = held_out_ids(range(200), kind="prompt") & set(range(100))
    assert len(before ^ after) <= 2


def test_one_prompt_alone_trains() -> None:
    selection = select(*(row(number, prompt_id=1) for number in range(10)))
    assert (selection.n_train, selection.n_usable) == (10, 10)


@pytest.mark.parametrize(
    ("votes", "outcome"),
    [
        (Votes(first=2, second=1), Outcome.CHOSEN),
        (Votes(first=1, second=2, tie=3), Outcome.CHOSEN),
        (Votes(first=2, second=1, tie=4), Outcome.TIE),
        (Votes(first=1, second=1, tie=1), Outcome.TIE),
        (Votes(tie=1), Outcome.TIE),
        (Votes(first=1, second=1), None),
        (Votes(both_bad=1), Outcome.BOTH_BAD),
        (Votes(first=1, tie=1, both_bad=3), Outcome.BOTH_BAD),
        (Votes(first=1, tie=1, both_bad=2), Outcome.CHOSEN),
        (Votes(first=2, tie=1, both_bad=3), Outcome.CHOSEN),
        (Votes(first=1, second=1, both_bad=2), None),
        (Votes(first=1, second=1, both_bad=3), Outcome.BOTH_BAD),
    ],
)
def test_the_outcome_of_a_pair_is_what_most_of_its_ratings_say(
    votes: Votes, outcome: Outcome | None
) -> None:
    assert outcome_of(votes) == outcome


def test_ties_and_both_bad_become_rows_only_where_they_are_asked_for() -> None:
    rows = [row(1), row(2, choice=Choice.TIE), row(3, choice=Choice.BOTH_BAD)]
    assert [p.pair_id for p in select(*rows).preferences] == [1]
    everything = select(*rows, outcomes=frozenset(Outcome))
    assert [p.outcome for p in everything.preferences] == list(Outcome)
    tie = everything.preferences[1]
    assert (tie.chosen_clip_id, tie.weight, tie.votes) == (UUID(int=4), 1.0, Votes(tie=1))
    counts = everything.counts
    assert (counts["usable"], counts["usable_ties"], counts["usable_both_bad"]) == (3, 1, 1)


def test_counts_are_seen_from_the_chosen_clip_and_raters_are_numbers_of_the_selection() -> None:
    """Raters 50, 60 and 70 are 1, 2 and 3; two of them are for the second clip."""
    rows = [
        row(number, pair=1, rater_id=rater, choice=choice)
        for number, (rater, choice) in enumerate(
            [(70, Choice.B), (50, Choice.A), (60, Choice.B)], start=1
        )
    ]
    (preference,) = select(*rows).preferences
    assert preference.chosen_clip_id == UUID(int=3)
    assert preference.votes == Votes(first=2, second=1)
    assert preference.raters == (1, 2, 3)


def test_only_the_raters_and_prompts_of_the_scope_count() -> None:
    rows = [row(1, rater_id=1), row(2, rater_id=2), row(3, rater_id=1, prompt_id=9)]
    found = select(*rows, scope=Scope(rater_ids=frozenset({1}), prompt_ids=frozenset({1, 2})))
    assert [p.pair_id for p in found.preferences] == [1]
    assert (found.counts[Exclusion.OTHER_RATER], found.counts[Exclusion.OTHER_PROMPT]) == (1, 1)


def test_the_version_of_the_rules_stands_for_these_exclusions() -> None:
    """Whoever changes what counts gives the rules a new version, and this test its new list."""
    assert EXCLUSION_RULES == "on-policy-3"
    assert [exclusion.value for exclusion in Exclusion] == [
        *("other_population", "judging", "gold", "off_policy", "withdrawn_rater"),
        *("excluded_rater", "withdrawn_pair", "repeat", "clip_not_ready", "follows_melody"),
        *("unequal_duration", "unequal_header", "identical_clips", "other_rater", "other_prompt"),
    ]

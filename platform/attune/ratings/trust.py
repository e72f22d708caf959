"""How far a rater's answers can be trusted, from the answers alone.

Nothing here compares a rater with others: who disagrees with them may have an honest taste.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.wilson import wilson_interval

LEVEL = 0.95
HALF = 0.5


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer with what its pair and assignment say about it."""

    pair_id: int
    purpose: PairPurpose
    choice: Choice
    is_swapped: bool
    is_repeat: bool
    handed_out_at: datetime
    answered_at: datetime


@dataclass(frozen=True)
class Share:
    """A share with its count and Wilson's 95% interval, which is 0 to 1 of nothing."""

    n: int
    of: int

    @property
    def value(self) -> float | None:
        """The share itself; None of nothing."""
        return self.n / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95% confidence."""
        return wilson_interval(self.n, self.of)


@dataclass(frozen=True)
class Median:
    """A median of n seconds; the interval is None of fewer than 6, which bound nothing."""

    n: int
    value_s: float | None
    interval_s: tuple[float, float] | None


@dataclass(frozen=True)
class TrustFigures:
    """What a rater's answers say about how they are given.

    gold: known answers found, of those decided; `n_gold_undecided` were called both bad.
    agreement: repeats answered as at the first hearing. side_a: A among A and B, one half
    without a bias. time: from the moment a pair could be heard to its answer.
    """

    n_answers: int
    gold: Share
    n_gold_undecided: int
    agreement: Share
    side_a: Share
    ties: Share
    both_bad: Share
    time: Median

    @property
    def has_side_bias(self) -> bool:
        """Whether the interval of side A leaves one half out."""
        low, high = self.side_a.interval
        return self.side_a.of > 0 and not low <= HALF <= high


class GoldOutcome(StrEnum):
    """What an answer to a gold pair says. Of two bad clips a rater may well call both bad."""

    FOUND = "found"
    MISSED = "missed"
    UNDECIDED = "undecided"


def gold_outcome(choice: Choice, *, is_swapped: bool) -> GoldOutcome:
    """Whether the whole clip, which is the pair's first, was preferred to its damaged copy."""
    match choice:
        case Choice.A:
            return GoldOutcome.MISSED if is_swapped else GoldOutcome.FOUND
        case Choice.B:
            return GoldOutcome.FOUND if is_swapped else GoldOutcome.MISSED
        case Choice.TIE:
            return GoldOutcome.MISSED
        case Choice.BOTH_BAD:
            return GoldOutcome.UNDECIDED
        case _:
            assert_never(choice)


def trust_figures(answers: Sequence[AnswerRow]) -> TrustFigures:
    """The figures of one rater's answers, oldest first."""
    choices = [answer.choice for answer in answers]
    golds = [
        gold_outcome(answer.choice, is_swapped=answer.is_swapped)
        for answer in answers
        if answer.purpose == PairPurpose.GOLD
    ]
    n_found, n_missed = golds.count(GoldOutcome.FOUND), golds.count(GoldOutcome.MISSED)
    n_a, n_b = choices.count(Choice.A), choices.count(Choice.B)
    return TrustFigures(
        n_answers=len(answers),
        gold=Share(n_found, n_found + n_missed),
        n_gold_undecided=golds.count(GoldOutcome.UNDECIDED),
        agreement=_agreement(answers),
        side_a=Share(n_a, n_a + n_b),
        ties=Share(choices.count(Choice.TIE), len(choices)),
        both_bad=Share(choices.count(Choice.BOTH_BAD), len(choices)),
        time=median_with_interval(times_to_answer_s(answers)),
    )


def said_of(answer: AnswerRow) -> str:
    """What an answer says of the pair itself, whichever side its clips were shown on."""
    match answer.choice:
        case Choice.A | Choice.B:
            return "first" if (answer.choice == Choice.A) != answer.is_swapped else "second"
        case Choice.TIE | Choice.BOTH_BAD:
            return answer.choice.value
        case _:
            assert_never(answer.choice)


def _agreement(answers: Sequence[AnswerRow]) -> Share:
    """Repeats that say what the first hearing said, of those whose first hearing is known."""
    first = {answer.pair_id: said_of(answer) for answer in answers if not answer.is_repeat}
    repeats = [answer for answer in answers if answer.is_repeat and answer.pair_id in first]
    n_same = sum(said_of(answer) == first[answer.pair_id] for answer in repeats)
    return Share(n_same, len(repeats))


def times_to_answer_s(answers: Sequence[AnswerRow]) -> list[float]:
    """Seconds that each answer took, oldest first.

    A pair is fetched while the one before it is rated; its time begins with that one's answer.
    """
    times: list[float] = []
    before: datetime | None = None
    for answer in answers:
        begun_at = answer.handed_out_at if before is None else max(before, answer.handed_out_at)
        times.append(max(0.0, (answer.answered_at - begun_at).total_seconds()))
        before = answer.answered_at
    return times


def median_with_interval(values: Sequence[float]) -> Median:
    """The median and its 95% interval between two order statistics.

    Distribution-free: Hahn and Meeker 1991, "Statistical Intervals", section 5.2. The interval
    reaches from the k-th smallest to the k-th largest value, with the largest k for which at
    most 2.5% of samples have fewer than k values on one side of the median.
    """
    ordered, n = sorted(values), len(values)
    if n == 0:
        return Median(0, None, None)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    tail, k = 0, 0
    limit = (1 - LEVEL) / 2 * 2**n
    while True:
        tail += math.comb(n, k)
        if tail > limit:
            break
        k += 1
    return Median(n, middle, (ordered[k - 1], ordered[n - k]) if k else None)


@dataclass(frozen=True)
class GoldRule:
    """When missed gold pairs lead to a kind word, and when answers are left out of datasets.

    Counted are the rater's latest `n_latest` decided gold pairs, so that a few lapses in a long
    time exclude nobody. A warning is repeated after as many misses again. A change of any number
    is a new version.
    """

    name: str = "missed-gold"
    version: int = 1
    n_latest: int = 20
    n_to_warn: int = 2
    n_to_exclude: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.n_to_warn <= self.n_to_exclude <= self.n_latest:
            raise ValueError(
                f"warn at {self.n_to_warn}, exclude at {self.n_to_exclude} of {self.n_latest}: "
                "expected rising numbers of at least 1"
            )


GOLD_RULE = GoldRule()


@dataclass(frozen=True)
class GoldAnswer:
    """The outcome of an answer to a gold pair, and when it was given."""

    outcome: GoldOutcome
    answered_at: datetime


@dataclass(frozen=True)
class GoldReview:
    """What the rule says of a rater now, and the counts it stands on."""

    n_missed: int
    n_decided: int
    n_missed_since_warning: int
    is_to_be_warned: bool
    is_to_be_excluded: bool

    def as_figures(self, rule: GoldRule) -> dict[str, int]:
        """What a warning or an exclusion keeps of it."""
        return {"n_missed": self.n_missed, "n_gold": self.n_decided, "n_latest": rule.n_latest}


def review_gold(
    answers: Sequence[GoldAnswer],
    *,
    forgiven_at: datetime | None,
    warned_at: datetime | None,
    rule: GoldRule = GOLD_RULE,
) -> GoldReview:
    """What the rule says of these answers; those up to `forgiven_at` count against nobody."""
    decided = sorted(
        (
            answer
            for answer in answers
            if answer.outcome is not GoldOutcome.UNDECIDED
            and (forgiven_at is None or answer.answered_at > forgiven_at)
        ),
        key=lambda answer: answer.answered_at,
    )[-rule.n_latest :]
    missed = [answer for answer in decided if answer.outcome is GoldOutcome.MISSED]
    fresh = [each for each in missed if warned_at is None or each.answered_at > warned_at]
    is_to_be_excluded = len(missed) >= rule.n_to_exclude
    return GoldReview(
        n_missed=len(missed),
        n_decided=len(decided),
        n_missed_since_warning=len(fresh),
        is_to_be_warned=not is_to_be_excluded and len(fresh) >= rule.n_to_warn,
        is_to_be_excluded=is_to_be_excluded,
    )

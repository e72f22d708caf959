"""Which pair a rater hears next, and with what probability it was chosen.

Mostly a fresh pair: the one whose answer tells most, or with a fixed share any candidate, so that
every candidate can come up and estimates can be weighted by the stored propensity. With the
study's shares a gold pair, or one that this rater has answered before.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from attune.catalog.draws import UniformSource, draw_index, draw_integer
from attune.ratings.choices import PairPurpose

UNIFORM_SHARE = 0.2
REPEAT_GAP = 5
"""Answers between the first hearing of a pair and its repeat, at least."""

Opponents = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """A pair that may be handed out. `opponents` are its checkpoints' ids, smaller first.

    `n_taken` counts the answers it has and the raters who are at it now.
    """

    pair_id: int
    prompt_id: int
    purpose: PairPurpose
    opponents: Opponents
    n_taken: int


@dataclass(frozen=True)
class Known:
    """A gold pair, or a pair to repeat: all of them tell the same, so none is preferred.

    `is_swapped` is how a repeat is to be shown, the other way round than before; None where the
    sides are drawn.
    """

    pair_id: int
    prompt_id: int
    is_swapped: bool | None = None


@dataclass(frozen=True)
class Answered:
    """One of a rater's answers, as far as choosing the pair's repeat asks."""

    pair_id: int
    prompt_id: int
    is_swapped: bool
    may_repeat: bool
    """False for gold pairs, repeats, and pairs that nobody should hear any more."""


class Kind(StrEnum):
    """Why a pair is handed out."""

    FRESH = "fresh"
    GOLD = "gold"
    REPEAT = "repeat"


@dataclass(frozen=True)
class Shares:
    """How often a gold pair or a repeat comes where there is one; fresh pairs get the rest."""

    gold: float = 0.0
    repeat: float = 0.0
    uniform: float = UNIFORM_SHARE

    def __post_init__(self) -> None:
        if min(self.gold, self.repeat) < 0 or self.gold + self.repeat >= 1:
            raise ValueError(
                f"gold={self.gold}, repeat={self.repeat}: "
                "expected none below 0, and less than 1 together"
            )
        if not 0 < self.uniform <= 1:
            raise ValueError(f"uniform={self.uniform}: expected more than 0, at most 1")


@dataclass(frozen=True)
class Supply:
    """All that a rater may be given now."""

    fresh: Sequence[Candidate]
    gold: Sequence[Known] = ()
    repeats: Sequence[Known] = ()
    tallies: Mapping[Opponents, "Tally"] = field(default_factory=dict)


@dataclass(frozen=True)
class Next:
    """The pair to hand out, why, and the probability with which it was taken from the supply.

    `kind_share` is the probability of its kind, part of the propensity. `is_swapped` is None where
    the sides are still to be drawn.
    """

    pair_id: int
    kind: Kind
    propensity: float
    kind_share: float
    is_swapped: bool | None = None


@dataclass(frozen=True)
class Tally:
    """What raters said so far about two checkpoints; `first` has the smaller id."""

    n_first: int = 0
    n_second: int = 0
    n_ties: int = 0


@dataclass(frozen=True)
class Chosen:
    """The chosen candidate's index, and the exact probability with which it was taken."""

    index: int
    propensity: float


def information(candidate: Candidate, tallies: Mapping[Opponents, Tally]) -> float:
    """How much one more answer is expected to tell; only comparable within one purpose.

    For a judging pair: the expected fall of the variance of the win rate under a uniform
    prior, a tie counting half for each. It is large where few answers are in and where the
    two are close. An answer to a pair that has answers repeats some of what they said.
    """
    tally = Tally()
    if candidate.purpose == PairPurpose.JUDGING:
        tally = tallies.get(candidate.opponents, tally)
    first = 1 + tally.n_first + tally.n_ties / 2
    second = 1 + tally.n_second + tally.n_ties / 2
    total = first + second
    variance = first * second / (total**2 * (total + 1))
    return variance / (total + 1) / (1 + candidate.n_taken)


def pair_propensities(
    candidates: Sequence[Candidate],
    tallies: Mapping[Opponents, Tally],
    *,
    uniform_share: float = UNIFORM_SHARE,
) -> list[float]:
    """Each candidate's probability of being chosen; they sum to 1.

    A purpose is chosen as often as it has candidates: the study's share of judging pairs
    decides that, not the chooser. Within a purpose the most telling ones share the rest.
    """
    if not 0 < uniform_share <= 1:
        raise ValueError(f"uniform_share={uniform_share}: expected more than 0, at most 1")
    n = len(candidates)
    by_purpose: dict[PairPurpose, list[int]] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        by_purpose[candidate.purpose].append(index)
    propensities = [uniform_share / n] * n
    for indices in by_purpose.values():
        values = {index: information(candidates[index], tallies) for index in indices}
        most = max(values.values())
        best = [index for index in indices if values[index] == most]
        for index in best:
            propensities[index] += (1 - uniform_share) * len(indices) / n / len(best)
    return propensities


def choose_pair(
    candidates: Sequence[Candidate],
    tallies: Mapping[Opponents, Tally],
    rng: UniformSource,
    *,
    uniform_share: float = UNIFORM_SHARE,
) -> Chosen:
    """The next pair. Raises ValueError without candidates."""
    if not candidates:
        raise ValueError("no pair to choose from: 0 candidates")
    propensities = pair_propensities(candidates, tallies, uniform_share=uniform_share)
    index = draw_index(propensities, rng)
    return Chosen(index=index, propensity=min(propensities[index], 1.0))


def kind_propensities(supply: Supply, shares: Shares) -> dict[Kind, float]:
    """The probability of each kind; what has no pair leaves its share to fresh pairs.

    Without a fresh pair there is nothing to hand out: a rater who has answered all is not kept
    busy with pairs that only check.
    """
    if not supply.fresh:
        return {}
    gold = shares.gold if supply.gold else 0.0
    repeat = shares.repeat if supply.repeats else 0.0
    return {Kind.FRESH: 1.0 - gold - repeat, Kind.GOLD: gold, Kind.REPEAT: repeat}


def choose_next(supply: Supply, rng: UniformSource, *, shares: Shares) -> Next | None:
    """The next pair, None without a fresh one. The same supply and rng choose the same."""
    by_kind = kind_propensities(supply, shares)
    if not by_kind:
        return None
    kinds = list(by_kind)
    kind = kinds[draw_index(list(by_kind.values()), rng)]
    match kind:
        case Kind.FRESH:
            return choose_fresh(supply, rng, kind_share=by_kind[kind], uniform=shares.uniform)
        case Kind.GOLD:
            return _choose_known(supply.gold, kind, by_kind[kind], rng)
        case Kind.REPEAT:
            return _choose_known(supply.repeats, kind, by_kind[kind], rng)
        case _:
            assert_never(kind)


def choose_fresh(
    supply: Supply, rng: UniformSource, *, kind_share: float, uniform: float = UNIFORM_SHARE
) -> Next | None:
    """The next fresh pair, None without one. `kind_share`: how likely a fresh one was drawn.

    Whoever loses a pair's last place to another chooses so again: a new draw of the kind would
    give gold pairs to whoever loses often.
    """
    if not supply.fresh:
        return None
    chosen = choose_pair(supply.fresh, supply.tallies, rng, uniform_share=uniform)
    return Next(
        pair_id=supply.fresh[chosen.index].pair_id,
        kind=Kind.FRESH,
        propensity=kind_share * chosen.propensity,
        kind_share=kind_share,
    )


def _choose_known(known: Sequence[Known], kind: Kind, share: float, rng: UniformSource) -> Next:
    pair = known[draw_integer(len(known), rng)]
    return Next(
        pair_id=pair.pair_id,
        kind=kind,
        propensity=share / len(known),
        kind_share=share,
        is_swapped=pair.is_swapped,
    )


def pairs_to_repeat(answers: Sequence[Answered], *, gap: int = REPEAT_GAP) -> list[Known]:
    """The pairs that may come again, sides swapped. `answers`: the rater's, newest first.

    The newest `gap` answers are too fresh: a rater would recall what they said.
    """
    return [
        Known(pair_id=answer.pair_id, prompt_id=answer.prompt_id, is_swapped=not answer.is_swapped)
        for answer in answers[gap:]
        if answer.may_repeat
    ]


def of_other_prompts(supply: Supply, prompt_id: int | None) -> Supply:
    """The supply without the prompt that was heard last.

    Fresh pairs of that prompt stay where there are no others, so that nobody is stuck; gold
    pairs and repeats of it wait.
    """
    fresh = [candidate for candidate in supply.fresh if candidate.prompt_id != prompt_id]
    return Supply(
        fresh=fresh or list(supply.fresh),
        gold=[known for known in supply.gold if known.prompt_id != prompt_id],
        repeats=[known for known in supply.repeats if known.prompt_id != prompt_id],
        tallies=supply.tallies,
    )


def spread_prompts(usage: Mapping[int, int], n_pairs: int, rng: UniformSource) -> list[int]:
    """Prompt ids for `n_pairs` pairs, least used first, ties in random order.

    usage: prompt id -> pairs it has already. No prompt gets ahead of another by more than
    it was before.
    """
    counts = dict(usage)
    order = {prompt_id: rng.random() for prompt_id in counts}
    chosen: list[int] = []
    for _ in range(n_pairs):
        prompt_id = min(counts, key=lambda key: (counts[key], order[key]))
        counts[prompt_id] += 1
        order[prompt_id] = rng.random()
        chosen.append(prompt_id)
    return chosen

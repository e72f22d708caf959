"""Which pair a rater hears next, and with what probability it was chosen.

Mostly the pair whose answer tells most; with a fixed share any candidate, so that every
candidate can come up and estimates can be weighted by the stored propensity.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attune.catalog.draws import UniformSource, draw_index
from attune.ratings.choices import PairPurpose

UNIFORM_SHARE = 0.2

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


def without_prompt(candidates: Sequence[Candidate], prompt_id: int | None) -> list[Candidate]:
    """The candidates of other prompts, or all of them if there is no other."""
    others = [candidate for candidate in candidates if candidate.prompt_id != prompt_id]
    return others or list(candidates)


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

"""Promote, hold or roll back: a decision that stays right however often one looks.

The share p of decided ratings that the canary wins against its parent is bounded by a
confidence sequence: the beta-binomial mixture martingale of Robbins (1970), Annals of
Mathematical Statistics 41, in the form of Howard et al. (2021), arXiv:1810.08240, prop. 7.
After s wins and f losses

    M(p0) = B(a + s, b + f) / (B(a, b) * p0^s * (1 - p0)^f)

is a martingale when p = p0, so by Ville's inequality it ever reaches 1/alpha with probability
at most alpha. The values of p0 with M(p0) < 1/alpha are the interval; it holds at all times.

Departure: ratings of one rater resemble each other, which the martingale does not know. Wins
and losses are divided by the design effect measured between raters, which is never below 1;
this can only delay a decision. It cannot be measured on one rater, whose ratings say what one
person likes: below two raters who decided, nothing is promoted or rolled back. Nor is anything
before as many ratings as the study asks for, however clear they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy.optimize import brentq
from scipy.special import betaln

ALPHA = 0.05
# A mixture with most of its mass near one half: differences worth promoting are small.
PRIOR_A = PRIOR_B = 10.0
FARTHEST_RATING = 20_000
MINIMUM_RATERS = 2


class GateDecision(StrEnum):
    """What the ratings of people say about a canary."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True)
class SequentialVerdict:
    """The decision, its interval, and about how many more decided ratings are needed.

    n_more is 0 when decided, and None when even 20000 ratings at the present rate would not
    decide. Where only another rater is missing it is 1. design_effect is what the counts were
    divided by; alpha is how often an equal canary may ever be told apart from its parent.
    """

    decision: GateDecision
    n_wins: int
    n_losses: int
    low: float
    high: float
    design_effect: float
    alpha: float
    n_more: int | None
    sentence: str

    @property
    def n_decided(self) -> int:
        """Ratings that chose one of the two."""
        return self.n_wins + self.n_losses


def log_evidence(n_wins: float, n_losses: float, p0: float) -> float:
    """log M(p0): the log evidence against the win probability p0."""
    mixture = betaln(PRIOR_A + n_wins, PRIOR_B + n_losses) - betaln(PRIOR_A, PRIOR_B)
    return float(mixture - n_wins * math.log(p0) - n_losses * math.log1p(-p0))


def confidence_sequence(
    n_wins: float, n_losses: float, *, alpha: float = ALPHA
) -> tuple[float, float]:
    """The win probabilities not yet refuted, valid at all times together."""
    n = n_wins + n_losses
    if n == 0:
        return 0.0, 1.0
    limit, share, edge = math.log(1 / alpha), n_wins / n, 1e-12

    def excess(p0: float) -> float:
        return log_evidence(n_wins, n_losses, p0) - limit

    inner = min(max(share, edge), 1 - edge)
    low = float(brentq(excess, edge, inner)) if n_wins and excess(edge) > 0 else 0.0
    high = float(brentq(excess, inner, 1 - edge)) if n_losses and excess(1 - edge) > 0 else 1.0
    return low, high


def design_effect(wins: Sequence[int], losses: Sequence[int]) -> float:
    """How many ratings weigh as much as one independent rating; wins and losses by rater.

    The variance of the pooled share when raters are the units, over the binomial variance.
    At least 1, and 1 when fewer than two raters decided or all agree.
    """
    raters = [(won, won + lost) for won, lost in zip(wins, losses, strict=True) if won + lost]
    n = sum(decided for _, decided in raters)
    n_raters = len(raters)
    if n_raters < 2:
        return 1.0
    share = sum(won for won, _ in raters) / n
    if share in (0.0, 1.0):
        return 1.0
    between = sum((won - share * decided) ** 2 for won, decided in raters)
    return max(1.0, between * n_raters / (n_raters - 1) / (n * share * (1 - share)))


def decide(
    wins: Sequence[int],
    losses: Sequence[int],
    *,
    alpha: float = ALPHA,
    minimum_ratings: int = 0,
) -> SequentialVerdict:
    """What to do with a canary, from its wins and losses against its parent by rater.

    It is held until two raters have decided and minimum_ratings are there, whatever they say.
    """
    n_wins, n_losses = sum(wins), sum(losses)
    n = n_wins + n_losses
    effect = design_effect(wins, losses)
    low, high = confidence_sequence(n_wins / effect, n_losses / effect, alpha=alpha)
    n_raters = sum(won + lost > 0 for won, lost in zip(wins, losses, strict=True))
    is_clear = not low <= 0.5 <= high
    n_more: int | None = 0
    if is_clear and n < minimum_ratings:
        decision, n_more = GateDecision.HOLD, minimum_ratings - n
        advice = f"but {minimum_ratings} are asked for: hold, {n_more} more are needed"
    elif is_clear and n_raters < MINIMUM_RATERS:
        decision, n_more = GateDecision.HOLD, MINIMUM_RATERS - n_raters
        advice = f"but {n_raters} of the {MINIMUM_RATERS} raters needed has decided: hold"
    elif low > 0.5:
        decision, advice = GateDecision.PROMOTE, "better than its parent: promote"
    elif high < 0.5:
        decision, advice = GateDecision.ROLL_BACK, "worse than its parent: roll back"
    else:
        decision = GateDecision.HOLD
        n_more = ratings_to_decide(n_wins, n_losses, effect=effect, alpha=alpha)
        if n_more is not None:
            n_more = max(n_more, minimum_ratings - n)
        advice = (
            "too close to its parent to tell soon: hold"
            if n_more is None
            else f"not decided: hold, about {n_more} more decided ratings are needed"
        )
    sentence = f"{n_wins} of {n} decided ratings won, {low:.0%} to {high:.0%} at any time; {advice}"
    return SequentialVerdict(
        decision=decision,
        n_wins=n_wins,
        n_losses=n_losses,
        low=low,
        high=high,
        design_effect=effect,
        alpha=alpha,
        n_more=n_more,
        sentence=sentence,
    )


def ratings_to_decide(
    n_wins: int, n_losses: int, *, effect: float, alpha: float = ALPHA
) -> int | None:
    """How many more decided ratings, at the present rate, would settle it; None: too many.

    Before any rating the rate is unknown; a 60% canary is then assumed.
    """
    n = n_wins + n_losses
    share = n_wins / n if n else 0.6

    def is_settled(n_total: int) -> bool:
        independent = n_total / effect
        evidence = log_evidence(share * independent, (1 - share) * independent, 0.5)
        return evidence >= math.log(1 / alpha)

    if not is_settled(n + FARTHEST_RATING):
        return None
    too_few, enough = n, n + FARTHEST_RATING
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if is_settled(middle):
            enough = middle
        else:
            too_few = middle
    return enough - n

"""The base's own band, and candidates inside and outside of it, as points in a plane."""

import numpy as np
import pytest
from numpy.typing import NDArray

from alignment.errors import AlignmentError
from alignment.gate_distribution import (
    embedded_distance,
    measure_distance,
    prompt_spreads,
    relative_spread,
)

N_PROMPTS, N_EACH, WIDTH = 6, 4, 2


def points(
    rng: np.random.Generator, *, shift: float = 0.0, spread: float = 1.0
) -> NDArray[np.float64]:
    """Embeddings [P, n, D] around a place for each prompt."""
    places = np.arange(N_PROMPTS)[:, None, None] * np.array([1.0, -1.0])
    drawn = rng.standard_normal((N_PROMPTS, N_EACH, WIDTH))
    return places + spread * drawn + shift


def base_sets(rng: np.random.Generator, n_sets: int = 3) -> NDArray[np.float64]:
    return np.stack([points(rng) for _ in range(n_sets)])


def test_the_distance_of_two_sets_by_hand() -> None:
    """Means (1, 0) and (4, 4), equal covariances: 3^2 + 4^2."""
    one = np.array([[[0.0, 0.0], [2.0, 0.0]]])
    assert embedded_distance(one, one + np.array([3.0, 4.0])) == pytest.approx(25.0)
    assert embedded_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_a_base_made_again_is_seldom_beyond_its_own_band() -> None:
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ratios.append(measure_distance(points(rng), base_sets(rng), rng, n_splits=40).ratio)
    assert np.mean(np.array(ratios) > 1.0) <= 0.1
    assert max(ratios) < 2.0


@pytest.mark.parametrize(("shift", "spread"), [(4.0, 1.0), (0.0, 6.0)])
def test_a_candidate_that_moved_or_spread_out_is_far_beyond_it(shift: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    candidate = points(rng, shift=shift, spread=spread)
    found = measure_distance(candidate, base_sets(rng), rng, n_splits=40)
    assert found.ratio > 2.0
    assert found.band.low <= found.band.median <= found.band.high
    assert (found.band.n_clips, found.band.n_reseeds, found.band.n_splits) == (24, 2, 40)


def test_clips_of_equal_seeds_are_left_out_of_the_comparison() -> None:
    rng = np.random.default_rng(0)
    base = base_sets(rng)
    found = measure_distance(base[0], base, rng, n_splits=10)
    apart = np.mean([embedded_distance(base[0], one) for one in base[1:]])
    assert found.distance == pytest.approx(apart)
    assert found.distance > 0.0


def test_what_cannot_be_compared_is_refused_with_both_shapes() -> None:
    rng = np.random.default_rng(0)
    base = base_sets(rng)
    with pytest.raises(AlignmentError, match="at least two sets of seeds"):
        measure_distance(base[0], base[:1], rng)
    with pytest.raises(AlignmentError, match=r"\(6, 4, 2\), got \(5, 4, 2\)"):
        measure_distance(base[0][:5], base, rng)
    with pytest.raises(AlignmentError, match="do not differ from seed to seed"):
        measure_distance(np.zeros((6, 4, 2)), np.zeros((2, 6, 4, 2)), rng)


def test_spreads_and_their_ratio_by_hand() -> None:
    """(-1, 0) and (1, 0) lie 1 from their mean: 2 / 1; half as far apart: a quarter of it."""
    base = np.array([[[-1.0, 0.0], [1.0, 0.0]]] * 3)
    assert prompt_spreads(base).tolist() == [2.0, 2.0, 2.0]
    spread = relative_spread(base / 2, base, np.random.default_rng(0))
    assert (spread.ratio, spread.low, spread.high) == (0.25, 0.25, 0.25)


def test_the_interval_of_the_spread_holds_the_differences_between_prompts() -> None:
    base = np.array([[[-1.0, 0.0], [1.0, 0.0]]] * 8)
    candidate = base * np.array([0.2, 1.8] * 4)[:, None, None]
    spread = relative_spread(candidate, base, np.random.default_rng(0))
    assert spread.low < spread.ratio < spread.high


def test_a_spread_needs_two_clips_and_a_base_that_differs() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(AlignmentError, match="at least two clips"):
        prompt_spreads(np.zeros((3, 1, 2)))
    with pytest.raises(AlignmentError, match="do not differ at all"):
        relative_spread(np.ones((3, 2, 2)), np.zeros((3, 2, 2)), rng)

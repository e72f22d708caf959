"""Distances of known Gaussians, neighbours that can be seen, and probes of planted labels."""

from __future__ import annotations

import numpy as np
import pytest

from generator.errors import RequestError
from generator.representation.distance import (
    Moments,
    copied_share,
    frechet_distance,
    moments,
    nearest_neighbours,
    spread,
)
from generator.representation.probe import Split, code_histograms, probe


def test_the_distance_of_known_gaussians_is_the_formula_by_hand() -> None:
    # Commuting covariances: |m1 - m2|^2 + sum (s1 - s2)^2 = 9 + 16 + (2 - 1)^2 + (3 - 5)^2.
    one = Moments(np.array([0.0, 0.0]), np.diag([4.0, 9.0]), 10)
    other = Moments(np.array([3.0, 4.0]), np.diag([1.0, 25.0]), 10)
    assert frechet_distance(one, other) == pytest.approx(30.0)
    assert frechet_distance(other, one) == pytest.approx(30.0)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_turned_covariances_agree_with_the_trace_of_the_matrix_root() -> None:
    # For 2 x 2 matrices tr((S1 S2)^1/2) = sqrt(tr(S1 S2) + 2 sqrt(det(S1 S2))).
    first = np.array([[2.0, 0.6], [0.6, 1.0]])
    second = np.array([[1.0, -0.3], [-0.3, 3.0]])
    product = first @ second
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * root
    zero = np.zeros(2)
    found = frechet_distance(Moments(zero, first, 9), Moments(zero, second, 9))
    assert found == pytest.approx(expected)


def test_samples_come_near_the_distance_of_their_gaussians() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(0.0, 1.0, (20000, 3))
    other = rng.normal(0.0, 2.0, (20000, 3)) + np.array([1.0, 0.0, 0.0])
    # 1 for the means and (2 - 1)^2 for each of three columns.
    assert frechet_distance(moments(one), moments(other)) == pytest.approx(4.0, abs=0.1)


def test_a_flat_set_has_a_distance_too() -> None:
    line = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    assert frechet_distance(moments(line), moments(line + 1.0)) == pytest.approx(2.0)


def test_the_nearest_neighbour_is_the_one_of_like_direction() -> None:
    references = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # mean 0
    found = nearest_neighbours(np.array([[0.1, 2.0], [-3.0, -0.1]]), references)
    assert found.rows.tolist() == [1, 2]
    assert found.distances == pytest.approx(
        [1 - 2.0 / np.hypot(0.1, 2.0), 1 - 3.0 / np.hypot(3.0, 0.1)]
    )


def test_copies_are_counted_and_fresh_clips_are_not() -> None:
    rng = np.random.default_rng(0)
    training, held_out, fresh = (rng.normal(size=(400, 8)) for _ in range(3))
    copies = training[:100] + rng.normal(scale=1e-3, size=(100, 8))
    assert copied_share(copies, training, held_out) == 1.0
    assert copied_share(fresh, training, held_out) < 0.05
    half = np.concatenate([copies, fresh[:100]])
    assert copied_share(half, training, held_out) == pytest.approx(0.5, abs=0.05)


def test_spread_is_the_mean_squared_distance_to_the_mean() -> None:
    # Deviations (1, 0) and (-1, 0): sum of squares 2 over n - 1 = 1.
    assert spread(np.array([[1.0, 3.0], [-1.0, 3.0]])) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((1, 3)), "at least 2 embeddings"),
        (np.zeros(3), r"shape \[N, D\]"),
        (np.full((2, 2), np.nan), "not all finite"),
    ],
)
def test_embeddings_that_have_no_moments_are_refused(embeddings: np.ndarray, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        moments(embeddings)


def test_widths_must_agree() -> None:
    with pytest.raises(RequestError, match="widths differ: 2 and 3"):
        nearest_neighbours(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(RequestError, match="widths differ: 2 and 3"):
        frechet_distance(moments(np.eye(2)), moments(np.eye(3)))


def test_a_probe_reads_a_planted_label_and_guesses_a_random_one() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["red", "green", "blue"], 300)
    vectors = rng.normal(size=(300, 6)).astype(np.float32)
    vectors[:, 2] += 4.0 * (labels == "red") - 4.0 * (labels == "blue")
    split = Split.of(300)
    assert probe(vectors, labels.tolist(), split).share > 0.9
    assert probe(vectors, labels.tolist(), split).n == 90
    shuffled = rng.permutation(labels).tolist()
    assert probe(vectors, shuffled, split).share < 0.5


def test_histograms_are_roots_of_shares() -> None:
    found = code_histograms([np.array([[0, 0, 0, 1], [2, 2, 2, 2]])], 3)
    assert found[0] == pytest.approx([np.sqrt(0.75), 0.5, 0.0, 0.0, 0.0, 1.0])

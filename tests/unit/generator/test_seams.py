"""The measure of seams finds a cut where there is one, and can be done by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generator.errors import RequestError
from generator.seams import Jumps, estimates, jumps, measure_seams, other_places
from generator.synthesis import load_generator
from tests.tiny import write_tiny_checkpoint

RATE_HZ = 16000
FRAME = 640


def test_a_step_in_loudness_and_likelihood_is_found_at_its_place() -> None:
    rng = np.random.default_rng(0)
    waveform = 0.01 * rng.normal(size=200 * FRAME).astype(np.float32)
    waveform[100 * FRAME :] *= 10  # 20 dB
    nll = np.ones(200)
    nll[100:105] = 7.0
    found = jumps(waveform, nll, [50, 100], RATE_HZ)
    assert found.loudness_db[0] < 0.5
    assert found.loudness_db[1] == pytest.approx(20, abs=0.5)
    assert found.nll.tolist() == [1.0, 7.0]


def test_other_places_lie_between_seams_and_apart_from_them() -> None:
    assert other_places([245, 350, 455], 1000, 25) == [122, 297, 402, 727]
    assert other_places([245, 300, 455], 1000, 25) == [122, 377, 727]


def test_means_are_taken_piece_by_piece() -> None:
    def piece(*values: float) -> Jumps:
        return Jumps(*(np.array(values) for _ in range(3)))

    pieces, baseline = [piece(1.0, 3.0), piece(4.0)], [piece(1.0), piece(2.0)]
    assert estimates(pieces)["nll"].mean == 3.0
    difference = estimates(pieces, baseline)["nll"]
    assert (difference.mean, difference.n) == (1.5, 2)


def test_seams_of_a_checkpoint_are_counted(tmp_path: Path) -> None:
    generator = load_generator(write_tiny_checkpoint(tmp_path / "tiny"))
    report = measure_seams(generator, n_pieces=2, duration_s=20.0, seed=1)
    assert report.n_seams >= 4
    assert set(report.seams) == {"loudness_db", "onsets_per_s", "nll"}
    with pytest.raises(RequestError, match="5 s is one window: it has no seams"):
        measure_seams(generator, n_pieces=1, duration_s=5.0, seed=1)

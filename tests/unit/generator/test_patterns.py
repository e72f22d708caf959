"""The delay pattern loses nothing, counts its steps and never looks ahead."""

from __future__ import annotations

import pytest
import torch

from generator.errors import RequestError
from generator.lm.patterns import DelayPattern, shift_right

PATTERNS = {
    "parallel": (0, 0, 0, 0),
    "delay": (0, 1, 2, 3),
    "partial delay": (0, 1, 1, 1),
    "starter": (0, 1),
    "stereo": (0, 0, 1, 1),
}


@pytest.mark.parametrize("delays", PATTERNS.values(), ids=PATTERNS.keys())
@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_build_and_revert_lose_nothing(delays: tuple[int, ...], n_frames: int) -> None:
    pattern = DelayPattern(delays, 512)
    codes = torch.randint(0, 512, (3, len(delays), n_frames))
    assert torch.equal(pattern.revert(pattern.build(codes)), codes)


def test_steps_are_frames_plus_the_longest_delay() -> None:
    assert DelayPattern((0, 1, 2, 3), 512).n_steps(250) == 253
    assert DelayPattern((0, 0), 512).n_steps(250) == 250
    assert DelayPattern((0, 1), 512).n_frames(251) == 250


def test_the_grid_of_two_codebooks_can_be_read_by_hand() -> None:
    codes = torch.tensor([[[1, 2, 3], [4, 5, 6]]])
    grid = DelayPattern((0, 1), 9).build(codes)
    assert grid.tolist() == [[[1, 9], [2, 4], [3, 5], [9, 6]]]
    assert shift_right(grid, 9).tolist() == [[[9, 9], [1, 9], [2, 4], [3, 5]]]


def test_present_marks_exactly_the_places_that_are_not_holes() -> None:
    pattern = DelayPattern((0, 1, 3), 9)
    grid = pattern.build(torch.zeros(1, 3, 5, dtype=torch.long))
    assert torch.equal(pattern.present(5), grid[0] != pattern.hole)


def test_wrong_shapes_name_both_numbers() -> None:
    pattern = DelayPattern((0, 1), 512)
    with pytest.raises(RequestError, match=r"\[B, 2, T\], got \(1, 3, 5\)"):
        pattern.build(torch.zeros(1, 3, 5, dtype=torch.long))
    with pytest.raises(RequestError, match=r"\[B, S, 2\], got \(1, 5, 3\)"):
        pattern.revert(torch.zeros(1, 5, 3, dtype=torch.long))
    with pytest.raises(RequestError, match="more than 1 steps, got 1"):
        pattern.revert(torch.zeros(1, 1, 2, dtype=torch.long))


@pytest.mark.parametrize("delays", [(), (1, 2), (-1, 0)])
def test_delays_that_do_not_start_at_zero_are_refused(delays: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="delays start at 0"):
        DelayPattern(delays, 512)

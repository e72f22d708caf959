"""Every pattern loses nothing, counts its steps exactly and shows holes for what is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.errors import RequestError
from generator.lm.patterns import (
    Pattern,
    PatternKind,
    coarse_first,
    delay,
    flattening,
    parallel,
    partial_delay,
    pattern_of,
    shift_right,
    stereo_delay,
)

NAMED: dict[str, Callable[[int, int], Pattern]] = {
    "delay": delay,
    "parallel": parallel,
    "partial delay": partial_delay,
    "stereo delay": stereo_delay,
    "flattening": flattening,
    "coarse first": coarse_first,
}
SIZE = 512


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    """Draws any pattern that is allowed: one of the named, or of delays, stride and passes."""
    if draw(st.booleans()):
        return NAMED[draw(st.sampled_from(sorted(NAMED)))](2 * draw(st.integers(1, 3)), SIZE)
    stride, n_passes = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    delays, passes = [], []
    for number in range(n_passes):
        extra = draw(st.lists(st.integers(0, 7), max_size=3))
        delays += [*range(stride), *extra]
        passes += [number] * (stride + len(extra))
    order = draw(st.permutations(range(len(delays))))
    return Pattern(tuple(delays[i] for i in order), SIZE, stride, tuple(passes[i] for i in order))


def codes_of(pattern: Pattern, n_frames: int, batch: int = 2) -> torch.Tensor:
    """Returns codes [B, K, T] that are all different within a clip where the ids suffice."""
    count = torch.arange(batch * pattern.n_codebooks * n_frames) * 7 % pattern.codebook_size
    return count.view(batch, pattern.n_codebooks, n_frames)


@given(patterns(), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_build_and_revert_lose_nothing(pattern: Pattern, n_frames: int) -> None:
    codes = codes_of(pattern, n_frames)
    grid = pattern.build(codes)
    assert grid.shape == (2, pattern.n_steps(n_frames), pattern.n_codebooks)
    assert torch.equal(pattern.revert(grid), codes)
    assert int((grid != pattern.hole).sum()) == codes.numel()


@given(patterns(), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_the_layout_is_what_the_class_promises(pattern: Pattern, n_frames: int) -> None:
    places, present = pattern.places(n_frames), pattern.present(n_frames)
    n_steps = pattern.n_steps(n_frames)
    assert int(places.max()) == n_steps - 1
    assert pattern.n_frames(n_steps) == n_frames
    assert torch.equal(present, pattern.build(codes_of(pattern, n_frames))[0] != pattern.hole)
    told = pattern.steps(0, n_steps, n_frames)
    assert int(told.turn.max()) < pattern.n_turns
    for codebook, delay_ in enumerate(pattern.delays):
        place = places[codebook]
        late = delay_ // pattern.stride  # whole frames that this codebook lags
        assert torch.equal(told.frame[place] - late, torch.arange(n_frames))
        assert len(set(told.turn[place].tolist())) == 1
        assert (place.diff() == pattern.stride).all()


@given(patterns(), st.integers(1, 9), st.data())
@settings(max_examples=100, deadline=None)
def test_a_part_of_a_sequence_shows_what_it_has_and_holes_for_the_rest(
    pattern: Pattern, n_frames: int, data: st.DataObject
) -> None:
    codes = codes_of(pattern, n_frames)
    n_seen = data.draw(st.integers(0, pattern.n_steps(n_frames)))
    grid = pattern.build(codes)[:, :n_seen]
    known = pattern.places(n_frames) < n_seen
    part = pattern.revert(grid, n_frames)
    assert torch.equal(part, torch.where(known, codes, pattern.hole))

    logits = torch.randn(2, n_seen, pattern.n_codebooks, SIZE)
    by_code = pattern.revert_logits(logits, n_frames)
    assert by_code.shape == (2, pattern.n_codebooks, n_frames, SIZE)
    assert torch.equal(by_code.isnan().all(-1), ~known.expand(2, -1, -1))
    assert torch.equal(by_code.isnan().any(-1), ~known.expand(2, -1, -1))

    complete = pattern.complete_frames(n_seen, n_frames)
    assert known[:, :complete].all()
    assert complete == n_frames or not known[:, complete].all()


def test_logits_stand_where_the_code_they_predict_stands() -> None:
    for make in NAMED.values():
        pattern = make(4, 16)
        n_steps = pattern.n_steps(5)
        logits = torch.randn(1, n_steps, 4, 16)
        by_code = pattern.revert_logits(logits, 5)
        grid = pattern.build(codes_of(pattern, 5, batch=1))
        for step in range(n_steps):
            for codebook in range(4):
                if grid[0, step, codebook] == pattern.hole:
                    continue
                frame = int((pattern.places(5)[codebook] == step).nonzero())
                assert torch.equal(by_code[0, codebook, frame], logits[0, step, codebook])


@pytest.mark.parametrize(
    ("name", "n_steps"),
    [
        ("delay", 253),
        ("parallel", 250),
        ("partial delay", 251),
        ("stereo delay", 251),
        ("flattening", 1000),
        ("coarse first", 500),
    ],
)
def test_steps_of_250_frames_of_four_codebooks(name: str, n_steps: int) -> None:
    pattern = NAMED[name](4, SIZE)
    assert pattern.n_steps(250) == n_steps
    assert pattern.n_frames(n_steps) == 250


def test_grids_of_two_codebooks_can_be_read_by_hand() -> None:
    codes = torch.tensor([[[1, 2, 3], [4, 5, 6]]])
    assert delay(2, 9).build(codes).tolist() == [[[1, 9], [2, 4], [3, 5], [9, 6]]]
    assert parallel(2, 9).build(codes).tolist() == [[[1, 4], [2, 5], [3, 6]]]
    assert flattening(2, 9).build(codes).tolist() == [
        [[1, 9], [9, 4], [2, 9], [9, 5], [3, 9], [9, 6]]
    ]
    assert coarse_first(2, 9).build(codes).tolist() == [
        [[1, 9], [2, 9], [3, 9], [9, 4], [9, 5], [9, 6]]
    ]
    assert partial_delay(3, 9).delays == (0, 1, 1)
    assert stereo_delay(8, 9).delays == (0, 0, 1, 1, 2, 2, 3, 3)
    grid = delay(2, 9).build(codes)
    assert shift_right(grid, 9).tolist() == [[[9, 9], [1, 9], [2, 4], [3, 5]]]


def test_a_step_knows_its_frame_and_its_turn() -> None:
    flat = flattening(3, 9).steps(0, 6)
    assert flat.frame.tolist() == [0, 0, 0, 1, 1, 1]
    assert flat.turn.tolist() == [0, 1, 2, 0, 1, 2]
    assert flat.position.tolist() == [0, 1, 2, 3, 4, 5]
    coarse = coarse_first(4, 9).steps(1, 5, n_frames=3)
    assert coarse.frame.tolist() == [1, 2, 0, 1, 2]
    assert coarse.turn.tolist() == [0, 0, 1, 1, 1]
    assert coarse.position.tolist() == [1, 2, 0, 1, 2]
    late = delay(4, 9).steps(7, 3)
    assert late.frame.tolist() == late.position.tolist() == [7, 8, 9]
    assert late.turn.tolist() == [0, 0, 0]


def test_frames_that_a_stream_may_decode_already() -> None:
    assert [delay(3, 9).complete_frames(n, 4) for n in range(7)] == [0, 0, 0, 1, 2, 3, 4]
    assert [parallel(3, 9).complete_frames(n, 4) for n in range(5)] == [0, 1, 2, 3, 4]
    assert [flattening(3, 9).complete_frames(n, 2) for n in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [coarse_first(3, 9).complete_frames(n, 3) for n in range(7)] == [0, 0, 0, 0, 1, 2, 3]


def test_a_configuration_names_its_pattern() -> None:
    for make in NAMED.values():
        pattern = make(4, SIZE)
        assert pattern_of(pattern.kind, pattern.delays, SIZE) == pattern
    assert [make(4, SIZE).kind for make in (partial_delay, flattening, coarse_first)] == [
        PatternKind.DELAYS,
        PatternKind.FLATTENING,
        PatternKind.COARSE_FIRST,
    ]
    with pytest.raises(ValueError, match=r"delays \(0, 1\), got \(0, 0\)"):
        pattern_of(PatternKind.FLATTENING, (0, 0), SIZE)


def test_wrong_shapes_name_both_numbers() -> None:
    pattern = delay(2, SIZE)
    with pytest.raises(RequestError, match=r"\[B, 2, T\], got \(1, 3, 5\)"):
        pattern.build(torch.zeros(1, 3, 5, dtype=torch.long))
    with pytest.raises(RequestError, match=r"\[B, S, 2\], got \(1, 5, 3\)"):
        pattern.revert(torch.zeros(1, 5, 3, dtype=torch.long))
    with pytest.raises(RequestError, match="more than 1 steps, got 1"):
        pattern.revert(torch.zeros(1, 1, 2, dtype=torch.long))
    with pytest.raises(RequestError, match="takes 2 steps, got 5, which is 1 too many"):
        flattening(2, SIZE).revert(torch.zeros(1, 5, 2, dtype=torch.long))
    with pytest.raises(RequestError, match="3 frames take 4 steps, got 5"):
        pattern.revert(torch.zeros(1, 5, 2, dtype=torch.long), 3)
    with pytest.raises(RequestError, match=r"\[B, S, 2, 512\], got \(1, 4, 2, 9\)"):
        pattern.revert_logits(torch.zeros(1, 4, 2, 9), 3)
    with pytest.raises(RequestError, match="n_frames is at least 1, got 0"):
        pattern.n_steps(0)
    with pytest.raises(RequestError, match="2 passes needs n_frames, got None"):
        coarse_first(2, SIZE).steps(0, 4)


@pytest.mark.parametrize("delays", [(), (1, 2), (-1, 0)])
def test_delays_that_do_not_start_at_zero_are_refused(delays: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="delays start at 0"):
        Pattern(delays, SIZE)


@pytest.mark.parametrize(
    ("delays", "stride", "passes", "message"),
    [
        ((0, 1), 0, (), "stride is at least 1, got 0"),
        ((0, 0), 2, (), "stride 2 needs delays 0 to 1, got"),
        ((0, 1), 1, (0, 1), r"pass 1 of stride 1 needs delays 0 to 0, got \(1,\)"),
        ((0, 0), 1, (0, 2), r"one a codebook of 2, got \(0, 2\)"),
        ((0, 0), 1, (0,), r"one a codebook of 2, got \(0,\)"),
    ],
)
def test_layouts_with_steps_that_predict_nothing_are_refused(
    delays: tuple[int, ...], stride: int, passes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Pattern(delays, SIZE, stride, passes)


def test_two_channels_need_an_even_number_of_codebooks() -> None:
    with pytest.raises(ValueError, match="even number of codebooks, got 3"):
        stereo_delay(3, SIZE)

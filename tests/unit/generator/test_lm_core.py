"""The starter's core is causal, agrees with its cache, and listens to text and timing."""

from __future__ import annotations

import pytest
import torch

from generator.errors import RequestError
from generator.lm.attention import band_mask, explicit_attention
from generator.lm.core import all_logits
from generator.lm.patterns import delay, shift_right
from generator.lm.preparation import Preparation
from generator.lm.starter import StarterConfig, StarterCore
from generator.lm.timing import (
    bins_to_seconds,
    n_remaining_bins,
    quantise_seconds,
    remaining_bins,
    seconds_to_bins,
)
from generator.melody import NOT_TOLD
from generator.text.header import SlotValue, encode_header
from tests.tiny import TINY_CORE, tiny_core

WINDOWED = StarterConfig(width=32, n_layers=2, n_heads=2, attention_window=8)


@pytest.fixture
def core() -> StarterCore:
    return tiny_core()


def rows(batch: int, n_frames: int, seed: int = 0) -> torch.Tensor:
    """Returns input rows [B, S, 2] of random codes."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 512, (batch, 2, n_frames), generator=generator)
    pattern = delay(2, 512)
    return shift_right(pattern.build(codes), pattern.hole)


def hidden_of(
    core: StarterCore,
    steps: torch.Tensor,
    header: list[int] | None = None,
    seconds: tuple[float, float] = (0.0, 5.0),
) -> torch.Tensor:
    batch = steps.shape[0]
    text, mask = core.empty_text(batch)
    if header is not None:
        text = torch.tensor([header] * batch)
    with torch.inference_mode():
        return core.trunk(steps, core.condition(text, mask, torch.tensor([seconds] * batch)))


@pytest.mark.parametrize("config", [TINY_CORE, WINDOWED], ids=["long window", "short window"])
@pytest.mark.parametrize("changed", [1, 7, 19])
def test_a_changed_row_moves_only_later_hidden_states(config: StarterConfig, changed: int) -> None:
    core = tiny_core(config=config)
    steps = rows(2, 20)
    moved = steps.clone()
    moved[:, changed] = (moved[:, changed] + 1) % 512
    before, after = hidden_of(core, steps), hidden_of(core, moved)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before[:, changed] - after[:, changed]).abs().max() > 1e-3


def test_a_row_beyond_the_window_of_every_layer_is_forgotten() -> None:
    core = tiny_core(config=WINDOWED)
    steps = rows(1, 40)
    moved = steps.clone()
    moved[:, 1] = (moved[:, 1] + 1) % 512
    difference = (hidden_of(core, steps) - hidden_of(core, moved)).abs().amax(dim=(0, 2))
    reach = 1 + 2 * (WINDOWED.attention_window - 1)
    assert difference[reach] > 0
    assert difference[reach + 1 :].max() == 0


@pytest.mark.parametrize("config", [TINY_CORE, WINDOWED], ids=["long window", "short window"])
@pytest.mark.parametrize("fused", [False, True])
def test_cached_steps_equal_one_pass_over_all_rows(config: StarterConfig, fused: bool) -> None:
    core = tiny_core(config=config)
    steps = rows(3, 30)
    text, mask = core.empty_text(3)
    condition = core.condition(text, mask, torch.tensor([[0.0, 1.2], [1.0, 3.0], [0.0, 9.0]]))
    whole = core.trunk(steps, condition)
    cache = core.new_cache(3, steps.shape[1])
    with torch.inference_mode():
        if fused:
            with Preparation(core).ready():
                parts = [core.trunk(steps[:, i : i + 1], condition, cache) for i in range(31)]
        else:
            chunks = [slice(0, 5), slice(5, 6), slice(6, 31)]
            parts = [core.trunk(steps[:, chunk], condition, cache) for chunk in chunks]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_explicit_attention_equals_the_fused_kernel() -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 16)
    mask = band_mask(9, 9, 5, query.device)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(explicit_attention(query, key, value, mask), expected, atol=1e-6)


def test_a_full_cache_is_refused(core: StarterCore) -> None:
    text, mask = core.empty_text(1)
    condition = core.condition(text, mask, torch.tensor([[0.0, 1.0]]))
    cache = core.new_cache(1, 4)
    with pytest.raises(RequestError, match="holds 4 steps, step 5"):
        core.trunk(rows(1, 4), condition, cache)


def test_slots_of_the_header_move_the_output(core: StarterCore) -> None:
    steps = rows(1, 5)
    empty = hidden_of(core, steps)
    told_slots: dict[str, SlotValue] = {"tempo": "slow", "mode": "minor", "swing": True}
    for slot, value in told_slots.items():
        told = hidden_of(core, steps, encode_header({slot: value}))
        assert (told - empty).abs().max() > 1e-3, slot


def test_start_and_total_seconds_move_the_output(core: StarterCore) -> None:
    steps = rows(1, 5)
    reference = hidden_of(core, steps, seconds=(0.0, 5.0))
    assert (hidden_of(core, steps, seconds=(0.0, 7.0)) - reference).abs().max() > 1e-3
    assert (hidden_of(core, steps, seconds=(2.0, 5.0)) - reference).abs().max() > 1e-3
    assert torch.equal(hidden_of(core, steps, seconds=(0.04, 5.04)), reference)


def test_a_clip_longer_than_any_trained_on_differs_only_near_its_end(core: StarterCore) -> None:
    steps = rows(1, 20)
    fifteen_s_left = hidden_of(core, steps, seconds=(0.0, 15.0))
    assert torch.equal(hidden_of(core, steps, seconds=(0.0, 30.0)), fifteen_s_left)


def test_the_metre_repeats_by_the_beat_and_by_the_phrase(core: StarterCore) -> None:
    assert core.metre is not None
    header = torch.tensor([encode_header({"style": "waltz", "frames_per_beat": 16})])
    metre = core.metre.told(header)
    assert metre.tolist() == [[16, 3]]
    frame = torch.arange(16 * 3 * 4 + 16)[None]
    with torch.inference_mode():
        places = core.metre(metre, frame)[0]
        beats = core.metre(torch.tensor([[16, 0]]), frame)[0]
        unknown = core.metre(torch.tensor([[0, 3]]), frame)[0]
    assert torch.equal(places[:16], places[192:])
    assert not torch.allclose(places[:16], places[16:32])
    assert torch.equal(beats[:16], beats[16:32])
    assert len({tuple(place.tolist()) for place in places}) == 192
    assert torch.equal(unknown, unknown[:1].expand_as(unknown))


def test_a_later_window_is_in_the_place_of_the_bar_that_its_start_says(core: StarterCore) -> None:
    for told_time in (core.seconds_projection, core.remaining_embedding):
        torch.nn.init.zeros_(told_time.weight)
    header = encode_header({"style": "march", "frames_per_beat": 10})
    start = hidden_of(core, rows(1, 12), header, (0.0, 60.0))
    bars_later = hidden_of(core, rows(1, 12), header, (6.4, 60.0))  # 160 frames, four bars
    beside = hidden_of(core, rows(1, 12), header, (6.0, 60.0))
    assert torch.allclose(start, bars_later, atol=1e-5)
    assert not torch.allclose(start, beside, atol=1e-2)


def test_a_told_melody_moves_its_own_frames_and_later_ones(core: StarterCore) -> None:
    text, mask = core.empty_text(1)
    seconds = torch.tensor([[0.0, 5.0]])
    melody = torch.full((1, 20), NOT_TOLD)
    moved = melody.clone()
    moved[0, 8] = 4
    steps = rows(1, 24)
    with torch.inference_mode():
        untold = core.trunk(steps, core.condition(text, mask, seconds))
        before = core.trunk(steps, core.condition(text, mask, seconds, melody))
        after = core.trunk(steps, core.condition(text, mask, seconds, moved))
    assert torch.equal(untold, before)
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8], after[:, 8])


def test_a_core_without_melody_refuses_one() -> None:
    core = tiny_core(config=WINDOWED)
    text, mask = core.empty_text(1)
    with pytest.raises(RequestError, match="not trained to follow a melody"):
        core.condition(text, mask, torch.tensor([[0.0, 5.0]]), torch.zeros(1, 5))


def test_gradient_checkpointing_gives_the_same_gradients(core: StarterCore) -> None:
    gradients = []
    core.train()
    for checkpointing in (False, True):
        core.gradient_checkpointing = checkpointing
        core.zero_grad()
        text, mask = core.empty_text(2)
        condition = core.condition(text, mask, torch.tensor([[0.0, 1.0]] * 2))
        all_logits(core, core.trunk(rows(2, 6), condition)).square().mean().backward()
        weight = core.get_parameter("layers.0.attention.q_proj.weight")
        assert weight.grad is not None
        gradients.append(weight.grad.clone())
    assert gradients[0].abs().max() > 0
    assert torch.allclose(gradients[0], gradients[1], atol=1e-8)


def test_wrong_shapes_name_both_numbers(core: StarterCore) -> None:
    text, mask = core.empty_text(2)
    with pytest.raises(RequestError, match=r"\[B, 10\], got \(2, 9\)"):
        core.condition(text[:, :9], mask[:, :9], torch.zeros(2, 2))
    with pytest.raises(RequestError, match=r"\[2, 2\], got \(1, 2\)"):
        core.condition(text, mask, torch.zeros(1, 2))
    with pytest.raises(RequestError, match=r"\[B, S, 2\], got \(2, 5, 3\)"):
        core.trunk(torch.zeros(2, 5, 3).long(), core.condition(text, mask, torch.zeros(2, 2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30}, "width is a multiple"),
        ({"n_layers": 0}, "n_layers is at least 1, got 0"),
        ({"delays": (1, 2)}, "delays start at 0"),
        ({"longest_s": 61.0}, "longest_s is 1 to 60, got 61"),
        ({"empty_header": (99,)}, "header ids are below"),
    ],
)
def test_a_bad_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StarterConfig(**changes)  # type: ignore[arg-type]


def test_seconds_fall_into_bins_of_a_fifth() -> None:
    bins = seconds_to_bins(torch.tensor([0.0, 0.09, 0.11, 5.0, 59.96, 300.0, -1.0]))
    assert bins.tolist() == [0, 0, 1, 25, 300, 300, 0]
    assert torch.allclose(bins_to_seconds(bins[:4]), torch.tensor([0.0, 0.0, 0.2, 5.0]))
    assert quantise_seconds(torch.tensor([1.29])).item() == pytest.approx(1.2)


def test_remaining_time_counts_down_to_over() -> None:
    # One second of 25 frames: a fifth of a second is five frames, then the clip is over.
    bins = remaining_bins(torch.tensor([[0.0, 1.0]]), torch.arange(28), 25, 14.0)[0].tolist()
    assert bins[0] == 6
    assert bins[1:21] == [5] * 5 + [4] * 5 + [3] * 5 + [2] * 5
    assert bins[25] == 1
    assert bins[26:] == [0, 0]
    late = remaining_bins(torch.tensor([[0.5, 1.5]]), torch.arange(10, 13), 25, 14.0)[0].tolist()
    assert late == bins[10:13]
    assert remaining_bins(torch.tensor([[0.0, 60.0]]), torch.arange(1), 25, 14.0).item() == (
        n_remaining_bins(14.0) - 1
    )

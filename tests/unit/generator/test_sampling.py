"""Sampled codes obey seeds, guidance and truncation, and equal a slow obvious twin."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from generator.errors import GeneratorError, RequestError
from generator.lm.adapters import NO_ADAPTER, RowAdapters
from generator.lm.attention import KeyValueCache
from generator.lm.core import all_logits
from generator.lm.graphs import Step, bucket_of
from generator.lm.preparation import Preparation
from generator.lm.sampling import (
    SamplingSettings,
    draw,
    guided_logits,
    sample_codes,
    truncate,
)
from generator.lm.starter import StarterConfig, StarterCore
from generator.text.header import encode_header
from tests.tiny import tiny_core

SLOW_PIANO = encode_header({"tempo": "slow", "lead": "piano"})
FAST_ORGAN = encode_header({"tempo": "fast", "lead": "organ"})
PLAIN = SamplingSettings(guidance=1.0, temperature=1.0, top_k=0, top_p=1.0)


@pytest.fixture
def core() -> StarterCore:
    return tiny_core()


def seconds(batch: int, total_s: float = 1.0) -> torch.Tensor:
    return torch.tensor([[0.0, total_s]] * batch)


def slow_greedy(
    core: StarterCore, text: torch.Tensor, times: torch.Tensor, n_frames: int, guidance: float
) -> torch.Tensor:
    """Returns greedy codes [B, K, T]: the whole sequence again at every step, no cache."""
    pattern = core.pattern
    batch, n_steps = text.shape[0], pattern.n_steps(n_frames)
    rows = torch.full((batch, n_steps + 1, core.n_codebooks), pattern.hole)
    empty, mask = core.empty_text(batch)
    with torch.no_grad():
        for step in range(n_steps):
            seen = rows[:, : step + 1]
            told = all_logits(core, core.trunk(seen, core.condition(text, mask, times)))[:, -1]
            untold = all_logits(core, core.trunk(seen, core.condition(empty, mask, times)))[:, -1]
            best = (untold + guidance * (told - untold)).argmax(-1)
            for codebook, delay in enumerate(core.delays):
                if delay <= step < delay + n_frames:
                    rows[:, step + 1, codebook] = best[:, codebook]
    return pattern.revert(rows[:, 1:])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_greedy_codes_equal_those_of_the_slow_twin(core: StarterCore, guidance: float) -> None:
    text = torch.tensor([SLOW_PIANO, FAST_ORGAN])
    settings = SamplingSettings(guidance=guidance, temperature=1.0, top_k=1)
    fast = sample_codes(core, text, seconds(2), 25, settings, [0, 1])
    slow = slow_greedy(core, text, seconds(2), 25, guidance)
    assert fast.shape == (2, 2, 25)
    assert torch.equal(fast, slow)
    assert len(slow.unique()) > 3


def test_a_clip_with_a_seed_is_the_same_in_any_batch(core: StarterCore) -> None:
    text = torch.tensor([SLOW_PIANO, FAST_ORGAN, SLOW_PIANO, FAST_ORGAN, SLOW_PIANO])
    settings = SamplingSettings(guidance=2.0, temperature=0.9, top_k=100, top_p=0.95)
    together = sample_codes(core, text, seconds(5), 25, settings, [5, 6, 7, 8, 9])
    alone = sample_codes(core, text[3:4], seconds(1), 25, settings, [8])
    assert torch.equal(alone[0], together[3])
    assert not torch.equal(together[0], together[2])


def test_the_global_random_state_is_neither_read_nor_moved(core: StarterCore) -> None:
    text = torch.tensor([SLOW_PIANO])
    torch.manual_seed(1)
    first = sample_codes(core, text, seconds(1), 10, PLAIN, [3])
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(first, sample_codes(core, text, seconds(1), 10, PLAIN, [3]))


def test_guidance_one_is_the_conditional_distribution() -> None:
    logits = torch.randn(4, 2, 512)
    assert torch.allclose(guided_logits(logits, 1.0), logits[:2], atol=1e-6)
    assert torch.allclose(guided_logits(logits, 0.0), logits[2:], atol=1e-6)


def test_guidance_that_is_nearly_off_gives_the_codes_of_guidance_off(core: StarterCore) -> None:
    text = torch.tensor([SLOW_PIANO])
    nearly = SamplingSettings(guidance=1.0 + 1e-9, temperature=1.0, top_k=0, top_p=1.0)
    off = sample_codes(core, text, seconds(1), 20, PLAIN, [4])
    assert torch.equal(sample_codes(core, text, seconds(1), 20, nearly, [4]), off)


def test_an_empty_prompt_is_unconditional_at_any_guidance(core: StarterCore) -> None:
    text, _ = core.empty_text(1)
    strong = SamplingSettings(guidance=5.0, temperature=1.0, top_k=0, top_p=1.0)
    off = sample_codes(core, text, seconds(1), 20, PLAIN, [4])
    assert torch.equal(sample_codes(core, text, seconds(1), 20, strong, [4]), off)


def test_text_and_timing_change_the_codes(core: StarterCore) -> None:
    text = torch.tensor([SLOW_PIANO])
    reference = sample_codes(core, text, seconds(1), 20, PLAIN, [4])
    other_text = sample_codes(core, torch.tensor([FAST_ORGAN]), seconds(1), 20, PLAIN, [4])
    other_time = sample_codes(core, text, seconds(1, 9.0), 20, PLAIN, [4])
    assert not torch.equal(reference, other_text)
    assert not torch.equal(reference, other_time)


def test_logits_that_are_not_numbers_name_the_step(core: StarterCore) -> None:
    with torch.no_grad():
        core.get_parameter("final_norm.weight").fill_(torch.nan)
    with pytest.raises(GeneratorError, match="clip 1 of 1, seed 0, are not finite at step 0 of 11"):
        sample_codes(core, torch.tensor([SLOW_PIANO]), seconds(1), 10, PLAIN, [0])


@pytest.mark.parametrize("settings_of", [PLAIN, SamplingSettings(guidance=3.0, top_k=1)])
def test_logits_that_stop_being_numbers_name_clip_and_step(
    core: StarterCore, settings_of: SamplingSettings
) -> None:
    trunk = core.trunk

    def broken(rows: torch.Tensor, condition: object, cache: KeyValueCache) -> torch.Tensor:
        hidden = trunk(rows, condition, cache)  # type: ignore[arg-type]
        if cache.length == 5:
            hidden[1] = torch.inf
        return hidden

    core.trunk = broken  # type: ignore[method-assign, assignment]
    text = torch.tensor([SLOW_PIANO, FAST_ORGAN, SLOW_PIANO])
    with pytest.raises(GeneratorError, match=r"clip 2 of 3, seed 8, .* at step 4 of 101"):
        sample_codes(core, text, seconds(3), 100, settings_of, [7, 8, 9])


def grouped(step: Step) -> Step:
    """Stands in for the capture of a CUDA graph: a replay runs the step again."""
    return step


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("window", [256, 40])
def test_steps_on_fixed_memory_give_the_codes_of_plain_steps(guidance: float, window: int) -> None:
    config = StarterConfig(width=32, n_layers=2, n_heads=2, attention_window=window)
    core = tiny_core(config=config)
    graphed = Preparation(core, capture=grouped)
    settings = SamplingSettings(guidance=guidance, top_k=1)
    for lead, seed in ((SLOW_PIANO, 1), (FAST_ORGAN, 2), (SLOW_PIANO, 1)):
        text = torch.tensor([lead])
        plain = sample_codes(core, text, seconds(1, 4.0), 100, settings, [seed])
        fixed = sample_codes(
            core, text, seconds(1, 4.0), 100, settings, [seed], preparation=graphed
        )
        assert torch.equal(plain, fixed)
    prefix = plain[:, :, :30]
    gone_on = sample_codes(
        core, text, seconds(1, 4.0), 100, settings, [1], prefix=prefix, preparation=graphed
    )
    assert torch.equal(gone_on, plain)


def test_a_step_is_captured_once_for_each_bucket() -> None:
    core = tiny_core()
    captured: list[int] = []

    def count(step: Step) -> Step:
        captured.append(1)
        return step

    preparation = Preparation(core, capture=count)
    for seed in (0, 1):
        sample_codes(
            core, torch.tensor([SLOW_PIANO]), seconds(1, 4.0), 150, PLAIN, [seed],
            preparation=preparation,
        )  # fmt: skip
    assert len(captured) == 3  # 64, 128 and the 151 steps there are
    assert [bucket_of(n, 300) for n in (1, 64, 65, 128, 200, 299)] == [64, 64, 128, 128, 256, 300]


def test_a_preparation_belongs_to_its_core(core: StarterCore) -> None:
    with pytest.raises(RequestError, match="made of another core"):
        sample_codes(
            core, torch.tensor([SLOW_PIANO]), seconds(1), 10, PLAIN, [0],
            preparation=Preparation(tiny_core()),
        )  # fmt: skip


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_give_the_codes_of_plain_steps_on_a_gpu() -> None:
    core = tiny_core().cuda()
    text = torch.tensor([SLOW_PIANO, FAST_ORGAN], device="cuda")
    settings = SamplingSettings(guidance=3.0, top_k=1)
    graphed = Preparation(core)
    for seeds in ([0, 1], [2, 3]):
        times = seconds(2, 6.0).cuda()
        fixed = sample_codes(core, text, times, 150, settings, seeds, preparation=graphed)
        plain = sample_codes(
            core, text, times, 150, settings, seeds, adapters=RowAdapters([NO_ADAPTER] * 2)
        )
        assert torch.equal(fixed, plain)


def test_truncation_can_be_done_by_hand() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    assert torch.allclose(
        truncate(logits, SamplingSettings(1.0, 1.0, 2, 1.0)), torch.tensor([0.625, 0.375, 0, 0])
    )
    # 0.5 does not reach 0.6 and 0.5 + 0.3 does, so the second is the last to stay.
    assert torch.allclose(
        truncate(logits, SamplingSettings(1.0, 1.0, 0, 0.6)), torch.tensor([0.5, 0.3, 0.0, 0.0])
    )
    cold = truncate(logits, SamplingSettings(1.0, 0.5, 0, 1.0))
    assert torch.allclose(cold, torch.tensor([0.25, 0.09, 0.0225, 0.0025]) / 0.365)


def test_drawing_passes_the_cumulated_probabilities_in_order() -> None:
    probabilities = torch.tensor([[0.2, 0.0, 0.3, 0.5]]).repeat(6, 1)
    uniform = torch.tensor([0.0, 0.19, 0.2, 0.49, 0.51, 0.999999])
    assert draw(probabilities, uniform).tolist() == [0, 0, 2, 2, 3, 3]


def test_drawn_tokens_have_the_asked_for_frequencies() -> None:
    uniform = torch.rand(20000, generator=torch.Generator().manual_seed(0))
    tokens = draw(torch.tensor([[0.1, 0.2, 0.7]]).expand(20000, 3), uniform)
    shares = torch.bincount(tokens, minlength=3) / 20000
    assert torch.allclose(shares, torch.tensor([0.1, 0.2, 0.7]), atol=0.015)


def test_settings_survive_a_round_through_json() -> None:
    settings = SamplingSettings(guidance=2.0, temperature=0.8, top_k=50, top_p=0.9)
    assert SamplingSettings(**asdict(settings)) == settings
    assert SamplingSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance": -1.0}, "guidance is 0 to 20, got -1"),
        ({"guidance": float("nan")}, "guidance is 0 to 20, got nan"),
        ({"temperature": 0.0}, "temperature is 0.05 to 5, got 0"),
        ({"top_k": -1}, "top_k is a whole number of at least 0, got -1"),
        ({"top_k": 2.5}, "top_k is a whole number of at least 0, got 2.5"),
        ({"top_p": 0.0}, "top_p is 0.01 to 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        SamplingSettings(**changes)  # type: ignore[arg-type]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(RequestError, match="warmth"):
        SamplingSettings.from_json({"warmth": 1})


def test_seeds_and_frames_must_fit(core: StarterCore) -> None:
    text = torch.tensor([SLOW_PIANO])
    with pytest.raises(RequestError, match="expected 1 seeds, one a clip, got 2"):
        sample_codes(core, text, seconds(1), 10, PLAIN, [0, 1])
    with pytest.raises(RequestError, match="n_frames is at least 1, got 0"):
        sample_codes(core, text, seconds(1), 0, PLAIN, [0])


def test_a_prefix_is_kept_and_greedy_sampling_goes_on_as_if_it_had_drawn_it(
    core: StarterCore,
) -> None:
    text = torch.tensor([SLOW_PIANO, FAST_ORGAN])
    settings = SamplingSettings(guidance=2.0, top_k=1)
    whole = sample_codes(core, text, seconds(2), 25, settings, [0, 1])
    for n_known in (1, 9, 24):
        again = sample_codes(
            core, text, seconds(2), 25, settings, [5, 6], prefix=whole[:, :, :n_known]
        )
        assert torch.equal(again, whole)


def test_another_prefix_is_kept_bit_by_bit_and_changes_what_follows(core: StarterCore) -> None:
    text = torch.tensor([SLOW_PIANO])
    prefix = torch.randint(0, 512, (1, 2, 10), generator=torch.Generator().manual_seed(1))
    alone = sample_codes(core, text, seconds(1), 25, PLAIN, [3])
    led = sample_codes(core, text, seconds(1), 25, PLAIN, [3], prefix=prefix)
    assert torch.equal(led[:, :, :10], prefix)
    assert not torch.equal(led[:, :, 10:], alone[:, :, 10:])


def test_only_the_steps_after_the_prefix_are_taken(core: StarterCore) -> None:
    taken: list[tuple[int, int]] = []
    sample_codes(
        core,
        torch.tensor([SLOW_PIANO]),
        seconds(1),
        25,
        PLAIN,
        [3],
        prefix=torch.zeros(1, 2, 10, dtype=torch.long),
        on_step=lambda step, n_steps: taken.append((step, n_steps)),
    )
    assert taken == [(step, 26) for step in range(11, 27)]


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (torch.zeros(1, 2, 10, dtype=torch.long), r"\[1, 2, 0 to 9\], got \(1, 2, 10\)"),
        (torch.zeros(1, 3, 5, dtype=torch.long), r"got \(1, 3, 5\)"),
        (torch.zeros(2, 2, 5, dtype=torch.long), r"got \(2, 2, 5\)"),
        (torch.zeros(2, 5, dtype=torch.long), r"got \(2, 5\)"),
        (torch.zeros(1, 2, 5), "whole numbers, got torch.float32"),
        (torch.full((1, 2, 5), 512), "expected codes 0 to 511 in the prefix, got 512 to 512"),
        (torch.full((1, 2, 5), -1), "got -1 to -1"),
    ],
)
def test_a_prefix_that_does_not_fit_is_refused(
    core: StarterCore, prefix: torch.Tensor, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        sample_codes(core, torch.tensor([SLOW_PIANO]), seconds(1), 10, PLAIN, [0], prefix=prefix)

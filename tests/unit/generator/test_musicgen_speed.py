"""MusicGen's decoder takes every road of the sampler: fixed memory, narrow weights, adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from generator.checkpoints import merge_adapter
from generator.lm.adapters import NO_ADAPTER, RowAdapters, read_adapter
from generator.lm.preparation import Preparation
from generator.lm.projections import WeightFormat
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.musicgen.core import DecoderCore
from generator.musicgen.loading import build_core
from tests.tiny_musicgen import tiny_musicgen, tiny_tokenizer

N_FRAMES = 25
GUIDED = SamplingSettings(guidance=3.0, top_k=1)
KINDS = ("mono", "stereo", "melody")


def core_of(kind: str) -> DecoderCore:
    model = tiny_musicgen(is_stereo=kind == "stereo", is_melody=kind == "melody")
    return build_core(model, text_length=24)


def sampled(
    core: DecoderCore,
    preparation: Preparation | None = None,
    adapters: RowAdapters | None = None,
    prompts: tuple[str, ...] = ("slow piano", "a fast dance on piano, take 2"),
) -> torch.Tensor:
    encoded = tiny_tokenizer()(list(prompts), padding=True, return_tensors="pt")
    return sample_codes(
        core,
        encoded["input_ids"],
        torch.zeros(len(prompts), 2),
        N_FRAMES,
        GUIDED,
        list(range(len(prompts))),
        text_mask=encoded["attention_mask"],
        preparation=preparation,
        adapters=adapters,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_steps_on_fixed_memory_give_the_codes_of_plain_steps(kind: str) -> None:
    core = core_of(kind)
    graphed = Preparation(core, capture=lambda step: step)
    expected = sampled(core)
    assert torch.equal(sampled(core, graphed), expected)
    assert torch.equal(sampled(core, graphed), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_narrow_weights_begin_as_the_exact_ones_do(kind: str) -> None:
    core = core_of(kind)
    exact = sampled(core)
    for weight_format in (WeightFormat.FLOAT16, WeightFormat.BFLOAT16, WeightFormat.INT8):
        narrow = sampled(core, Preparation(core, weight_format))
        assert (narrow[:, :, :2] == exact[:, :, :2]).float().mean() > 0.5, weight_format


@pytest.mark.parametrize("kind", KINDS)
def test_rows_use_their_own_adapters(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    targets = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
    model = get_peft_model(core_of(kind), LoraConfig(r=4, target_modules=targets))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(str(tmp_path))
    core = core_of(kind)
    rows = RowAdapters([NO_ADAPTER, read_adapter(core, tmp_path)])
    prompt = "slow piano"
    together = sampled(core, adapters=rows, prompts=(prompt, prompt))
    assert torch.equal(together[:1], sampled(core, prompts=(prompt,)))
    merged = merge_adapter(core_of(kind), tmp_path)
    assert torch.equal(together[1:], sampled(merged, prompts=(prompt,)))
    assert not torch.equal(together[0], together[1])

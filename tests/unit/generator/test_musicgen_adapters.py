"""LoRA adapters go from plain transformers and PEFT to our core and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor

from alignment.adapters import save_adapter
from alignment.face import FlatAudioLM
from generator.checkpoints import merge_adapter
from generator.errors import CheckpointError
from generator.lm.adapters import NO_ADAPTER, RowAdapters, read_adapter
from generator.lm.core import all_logits
from generator.lm.patterns import shift_right
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.musicgen.core import DecoderCore
from generator.musicgen.loading import build_core
from generator.synthesis import load_generator
from tests.tiny import tiny_core
from tests.tiny_musicgen import CODEBOOK_SIZE, TEXT_LENGTH, tiny_musicgen, write_tiny_musicgen

TARGETS = ["q_proj", "v_proj"]
PROMPTS = torch.tensor([[4, 7, 9, 1], [5, 6, 1, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def model_of(kind: str) -> Any:
    """Returns the same random model each time, in a new copy."""
    return tiny_musicgen(is_stereo="stereo" in kind, is_melody="melody" in kind)


def core_of(kind: str) -> DecoderCore:
    return build_core(model_of(kind), TEXT_LENGTH)


def random_lora(**changes: Any) -> LoraConfig:
    """Returns an adapter's configuration whose first weights already change the output."""
    options: dict[str, Any] = {"r": 3, "lora_alpha": 6, "target_modules": TARGETS}
    return LoraConfig(**(options | changes), init_lora_weights=False)


def rows_of(core: DecoderCore) -> Tensor:
    codes = torch.randint(
        0, CODEBOOK_SIZE, (2, core.n_codebooks, 9), generator=torch.Generator().manual_seed(0)
    )
    return shift_right(core.pattern.build(codes), core.pattern.hole)


@torch.inference_mode()
def our_logits(core: DecoderCore, mask: Tensor = MASK) -> Tensor:
    """Returns logits [B, S, K, V]."""
    condition = core.condition(PROMPTS, mask, torch.zeros(2, 2))
    return all_logits(core, core.trunk(rows_of(core), condition))


@torch.inference_mode()
def their_logits(model: Any, kind: str, mask: Tensor = MASK) -> Tensor:
    """Returns logits [B, S, K, V] of transformers' whole model, its decoder adapted or not."""
    rows = rows_of(core_of(kind))
    logits = model(
        input_ids=PROMPTS,
        attention_mask=mask,
        decoder_input_ids=rows.transpose(1, 2).flatten(0, 1),
    ).logits
    by_codebook = logits.view(2, rows.shape[2], -1, CODEBOOK_SIZE)  # [B, K, prefix + S, V]
    return by_codebook[:, :, -rows.shape[1] :].transpose(1, 2)


def with_lora_of_transformers(kind: str, folder: Path, **changes: Any) -> Any:
    """Returns transformers' model with a random adapter on its decoder, saved in a folder."""
    torch.manual_seed(5)
    model = model_of(kind)
    adapted = get_peft_model(model.decoder, random_lora(**changes))
    adapted.save_pretrained(str(folder))
    return model


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_an_adapter_of_transformers_and_peft_runs_on_our_core(kind: str, tmp_path: Path) -> None:
    theirs = their_logits(with_lora_of_transformers(kind, tmp_path), kind)
    assert (theirs - our_logits(core_of(kind))).abs().max() > 0.1
    merged = merge_adapter(core_of(kind), tmp_path)
    torch.testing.assert_close(our_logits(merged), theirs, atol=1e-4, rtol=1e-4)
    wrapped: Any = PeftModel.from_pretrained(core_of(kind), tmp_path).eval()
    torch.testing.assert_close(our_logits(wrapped.get_base_model()), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("targets", [TARGETS, ["k_proj", "out_proj", "fc1", "fc2", "lm_heads.0"]])
def test_greedy_tokens_of_an_adapted_core_equal_transformers(
    targets: list[str], tmp_path: Path
) -> None:
    model = with_lora_of_transformers("mono", tmp_path, target_modules=targets)
    heard: list[Tensor] = []
    decode = model.audio_encoder.decode
    model.audio_encoder.decode = lambda codes, *rest, **more: (
        heard.append(codes[0]) or decode(codes, *rest, **more)  # type: ignore[func-returns-value]
    )
    model.generate(
        input_ids=PROMPTS,
        attention_mask=MASK,
        do_sample=False,
        guidance_scale=3.0,
        max_new_tokens=15,
    )
    merged = merge_adapter(core_of("mono"), tmp_path)
    codes = sample_codes(
        merged,
        PROMPTS,
        torch.zeros(2, 2),
        12,
        SamplingSettings(guidance=3.0, top_k=1),
        [0, 1],
        text_mask=MASK,
    )
    assert torch.equal(codes, heard[0])


def test_an_adapter_of_the_whole_model_is_read_too(tmp_path: Path) -> None:
    torch.manual_seed(6)
    model = model_of("mono")
    get_peft_model(model, random_lora()).save_pretrained(str(tmp_path))
    keys = load_file(tmp_path / "adapter_model.safetensors")
    assert all(key.startswith("base_model.model.decoder.model.decoder.layers.") for key in keys)
    merged = merge_adapter(core_of("mono"), tmp_path)
    torch.testing.assert_close(
        our_logits(merged), their_logits(model, "mono"), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_an_adapter_of_our_core_runs_on_transformers_and_peft(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(7)
    core = core_of(kind)
    policy = get_peft_model(FlatAudioLM(core), random_lora())
    save_adapter(policy, tmp_path)
    keys = load_file(tmp_path / "adapter_model.safetensors")
    assert "base_model.model.model.decoder.layers.0.self_attn.q_proj.lora_A.weight" in keys

    model = model_of(kind)
    plain = model.decoder
    adapted = PeftModel.from_pretrained(plain, tmp_path).eval()
    names = set(peft.get_peft_model_state_dict(adapted))
    assert names == set(keys)
    # The melody model of transformers reads padding, ours does not.
    mask = torch.ones_like(MASK) if kind == "melody" else MASK
    ours, theirs = our_logits(core, mask), their_logits(model, kind, mask)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert (ours - our_logits(core_of(kind), mask)).abs().max() > 0.1


def test_an_adapter_goes_there_and_back_unchanged(tmp_path: Path) -> None:
    theirs = with_lora_of_transformers("mono", tmp_path / "theirs")
    face = FlatAudioLM(core_of("mono"))
    policy = get_peft_model(face, random_lora())
    stored = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    moved = {
        name.replace("base_model.model.", "base_model.model.core.", 1): tensor
        for name, tensor in stored.items()
    }
    peft.set_peft_model_state_dict(policy, moved)
    save_adapter(policy, tmp_path / "ours")
    again = load_file(tmp_path / "ours" / "adapter_model.safetensors")
    assert set(again) == set(stored)
    assert all(torch.equal(again[name], stored[name]) for name in stored)
    merged = merge_adapter(core_of("mono"), tmp_path / "ours")
    torch.testing.assert_close(
        our_logits(merged), their_logits(theirs, "mono"), atol=1e-4, rtol=1e-4
    )


def test_adapters_by_row_sample_what_merged_ones_do(tmp_path: Path) -> None:
    with_lora_of_transformers("mono", tmp_path)
    core = core_of("mono")
    settings = SamplingSettings(guidance=3.0, top_k=1)
    arguments = (PROMPTS, torch.zeros(2, 2), 12, settings, [3, 4])
    rows = RowAdapters([read_adapter(core, tmp_path), NO_ADAPTER])
    mixed = sample_codes(core, *arguments, text_mask=MASK, adapters=rows)
    base = sample_codes(core, *arguments, text_mask=MASK)
    merged = sample_codes(merge_adapter(core, tmp_path), *arguments, text_mask=MASK)
    assert torch.equal(mixed[0], merged[0])
    assert torch.equal(mixed[1], base[1])
    assert not torch.equal(base[0], merged[0])


def test_a_folder_and_an_adapter_without_cards_make_a_generator(tmp_path: Path) -> None:
    write_tiny_musicgen(tmp_path / "base")
    with_lora_of_transformers("mono", tmp_path / "adapter")
    generator = load_generator(tmp_path / "base", [tmp_path / "adapter"])
    core = generator.core
    assert isinstance(core, DecoderCore)
    expected = our_logits(merge_adapter(core_of("mono"), tmp_path / "adapter"))
    torch.testing.assert_close(our_logits(core), expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_of_another_core_is_refused(tmp_path: Path) -> None:
    with_lora_of_transformers("mono", tmp_path / "musicgen")
    with pytest.raises(CheckpointError, match=r"does not fit the core: .* no counterpart"):
        merge_adapter(tiny_core(), tmp_path / "musicgen")
    with_lora_of_transformers("mono", tmp_path / "melody")
    with pytest.raises(CheckpointError, match=r"does not fit the core: .*encoder_attn"):
        merge_adapter(core_of("melody"), tmp_path / "melody")

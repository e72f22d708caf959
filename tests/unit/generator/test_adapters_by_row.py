"""Rows of one batch use different LoRA adapters and give what merged adapters give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from generator.checkpoints import content_hash, load_core, merge_adapter, write_card
from generator.errors import CheckpointError, RequestError
from generator.lm.adapters import NO_ADAPTER, Adapter, RowAdapters, read_adapter
from generator.lm.preparation import Preparation
from generator.lm.projections import WeightFormat
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterConfig, StarterCore
from generator.requests import ClipRequest
from generator.synthesis import load_generator
from generator.text.header import encode_header
from tests.tiny import tiny_core, write_tiny_checkpoint

TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
N_FRAMES = 25


def write_adapter(
    folder: Path, *, seed: int, core: StarterCore | None = None, **config: Any
) -> Path:
    """Writes a random LoRA adapter as PEFT does, large enough to change what is sampled."""
    torch.manual_seed(seed)
    chosen: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **config}
    model = get_peft_model(core or tiny_core(), LoraConfig(**chosen))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(folder))
    return folder


def text_of(*leads: str) -> Tensor:
    return torch.tensor([encode_header({"lead": lead}) for lead in leads])


def sampled(
    core: StarterCore,
    n_clips: int,
    settings: SamplingSettings,
    adapters: RowAdapters | None = None,
    preparation: Preparation | None = None,
    *,
    first_seed: int = 0,
) -> Tensor:
    return sample_codes(
        core,
        text_of("piano").repeat(n_clips, 1),
        torch.tensor([[0.0, 1.0]] * n_clips),
        N_FRAMES,
        settings,
        list(range(first_seed, first_seed + n_clips)),
        adapters=adapters,
        preparation=preparation,
    )


GREEDY = SamplingSettings(guidance=3.0, top_k=1)
DRAWN = SamplingSettings(guidance=2.0, temperature=0.9, top_k=100)


@pytest.mark.parametrize("drawing", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_each_row_gives_the_codes_of_its_own_merged_adapter(
    tmp_path: Path, drawing: SamplingSettings
) -> None:
    folders = [
        write_adapter(tmp_path / "one", seed=1),
        write_adapter(tmp_path / "two", seed=2, r=2, target_modules=["q_proj", "v_proj", "fc1"]),
        write_adapter(tmp_path / "three", seed=3, use_rslora=True, target_modules=["modulation"]),
    ]
    core = tiny_core()
    rows = RowAdapters([NO_ADAPTER, *(read_adapter(core, folder) for folder in folders)])
    together = sampled(core, 4, drawing, rows)
    merged = [tiny_core(), *(merge_adapter(tiny_core(), folder) for folder in folders)]
    for number, alone in enumerate(merged):
        expected = sampled(alone, 1, drawing, first_seed=number)
        assert torch.equal(together[number], expected[0]), number
    assert len({tuple(row.flatten().tolist()) for row in together}) == 4


def test_hidden_states_equal_those_of_merged_adapters(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "one", seed=1)
    core = tiny_core()
    adapters = RowAdapters([NO_ADAPTER, read_adapter(core, folder)])
    rows = torch.randint(0, 512, (2, 9, 2), generator=torch.Generator().manual_seed(0))
    text, mask = core.empty_text(2)
    seconds = torch.tensor([[0.0, 2.0]] * 2)
    with torch.inference_mode():
        with Preparation(core).ready(adapters):
            together = core.trunk(rows, core.condition(text, mask, seconds))
        for number, alone in enumerate([core, merge_adapter(tiny_core(), folder)]):
            expected = alone.trunk(rows, alone.condition(text, mask, seconds))
            assert torch.allclose(together[number], expected[number], atol=1e-5)
        assert (together[0] - together[1]).abs().max() > 1e-2


def test_an_adapter_on_top_of_an_adapter_is_their_sum(tmp_path: Path) -> None:
    first = write_adapter(tmp_path / "first", seed=1)
    second = write_adapter(tmp_path / "second", seed=2, target_modules=["q_proj", "fc2"])
    core = tiny_core()
    both = read_adapter(core, first).followed_by(read_adapter(core, second))
    merged = merge_adapter(merge_adapter(tiny_core(), first), second)
    together = sampled(core, 2, GREEDY, RowAdapters([both, NO_ADAPTER]))
    assert torch.equal(together[0], sampled(merged, 1, GREEDY)[0])
    assert torch.equal(together[1], sampled(core, 2, GREEDY)[1])


def test_a_preparation_serves_batches_with_and_without_adapters(tmp_path: Path) -> None:
    core = tiny_core()
    adapter = read_adapter(core, write_adapter(tmp_path / "one", seed=1))
    preparation = Preparation(core)
    before = sampled(core, 1, GREEDY, preparation=preparation)
    adapted = sampled(core, 1, GREEDY, RowAdapters([adapter]), preparation)
    assert not torch.equal(before, adapted)
    assert torch.equal(sampled(core, 1, GREEDY, preparation=preparation), before)
    assert type(core.get_submodule("layers.0.fc1")) is torch.nn.Linear
    assert core.get_parameter("layers.0.fc1.weight").requires_grad


def test_a_core_is_left_as_it_was_when_sampling_fails(tmp_path: Path) -> None:
    core = tiny_core()
    names = list(core.state_dict())
    with pytest.raises(RequestError, match="expected 2 adapters, one a clip, got 1"):
        sampled(core, 2, GREEDY, RowAdapters([NO_ADAPTER]))
    wrong = Adapter(read_adapter(core, write_adapter(tmp_path / "one", seed=1)).deltas)
    with pytest.raises(ZeroDivisionError), Preparation(core).ready(RowAdapters([wrong])):
        raise ZeroDivisionError
    assert list(core.state_dict()) == names


def test_a_generator_makes_clips_of_a_checkpoint_and_its_adapters_together(
    tmp_path: Path,
) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    chain = []
    for number, parent in enumerate([base, tmp_path / "adapter-0"]):
        folder = write_adapter(tmp_path / f"adapter-{number}", seed=number, core=load_core(base))
        write_card(
            folder,
            name=folder.name,
            kind="adapter",
            licence="Apache-2.0",
            parent_hash=content_hash(parent),
        )
        chain.append(folder)
    generator = load_generator(base)
    requests = [ClipRequest("slow piano", 1.0, seed) for seed in (5, 6, 7)]
    adapters = [NO_ADAPTER, generator.adapter(chain[:1]), generator.adapter(chain)]
    together = generator.generate(requests, DRAWN, adapters=adapters)
    for number, folders in enumerate([[], chain[:1], chain]):
        alone = load_generator(base, folders).generate([requests[number]], DRAWN)[0]
        assert (together[number].codes == alone.codes).all(), number
    with pytest.raises(CheckpointError, match="was trained on"):
        generator.adapter(chain[1:])
    with pytest.raises(RequestError, match="expected 3 adapters, one a request, got 1"):
        generator.generate(requests, DRAWN, adapters=[NO_ADAPTER])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora True"),
        ({"bias": "all"}, "bias 'all'"),
        ({"modules_to_save": ["lm_heads"]}, "modules_to_save"),
    ],
)
def test_an_adapter_that_only_merging_can_apply_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder = write_adapter(tmp_path / "one", seed=1)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=message):
        read_adapter(tiny_core(), folder)


def test_an_adapter_of_other_sizes_or_of_the_heads_is_refused(tmp_path: Path) -> None:
    wide = tiny_core(config=StarterConfig(width=64, n_layers=2, n_heads=2))
    folder = write_adapter(tmp_path / "wide", seed=1, core=wide)
    with pytest.raises(CheckpointError, match=r"expected|are \(4, 32, 32\)"):
        read_adapter(tiny_core(), folder)
    heads = write_adapter(tmp_path / "heads", seed=1, target_modules=r"lm_heads\.\d")
    with pytest.raises(CheckpointError, match=r"adapts .*lm_heads"):
        read_adapter(tiny_core(), heads)


def test_int8_weights_take_adapters_too(tmp_path: Path) -> None:
    core = tiny_core()
    adapter = read_adapter(core, write_adapter(tmp_path / "one", seed=1))
    rows = RowAdapters([adapter, NO_ADAPTER])
    narrow = sampled(core, 2, GREEDY, rows, Preparation(core, WeightFormat.INT8))
    exact = sampled(core, 2, GREEDY, rows)
    assert (narrow[:, :, :3] == exact[:, :, :3]).float().mean() > 0.5

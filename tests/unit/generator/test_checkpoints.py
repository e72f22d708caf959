"""Checkpoint folders are complete, unchanged and of the right kind, or they are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from generator.checkpoints import (
    chain_hash,
    content_hash,
    load_core,
    merge_adapter,
    read_card,
    save_core,
    verify_folder,
    write_card,
)
from generator.errors import CheckpointError
from generator.files import write_atomically, write_tensors
from generator.lm.core import Core
from generator.lm.starter import StarterCore
from generator.synthesis import load_generator
from tests.tiny import tiny_core, write_tiny_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "tiny")


HEAD = "lm_heads.0.weight"
QUERY = "layers.0.attention.q_proj.weight"


def write_adapter(core: StarterCore, folder: Path, parent: Path | None, seed: int) -> Path:
    """Writes a random LoRA adapter on every projection of the core."""
    torch.manual_seed(seed)
    targets = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
    model = get_peft_model(core, LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(str(folder))
    model.unload()
    write_card(
        folder,
        name=folder.name,
        kind="adapter",
        licence="Apache-2.0",
        parent=parent.name if parent else None,
        parent_hash=content_hash(parent) if parent else None,
    )
    return folder


def test_a_whole_folder_is_verified_and_says_what_it_is(folder: Path) -> None:
    card = verify_folder(folder)
    assert card.kind == "full"
    assert card.licence == "Apache-2.0"
    assert card.parent is None
    assert set(card.files) == {path.name for path in folder.iterdir()} - {"card.json"}


def test_the_hash_depends_on_content_and_not_on_the_place(folder: Path, tmp_path: Path) -> None:
    again = write_tiny_checkpoint(tmp_path / "again")
    other = write_tiny_checkpoint(tmp_path / "other", seed=1)
    assert content_hash(again) == content_hash(folder) == chain_hash([folder])
    assert content_hash(other) != content_hash(folder)


@pytest.mark.parametrize("name", ["lm.safetensors", "codec.json", "planner.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        verify_folder(folder)


@pytest.mark.parametrize("name", ["lm.safetensors", "lm.json", "codec.safetensors"])
def test_one_changed_byte_is_noticed_and_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} has sha256"):
        load_generator(folder)


def test_a_half_written_file_is_refused_with_and_without_verification(folder: Path) -> None:
    path = folder / "lm.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="has sha256"):
        load_generator(folder)
    with pytest.raises(CheckpointError, match="not readable"):
        load_generator(folder, verify=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "card.json is missing"),
        ("{", "not readable JSON"),
        ("[]", "not a card"),
        ('{"name": "x"}', "not a card"),
    ],
)
def test_a_bad_card_is_refused(folder: Path, content: str | None, message: str) -> None:
    (folder / "card.json").unlink()
    if content is not None:
        (folder / "card.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        verify_folder(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "card format 1 is known, got 2"),
        ({"kind": "half"}, "kind is one of"),
        ({"files": {}}, "names .*lm.safetensors"),
    ],
)
def test_a_card_of_another_format_is_refused(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))
    with pytest.raises(CheckpointError, match=message):
        read_card(folder)


def test_a_card_cannot_name_files_elsewhere(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["files"]["../secret"] = "0"
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="own folder"):
        read_card(folder)


def test_a_folder_without_its_files_gets_no_card(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks .*lm\.json"):
        write_card(tmp_path, name="x", kind="full", licence="Apache-2.0")
    assert not (tmp_path / "card.json").exists()


def test_a_saved_core_computes_the_same_but_for_half_precision(tmp_path: Path) -> None:
    core = tiny_core()
    save_core(core, tmp_path, torch.float32)
    loaded = load_core(tmp_path)
    assert loaded.config == core.config
    for name, value in core.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    save_core(core, tmp_path)
    halved = load_core(tmp_path)
    difference = halved.get_parameter(HEAD) - core.get_parameter(HEAD)
    assert 0 < difference.abs().max() < 1e-3


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path: Path) -> None:
    save_core(tiny_core(), tmp_path)
    write_tensors(tmp_path / "lm.safetensors", {"unknown": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="does not fit its configuration"):
        load_core(tmp_path)


def test_an_interrupted_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def hidden_of(core: Core) -> torch.Tensor:
    text, mask = core.empty_text(1)
    rows = torch.arange(14).view(1, 7, 2)
    with torch.inference_mode():
        return core.trunk(rows, core.condition(text, mask, torch.tensor([[0.0, 5.0]])))


def test_an_adapter_changes_the_output_as_peft_says(folder: Path, tmp_path: Path) -> None:
    core = load_core(folder)
    base = hidden_of(core)
    adapter = write_adapter(core, tmp_path / "adapter", folder, seed=1)
    merged = load_generator(folder, [adapter]).core
    assert (hidden_of(merged) - base).abs().max() > 1e-3
    assert type(merged.get_submodule(QUERY.removesuffix(".weight"))) is torch.nn.Linear
    # By hand: weight + alpha / r * B A, for one projection.
    from safetensors.torch import load_file

    stored = load_file(adapter / "adapter_model.safetensors")
    prefix = f"base_model.model.{QUERY.removesuffix('.weight')}"
    delta = 2.0 * stored[f"{prefix}.lora_B.weight"] @ stored[f"{prefix}.lora_A.weight"]
    expected = load_core(folder).get_parameter(QUERY) + delta
    assert torch.allclose(merged.get_parameter(QUERY), expected, atol=1e-6)


def test_a_chain_of_two_adapters_applies_both_in_order(folder: Path, tmp_path: Path) -> None:
    first = write_adapter(load_core(folder), tmp_path / "first", folder, seed=1)
    second = write_adapter(load_core(folder), tmp_path / "second", first, seed=2)
    one, two = load_generator(folder, [first]), load_generator(folder, [first, second])
    assert (hidden_of(one.core) - hidden_of(two.core)).abs().max() > 1e-3
    by_hand = merge_adapter(merge_adapter(load_core(folder), first), second)
    assert torch.allclose(hidden_of(two.core), hidden_of(by_hand), atol=1e-6)
    hashes = {load_generator(folder).content_hash, one.content_hash, two.content_hash}
    assert len(hashes) == 3
    assert two.content_hash == chain_hash([folder, first, second])


def test_an_adapter_of_another_parent_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_tiny_checkpoint(tmp_path / "other", seed=1)
    adapter = write_adapter(load_core(other), tmp_path / "adapter", other, seed=1)
    with pytest.raises(CheckpointError, match="was trained on"):
        load_generator(folder, [adapter])


def test_kinds_are_not_confused(folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(load_core(folder), tmp_path / "adapter", None, seed=1)
    with pytest.raises(CheckpointError, match="expected a checkpoint of kind full"):
        load_generator(adapter)
    with pytest.raises(CheckpointError, match="expected a checkpoint of kind adapter"):
        load_generator(folder, [folder])


def test_an_adapter_without_safetensors_never_falls_back_to_pickle(
    folder: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(load_core(folder), tmp_path / "adapter", None, seed=1)
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({}, adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is missing"):
        load_generator(folder, [adapter], verify=False)

"""Alignment trains a tiny MusicGen as it trains the starter: text of several lengths, LoRA, DPO."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor

from alignment.collation import flat_row
from alignment.errors import RunFolderError
from alignment.face import IGNORED_LABEL, FlatAudioLM
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from generator.checkpoints import content_hash, verify_folder
from generator.families import load_core
from generator.lm.core import all_logits
from generator.lm.patterns import shift_right
from generator.musicgen.command import adopt
from generator.musicgen.core import DecoderCore
from generator.requests import ClipRequest
from generator.synthesis import Generator, load_generator
from tests.tiny_musicgen import CODEBOOK_SIZE, tiny_musicgen, write_tiny_musicgen

PROMPTS = ("slow piano", "a fast dance on piano, take 2", "calm lullaby")
N_PAIRS = 48
N_HELD_OUT = 8
FRAME_RATE_HZ = 50
CONFIG = {
    "beta_norm": 20.0,
    "learning_rate": 2e-3,
    "n_epochs": 2,
    "batch_pairs": 8,
    "save_steps": 1000,
}


@dataclass(frozen=True)
class Trained:
    """A finished run on a tiny MusicGen."""

    base: Path
    folder: Path
    summary: dict[str, Any]


def lowness(codes: np.ndarray) -> float:
    """Returns the share of codes in the lower half: the planted taste likes it high."""
    return float((codes < CODEBOOK_SIZE // 2).mean())


def write_run(folder: Path, base: Path, generator: Generator) -> Path:
    """Writes a run folder on sampled pairs, the lower clip preferred."""
    folder.mkdir()
    requests = [
        ClipRequest(PROMPTS[pair % len(PROMPTS)], 1.0, 2 * pair + side)
        for pair in range(N_PAIRS)
        for side in (0, 1)
    ]
    clips = generator.generate(requests, generator.settings({"guidance": 1.0}))
    rows = []
    for pair in range(N_PAIRS):
        both = sorted(clips[2 * pair : 2 * pair + 2], key=lambda clip: lowness(clip.codes))
        names = {}
        for role, clip in zip(("rejected", "chosen"), both, strict=True):
            names[role] = f"{pair}-{role}.npy"
            np.save(folder / names[role], clip.codes)
        rows.append(
            {
                "pair": str(pair),
                "header": list(both[0].header),
                **names,
                "split": "held_out" if pair >= N_PAIRS - N_HELD_OUT else "train",
            }
        )
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "preferences.jsonl").write_text(content)
    run = {
        "base": str(base),
        "preferences": "preferences.jsonl",
        "codes_root": str(folder),
        "method": "dpo",
        "config": CONFIG,
        "name": "aligned",
        "parent_hash": content_hash(base),
        "dataset_sha256": sha256(content.encode()).hexdigest(),
    }
    (folder / "run.json").write_text(json.dumps(run))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("musicgen-run")
    base = home / "base"
    adopt(str(write_tiny_musicgen(home / "pretrained")), base, name="tiny-musicgen")
    run = write_run(home / "run", base, load_generator(base))
    return Trained(base, run, train_run(read_run(run), stop=StopSwitch()))


@torch.no_grad()
def test_flat_log_probs_equal_direct_ones_for_texts_of_several_lengths(trained: Trained) -> None:
    core = load_core(trained.base)
    model = FlatAudioLM(core).eval()
    generator = torch.Generator().manual_seed(0)
    headers = [(4, 5, 1), (7, 8, 9, 10, 1), (1,)]
    clips = [torch.randint(0, CODEBOOK_SIZE, (4, n), generator=generator) for n in (9, 3, 6)]
    rows = [
        flat_row(model.vocabulary, header, clip, FRAME_RATE_HZ)
        for header, clip in zip(headers, clips, strict=True)
    ]
    ids = torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=float(model.vocabulary.pad)
    )
    is_code = model.vocabulary.is_code(ids)
    labels = ids.masked_fill(~is_code, IGNORED_LABEL)
    found = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs.sum(1)
    for row, (header, clip) in enumerate(zip(headers, clips, strict=True)):
        expected = direct_log_prob(core, torch.tensor([header]), clip[None])
        assert float(found[row]) == pytest.approx(expected, abs=1e-3)


def direct_log_prob(core: Any, text: Tensor, codes: Tensor) -> float:
    """Returns the log-probability of a clip's codes [1, K, T], one text, no padding."""
    grid = core.pattern.build(codes)
    condition = core.condition(text, torch.ones_like(text), torch.zeros(1, 2))
    hidden = core.trunk(shift_right(grid, core.pattern.hole), condition)
    scores = all_logits(core, hidden).log_softmax(-1)
    known = grid.clamp(max=CODEBOOK_SIZE - 1)
    chosen = scores.gather(-1, known[..., None])[..., 0]
    return float(chosen[grid != core.pattern.hole].sum())


def test_a_planted_taste_is_learned(trained: Trained) -> None:
    assert trained.summary["n_train"] == N_PAIRS - N_HELD_OUT
    assert trained.summary["training"]["margin"] > 0.0
    base = load_generator(trained.base)
    policy = load_generator(trained.base, [trained.folder / "result"])
    requests = [ClipRequest(PROMPTS[n % 3], 1.0, 1000 + n) for n in range(30)]
    settings = base.settings({"guidance": 1.0})
    of_base = [lowness(clip.codes) for clip in base.generate(requests, settings)]
    of_policy = [lowness(clip.codes) for clip in policy.generate(requests, settings)]
    assert np.mean(np.array(of_policy) > np.array(of_base)) > 0.7
    assert np.mean(of_policy) - np.mean(of_base) > 0.03


def test_the_first_margin_is_exactly_zero(trained: Trained) -> None:
    lines = (trained.folder / "progress.jsonl").read_text().splitlines()
    first = next(line for line in map(json.loads, lines) if "margin" in line)
    assert (first["margin"], first["accuracy"]) == (0.0, 0.5)


def test_the_published_adapter_names_its_family_and_loads_in_transformers(
    trained: Trained,
) -> None:
    result = trained.folder / "result"
    card = verify_folder(result)
    assert (card.kind, card.family, card.parent) == ("adapter", "musicgen", "tiny-musicgen")
    model = tiny_musicgen()
    adapted = PeftModel.from_pretrained(model.decoder, result).eval()
    merged = load_generator(trained.base, [result]).core
    assert isinstance(merged, DecoderCore)
    weights = adapted.merge_and_unload().state_dict()
    name = "model.decoder.layers.1.encoder_attn.q_proj.weight"
    torch.testing.assert_close(merged.state_dict()[name], weights[name], atol=1e-6, rtol=1e-5)
    base = load_core(trained.base).state_dict()[name]
    assert (weights[name] - base).abs().max() > 1e-4


def test_a_text_that_is_too_long_is_refused(trained: Trained, tmp_path: Path) -> None:
    rows = (trained.folder / "preferences.jsonl").read_text().splitlines()
    row = json.loads(rows[0]) | {"header": [4] * 25, "pair": "long"}
    content = json.dumps(row) + "\n"
    run = json.loads((trained.folder / "run.json").read_text())
    run["dataset_sha256"] = sha256(content.encode()).hexdigest()
    (tmp_path / "preferences.jsonl").write_text(content)
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(RunFolderError, match="pair long has 25 ids, the core reads 1 to 24"):
        train_run(read_run(tmp_path), stop=StopSwitch())

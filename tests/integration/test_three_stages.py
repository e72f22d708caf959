"""All three stages from nothing on a toy scale: codec, pretraining, text, preferences, a clip."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from generator.__main__ import main
from generator.checkpoints import Card, content_hash, load_core, verify_folder
from generator.corpus.rendering import DEFAULT_SOUNDFONT
from generator.representation.clips import clip_codes, embed_clips, load_clips
from generator.representation.distance import nearest_neighbours
from generator.representation.encoder import load_encoder
from tests.unit.alignment.planted import lowness, sample_pairs, write_preferences, write_run

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0
GUESS_NLL = math.log(512)

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@dataclass(frozen=True)
class Workshop:
    """Folders of one run through all stages."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / name.replace("_", "-")


def command(*words: object) -> list[str]:
    """Returns the command line of a generator command."""
    return [str(word) for word in words]


def run(*words: object) -> None:
    """Runs a generator command in this process."""
    assert main(command(*words)) == 0


def start(module: str, *words: object) -> subprocess.Popen[str]:
    """Starts a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *command(*words)],
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> str:
    """Waits for a command, which must end well, and returns its output."""
    output, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, output
    return output


def kill_after_a_save(child: subprocess.Popen[str], folder: Path) -> int:
    """Kills a training once it has saved its state; returns the step that was saved."""
    began_at = time.monotonic()
    state = folder / "training.json"
    while not state.is_file():
        assert child.poll() is None, child.communicate()[0]
        assert time.monotonic() - began_at < PATIENCE_S
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == -signal.SIGKILL
    assert not (folder / "card.json").exists()
    return int(json.loads(state.read_text())["step"])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A corpus, a codec trained on it for seconds, and its codes."""
    if not DEFAULT_SOUNDFONT.is_file():
        pytest.skip(f"rendering needs the soundfont {DEFAULT_SOUNDFONT}")
    pytest.importorskip("tinysoundfont")
    shop = Workshop(tmp_path_factory.mktemp("stages"))
    run("corpus", shop.corpus, "--clips", 80, "--seed", 1)
    run("train-codec", shop.codec, "--corpus", shop.corpus, "--minutes", 0.15, "--batch-size", 4)
    run("tokenise", shop.tokens, "--corpus", shop.corpus, "--codec", shop.codec)
    return shop


@pytest.fixture(scope="module")
def stages(workshop: Workshop) -> dict[str, Card]:
    """Every stage run once, the language model's pretraining killed on the way."""
    shop = workshop
    common = ["--tokens", shop.tokens, "--codec", shop.codec]
    sizes = ["--width", 64, "--layers", 1]

    often = ["--steps", 60, "--save-seconds", 0.01, "--name", "toy-pretrained"]
    pretraining = ["pretrain", *common, *sizes, *often, "--out", shop.pretrained]
    step = kill_after_a_save(start("generator", *pretraining), shop.pretrained)
    assert 0 < step < 60
    output = finish(start("generator", *pretraining))
    assert "resumed at step" in output

    small = ["--width", 32, "--layers", 1, "--steps", 60, "--name", "toy-encoder"]
    run("pretrain-encoder", "--tokens", shop.tokens, "--out", shop.encoder, *small)
    more = ["--steps", 60, "--name", "toy-finetuned", "--out", shop.finetuned]
    run("finetune", *common, "--init", shop.pretrained, *more)
    run("train-planner", "--out", shop.planner, "--examples", 2000)
    parts = ["--core", shop.finetuned, "--codec", shop.codec, "--planner", shop.planner]
    run("assemble", *parts, "--out", shop.checkpoint, "--name", "toy")

    core = load_core(shop.checkpoint)
    pairs = sample_pairs(core, 20)
    likes_first = lowness(pairs.first, 512) > lowness(pairs.second, 512)
    preferences = write_preferences(shop.pairs, pairs, likes_first.tolist(), n_held_out=4)
    settings = {"learning_rate": 3e-3, "n_epochs": 3, "batch_pairs": 4}
    write_run(
        shop.run, base=shop.checkpoint, preferences=preferences, config=settings, name="tuned"
    )
    finish(start("alignment", "dpo", shop.run))
    folders = ("pretrained", "encoder", "finetuned", "checkpoint")
    cards = {name: verify_folder(shop.root / name) for name in folders}
    return cards | {"aligned": verify_folder(shop.run / "result")}


def test_losses_fall_in_every_stage(workshop: Workshop, stages: dict[str, Card]) -> None:
    pretrained, finetuned = stages["pretrained"].metrics, stages["finetuned"].metrics
    assert pretrained["steps"] == finetuned["steps"] == 60
    assert pretrained["validation_nll_without_text"] < GUESS_NLL - 0.5
    assert finetuned["validation_nll"] < pretrained["validation_nll_without_text"] - 0.05
    assert stages["encoder"].metrics["validation_loss"] < GUESS_NLL - 0.3
    lines = (workshop.run / "progress.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert len(losses) == 12
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_every_card_names_its_parent(workshop: Workshop, stages: dict[str, Card]) -> None:
    shop = workshop
    chain: list[tuple[str, str | None, Path | None]] = [
        ("pretrained", None, None),
        ("finetuned", "toy-pretrained", shop.pretrained),
        ("checkpoint", "toy-finetuned", shop.finetuned),
        ("aligned", "toy", shop.checkpoint),
        ("encoder", None, None),
    ]
    for name, parent, folder in chain:
        card = stages[name]
        assert card.parent == parent, name
        assert card.parent_hash == (content_hash(folder) if folder else None), name
    assert [stages[name].kind for name in ("finetuned", "checkpoint", "aligned", "encoder")] == [
        *("core", "full", "adapter", "encoder")
    ]
    recipes: list[dict[str, Any]] = [stages[n].recipe for n in ("pretrained", "finetuned")]
    assert [recipe["stage"] for recipe in recipes] == ["pretrain", "finetune"]
    assert recipes[0]["corpora"] == stages["encoder"].recipe["corpora"]


def test_clips_are_generated_before_and_after_alignment(
    workshop: Workshop, stages: dict[str, Card], tmp_path: Path
) -> None:
    sounds = []
    for name, extra in (("base", []), ("aligned", ["--adapter", workshop.run / "result"])):
        out = tmp_path / name
        out.mkdir()
        words = ["generate", "slow piano", "--checkpoint", workshop.checkpoint, "--seconds", 2]
        run(*words, "--out", out, *extra)
        samples, rate = soundfile.read(out / "clip-0.wav")
        assert (len(samples), rate) == (32000, 16000)
        sounds.append(samples)
    assert not np.array_equal(*sounds)


def test_the_encoder_finds_a_clip_among_others(workshop: Workshop, stages: dict[str, Card]) -> None:
    clips, _ = load_clips([workshop.tokens], 2)
    codes = clip_codes(clips)
    encoder = load_encoder(workshop.encoder)
    vectors = embed_clips(encoder, codes)
    halves = embed_clips(encoder, [clip[:, : clip.shape[1] // 2] for clip in codes])
    found = nearest_neighbours(halves, vectors).rows
    assert (found == np.arange(len(codes))).mean() > 0.5

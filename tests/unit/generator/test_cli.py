"""The commands that train, assemble and generate work from a shell's point of view."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from generator.__main__ import main
from generator.checkpoints import verify_folder
from generator.corpus.attributes import draw_attributes
from generator.corpus.captions import write_caption
from tests.tiny import write_tiny_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "tiny")


def write_toy_tokens(folder: Path, n_clips: int) -> Path:
    """Writes a tokenised corpus of random codes, 100 frames a clip."""
    import random

    rng = random.Random(0)
    rows = []
    for index in range(n_clips):
        attributes = draw_attributes(rng)
        caption = write_caption(attributes, rng)
        rows.append(
            {
                "attributes": attributes.to_json(),
                "captions": [{"text": caption.text, "mentioned": sorted(caption.mentioned)}],
                "start": 100 * index,
                "n_frames": 100,
                "duration_s": 4.0,
            }
        )
    folder.mkdir()
    codes = np.random.default_rng(0).integers(0, 512, (4, 100 * n_clips)).astype(np.int16)
    np.save(folder / "codes.npy", codes)
    (folder / "tokens.json").write_text(json.dumps(rows))
    return folder


def test_generate_writes_a_wav_file_for_every_prompt(checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["generate", "a slow ballad", "fast dance", "--checkpoint", str(checkpoint)]
    assert main([*arguments, "--out", str(tmp_path), "--seconds", "2", "--seed", "5"]) == 0
    for seed in (5, 6):
        samples, rate = soundfile.read(tmp_path / f"clip-{seed}.wav")
        assert rate == 16000
        assert len(samples) == 32000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--seconds", "0"], "duration_s is 1 to 600 seconds, got 0.0"),
        (["--temperature", "0"], "temperature is 0.05 to 5, got 0.0"),
        (["--checkpoint", "/nowhere"], "card.json is missing"),
        (["--out", "/nowhere"], "/nowhere is not a folder"),
    ],
)
def test_errors_are_one_line_and_a_status(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    message: str,
) -> None:
    arguments = ["generate", "piano", "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    assert main([*arguments, *changes]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_training_writes_a_core_that_assembles_into_a_checkpoint(
    checkpoint: Path, tmp_path: Path, command: str
) -> None:
    tokens = write_toy_tokens(tmp_path / "tokens", 70)
    trained, whole = tmp_path / "trained", tmp_path / "whole"
    arguments = ["--tokens", str(tokens), "--codec", str(checkpoint), "--out", str(trained)]
    sizes = ["--width", "32", "--layers", "1", "--minutes", "0.01"]
    assert main([command, *arguments, *sizes]) == 0
    (tmp_path / "metrics.json").write_text('{"nll": 6.2}')
    parts = ["--core", str(trained), "--codec", str(checkpoint), "--planner", str(checkpoint)]
    card = ["--name", "toy", "--metrics", str(tmp_path / "metrics.json")]
    assert main(["assemble", *parts, "--out", str(whole), *card]) == 0
    assert verify_folder(whole).metrics == {"nll": 6.2}
    arguments = ["generate", "piano", "--checkpoint", str(whole), "--out", str(tmp_path)]
    assert main([*arguments, "--seconds", "1"]) == 0


def test_train_planner_writes_one_that_can_be_loaded(tmp_path: Path) -> None:
    assert main(["train-planner", "--out", str(tmp_path), "--examples", "200"]) == 0
    assert (tmp_path / "planner.safetensors").is_file()

"""The trial command, and clips of other codecs as reward models read them."""

import json
from pathlib import Path

import numpy as np
import pytest

from alignment.rl.__main__ import main
from alignment.rl.models import code_reader, is_same
from generator.command import STARTER
from tests.tiny import TINY_PROMPTS
from tests.tiny_musicgen import CODEBOOK_SIZE, write_tiny_musicgen
from tests.unit.alignment.planted import write_small_checkpoint


@pytest.mark.slow
def test_a_trial_learns_from_a_taste_and_tells_what_listeners_would_hear(tmp_path: Path) -> None:
    base = write_small_checkpoint(tmp_path / "base")
    prompts = tmp_path / "prompts.json"
    rows = [{"text": text, "is_held_out": n > 0} for n, text in enumerate(TINY_PROMPTS)]
    prompts.write_text(json.dumps({"prompts": rows}))
    arguments = [str(tmp_path / "trial"), "--base", str(base), "--prompts", str(prompts)]
    arguments += ["--duration", "1", "--held-out", "2"]
    for setting in ("n_steps=1", "batch_prompts=1", "group_size=2", "best_of=2", "sample_steps=0"):
        arguments += ["--set", setting]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "trial" / "trial.json").read_text())
    assert found["training"]["n_steps"] == 1
    assert found["guided"]["gain"]["n"] == 2
    assert found["guided"]["n_clips"] == 8

    arguments[0] = str(tmp_path / "other")
    assert main([*arguments, "--held-out", "3"]) == 65  # there are two


def test_clips_of_another_codec_are_coded_anew(tmp_path: Path) -> None:
    """Half a second of 25 frames at 50 Hz becomes 13 frames at 25 Hz or one less."""
    base = write_tiny_musicgen(tmp_path / "musicgen")
    folder, read = code_reader(base)
    assert folder == STARTER
    assert read is not None
    rng = np.random.default_rng(0)
    codes = read(rng.integers(0, CODEBOOK_SIZE, (4, 25)).astype(np.int16))
    assert codes.dtype == np.int16
    assert codes.shape[1] in (12, 13)


def test_clips_of_the_starters_codec_are_read_as_they_are(tmp_path: Path) -> None:
    base = write_small_checkpoint(tmp_path / "base")
    assert code_reader(base) == (base, None)


def test_a_copy_of_a_checkpoint_is_the_same_checkpoint(tmp_path: Path) -> None:
    one, other = (write_small_checkpoint(tmp_path / name) for name in ("one", "other"))
    assert is_same(one, other)
    assert not is_same(one, STARTER)

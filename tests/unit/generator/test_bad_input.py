"""What cannot be made is refused with what was given and what is allowed; nothing is left over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generator.__main__ import main
from generator.audio import wav_writer, write_wav
from generator.checkpoints import FULL_FILES, save_core, write_card
from generator.codec.model import CodecConfig, save_codec
from generator.errors import CheckpointError, GeneratorError, RequestError
from generator.files import read_json, read_tensors, write_json, write_tensors
from generator.lm.sampling import SamplingSettings
from generator.requests import MOST_SEED, ClipRequest
from generator.synthesis import Generator, load_generator
from tests.tiny import TINY_CODEC, tiny_core, write_tiny_checkpoint

LAST_SEED = str(MOST_SEED)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "1 to 500 characters, not all blank, got ''"),
        (" \t\n ", "not all blank"),
        ("\u3000\u00a0", "not all blank"),  # blanks of other scripts
        ("\u200b\u200d\ufe0f", "not all blank"),  # marks that nobody sees
        ("piano " * 84, "1 to 500 characters, got 504"),
        ("piano\x00", r"no control characters .* got U\+0000 at character 6"),
        ("\x1b[31mpiano", r"got U\+001B at character 1"),
        ("piano \ud83c", r"halves of surrogate pairs, got U\+D83C at character 7"),
        (None, "got None of type NoneType"),
        (b"piano", "got b'piano' of type bytes"),
        (["piano"], "of type list"),
        (7, "got 7 of type int"),
    ],
)
def test_prompts_that_say_nothing_or_cannot_be_read_are_refused(prompt: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        ClipRequest(prompt, 5.0, 0)


@pytest.mark.parametrize(
    "prompt",
    [
        "夜のピアノ",
        "медленный вальс",
        "رقص سريع",
        "🎵",
        "🎹🥁 happy 👩‍🎤",
        "tämä on pianoa – è vero",
        "²³ ½ １２０ bpm",
        "120 bpm 999999999999999999999999 bpm",
        "piano\nand\tdrums",
        "a" * 500,
        "-" * 500,
        "e\u0301" * 250,
        "\U0001fae8\U0001fa77",  # newer than this Python's tables
        "'); DROP TABLE clips; --",
        "<script>alert(1)</script>",
    ],
)
def test_prompts_of_any_script_are_made(generator: Generator, prompt: str) -> None:
    (clip,) = generator.generate([ClipRequest(prompt, 1.0, 0)], SamplingSettings())
    assert np.isfinite(clip.waveform).all()
    assert len(clip.header) == generator.core.text_length


@pytest.mark.parametrize(
    ("duration_s", "said"),
    [
        (0, "got 0$"),
        (-3.0, "got -3.0$"),
        (0.999, "got 0.999$"),
        (30.04, "got 30.04$"),
        (36000.0, "got 36000.0$"),
        pytest.param(10**400, "got a number of 1329 bits$", id="googols"),
        (float("nan"), "got nan$"),
        (float("inf"), "got inf$"),
        (float("-inf"), "got -inf$"),
        ("5", "got '5' of type str$"),
        (None, "got None of type NoneType$"),
        (True, "got True of type bool$"),
        (5 + 0j, "of type complex$"),
        ([5.0], "of type list$"),
    ],
)
def test_durations_out_of_range_or_of_another_type_are_refused(duration_s: Any, said: str) -> None:
    with pytest.raises(RequestError, match=f"^duration_s is 1 to 30 seconds, .*{said}"):
        ClipRequest("piano", duration_s, 0)


@pytest.mark.parametrize("duration_s", [1, 30, 1.0, np.float32(2.5), np.int64(4)])
def test_any_number_within_the_limits_is_a_duration(duration_s: float) -> None:
    assert ClipRequest("piano", duration_s, 0).duration_s == duration_s


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        (-1, f"a seed is 0 to {LAST_SEED}, got -1"),
        (2**63, f"a seed is 0 to {LAST_SEED}, got {2**63}"),
        pytest.param(10**9000, "got a number of 29898 bits", id="huge"),
        (1.0, "a seed is a whole number, got 1.0"),
        ("1", "a seed is a whole number, got '1'"),
        (None, "got None"),
        (True, "got True"),
    ],
)
def test_seeds_out_of_range_or_of_another_type_are_refused(seed: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        ClipRequest("piano", 5.0, seed)


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance": "3"},
        {"guidance": None},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": True},
        {"top_p": [0.9]},
        {"top_k": "all"},
        {"top_k": True},
    ],
)
def test_settings_of_another_type_are_refused(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(RequestError, match=f"^{name} is "):
        SamplingSettings(**changes)


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def change_config(path: Path, **changes: Any) -> None:
    write_json(path, read_json(path) | changes)


def change_tensor(path: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = read_tensors(path)
    tensors[name] = change(tensors[name])
    write_tensors(path, tensors)


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[3] = torch.nan
    return tensor


Damage = Callable[[Path], object]
HEAD = "lm_heads.0.weight"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "half a core": (lambda f: cut_in_half(f / "lm.safetensors"), "lm.safetensors is not readable"),
    "half a codec": (lambda f: cut_in_half(f / "codec.safetensors"), "not readable"),
    "half a planner": (lambda f: cut_in_half(f / "planner.safetensors"), "not readable"),
    "an empty file": (lambda f: (f / "lm.safetensors").write_bytes(b""), "not readable"),
    "noise": (lambda f: (f / "lm.safetensors").write_bytes(b"\xff" * 999), "not readable"),
    "half a configuration": (lambda f: cut_in_half(f / "codec.json"), "codec.json is not readable"),
    "deep JSON": (
        lambda f: (f / "lm.json").write_text("[" * 100_000),
        "lm.json is not readable JSON",
    ),
    "bytes that are no text": (
        lambda f: (f / "lm.json").write_bytes(b"\xff\xfe{}"),
        "lm.json is not readable JSON",
    ),
    "a list for a configuration": (
        lambda f: (f / "codec.json").write_text("[]"),
        "codec.json is no codec configuration",
    ),
    "NaN in the core": (
        lambda f: change_tensor(f / "lm.safetensors", HEAD, with_nan),
        "lm.safetensors: 1 of 16384 numbers of lm_heads.0.weight are NaN or infinite",
    ),
    "infinity in the codec": (
        lambda f: change_tensor(
            f / "codec.safetensors", "quantiser.codebooks", lambda t: t * torch.inf
        ),
        "numbers of quantiser.codebooks are NaN or infinite",
    ),
    "NaN in the planner": (
        lambda f: change_tensor(f / "planner.safetensors", "bias", with_nan),
        r"planner.safetensors: 1 of \d+ numbers of bias are NaN or infinite",
    ),
    "whole numbers for weights": (
        lambda f: change_tensor(f / "lm.safetensors", HEAD, lambda t: t.long()),
        "lm_heads.0.weight holds torch.int64, expected floats",
    ),
    "a head of another shape": (
        lambda f: change_tensor(f / "lm.safetensors", HEAD, lambda t: t[:256]),
        "does not fit its configuration",
    ),
    "three codebooks for two": (
        lambda f: change_config(f / "lm.json", delays=[0, 1, 2]),
        "does not fit its configuration",
    ),
    "a codec of three codebooks": (
        lambda f: change_config(f / "codec.json", n_codebooks=3),
        "does not fit its configuration",
    ),
    "delays that are no numbers": (
        lambda f: change_config(f / "lm.json", delays=["a"]),
        "does not describe a starter core",
    ),
    "an unknown setting": (
        lambda f: change_config(f / "lm.json", warmth=3),
        "does not describe a starter core",
    ),
    "a planner of another header": (
        lambda f: change_config(f / "planner.json", header_size=3),
        "made for headers of 3 ids",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_checkpoints_are_refused_whether_or_not_hashes_are_checked(
    folder: Path, name: str
) -> None:
    damage, said = DAMAGES[name]
    damage(folder)
    with pytest.raises(CheckpointError, match=r"has sha256 .* its card says"):
        load_generator(folder)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_generator(folder, verify=False)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("files", [list(FULL_FILES), dict.fromkeys(FULL_FILES, 7)])
def test_a_card_whose_files_have_no_hashes_is_refused(folder: Path, files: Any) -> None:
    change_config(folder / "card.json", files=files)
    with pytest.raises(CheckpointError, match="files maps names to sha256"):
        load_generator(folder)


def test_the_card_of_another_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_tiny_checkpoint(tmp_path / "other", seed=1)
    shutil.copy(other / "card.json", folder / "card.json")
    with pytest.raises(CheckpointError, match=r"has sha256 .* its card says"):
        load_generator(folder)


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        ({"n_codebooks": 1}, "the core speaks 2 x 512 codes, the codec of .* 1 x 512"),
        ({"codebook_size": 256}, "the core speaks 2 x 512 codes, the codec of .* 4 x 256"),
    ],
)
def test_a_core_and_a_codec_that_do_not_belong_together_are_refused(
    folder: Path, codec: dict[str, int], said: str
) -> None:
    from dataclasses import replace

    from generator.codec.model import Codec

    save_codec(Codec(replace(TINY_CODEC, **codec)), folder)
    write_card(folder, name="mixed", kind="full", licence="Apache-2.0")
    with pytest.raises(CheckpointError, match=said):
        load_generator(folder)


def test_weights_that_overflow_half_precision_are_refused_when_loaded(folder: Path) -> None:
    core = tiny_core()
    with torch.no_grad():
        core.get_parameter(HEAD).fill_(1e6)
    save_core(core, folder)
    write_card(folder, name="loud", kind="full", licence="Apache-2.0")
    with pytest.raises(CheckpointError, match="16384 of 16384 numbers"):
        load_generator(folder)


def test_logits_that_are_no_numbers_name_the_step_and_write_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    core = tiny_core()
    with torch.no_grad():  # finite weights whose product is not
        for name, parameter in core.named_parameters():
            if "lm_heads" in name or "final_norm" in name:
                parameter.fill_(3e38)
    save_core(core, folder, torch.float32)
    write_card(folder, name="loud", kind="full", licence="Apache-2.0")
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["generate", "piano", "--checkpoint", str(folder), "--out", str(out)]
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "not finite at step 0 of" in error
    assert list(out.iterdir()) == []


REFUSED_CALLS: dict[str, tuple[list[str], str]] = {
    "no prompt": (["", "--seconds", "2"], "a prompt has 1 to 500 characters, not all blank"),
    "a long prompt": (["x" * 501], "a prompt has 1 to 500 characters, got 501"),
    "the second prompt": (["piano", " "], "not all blank"),
    "no seconds": (["piano", "--seconds", "0"], "got 0.0"),
    "negative seconds": (["piano", "--seconds=-5"], "got -5.0"),
    "seconds that are no number": (["piano", "--seconds", "nan"], "got nan"),
    "ten hours": (["piano", "--seconds", "36000"], "got 36000.0"),
    "endless": (["piano", "--seconds", "inf"], "got inf"),
    "a seed below": (["piano", "--seed=-1"], "a seed is 0 to"),
    "a seed above": (["piano", "--seed", str(2**63)], "a seed is 0 to"),
    "the seed of the second clip": (["piano", "piano", "--seed", LAST_SEED], "a seed is 0 to"),
    "guidance": (["piano", "--guidance", "nan"], "guidance is 0 to 20, got nan"),
    "temperature": (["piano", "--temperature", "0"], "temperature is 0.05 to 5, got 0.0"),
    "top_p": (["piano", "--top-p", "2"], "top_p is 0.01 to 1, got 2.0"),
    "top_k": (["piano", "--top-k=-1"], "top_k is a whole number of at least 0, got -1"),
    "a folder that is not there": (["piano", "--out", "/nowhere"], "/nowhere is not a folder"),
    "a folder that cannot be written": (["piano", "--out", "/proc/self"], "/proc/self"),
    "an adapter that is none": (["piano", "--adapter", "/nowhere"], "card.json is missing"),
}


@pytest.mark.parametrize("name", REFUSED_CALLS)
def test_the_command_says_what_is_wrong_in_one_line_and_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    changes, said = REFUSED_CALLS[name]
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["generate", "--checkpoint", str(folder), "--out", str(out), *changes]
    assert main(arguments) == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert said in error
    assert list(out.iterdir()) == []


def test_a_command_that_reads_what_is_no_checkpoint_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for given in (tmp_path, tmp_path / "file"):
        assert main(["generate", "piano", "--checkpoint", str(given)]) == 1
        assert "card.json" in capsys.readouterr().err


def test_a_wav_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    write_wav(path, np.zeros(100, np.float32), 16000)
    before = path.read_bytes()
    broken = np.zeros(100, np.float32)
    broken[7:9] = np.nan
    with pytest.raises(RequestError, match="2 that are NaN"), wav_writer(path, 16000) as append:
        append(np.ones(50, np.float32))
        append(broken)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.wav"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [((3, 100), r"\[2, N\], got shape \(3, 100\)"), ((1, 2, 100), r"got shape \(1, 2, 100\)")],
)
def test_waveforms_of_other_shapes_are_not_written(
    tmp_path: Path, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        write_wav(tmp_path / "clip.wav", np.zeros(shape, np.float32), 16000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["/proc/self/x", "/nowhere/x", "/proc"])
def test_places_that_cannot_be_written_are_named(target: str) -> None:
    with pytest.raises(GeneratorError, match=f"cannot write {target}: "):
        write_json(Path(target), {})
    with pytest.raises(GeneratorError, match=f"cannot write {target}: "):
        write_wav(Path(target), np.zeros(10, np.float32), 16000)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_codebooks": 0},
        {"codebook_size": -1},
        {"width": 2.5},
        {"frame_rate_hz": 0},
        {"sample_rate_hz": "16000"},
        {"n_fft": 16},
    ],
)
def test_codecs_of_impossible_sizes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(changes))):
        CodecConfig(**changes)


def test_a_configuration_with_a_number_that_is_not_one_is_refused(folder: Path) -> None:
    text = (folder / "lm.json").read_text()
    stored = json.loads(text)
    (folder / "lm.json").write_text(json.dumps(stored | {"longest_s": float("nan")}))
    with pytest.raises(CheckpointError, match="longest_s is 1 to"):
        load_generator(folder, verify=False)

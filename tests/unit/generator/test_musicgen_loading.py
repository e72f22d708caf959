"""A MusicGen folder loads, or a sentence says which file or weight is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from generator.__main__ import main
from generator.checkpoints import content_hash, read_card, verify_folder
from generator.errors import CheckpointError, RequestError
from generator.families import load_core
from generator.lm.sampling import SamplingSettings
from generator.musicgen.command import adopt
from generator.musicgen.hub import fetch
from generator.musicgen.loading import load_pretrained
from generator.musicgen.reader import TextReader
from generator.requests import ClipRequest
from generator.synthesis import Generator, load_generator
from tests.tiny_musicgen import (
    CODEBOOK_SIZE,
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    TEXT_LENGTH,
    tiny_tokenizer,
    write_tiny_musicgen,
)

ARGUMENTS = ["generate", "a slow ballad on piano", "--seconds", "1"]
SECOND_LAYER = "decoder.model.decoder.layers.1."
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_musicgen(tmp_path_factory.mktemp("pretrained") / "mono")


@pytest.fixture(scope="module")
def generator(mono: Path) -> Generator:
    return load_generator(mono)


@pytest.fixture
def folder(mono: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(mono, tmp_path / "folder")


def test_a_clip_carries_t5_ids_and_the_decoded_codes(generator: Generator) -> None:
    request = ClipRequest("a slow ballad on piano", 1.0, 7)
    (clip,) = generator.generate([request], generator.sampling)
    assert clip.codes.shape == (4, 50)
    assert clip.waveform.shape == (50 * FRAME_SAMPLES,)
    assert (clip.sample_rate_hz, clip.duration_s) == (SAMPLE_RATE_HZ, 1.0)
    assert clip.header == tuple(tiny_tokenizer()(request.prompt)["input_ids"])
    assert clip.unknown_words == ()
    assert np.allclose(generator.decode(clip.codes[None])[0], clip.waveform, atol=1e-5)
    assert np.abs(clip.waveform).max() > 1e-3


def test_clips_of_several_prompts_and_lengths_do_not_depend_on_each_other(
    generator: Generator,
) -> None:
    requests = [
        ClipRequest("slow piano", 1.0, 1),
        ClipRequest("a fast dance on piano, take 2", 1.0, 2),
        ClipRequest("calm music", 1.5, 3),
    ]
    together = generator.generate(requests, generator.sampling)
    for request, clip in zip(requests, together, strict=True):
        (alone,) = generator.generate([request], generator.sampling)
        assert np.array_equal(alone.codes, clip.codes)


def test_sampling_is_that_of_the_paper_unless_asked(generator: Generator) -> None:
    assert generator.sampling == SamplingSettings(guidance=3.0, top_k=250)
    asked = generator.settings({"guidance": 1.0})
    assert asked == SamplingSettings(guidance=1.0, top_k=250)
    with pytest.raises(RequestError, match=r"sampling settings are .*'guidance'.* \['warmth'\]"):
        generator.settings({"warmth": 3})


def test_stereo_clips_have_two_channels(tmp_path: Path) -> None:
    stereo = write_tiny_musicgen(tmp_path / "stereo", is_stereo=True)
    loaded = load_generator(stereo)
    (clip,) = loaded.generate([ClipRequest("slow piano", 1.0, 1)], loaded.sampling)
    assert clip.codes.shape == (8, 50)
    assert clip.waveform.shape == (2, 50 * FRAME_SAMPLES)
    assert not np.array_equal(clip.waveform[0], clip.waveform[1])
    swapped = clip.codes.reshape(4, 2, 50)[:, ::-1].reshape(8, 50)
    assert np.array_equal(loaded.decode(swapped[None].copy())[0], clip.waveform[::-1])
    assert main([*ARGUMENTS, "--checkpoint", str(stereo), "--out", str(tmp_path)]) == 0
    samples, _ = soundfile.read(tmp_path / "clip-0.wav")
    assert samples.shape == (50 * FRAME_SAMPLES, 2)


def test_sharded_weights_load_as_one_file_does(mono: Path, tmp_path: Path) -> None:
    sharded = write_tiny_musicgen(tmp_path / "sharded", shard_size="20KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 2
    ours, theirs = load_core(sharded).state_dict(), load_core(mono).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_half_precision_weights_are_widened(folder: Path) -> None:
    path = folder / "model.safetensors"
    halves = {name: t.half() if t.is_floating_point() else t for name, t in load_file(path).items()}
    save_file(halves, path, {"format": "pt"})
    core = load_core(folder)
    assert {parameter.dtype for parameter in core.parameters()} == {torch.float32}


# What is wrong with a folder.


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def reconfigure(**changes: object) -> Callable[[Path], None]:
    """Changes values of config.json; names are paths with two underscores between parts."""

    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for name, value in changes.items():
            *parts, last = name.split("__")
            place = config
            for part in parts:
                place = place[part]
            place[last] = value
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def broken_off(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "model.safetensors.incomplete").write_bytes(b"")


def drop_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {name: t for name, t in load_file(path).items() if not name.startswith(SECOND_LAYER)}
    save_file(kept, path, {"format": "pt"})


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), r"card\.json is missing"),
        (cut("config.json", 0.5), r"config\.json is not readable JSON"),
        (reconfigure(model_type="gpt2"), "has model_type 'gpt2'; expected one of .*'musicgen'"),
        (reconfigure(audio_encoder=None), r"lacks the configuration of \['audio_encoder'\]"),
        (remove("model.safetensors"), r"lacks model\.safetensors \(or model\.safetensors\.index"),
        (cut("model.safetensors", 0.7), r"model\.safetensors is damaged or half downloaded"),
        (cut("model.safetensors", 0.0), r"half downloaded \(0 bytes\)"),
        (only_pickle, r"pytorch_model\.bin is a pickle, .* never read"),
        (broken_off, r"download was broken off: model\.safetensors\.incomplete"),
        (drop_weights, r"lacks 16 of the \d+ weights .*: decoder\.model\.decoder\.layers\.1"),
        (no_tokenizer, r"lacks T5's tokenizer: expected tokenizer\.json or spiece\.model"),
        (cut("tokenizer.json", 0.5), "the tokenizer of .* does not load"),
        (reconfigure(decoder__vocab_size=16), "does not load as MusicgenForConditionalGeneration"),
        (reconfigure(decoder__pad_token_id=3), r"pad_token_id is 3, expected its vocab_size 32"),
        (reconfigure(decoder__activation_function="tanh"), "activation is one of .* got 'tanh'"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_by_name(
    folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_generator(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_tiny_musicgen(tmp_path / "sharded", shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    shards[1].unlink()
    with pytest.raises(
        CheckpointError, match=rf"half downloaded: 1 of {len(shards)} .*: {shards[1].name}"
    ):
        load_generator(folder)


def test_a_core_that_speaks_more_codebooks_than_its_codec_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_musicgen(tmp_path / "folder")
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in ("decoder.lm_heads", "decoder.model.decoder.embed_tokens"):
        for extra in range(4, 6):
            weights[f"{name}.{extra}.weight"] = weights[f"{name}.0.weight"].clone()
    save_file(weights, path, {"format": "pt"})
    reconfigure(decoder__num_codebooks=6)(folder)
    with pytest.raises(CheckpointError, match=rf"6 x {CODEBOOK_SIZE} codes, the codec of .* 4 x"):
        load_generator(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere is not a folder"):
        load_pretrained(tmp_path / "nowhere")


# The hub.


def test_an_unreachable_hub_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"hub:facebook/musicgen-small is not in the local cache and the hub cannot be "
        r"reached .*hf download facebook/musicgen-small",
    ):
        fetch("hub:facebook/musicgen-small", cache=tmp_path, endpoint=UNREACHABLE)


@pytest.mark.parametrize("name", ["hub:", "hub:a/b/c", "hub:..", "hub:a b/c"])
def test_a_bad_hub_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected hub:owner/name"):
        fetch(name, cache=tmp_path, endpoint=UNREACHABLE)


def test_what_is_in_the_cache_needs_no_hub(mono: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--facebook--musicgen-small"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(mono, repository / "snapshots" / commit)
    found = fetch("hub:facebook/musicgen-small", cache=tmp_path, endpoint=UNREACHABLE)
    assert load_core(found).n_codebooks == 4


def test_generate_takes_a_hub_name_and_says_when_there_is_no_hub(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "generator", *ARGUMENTS),
            *("--checkpoint", "hub:facebook/musicgen-small", "--out", str(tmp_path)),
        ],
        env={"HF_ENDPOINT": UNREACHABLE, "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert (
        result.stderr.strip()
        .splitlines()[-1]
        .startswith("error: hub:facebook/musicgen-small is not in the local cache")
    )
    assert "Traceback" not in result.stderr


# Adopting a folder as a checkpoint.


def test_an_adopted_folder_is_a_checkpoint_with_a_card(mono: Path, tmp_path: Path) -> None:
    out = tmp_path / "adopted"
    assert main(["adopt", str(mono), "--out", str(out), "--name", "small"]) == 0
    card = verify_folder(out)
    assert (card.name, card.kind, card.family) == ("small", "full", "musicgen")
    assert card.licence == "CC-BY-NC-4.0"
    assert set(card.files) == {file.name for file in mono.iterdir()}
    loaded = load_generator(out)
    assert loaded.content_hash == content_hash(out)
    request = ClipRequest("slow piano", 1.0, 4)
    ours, theirs = (
        g.generate([request], g.sampling)[0].codes for g in (loaded, load_generator(mono))
    )
    assert np.array_equal(ours, theirs)


def test_adopting_leaves_nothing_where_the_source_is_not_whole(
    folder: Path, tmp_path: Path
) -> None:
    drop_weights(folder)
    with pytest.raises(CheckpointError, match="lacks 16 of"):
        adopt(str(folder), tmp_path / "out" / "adopted", name="small")
    assert not (tmp_path / "out").exists()


def test_adopting_never_overwrites(mono: Path, tmp_path: Path) -> None:
    adopt(str(mono), tmp_path / "adopted", name="small")
    before = read_card(tmp_path / "adopted")
    with pytest.raises(CheckpointError, match="is there already"):
        adopt(str(mono), tmp_path / "adopted", name="other")
    assert read_card(tmp_path / "adopted") == before


def test_an_altered_weight_of_an_adopted_folder_is_found(folder: Path, tmp_path: Path) -> None:
    adopt(str(folder), tmp_path / "adopted", name="small")
    path = tmp_path / "adopted" / "model.safetensors"
    content = bytearray(path.read_bytes())
    path.unlink()
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"model\.safetensors has sha256"):
        load_generator(tmp_path / "adopted")


# What T5 reads of a prompt.


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader(tiny_tokenizer())


def test_a_prompt_becomes_its_pieces_and_an_end(reader: TextReader) -> None:
    plan = reader.plan("a slow ballad")
    tokens = reader.tokenizer.convert_ids_to_tokens(list(plan.header))
    assert tokens == ["▁", "a", "▁slow", "▁ballad", "</s>"]
    assert (plan.unknown_words, plan.slots) == ((), {"ids": 5, "ids_cut": 0})


def test_characters_without_a_piece_are_reported_with_their_word(reader: TextReader) -> None:
    plan = reader.plan("slow 🎵 piano 夜の音楽, Über music")
    assert plan.unknown_words == ("🎵", "夜の音楽,", "Über")


def test_what_is_cut_off_is_reported_not_dropped_in_silence(reader: TextReader) -> None:
    plan = reader.plan("slow " * (TEXT_LENGTH - 1) + "calm piano music")
    assert len(plan.header) == TEXT_LENGTH
    assert plan.header[-1] == reader.tokenizer.eos_token_id
    assert plan.unknown_words == ("calm", "piano", "music")
    assert plan.n_ids_cut == 3
    whole = reader.plan("slow " * (TEXT_LENGTH - 1))
    assert (len(whole.header), whole.n_ids_cut) == (TEXT_LENGTH, 0)


def test_a_cut_prompt_still_makes_a_clip(generator: Generator) -> None:
    request = ClipRequest("slow " * 60 + "piano", 1.0, 0)
    (clip,) = generator.generate([request], generator.sampling)
    assert "piano" in clip.unknown_words
    assert np.isfinite(clip.waveform).all()

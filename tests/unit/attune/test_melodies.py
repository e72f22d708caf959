"""Recordings whose tunes clips follow: what is accepted, what is refused, what is stored once."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from attune.catalog.errors import ClipOrderError, MelodyError, PromptError
from attune.catalog.melodies import MelodyFormat, inspect_recording
from attune.catalog.melody_selectors import get_melody, melodies
from attune.catalog.melody_services import add_melody
from attune.catalog.models import Melody, Prompt
from attune.catalog.services import (
    PromptRow,
    add_prompt_set,
    add_prompts,
    find_or_add_prompt,
    order_clip,
)
from attune.catalog.storage import media_file
from tests.factories import make_checkpoint
from tests.recordings import FORMATS, SAMPLE_RATE_HZ, recording_bytes, tune


def add(content: bytes, **fields: Any) -> tuple[Melody, bool]:
    return add_melody(file=io.BytesIO(content), n_bytes=len(content), **fields)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_known_by_its_content(name: str) -> None:
    found = inspect_recording(recording_bytes(name))
    assert found.format == MelodyFormat[name.split(maxsplit=1)[0]]
    assert found.duration_s == pytest.approx(3.0, abs=0.05)
    assert found.sample_rate_hz == SAMPLE_RATE_HZ


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_lost_its_end_is_refused(name: str, share: float) -> None:
    content = recording_bytes(name)
    with pytest.raises(MelodyError, match=r"cut off|damaged"):
        inspect_recording(content[: int(len(content) * share)])


def test_a_wave_file_of_unknown_length_is_read_to_its_end() -> None:
    content = bytearray(recording_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    assert inspect_recording(bytes(content)).duration_s == pytest.approx(3.0)


def aiff() -> bytes:
    content = io.BytesIO()
    soundfile.write(content, tune(), SAMPLE_RATE_HZ, format="AIFF")
    return content.getvalue()


REFUSED = {
    "nothing": (b"", "the file is empty: expected WAV, FLAC, OGG or MP3"),
    "text": (b"la la la " * 200, "no recording, or damaged .*: expected WAV, FLAC, OGG or MP3"),
    "another format": (aiff(), "the file is AIFF .*: expected WAV, FLAC, OGG or MP3"),
    "silence": (recording_bytes(samples=tune(amplitude=0.0)), "silent"),
    "almost silence": (recording_bytes(samples=tune(amplitude=0.0005)), "silent"),
    "half a second": (recording_bytes(samples=tune(0.5)), "lasts 0.5 s: expected 1 to 600 s"),
    "too long": (
        recording_bytes("FLAC", np.tile(tune(1.0), 601)),
        "lasts 601.0 s: expected 1 to 600 s",
    ),
    "too slow": (recording_bytes(sample_rate_hz=4000), "4000 samples a second: expected 8000"),
    "three channels": (
        recording_bytes(samples=np.stack([tune()] * 3, axis=1)),
        "3 channels: expected 1 to 2",
    ),
    "too much": (b"RIFF" + bytes(25_000_000), "has 25.0 MB: expected at most 25 MB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_followed_is_refused_with_what_is_allowed(case: str) -> None:
    content, said = REFUSED[case]
    with pytest.raises(MelodyError, match=said):
        inspect_recording(content)


def test_samples_that_are_no_numbers_are_refused() -> None:
    content, samples = io.BytesIO(), tune()
    samples[100] = np.nan
    soundfile.write(content, samples, SAMPLE_RATE_HZ, format="WAV", subtype="FLOAT")
    with pytest.raises(MelodyError, match="no numbers"):
        inspect_recording(content.getvalue())


@pytest.mark.django_db
def test_a_recording_is_stored_under_its_content() -> None:
    content = recording_bytes("OGG")
    melody, is_new = add(content, file_name="../../Evening song.mp3")
    assert is_new
    assert (melody.name, melody.format, melody.media_type) == ("Evening song", "ogg", "audio/ogg")
    assert melody.path == f"melodies/{melody.sha256[:2]}/{melody.sha256}.ogg"
    assert media_file(melody.path).read_bytes() == content
    assert (melody.n_bytes, melody.sample_rate_hz) == (len(content), SAMPLE_RATE_HZ)


@pytest.mark.django_db
def test_the_same_content_twice_is_one_recording_and_a_lost_file_comes_back() -> None:
    content = recording_bytes()
    first, _ = add(content, name="evening")
    media_file(first.path).unlink()
    again, is_new = add(content, name="another name")
    assert (again, again.name, is_new) == (first, "evening", False)
    assert media_file(first.path).read_bytes() == content
    with pytest.raises(IntegrityError), transaction.atomic():
        Melody.objects.create(
            name="copy", path="x", sha256=first.sha256, format="wav", n_bytes=1,
            duration_s=1.0, sample_rate_hz=8000,
        )  # fmt: skip


@pytest.mark.django_db
def test_what_is_refused_leaves_no_file_and_no_row(settings: Any) -> None:
    for content, _ in REFUSED.values():
        with pytest.raises(MelodyError):
            add(content)
    add(recording_bytes(), name="evening")
    for name in ("evening", "x" * 121, "a\x00b", "a\u202eb"):
        with pytest.raises(MelodyError, match="name"):
            add(recording_bytes("FLAC"), name=name)
    assert Melody.objects.count() == 1
    files = [file for file in Path(settings.ATTUNE_MEDIA).rglob("*") if file.is_file()]
    assert [file.suffix for file in files] == [".wav"]


@pytest.mark.django_db
def test_an_announced_size_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(MelodyError, match=r"has 26\.0 MB: expected at most 25 MB"):
        add_melody(file=io.BytesIO(), n_bytes=26_000_000)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("C:\\music\\tune.wav", "tune"),
        ("a\r\nb\x1b.wav", "a b"),
        ("\u202egnos.wav", "gnos"),
        ("", "recording {digits}"),
        ("taken.wav", "taken {digits}"),
        ("n" * 300, "n" * 111),
    ],
)
def test_a_files_name_only_suggests_one(file_name: str, name: str) -> None:
    add(recording_bytes("FLAC"), name="taken")
    melody, _ = add(recording_bytes(), file_name=file_name)
    assert melody.name == name.format(digits=melody.sha256[:8])


@pytest.mark.django_db
def test_a_text_stands_in_a_prompt_set_once_with_each_recording_and_once_without() -> None:
    prompt_set = add_prompt_set(name="tunes")
    one, _ = add(recording_bytes("WAV"), name="one")
    two, _ = add(recording_bytes("FLAC"), name="two")
    rows = [PromptRow(text="a waltz", melody=melody) for melody in (None, one, two, one, None)]
    assert [prompt.melody for prompt in add_prompts(prompt_set=prompt_set, rows=rows)] == [
        None,
        one,
        two,
    ]
    assert add_prompts(prompt_set=prompt_set, rows=rows) == []
    for melody in (None, one):
        with pytest.raises(IntegrityError), transaction.atomic():
            Prompt.objects.create(prompt_set=prompt_set, text="a waltz", melody=melody)
        assert find_or_add_prompt(
            prompt_set_name="tunes", text="a waltz", melody=melody
        ) == prompt_set.prompts.get(melody=melody)
    assert prompt_set.prompts.count() == 3
    counts = [getattr(melody, "n_prompts") for melody in melodies()]  # noqa: B009
    assert counts == [1, 1]


@pytest.mark.django_db
def test_a_stored_prompt_keeps_its_recording_when_a_clip_is_ordered() -> None:
    melody, _ = add(recording_bytes(), name="one")
    checkpoint, rng = make_checkpoint(), np.random.default_rng(0)
    order = {"prompt_set_name": "tunes", "checkpoint": checkpoint, "duration_s": 2.0, "rng": rng}
    clip = order_clip(prompt="a waltz", melody=melody, **order)  # type: ignore[arg-type]
    assert clip.prompt.melody == melody
    plain = find_or_add_prompt(prompt_set_name="tunes", text="a march")
    with pytest.raises(ClipOrderError, match="follows no recording, not one"):
        order_clip(prompt=plain, melody=melody, **order)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_an_unknown_recording_is_answered_with_those_there_are() -> None:
    add(recording_bytes(), name="evening")
    with pytest.raises(MelodyError, match="no recording 'dawn'; there are evening"):
        get_melody("dawn")
    with pytest.raises(PromptError):
        PromptRow(text=" ", melody=get_melody("evening"))


def melody_command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("melody", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_adds_and_lists_recordings(tmp_path: Path) -> None:
    file = tmp_path / "evening.bin"
    file.write_bytes(recording_bytes("FLAC"))
    assert "recording 'evening' (FLAC, 3.0 s) is stored" in melody_command("add", str(file))
    assert "was stored before" in melody_command("add", str(file), "--name", "other")
    assert melody_command("list").splitlines()[1].split("\t")[:5] == [
        *("evening", "flac", "3.0", "16000", "0"),
    ]


@pytest.mark.django_db
def test_the_command_names_the_file_it_refuses(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"gone\.wav cannot be read: No such file"):
        melody_command("add", str(tmp_path / "gone.wav"))
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        melody_command("add", str(tmp_path))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(CommandError, match=r"empty\.wav: the file is empty"):
        melody_command("add", str(tmp_path / "empty.wav"))

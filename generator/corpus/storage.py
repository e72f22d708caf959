"""The corpus on disk: one array of samples, one list of clips; later one array of codes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.audio import to_float32
from generator.corpus.attributes import FRAME_RATE_HZ, Attributes
from generator.corpus.captions import Caption
from generator.corpus.score import Note
from generator.errors import GeneratorError
from generator.files import write_atomically

AUDIO_FILE, CLIPS_FILE = "audio.npy", "clips.json"
CODES_FILE, TOKENS_FILE, MELODY_FILE = "codes.npy", "tokens.json", "melody.npy"


@dataclass(frozen=True)
class CorpusClip:
    """One clip of the corpus: what it is, what was said of it, and where its samples lie."""

    attributes: Attributes
    captions: tuple[Caption, ...]
    notes: tuple[Note, ...]
    offset: int
    n_samples: int
    duration_s: float

    def to_json(self) -> dict[str, Any]:
        """Returns the clip as a mapping that JSON can hold."""
        return {
            "attributes": self.attributes.to_json(),
            "captions": [
                {"text": caption.text, "mentioned": sorted(caption.mentioned)}
                for caption in self.captions
            ],
            "notes": [note.to_json() for note in self.notes],
            "offset": self.offset,
            "n_samples": self.n_samples,
            "duration_s": self.duration_s,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "CorpusClip":
        """Returns the clip that `to_json` wrote."""
        return cls(
            attributes=Attributes.from_json(fields["attributes"]),
            captions=tuple(
                Caption(caption["text"], frozenset(caption["mentioned"]))
                for caption in fields["captions"]
            ),
            notes=tuple(Note.from_json(note) for note in fields["notes"]),
            offset=fields["offset"],
            n_samples=fields["n_samples"],
            duration_s=fields["duration_s"],
        )


@dataclass(frozen=True)
class Corpus:
    """All clips; `audio` [N] int16 is mapped from disk and holds them end to end."""

    clips: tuple[CorpusClip, ...]
    audio: NDArray[np.int16]

    def waveform(self, clip: CorpusClip) -> NDArray[np.float32]:
        """Returns a clip's samples as float32 [n_samples]."""
        samples = self.audio[clip.offset : clip.offset + clip.n_samples]
        return to_float32(samples)

    def __iter__(self) -> Iterator[CorpusClip]:
        return iter(self.clips)


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """Returns the list in a JSON file; GeneratorError says which file is missing."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as exc:
        raise GeneratorError(f"no {path.name} in {path.parent}") from exc
    except ValueError as exc:
        raise GeneratorError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(content, list):
        raise GeneratorError(f"expected a list in {path}, got {type(content).__name__}")
    return content


def create_audio(folder: Path, n_samples: int) -> NDArray[np.int16]:
    """Returns a new writable array of samples, mapped to the corpus's audio file."""
    folder.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(
        folder / AUDIO_FILE, mode="w+", dtype=np.int16, shape=(n_samples,)
    )


def write_clips(folder: Path, clips: Sequence[CorpusClip]) -> None:
    """Writes the list of clips; its presence says that the audio is complete."""
    content = json.dumps([clip.to_json() for clip in clips], separators=(",", ":"))
    write_atomically(folder / CLIPS_FILE, content.encode())


def load_corpus(folder: Path) -> Corpus:
    """Returns the corpus in a folder."""
    clips = tuple(CorpusClip.from_json(fields) for fields in read_json_list(folder / CLIPS_FILE))
    audio = np.load(folder / AUDIO_FILE, mmap_mode="r")
    expected = sum(clip.n_samples for clip in clips)
    if len(audio) != expected:
        raise GeneratorError(f"expected {expected} samples in {folder}, got {len(audio)}")
    return Corpus(clips, audio)


@dataclass(frozen=True)
class TokenClip:
    """A clip of the tokenised corpus: frames `start` to `start + n_frames` of the codes."""

    attributes: Attributes
    captions: tuple[Caption, ...]
    start: int
    n_frames: int
    duration_s: float


def write_tokens(
    folder: Path,
    codes: NDArray[np.int16],
    clips: Sequence[CorpusClip],
    melody: NDArray[np.int8] | None = None,
) -> None:
    """Writes codes [K, total_T] and where each clip's frames lie; the clips' order is kept.

    melody: ids of generator.melody for the same frames, [total_T].
    """
    total = sum(round(clip.duration_s * FRAME_RATE_HZ) for clip in clips)
    if codes.shape[1] != total:
        raise GeneratorError(f"expected {total} frames of codes, got shape {codes.shape}")
    if melody is not None and melody.shape != (total,):
        raise GeneratorError(f"expected {total} frames of melody, got shape {melody.shape}")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / CODES_FILE, codes)
    if melody is not None:
        np.save(folder / MELODY_FILE, melody)
    rows, start = [], 0
    for clip in clips:
        fields = clip.to_json()
        n_frames = round(clip.duration_s * FRAME_RATE_HZ)
        rows.append(
            {
                "attributes": fields["attributes"],
                "captions": fields["captions"],
                "start": start,
                "n_frames": n_frames,
                "duration_s": clip.duration_s,
            }
        )
        start += n_frames
    write_atomically(folder / TOKENS_FILE, json.dumps(rows, separators=(",", ":")).encode())


def load_tokens(folder: Path) -> tuple[NDArray[np.int16], tuple[TokenClip, ...]]:
    """Returns (codes [K, total_T], the clips) of a tokenised corpus."""
    rows = read_json_list(folder / TOKENS_FILE)
    codes = np.load(folder / CODES_FILE)
    clips = tuple(
        TokenClip(
            attributes=Attributes.from_json(row["attributes"]),
            captions=tuple(
                Caption(caption["text"], frozenset(caption["mentioned"]))
                for caption in row["captions"]
            ),
            start=row["start"],
            n_frames=row["n_frames"],
            duration_s=row["duration_s"],
        )
        for row in rows
    )
    return codes, clips


def load_melody(folder: Path) -> NDArray[np.int8] | None:
    """Returns the melody ids [total_T] of a tokenised corpus, None where it has none."""
    path = folder / MELODY_FILE
    return np.load(path) if path.is_file() else None

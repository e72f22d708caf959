"""Run folders: what is to be trained on what, as files that another program wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignment.errors import RunFolderError
from alignment.methods import METHODS
from alignment.outcomes import Counts, Outcome
from alignment.settings import Settings

RUN_FILE = "run.json"
PROGRESS_FILE = "progress.jsonl"
SUMMARY_FILE = "summary.json"
RESULT_FOLDER = "result"
PARTIAL_FOLDER = "result.partial"
CHECKPOINTS_FOLDER = "checkpoints"
ONE_WIN = Counts(chosen=1)


class Split(StrEnum):
    """TRAIN is learned from; HELD_OUT only measures."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True)
class Preference:
    """One training row: of two clips of one prompt, which was preferred, and how surely.

    Where the outcome is no preference, `chosen` is simply the pair's first clip.
    """

    pair: str
    header: tuple[int, ...]
    """Text ids the clips were conditioned on."""
    chosen: Path
    """File with the codes as sampled, int16 [K, T]."""
    rejected: Path
    weight: float = 1.0
    split: Split = Split.TRAIN
    prompt: str = ""
    outcome: Outcome = Outcome.CHOSEN
    counts: Counts = ONE_WIN
    """The ratings behind the row."""
    raters: tuple[int, ...] = ()
    """Opaque numbers of the people behind the row."""
    win_probability: float | None = None
    """How likely the chosen clip is to win, where a reward model and not the ratings say it."""

    def __post_init__(self) -> None:
        if not (0.0 < self.weight <= 1000.0):
            raise RunFolderError(
                f"preference of pair {self.pair}: a weight is above 0 and at most 1000, "
                f"got {self.weight}"
            )
        if self.chosen == self.rejected:
            raise RunFolderError(f"preference of pair {self.pair} has one clip twice")


@dataclass(frozen=True)
class LabelledClip:
    """One clip without a partner that somebody wanted or did not want."""

    header: tuple[int, ...]
    """Text ids the clip was conditioned on."""
    codes: Path
    """File with the codes as sampled, int16 [K, T]."""
    is_desirable: bool
    weight: float = 1.0


@dataclass(frozen=True)
class RunFolder:
    """A run.json that was read and found whole, with its folder."""

    path: Path
    name: str
    base: Path
    """The full checkpoint at the end of the parent's chain."""
    adapters: tuple[Path, ...]
    """Adapter checkpoints merged into it, in order; the last is the parent."""
    preferences: Path
    codes_root: Path
    method: str
    config: Settings
    """Of the method's own class."""
    parent: str | None = None
    parent_hash: str | None = None
    dataset_sha256: str | None = None
    reward_model: Path | None = None
    """The reward checkpoint that clips are scored by."""
    judge_model: Path | None = None
    """A reward checkpoint that is never learned from and says when to stop."""
    prompts: Path | None = None
    """Prompts to sample clips for, JSON lines."""
    clips: Path | None = None
    """Good and bad clips that have no partner, JSON lines."""

    @property
    def chain(self) -> tuple[Path, ...]:
        """The parent's folders from the full checkpoint on."""
        return (self.base, *self.adapters)

    @property
    def result(self) -> Path:
        """Where the new adapter checkpoint stands once it is complete."""
        return self.path / RESULT_FOLDER


def read_run(folder: Path) -> RunFolder:
    """Returns the run of a folder; RunFolderError says what is wrong with it."""
    stored = _read_object(folder / RUN_FILE)
    allowed = {
        *("base", "adapters", "preferences", "codes_root", "method", "config", "name"),
        *("parent", "parent_hash", "dataset_sha256"),
        *("reward_model", "judge_model", "prompts", "clips"),
    }
    needed = {"base", "preferences", "codes_root", "method", "name"}
    if absent := sorted(needed - set(stored)):
        raise RunFolderError(f"{folder / RUN_FILE} lacks {absent}")
    if unknown := sorted(set(stored) - allowed):
        raise RunFolderError(
            f"{folder / RUN_FILE} has unknown keys {unknown}; allowed are {sorted(allowed)}"
        )
    if stored["method"] not in METHODS:
        raise RunFolderError(f"method is one of {list(METHODS)}, got {stored['method']!r}")
    if not isinstance(stored.get("adapters", []), list):
        raise RunFolderError(f"adapters is a list of folders, got {stored['adapters']!r}")
    if not isinstance(stored.get("config", {}), dict):
        raise RunFolderError(f"config is an object, got {stored['config']!r}")
    method = METHODS[stored["method"]]
    if method.needs_reward_model and not stored.get("reward_model"):
        raise RunFolderError(f"method {method.name} needs a reward_model, {RUN_FILE} names none")
    run = RunFolder(
        path=folder,
        name=str(stored["name"]),
        base=folder / stored["base"],
        adapters=tuple(folder / adapter for adapter in stored.get("adapters", [])),
        preferences=folder / stored["preferences"],
        codes_root=folder / stored["codes_root"],
        method=method.name,
        config=method.config_class.from_mapping(stored.get("config", {})),
        parent=stored.get("parent"),
        parent_hash=stored.get("parent_hash"),
        dataset_sha256=stored.get("dataset_sha256"),
        reward_model=_beside(folder, stored.get("reward_model")),
        judge_model=_beside(folder, stored.get("judge_model")),
        prompts=_beside(folder, stored.get("prompts")),
        clips=_beside(folder, stored.get("clips")),
    )
    readable = method.needs_reward_model or method.can_read_reward_model
    if run.reward_model is not None and not readable:
        raise RunFolderError(f"method {method.name} reads no reward_model, {RUN_FILE} names one")
    if run.clips is not None and not method.reads_single_clips:
        raise RunFolderError(f"method {method.name} learns from pairs, {RUN_FILE} names clips")
    scorers = [place for place in (run.reward_model, run.judge_model) if place]
    for place in (*run.chain, run.codes_root, *scorers):
        if not place.is_dir():
            raise RunFolderError(
                f"{folder / RUN_FILE} names the folder {place}, which is not there"
            )
    return run


def _beside(folder: Path, name: str | None) -> Path | None:
    return folder / name if name else None


def read_preferences(run: RunFolder, *, needs_train: bool = True) -> list[Preference]:
    """Returns the run's preferences in order, their codes files checked against their hashes."""
    try:
        content = run.preferences.read_bytes()
        lines = content.decode().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise RunFolderError(f"{run.preferences} cannot be read: {exc}") from exc
    found = hashlib.sha256(content).hexdigest()
    if run.dataset_sha256 and found != run.dataset_sha256:
        raise RunFolderError(
            f"{run.preferences} has sha256 {found[:12]}..., "
            f"the run says {run.dataset_sha256[:12]}..."
        )
    rows = [_parse(line, run, number) for number, line in enumerate(lines, 1) if line.strip()]
    if needs_train and not any(row.split is Split.TRAIN for row in rows):
        raise RunFolderError(
            f"{run.preferences} has {len(rows)} preferences, none with split {Split.TRAIN.value!r}"
        )
    return rows


def read_clips(
    run: RunFolder, *, n_codebooks: int, codebook_size: int, text_lengths: range
) -> list[LabelledClip]:
    """Returns the single clips of a run in order; RunFolderError says which line is none.

    text_lengths: how many ids a header of the core can have.
    """
    if run.clips is None:
        return []
    try:
        lines = run.clips.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise RunFolderError(f"{run.clips} cannot be read: {exc}") from exc
    clips = []
    for number, line in enumerate(lines, 1):
        place = f"{run.clips} line {number}"
        try:
            row = json.loads(line)
            clip = LabelledClip(
                header=tuple(int(text_id) for text_id in row["header"]),
                codes=run.codes_root / row["codes"],
                is_desirable=row["label"],
                weight=float(row.get("weight", 1.0)),
            )
        except KeyError as exc:
            raise RunFolderError(f"{place} lacks {exc}") from exc
        except (ValueError, TypeError) as exc:
            raise RunFolderError(f"{place} is not a clip: {exc}") from exc
        if not isinstance(clip.is_desirable, bool):
            raise RunFolderError(f"{place}: a label is true or false, got {clip.is_desirable!r}")
        if not 0.0 < clip.weight <= 1000.0:
            raise RunFolderError(
                f"{place}: a weight is above 0 and at most 1000, got {clip.weight}"
            )
        _check_header(clip.header, text_lengths, f"clip {row['codes']}")
        check_codes(clip.codes, n_codebooks=n_codebooks, codebook_size=codebook_size)
        clips.append(clip)
    return clips


def check_codes(path: Path, *, n_codebooks: int, codebook_size: int) -> int:
    """Returns how many frames a file of codes has, once they are known to fit the core."""
    codes = load_codes(path)
    if codes.shape[0] != n_codebooks or codes.shape[1] < 1:
        raise RunFolderError(
            f"{path}: expected codes of shape [{n_codebooks}, T], got {codes.shape}"
        )
    if not 0 <= int(codes.min()) <= int(codes.max()) < codebook_size:
        raise RunFolderError(
            f"{path}: codes are 0 to {codebook_size - 1}, "
            f"got {int(codes.min())} to {int(codes.max())}"
        )
    return int(codes.shape[1])


def load_codes(path: Path) -> NDArray[np.int16]:
    """Returns the codes [K, T] of a file."""
    try:
        codes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as exc:
        raise RunFolderError(f"{path} does not hold codes: {exc}") from exc
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype.kind not in "iu":
        raise RunFolderError(f"{path} does not hold whole numbers of shape [K, T]")
    return codes.astype(np.int16, copy=False)


def check_lengths(
    preferences: Sequence[Preference], *, n_codebooks: int, codebook_size: int, text_lengths: range
) -> list[int]:
    """Returns how many frames the clips of each preference have, once all fit the core.

    text_lengths: how many ids a header of the core can have.
    """
    lengths = []
    for row in preferences:
        first, second = (
            check_codes(path, n_codebooks=n_codebooks, codebook_size=codebook_size)
            for path in (row.chosen, row.rejected)
        )
        if first != second:
            raise RunFolderError(
                f"the clips of pair {row.pair} have {first} and {second} frames; "
                "clips of a pair are equally long"
            )
        _check_header(row.header, text_lengths, f"pair {row.pair}")
        lengths.append(first)
    return lengths


def _check_header(header: tuple[int, ...], text_lengths: range, name: str) -> None:
    if len(header) not in text_lengths:
        allowed = " to ".join(str(n) for n in sorted({text_lengths[0], text_lengths[-1]}))
        raise RunFolderError(
            f"the header of {name} has {len(header)} ids, the core reads {allowed}"
        )


def _parse(line: str, run: RunFolder, number: int) -> Preference:
    place = f"{run.preferences} line {number}"
    try:
        row = json.loads(line)
        outcome = Outcome(row.get("outcome", Outcome.CHOSEN))
        preference = Preference(
            pair=str(row["pair"]),
            header=tuple(int(text_id) for text_id in row["header"]),
            chosen=run.codes_root / row["chosen"],
            rejected=run.codes_root / row["rejected"],
            weight=float(row.get("weight", 1.0)),
            split=Split(row["split"]),
            prompt=str(row.get("prompt", "")),
            outcome=outcome,
            counts=(
                Counts.from_mapping(row["counts"]) if row.get("counts") else Counts.of_one(outcome)
            ),
            raters=tuple(int(rater) for rater in row.get("raters", [])),
        )
    except KeyError as exc:
        raise RunFolderError(f"{place} lacks {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise RunFolderError(f"{place} is not a preference: {exc}") from exc
    for path, expected in (
        (preference.chosen, row.get("chosen_sha256")),
        (preference.rejected, row.get("rejected_sha256")),
    ):
        if not path.is_file():
            raise RunFolderError(f"{place} names {path}, which is not there")
        if expected and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != expected:
            raise RunFolderError(
                f"{path} has sha256 {found[:12]}..., the preference says {expected[:12]}..."
            )
    return preference


def _read_object(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except FileNotFoundError as exc:
        raise RunFolderError(f"{path} is missing") from exc
    except (OSError, ValueError) as exc:
        raise RunFolderError(f"{path} is not readable JSON: {exc}") from exc
    if not isinstance(stored, dict):
        raise RunFolderError(f"{path} holds no JSON object")
    return stored

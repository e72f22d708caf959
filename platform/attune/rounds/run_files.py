"""What lies in a round's folder: its log, its saves and the clips made while it was trained."""

import re
from pathlib import Path

from django.conf import settings

from attune.rounds.models import Round, RoundSample

LOG_FILE = "training.log"
CHECKPOINTS_FOLDER = "checkpoints"
RESULT_FOLDER = "result"
COMPLETE_FILE = "complete"
STEP_SAVE = re.compile(r"checkpoint-(\d{1,9})", re.ASCII)
MEMBER_SAVE = re.compile(r"member-(\d{1,9})\.json", re.ASCII)
"""What a reward model's training saves: a file for each member that is done, numbered from 0."""
TAIL_LINES = 16
TAIL_BYTES = 16_384


def round_folder(round: Round) -> Path:
    """Where the round's run lies."""
    return Path(settings.ATTUNE_ROUNDS) / str(round.pk)


def log_tail(round: Round, *, n_lines: int = TAIL_LINES) -> str:
    """The last lines that the round's training wrote; empty before it has written any."""
    try:
        with (round_folder(round) / LOG_FILE).open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    # A progress bar writes over its line; what it said last is what counts.
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
    return "\n".join(lines[-n_lines:]).strip()


def has_result(round: Round) -> bool:
    """Whether the round's training is done: its result appears whole or not at all."""
    return (round_folder(round) / RESULT_FOLDER).is_dir()


def find_saved_step(round: Round) -> int | None:
    """The step of the last save that is whole, or the members that are done; None without any."""
    saves = round_folder(round) / CHECKPOINTS_FOLDER
    steps = []
    for place in saves.iterdir() if saves.is_dir() else ():
        if (found := STEP_SAVE.fullmatch(place.name)) and (place / COMPLETE_FILE).is_file():
            steps.append(int(found[1]))
        elif found := MEMBER_SAVE.fullmatch(place.name):
            steps.append(int(found[1]) + 1)
    return max(steps, default=None)


def sample_file(sample: RoundSample) -> Path | None:
    """The sound of a sample; None where it is gone or would lie outside the round's folder."""
    folder = round_folder(sample.round).resolve()
    file = (folder / sample.audio_path).resolve()
    return file if file.is_relative_to(folder) and file.is_file() else None

"""What lies in a round's folder for people: its log and the clips made while it was trained."""

from pathlib import Path

from django.conf import settings

from attune.rounds.models import Round, RoundSample

LOG_FILE = "training.log"
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


def sample_file(sample: RoundSample) -> Path | None:
    """The sound of a sample; None where it is gone or would lie outside the round's folder."""
    folder = round_folder(sample.round).resolve()
    file = (folder / sample.audio_path).resolve()
    return file if file.is_relative_to(folder) and file.is_file() else None

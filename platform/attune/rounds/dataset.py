"""The frozen preference dataset of a round: its rows, their canonical bytes, their hash."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attune.rounds.errors import DatasetError
from attune.rounds.models import Round, RoundPreference, RoundPrompt

DATASET_FORMAT = 2
FORMAT_WITH_RATINGS = 2
_READ_COLUMNS = (
    *("pair_id", "weight", "split", "outcome", "raters", "round_id"),
    *("n_chosen", "n_rejected", "n_tie", "n_both_bad", "pair__prompt__text"),
    *("chosen_clip__header", "chosen_clip__duration_s", "chosen_clip__codes_path"),
    *("chosen_clip__codes_sha256", "rejected_clip__codes_path", "rejected_clip__codes_sha256"),
)


def export_preferences(round: Round) -> list[dict[str, Any]]:
    """The round's preferences in pair order; their bytes are those that were hashed."""
    rows = preference_rows(round)
    found = dataset_sha256(rows)
    if found != round.dataset_sha256:
        raise DatasetError(
            f"the preferences of round {round.name} hash to {found}, "
            f"frozen was {round.dataset_sha256}"
        )
    return rows


def preference_rows(round: Round) -> list[dict[str, Any]]:
    """The round's preferences as JSON objects in pair order, in the format they were frozen in."""
    found = RoundPreference.objects.filter(round=round).order_by("pair_id")
    found = found.select_related("pair__prompt", "chosen_clip", "rejected_clip").only(
        *_READ_COLUMNS
    )
    has_ratings = round.dataset_format >= FORMAT_WITH_RATINGS
    return [
        {**_clip_fields(preference), **(_rating_fields(preference) if has_ratings else {})}
        for preference in found
    ]


def _clip_fields(preference: RoundPreference) -> dict[str, Any]:
    """Everything that format 1 tells."""
    return {
        "pair": preference.pair_id,
        "prompt": preference.pair.prompt.text,
        "header": preference.chosen_clip.header,
        "duration_s": _to_a_millionth(preference.chosen_clip.duration_s),
        "chosen": preference.chosen_clip.codes_path,
        "rejected": preference.rejected_clip.codes_path,
        "chosen_sha256": preference.chosen_clip.codes_sha256,
        "rejected_sha256": preference.rejected_clip.codes_sha256,
        "weight": _to_a_millionth(preference.weight),
        "split": str(preference.split),
    }


def _rating_fields(preference: RoundPreference) -> dict[str, Any]:
    """What format 2 tells beside it: what the ratings said, and how many people were behind."""
    return {
        "outcome": str(preference.outcome),
        "counts": {
            "chosen": preference.n_chosen,
            "rejected": preference.n_rejected,
            "tie": preference.n_tie,
            "both_bad": preference.n_both_bad,
        },
        "raters": preference.raters,
    }


def export_prompts(round: Round) -> list[dict[str, Any]]:
    """The prompts that the round makes clips of; their bytes are those that were hashed."""
    rows = prompt_rows(round)
    found = dataset_sha256(rows)
    if found != round.prompts_sha256:
        raise DatasetError(
            f"the prompts of round {round.name} hash to {found}, "
            f"frozen was {round.prompts_sha256 or 'none'}"
        )
    return rows


def prompt_rows(round: Round) -> list[dict[str, Any]]:
    """The round's frozen prompts as JSON objects, in the order of their ids."""
    return [
        {
            "prompt": frozen.text,
            "header": frozen.header,
            "duration_s": _to_a_millionth(frozen.duration_s),
            "split": str(frozen.split),
        }
        for frozen in RoundPrompt.objects.filter(round=round).order_by("prompt_id")
    ]


def _to_a_millionth(value: float | None) -> float | None:
    """The number to a millionth, so that its text does not depend on how it was computed."""
    return None if value is None else float(f"{value:.6f}")


def dataset_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Canonical JSON lines: sorted keys, no spaces, ASCII, one row a line."""
    return b"".join(
        json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        for row in rows
    )


def dataset_sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the canonical bytes."""
    return hashlib.sha256(dataset_bytes(rows)).hexdigest()

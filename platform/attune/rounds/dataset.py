"""The frozen preference dataset of a round: its rows, their canonical bytes, their hash."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attune.rounds.errors import DatasetError
from attune.rounds.models import Round, RoundPreference


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
    """The round's preferences as JSON objects in pair order."""
    found = RoundPreference.objects.filter(round=round).order_by("pair_id")
    return [
        {
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
        for preference in found.select_related("pair__prompt", "chosen_clip", "rejected_clip")
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

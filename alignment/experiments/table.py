"""Results of trials as a table for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignment.experiments.trial import RESULT_FILE, TRIALS_FOLDER

HEAD = (
    "| taste | method | settings | pairs | labels | round | win rate | diversity "
    "| centroid | level | chosen NLL |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def results_table(root: Path) -> str:
    """Returns a Markdown table with a row for each round of each trial that is done."""
    places = sorted((root / TRIALS_FOLDER).glob(f"*/{RESULT_FILE}"))
    rows = [row for place in places for row in _rows(json.loads(place.read_text()))]
    return "\n".join([HEAD, *rows])


def _rows(result: dict[str, Any]) -> list[str]:
    trial = result["trial"]
    settings = ", ".join(f"{name} {value}" for name, value in trial["config"].items())
    if trial.get("has_reward_model"):
        settings = ", ".join(filter(None, ["reward model", settings]))
    if trial["tie_share"]:
        settings = ", ".join(filter(None, [settings, f"{trial['tie_share']:.0%} ties"]))
    rows = []
    for number, round in enumerate(result["rounds"], 1):
        judged = round["judgement"]
        held_out = round["summary"].get("held_out") or {}
        increase = held_out.get("nll_increase")
        cells = [
            trial["taste"],
            trial["method"],
            settings,
            str(trial["n_pairs"]),
            f"{trial['labels']} ({round['agreement']:.2f})",
            f"{number} of {trial['n_rounds']}",
            f"{judged['win_rate']:.3f} [{judged['low']:.3f}, {judged['high']:.3f}]",
            f"{judged['diversity']:.2f}",
            f"{judged['centroid_octaves']:+.2f} oct",
            f"{judged['level_db']:+.1f} dB",
            "" if increase is None else f"{increase:+.1%}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows

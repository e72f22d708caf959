"""A round of a trial: its run folder, and the process that trains it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignment.errors import AlignmentError
from alignment.experiments.labels import Rated, write_rows
from alignment.runs import RESULT_FOLDER, RUN_FILE, SUMMARY_FILE
from generator.files import write_json

PREFERENCES_FILE = "preferences.jsonl"
PROMPTS_FILE = "prompts.jsonl"
LOG_FILE = "training.log"


@dataclass(frozen=True)
class Round:
    """What is trained on which ratings, and where."""

    folder: Path
    chain: tuple[Path, ...]
    """The parent: a full checkpoint and the adapters on it."""
    rated: Rated
    codes_root: Path
    duration_s: float
    n_threads: int

    @property
    def result(self) -> Path:
        """Where the trained checkpoint stands."""
        return self.folder / RESULT_FOLDER

    def beside(self, name: str) -> Round:
        """Returns a round on the same ratings in a folder beside this one."""
        return replace(self, folder=self.folder.with_name(f"{self.folder.name}-{name}"))

    def train(
        self, method: str, config: Mapping[str, Any], extra: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns the summary of a training, which goes on where an earlier one was stopped."""
        summary = self.folder / SUMMARY_FILE
        if not summary.is_file():
            self._write(method, config, extra or {})
            command = [sys.executable, "-m", "alignment", method, str(self.folder)]
            command += ["--threads", str(self.n_threads)]
            with (self.folder / LOG_FILE).open("a") as log:
                code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
            if code != 0:
                raise AlignmentError(
                    f"{' '.join(command)} exited with {code}, see {self.folder / LOG_FILE}"
                )
        stored: dict[str, Any] = json.loads(summary.read_text())
        return stored

    def _write(self, method: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_rows(self.folder / PREFERENCES_FILE, self.rated.rows)
        write_rows(self.folder / PROMPTS_FILE, self._prompts())
        described = {
            "name": f"{self.folder.parent.name}-{self.folder.name}",
            "method": method,
            "base": str(self.chain[0]),
            "adapters": [str(place) for place in self.chain[1:]],
            "preferences": PREFERENCES_FILE,
            "codes_root": str(self.codes_root),
            "config": dict(config),
        }
        write_json(self.folder / RUN_FILE, described | dict(extra))

    def _prompts(self) -> list[dict[str, Any]]:
        """Returns the distinct prompts of the rated pairs, with the headers their clips had."""
        seen = {(row["prompt"], tuple(row["header"])): row["split"] for row in self.rated.rows}
        return [
            {
                "prompt": prompt,
                "header": list(header),
                "duration_s": self.duration_s,
                "split": split,
            }
            for (prompt, header), split in seen.items()
        ]

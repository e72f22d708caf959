"""Reads prompt sets from JSON files."""

import json
from dataclasses import dataclass
from pathlib import Path

from attune.catalog.errors import PromptError
from attune.catalog.services import PromptRow

STARTER_PROMPTS = Path(__file__).with_name("data") / "starter_prompts.json"


@dataclass(frozen=True)
class PromptFile:
    """A prompt set as it stands in a file."""

    name: str
    description: str
    rows: tuple[PromptRow, ...]


def read_prompt_file(file: Path) -> PromptFile:
    """The prompt set of a file: an object with name, description and prompts.

    Each prompt is an object with text, and tags and is_held_out if they differ from none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return PromptFile(
            name=content["name"],
            description=content.get("description", ""),
            rows=tuple(
                PromptRow(
                    text=row["text"],
                    tags=tuple(row.get("tags", ())),
                    is_held_out=row.get("is_held_out", False),
                )
                for row in content["prompts"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise PromptError(f"{file} is no prompt file: {exc!r}") from exc

"""A consent text as paragraphs, lists and headings. Engineers write it as plain text."""

import enum
from dataclasses import dataclass


class BlockKind(enum.Enum):
    """What a block of text is."""

    PARAGRAPH = "paragraph"
    HEADING = "heading"
    POINTS = "points"


@dataclass(frozen=True)
class Block:
    """One paragraph, heading or list, with its lines."""

    kind: BlockKind
    lines: tuple[str, ...]


def read_blocks(text: str) -> list[Block]:
    """Blocks between empty lines: `## ` begins a heading, `* ` or `- ` a point of a list."""
    blocks = []
    for part in text.split("\n\n"):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        if not lines:
            continue
        if lines[0].startswith("## "):
            blocks.append(Block(BlockKind.HEADING, (lines[0][3:],)))
            lines = lines[1:]
        if lines and all(line[:2] in {"* ", "- "} for line in lines):
            blocks.append(Block(BlockKind.POINTS, tuple(line[2:] for line in lines)))
        elif lines:
            blocks.append(Block(BlockKind.PARAGRAPH, tuple(lines)))
    return blocks

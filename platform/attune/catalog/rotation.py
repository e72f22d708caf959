"""Which checkpoint makes the next clip, from the entries of one population."""

from collections.abc import Sequence
from typing import Protocol

from attune.catalog.draws import UniformSource, draw_index, draw_integer

CANARY_LIMIT = 0.5
ANCHOR_WEIGHT_BESIDE_PROMOTED = 0.2
ANCHOR_OPPONENT_SHARE = 0.5


class Entry(Protocol):
    """What the rotation needs to know of an entry: `role` is anchor, canary or full."""

    @property
    def checkpoint_id(self) -> int: ...
    @property
    def role(self) -> str: ...
    @property
    def share(self) -> float: ...


def rotation_shares(entries: Sequence[Entry]) -> dict[int, float]:
    """Checkpoint id -> its share of new clips; shares sum to 1.

    Canaries get their stated share, together at most half; the others divide the rest in
    proportion to theirs. Once a checkpoint was promoted, an anchor weighs at most 0.2 beside
    it: it stays to be compared with, not to be trained on. One population at a time.
    """
    canaries = {entry.checkpoint_id: entry.share for entry in entries if entry.role == "canary"}
    is_promoted = any(entry.role == "full" for entry in entries)
    others = {
        entry.checkpoint_id: min(entry.share, ANCHOR_WEIGHT_BESIDE_PROMOTED)
        if entry.role == "anchor" and is_promoted
        else entry.share
        for entry in entries
        if entry.role != "canary"
    }
    canary_total = sum(canaries.values())
    canary_part = 1.0 if not others else min(canary_total, CANARY_LIMIT)
    shares = {key: canary_part * share / canary_total for key, share in canaries.items()}
    other_total = sum(others.values())
    for key, share in others.items():
        shares[key] = (1.0 - canary_part) * share / other_total
    return shares


def choose_checkpoint(entries: Sequence[Entry], rng: UniformSource) -> int:
    """The id of a checkpoint drawn by its share. Raises ValueError without entries."""
    if not entries:
        raise ValueError("no checkpoint in rotation: 0 entries to choose from")
    shares = rotation_shares(entries)
    return list(shares)[draw_index(list(shares.values()), rng)]


def choose_opponents(entries: Sequence[Entry], rng: UniformSource) -> tuple[int, int]:
    """The ids of two checkpoints to set against each other.

    A canary waits for a verdict, so one is in the pair if there is one; half of the time it
    meets an anchor, else another entry drawn by share. Raises ValueError below two entries.
    """
    if len(entries) < 2:
        raise ValueError(f"{len(entries)} checkpoints in rotation: two are needed for judging")
    canaries = [entry for entry in entries if entry.role == "canary"]
    if canaries:
        first = canaries[draw_integer(len(canaries), rng)].checkpoint_id
    else:
        first = choose_checkpoint(entries, rng)
    others = [entry for entry in entries if entry.checkpoint_id != first]
    anchors = [entry for entry in others if entry.role == "anchor"]
    if canaries and anchors and rng.random() < ANCHOR_OPPONENT_SHARE:
        return first, anchors[draw_integer(len(anchors), rng)].checkpoint_id
    return first, choose_checkpoint(others, rng)

"""The reward model: an ensemble of heads over a clip's features, as a checkpoint folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from alignment.reward.config import FeatureBlock
from alignment.reward.features import BLOCK_SCALES, ClipReader, Features
from alignment.reward.heads import Head
from generator.checkpoints import verify_folder
from generator.errors import CheckpointError, RequestError
from generator.files import read_json, read_tensors, write_json, write_tensors
from generator.representation.encoder import load_encoder, save_encoder

REWARD_FILE, HEADS_FILE = "reward.json", "reward.safetensors"
REWARD_FORMAT = 1
KIND = "reward"
TENSORS = ("codebooks", "mean", "scale", "weights")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What an ensemble thinks of N clips, in logits: how far apart two clips are in odds.

    mean: [N]; std: how its members differ, [N]. The clips it learned from have a mean of 0.
    """

    mean: Floats
    std: Floats

    def lower(self, lam: float) -> Floats:
        """Returns mean - lam * std, [N]: what is liked for sure."""
        lowered: Floats = self.mean - lam * self.std
        return lowered


@dataclass(frozen=True)
class Standard:
    """Makes features [N, F] comparable: less their mean, by their spread and their block's scale.

    mean, scale: [F], of the clips that are learned from.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, features: Features) -> Self:
        """Returns the standard of clips; a column that never changes has no effect."""
        values = features.values
        spread = values.std(axis=0)
        n_columns = {block: features.blocks.count(block) for block in FeatureBlock}
        share = np.array([BLOCK_SCALES[b] / n_columns[b] ** 0.5 for b in features.blocks])
        still = spread < 1e-9
        return cls(values.mean(axis=0), np.where(still, 0.0, share / np.where(still, 1.0, spread)))

    def apply(self, values: Floats) -> Floats:
        """Returns the figures [N, F] that heads weigh."""
        made: Floats = (values - self.mean) * self.scale
        return made


class RewardModel:
    """Scores clips by codes [K, T] of the starter's codec; of more codebooks the first are read."""

    def __init__(
        self, reader: ClipReader, standard: Standard, heads: Sequence[Head], temperature: float
    ) -> None:
        if not heads:
            raise ValueError("a reward model has at least one head, got none")
        self.reader = reader
        self.standard = standard
        self.heads = tuple(heads)
        self.temperature = temperature

    @property
    def n_members(self) -> int:
        """How many heads there are."""
        return len(self.heads)

    def score(self, codes: Sequence[NDArray[np.integer]]) -> Scores:
        """Returns the scores of clips of any lengths, none included."""
        if not len(codes):
            return Scores(np.zeros(0), np.zeros(0))
        return self.score_features(self.reader.read(codes).values)

    def score_features(self, values: Floats) -> Scores:
        """Returns the scores of clips with features [N, F]."""
        by_member = self.member_scores(values)
        return Scores(by_member.mean(axis=0), by_member.std(axis=0))

    def member_scores(self, values: Floats) -> Floats:
        """Returns what each member thinks of clips with features [N, F], [M, N]."""
        weights = np.stack([head.weights for head in self.heads])  # [M, F]
        scores: Floats = weights @ self.standard.apply(values).T / self.temperature
        return scores


def save_reward(model: RewardModel, folder: Path, told: Mapping[str, Any]) -> None:
    """Writes everything a score needs; `told` is what reward.json says besides."""
    folder.mkdir(parents=True, exist_ok=True)
    save_encoder(model.reader.encoder, folder)
    tensors = {
        "codebooks": model.reader.codebooks,
        "mean": torch.from_numpy(model.standard.mean),
        "scale": torch.from_numpy(model.standard.scale),
        "weights": torch.from_numpy(np.stack([head.weights for head in model.heads])),
    }
    write_tensors(folder / HEADS_FILE, tensors)
    stored = {
        "format": REWARD_FORMAT,
        "features": [block.value for block in model.reader.blocks],
        "temperature": model.temperature,
        "tie_shares": [head.tie_share for head in model.heads],
        **told,
    }
    write_json(folder / REWARD_FILE, stored)


def load_reward(folder: Path, device: str = "cpu") -> RewardModel:
    """Returns the reward model of a checkpoint folder, its files held against its card."""
    card = verify_folder(folder)
    if card.kind != KIND:
        raise CheckpointError(f"{folder} is a checkpoint of kind {card.kind}, expected {KIND}")
    path = folder / REWARD_FILE
    stored = read_json(path)
    tensors = read_tensors(folder / HEADS_FILE)
    if absent := [name for name in TENSORS if name not in tensors]:
        raise CheckpointError(f"{folder / HEADS_FILE} lacks {absent}")
    if bad := [name for name in TENSORS if not bool(tensors[name].isfinite().all())]:
        raise CheckpointError(f"{folder / HEADS_FILE}: {bad} are not all finite")
    try:
        if stored["format"] != REWARD_FORMAT:
            raise CheckpointError(f"reward format {REWARD_FORMAT} is known, got {stored['format']}")
        blocks = [FeatureBlock(name) for name in stored["features"]]
        temperature = float(stored["temperature"])
        tie_shares = [None if s is None else float(s) for s in stored["tie_shares"]]
        encoder = load_encoder(folder).to(device)
        reader = ClipReader(encoder, tensors["codebooks"].to(device), blocks)
        heads = [
            Head(weights.double().numpy(), share)
            for weights, share in zip(tensors["weights"], tie_shares, strict=True)
        ]
    except (KeyError, TypeError, ValueError, RequestError) as exc:
        raise CheckpointError(f"{path} does not describe a reward model: {exc}") from exc
    mean, scale = (tensors[name].double().numpy() for name in ("mean", "scale"))
    if not mean.shape == scale.shape == heads[0].weights.shape:
        raise CheckpointError(
            f"{folder / HEADS_FILE}: mean, scale and weights of one head have shapes "
            f"{mean.shape}, {scale.shape} and {heads[0].weights.shape}"
        )
    if not temperature > 0:
        raise CheckpointError(f"{path}: a temperature is above 0, got {temperature}")
    return RewardModel(reader, Standard(mean, scale), heads, temperature)

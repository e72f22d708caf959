"""What a run's heads are fitted on: its preferences, and the features of their clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alignment.errors import RunFolderError
from alignment.reward.config import FeatureBlock, RewardConfig
from alignment.reward.features import ClipReader
from alignment.reward.heads import RatedPairs
from alignment.reward.model import Standard
from alignment.reward.sources import codec_hash, codes_source, run_encoder
from alignment.reward.splits import RewardSplit, split_preferences
from alignment.runs import Preference, RunFolder, read_preferences
from generator.checkpoints import read_card
from generator.errors import RequestError
from generator.files import file_sha256
from generator.representation.encoder import WEIGHTS_FILE as ENCODER_WEIGHTS_FILE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """Everything a run's heads are fitted on and measured by."""

    run: RunFolder
    config: RewardConfig
    split: RewardSplit
    reader: ClipReader
    standard: Standard
    places: dict[Path, int]
    """The row of each clip's file in `values`."""
    values: Floats
    """Features of all clips, [clips, F]."""
    sources: dict[str, str]
    """Hashes of what the clips are read with."""
    licence: str

    def pairs(self, rows: Sequence[Preference]) -> RatedPairs:
        """Returns what the heads see of preferences."""
        made = self.standard.apply(self.values)
        chosen = [self.places[row.chosen] for row in rows]
        rejected = [self.places[row.rejected] for row in rows]
        return RatedPairs(made[chosen] - made[rejected], self.counts(rows))

    def counts(self, rows: Sequence[Preference]) -> Floats:
        """Returns the ratings for chosen, rejected and neither clip, [N, 3]."""
        return np.array([_counted(row, self.config.uses_ties) for row in rows]).reshape(-1, 3)


def read_material(run: RunFolder, device: str) -> Material:
    """Returns a run's preferences and the features of their clips."""
    config = run.config
    assert isinstance(config, RewardConfig)
    rows = read_preferences(run)
    split = split_preferences(rows, config.outcomes)
    if not any(row.counts.decided for row in split.train):
        raise RunFolderError(
            f"{run.preferences} has {len(rows)} rows, {len(split.train)} to learn from, "
            "none with a rating that favours a clip"
        )
    codec_folder, codec, read_codes = codes_source(run)
    encoder_folder, encoder = run_encoder(run, config, codec_folder)
    paths = list(
        dict.fromkeys(
            p for row in (*split.train, *split.held_out) for p in (row.chosen, row.rejected)
        )
    )
    blocks = [FeatureBlock(name) for name in config.features]
    try:
        codebooks = codec.quantiser.codebooks[: encoder.config.n_codebooks]
        reader = ClipReader(encoder.to(device), codebooks.to(device), blocks)
        features = reader.read([read_codes(path) for path in paths])
    except RequestError as exc:
        raise RunFolderError(f"the clips of {run.preferences} cannot be read: {exc}") from exc
    places = {path: place for place, path in enumerate(paths)}
    trained = sorted({places[p] for row in split.train for p in (row.chosen, row.rejected)})
    return Material(
        run=run,
        config=config,
        split=split,
        reader=reader,
        standard=Standard.of(features.at(trained)),
        places=places,
        values=features.values,
        sources={
            "codec_sha256": codec_hash(codec_folder),
            "encoder_sha256": file_sha256(encoder_folder / ENCODER_WEIGHTS_FILE),
        },
        licence=read_card(run.base).licence,
    )


def _counted(row: Preference, uses_ties: bool) -> tuple[float, float, float]:
    counts = row.counts
    return counts.chosen, counts.rejected, counts.tie if uses_ties else 0

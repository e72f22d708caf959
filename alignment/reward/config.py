"""Settings of a reward model, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from alignment.errors import ConfigError
from alignment.outcomes import Outcome
from alignment.settings import Settings, flag, member_of, number, whole, words


class TieModel(StrEnum):
    """How ties come about; where nothing tied both are Bradley-Terry."""

    DAVIDSON = "davidson"
    RAO_KUPPER = "rao_kupper"


class FeatureBlock(StrEnum):
    """What of a clip is read: its codes as the codec's vectors, or the encoder's states."""

    CODEC = "codec"
    ENCODER = "encoder"


ALL_BLOCKS = tuple(block.value for block in FeatureBlock)


@dataclass(frozen=True)
class RewardConfig(Settings):
    """How a reward model is fitted; the defaults are what did best on the starter's clips."""

    encoder: str = ""
    """Folder of the representation encoder, from the run folder on; empty is the shipped one."""
    features: tuple[str, ...] = words(ALL_BLOCKS, ALL_BLOCKS)
    tie_model: TieModel = field(default=TieModel.DAVIDSON, metadata=member_of(TieModel))
    uses_ties: bool = flag(True)
    """Whether tied pairs are learned from; without it they are left out."""
    n_members: int = whole(5, 2, 50)
    n_folds: int = whole(5, 2, 20)
    """Parts, disjoint by prompt, that penalty and temperature are chosen on."""
    penalty: float = number(0.0, 0.0, 100.0)
    """Weight of the squared weights; 0 has cross-validation choose."""
    self_agreement: float = number(0.0, 0.0, 1.0)
    """Share of repeat pairs that raters answer alike; 0 is not known."""
    self_agreement_n: int = whole(0, 0, 10**9)
    """Repeat pairs behind it."""
    seed: int = whole(0, 0, 2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.encoder, str):
            raise ConfigError(f"encoder is the name of a folder, got {self.encoder!r}")
        if (self.self_agreement > 0.0) != (self.self_agreement_n > 0):
            raise ConfigError(
                "self_agreement and self_agreement_n are given together, "
                f"got {self.self_agreement} and {self.self_agreement_n}"
            )

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """The outcomes of pairs a run with these settings learns from."""
        return frozenset({Outcome.CHOSEN} | ({Outcome.TIE} if self.uses_ties else set()))

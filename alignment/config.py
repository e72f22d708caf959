"""Settings of runs that train an adapter, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from alignment.errors import ConfigError
from alignment.outcomes import Outcome
from alignment.settings import Settings, flag, member_of, number, whole, words

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class Precision(StrEnum):
    """The number format of the matrix products; AUTO is bfloat16 where the device has it."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class PairLoss(StrEnum):
    """How a DPO run turns the log-ratios of a pair into a loss."""

    SIGMOID_NORM = "sigmoid_norm"
    SIGMOID = "sigmoid"
    IPO = "ipo"
    ROBUST = "robust"
    APO_ZERO = "apo_zero"
    RAO_KUPPER = "rao_kupper"
    DAVIDSON = "davidson"

    @property
    def reads_ties(self) -> bool:
        """Whether ties are outcomes with a probability of their own."""
        return self in {PairLoss.RAO_KUPPER, PairLoss.DAVIDSON}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """What every method that trains a LoRA adapter has to be told, whatever its loss."""

    learning_rate: float = number(1e-3, 1e-8, 0.1)
    warmup_share: float = number(0.1, 0.0, 0.9)
    accumulation_steps: int = whole(1, 1, 1024)
    """Batches whose gradients are summed before a step: less memory for the same step."""
    gradient_checkpointing: bool = flag(False)
    """Computes the layers once more on the way back instead of keeping what they made."""
    lora_rank: int = whole(16, 1, 256)
    lora_alpha: int = whole(32, 1, 1024)
    lora_targets: tuple[str, ...] = words(LORA_TARGETS, LORA_TARGETS)
    precision: Precision = field(default=Precision.AUTO, metadata=member_of(Precision))
    seed: int = whole(0, 0, 2**32 - 1)
    save_steps: int = whole(10, 1, 10**6)
    logging_steps: int = whole(1, 1, 10**6)
    sample_steps: int = whole(30, 0, 10**6)
    """Steps between two sets of clips to listen to; 0 for none."""
    sample_clips: int = whole(2, 1, 16)
    """How many prompts those clips are made of."""

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """The outcomes of pairs a run with these settings learns from."""
        return frozenset({Outcome.CHOSEN})


@dataclass(frozen=True, kw_only=True)
class DpoConfig(TrainingConfig):
    """How a policy is trained on preferences; the defaults suit the starter checkpoint."""

    loss: PairLoss = field(default=PairLoss.SIGMOID_NORM, metadata=member_of(PairLoss))
    beta_norm: float = number(5.0, 1e-3, 1e4)
    """Scales the difference of the two clips' mean log-ratios per code. With clips of N codes it
    acts like a beta of beta_norm / N on sums, which is how DPO is usually quoted."""
    sft_weight: float = number(0.1, 0.0, 10.0)
    """Weight of the negative log-likelihood per code of the chosen clip."""
    label_smoothing: float = number(0.0, 0.0, 0.49)
    """The share of preferences expected to be wrong, below 0.5. Above 0 sigmoid_norm becomes
    robust DPO (Chowdhury et al. 2024, arXiv:2403.00409)."""
    tie_share: float = number(0.5, 0.01, 0.99)
    """For rao_kupper and davidson: how often two equally good clips are expected to tie."""
    soft_labels: bool = flag(True)
    """Whether a pair with ratings for both clips counts by the share of each. Otherwise it
    counts as won by the chosen clip, with the row's weight."""
    soft_reward_labels: bool = flag(True)
    """Whether a pair that a reward model labels counts by the probability that the better clip
    wins. Otherwise it counts as won, which moves the policy further from its parent."""
    n_drawn: int = whole(4, 0, 64)
    """Where a reward model labels the pairs: how many more clips the parent draws for each, of
    which the best and the worst become the pair. Without a reward model none are drawn."""
    n_epochs: int = whole(3, 1, 20)
    batch_pairs: int = whole(16, 1, 512)

    def __post_init__(self) -> None:
        super().__post_init__()
        smooth = {PairLoss.SIGMOID_NORM, PairLoss.ROBUST}
        if self.label_smoothing and self.loss not in smooth:
            raise ConfigError(
                f"label_smoothing is for {sorted(smooth)}, "
                f"got {self.label_smoothing} with {self.loss.value}"
            )
        if self.loss is PairLoss.ROBUST and not self.label_smoothing:
            raise ConfigError(
                "robust needs label_smoothing, the share of preferences expected to be wrong, "
                f"above 0 and up to 0.49, got {self.label_smoothing}"
            )

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """Chosen pairs, and ties where the loss reads them."""
        ties = {Outcome.TIE} if self.loss.reads_ties else set()
        return frozenset({Outcome.CHOSEN, *ties})


@dataclass(frozen=True, kw_only=True)
class KtoConfig(TrainingConfig):
    """How a policy is trained on clips that are desirable or not, each on its own."""

    beta_norm: float = number(5.0, 1e-3, 1e4)
    """Scales a clip's mean log-ratio per code, as in DPO."""
    desirable_weight: float = number(1.0, 1e-3, 1e3)
    undesirable_weight: float = number(1.0, 1e-3, 1e3)
    n_epochs: int = whole(3, 1, 20)
    batch_clips: int = whole(32, 2, 1024)

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """Chosen pairs and both-bad ones."""
        return frozenset({Outcome.CHOSEN, Outcome.BOTH_BAD})


@dataclass(frozen=True, kw_only=True)
class ExpertConfig(TrainingConfig):
    """How a policy imitates the best clips (expert iteration)."""

    best_share: float = number(0.1, 0.01, 1.0)
    """The share of all clips of the training pairs that is imitated."""
    reward_penalty: float = number(0.5, 0.0, 10.0)
    """Where a reward model scores clips: what a clip loses for each unit by which the members
    of the model disagree."""
    n_epochs: int = whole(3, 1, 50)
    batch_clips: int = whole(16, 1, 1024)

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """All of them: ties and both-bad pairs tell which clips are not the best."""
        return frozenset(Outcome)

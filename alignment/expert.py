"""Expert iteration: the policy imitates the best clips that were made.

Supervised learning on the best share of clips, as in Anthony et al. 2017, arXiv:1705.08439, and
in reinforced self-training, Gulcehre et al. 2023, arXiv:2308.08998, by TRL's trainer. Which
clips are best a reward model says where the run names one, else the raters' wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from alignment.arguments import lora_config, shared_arguments
from alignment.collation import ROW, ClipRows, clip_dataset, structural_tokenizer
from alignment.config import ExpertConfig
from alignment.face import IGNORED_LABEL
from alignment.passes import code_means, divergence, log_figures, recorded_passes
from alignment.runs import Preference, RunFolder, load_codes
from alignment.scoring import wilson_interval
from alignment.stopping import StopSwitch
from alignment.training import Material, train_adapter


@dataclass
class Record:
    """What became of one clip in all pairs it was rated in."""

    header: tuple[int, ...]
    codes: Path
    wins: float = 0.0
    n: int = 0
    score: float = field(default=0.0)

    def add(self, wins: float, n: int) -> None:
        """Counts n more ratings; a tie is half a win."""
        self.wins += wins
        self.n += n


def clip_records(rows: Sequence[Preference]) -> list[Record]:
    """Returns the record of every clip of rows, in their order; a both-bad rating is a defeat.

    The score is the least win rate that the ratings leave likely, so that one win says less
    than three of three.
    """
    records: dict[Path, Record] = {}
    for row in rows:
        counts = row.counts
        for path, won in ((row.chosen, counts.chosen), (row.rejected, counts.rejected)):
            record = records.setdefault(path, Record(row.header, path))
            record.add(won + 0.5 * counts.tie, counts.total)
    for record in records.values():
        record.score, _ = wilson_interval(record.wins, record.n)
    return list(records.values())


def score_by_reward(records: Sequence[Record], folder: Path, base: Path, penalty: float) -> None:
    """Gives records the score of a reward checkpoint: its mean less what its members disagree.

    base: the full checkpoint whose codec made the codes. RunFolderError where the reward model
    learned from codes of another codec.
    """
    from alignment.rl.models import model_reward
    from alignment.rl.rewards import score_clips

    reward = model_reward(folder, base, penalty)
    scores = score_clips(reward, [load_codes(record.codes) for record in records])
    for record, score in zip(records, scores.tolist(), strict=True):
        record.score = score


def best_records(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """Returns the best share of records, at least one; a coin decides between equal scores."""
    n_best = max(1, round(share * len(records)))
    coins = np.random.default_rng(seed).random(len(records))
    order = sorted(range(len(records)), key=lambda place: (-records[place].score, coins[place]))
    return [records[place] for place in sorted(order[:n_best])]


class ImitationCollator:
    """Makes the batch a supervised trainer reads."""

    def __init__(self, rows: ClipRows, clips: Sequence[Record]) -> None:
        self.rows = rows
        self.clips = clips

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        clips = [self.clips[example[ROW]] for example in examples]
        batch = self.rows.batch([clip.header for clip in clips], [clip.codes for clip in clips])
        is_code = batch.pop("completion_mask") == 1
        return {**batch, "labels": batch["input_ids"].masked_fill(~is_code, IGNORED_LABEL)}


class ImitationTrainer(SFTTrainer):
    """TRL's supervised trainer, which also logs the figures every method has."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Returns the stock loss."""
        with recorded_passes(self) as passes:
            returned = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        policy_model = self.model
        assert isinstance(policy_model, PeftModel)
        with (
            torch.no_grad(),
            policy_model.disable_adapter(),
            recorded_passes(self) as parent_passes,
        ):
            policy_model(**inputs, fused_lm_head=True)
        policy, parent = passes[0], parent_passes[0]
        mask = inputs["labels"][:, 1:] != IGNORED_LABEL
        log_figures(
            self,
            chosen_logp=code_means(policy, mask),
            kl=divergence(policy, parent, mask),
        )
        return returned


def build_trainer(material: Material, clips: Sequence[Record]) -> ImitationTrainer:
    """Returns a supervised trainer of a new adapter on clips; every length limit is off."""
    config = material.config
    assert isinstance(config, ExpertConfig)
    model = material.model
    trainer = ImitationTrainer(
        model=model,
        args=SFTConfig(
            **shared_arguments(config, material.checkpoints, material.device),
            max_length=None,
            per_device_train_batch_size=config.batch_clips,
            num_train_epochs=config.n_epochs,
        ),
        data_collator=ImitationCollator(
            ClipRows(model.vocabulary, model.core.frame_rate_hz), clips
        ),
        train_dataset=clip_dataset(len(clips)),
        processing_class=structural_tokenizer(model.vocabulary),
        peft_config=lora_config(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_expert(run: RunFolder, *, stop: StopSwitch, device: str) -> dict[str, Any]:
    """Trains a run on its best clips and returns its summary."""

    def build(material: Material) -> ImitationTrainer:
        config = material.config
        assert isinstance(config, ExpertConfig)
        records = clip_records(material.train)
        if run.reward_model is not None:
            score_by_reward(records, run.reward_model, run.base, config.reward_penalty)
        return build_trainer(material, best_records(records, config.best_share, config.seed))

    return train_adapter(run, build, stop=stop, device=device)

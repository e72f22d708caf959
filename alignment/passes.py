"""What a model's forward passes computed inside a stock trainer's step, and figures made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from trl.trainer.utils import FusedCausalLMOutput

FIGURE = "figure/"
"""Begins the names under which our trainers log figures; those of stock trainers have others."""


@contextmanager
def recorded_passes(trainer: Any) -> Iterator[list[Tensor]]:
    """Yields a list that fills with the log-probabilities [B, L - 1] of every forward pass.

    The face of the trainer's policy is watched, whether or not the adapter is on.
    """
    model = trainer.model
    face = model.get_base_model() if isinstance(model, PeftModel) else model
    passes: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: FusedCausalLMOutput) -> None:
        assert output.log_probs is not None
        passes.append(output.log_probs)

    hook = face.register_forward_hook(keep)
    try:
        yield passes
    finally:
        hook.remove()


def code_means(log_probs: Tensor, mask: Tensor) -> Tensor:
    """Returns each row's mean [B] of log-probabilities [B, L], which are 0 where no code is."""
    return log_probs.sum(1) / mask.sum(1).clamp(min=1)


def divergence(policy: Tensor, parent: Tensor, mask: Tensor) -> Tensor:
    """Returns each row's estimate [B] of the parent's KL divergence to the policy per code.

    The clips are the parent's own. Of log-probabilities [B, L] by the estimator k3 of Schulman
    2020, http://joschu.net/blog/kl-approx.html: never below 0, exactly 0 where nothing changed.
    """
    change = (policy - parent).detach().float()
    return code_means(change.exp() - 1 - change, mask)


def log_figures(trainer: Any, **values: Tensor) -> None:
    """Has a stock trainer log the means of values [B] over all ranks by their names.

    What is not a number says nothing. All ranks have to call this with as many values.
    """
    stored = trainer._metrics["train" if trainer.model.training else "eval"]
    for name, value in values.items():
        mean = trainer.accelerator.gather(value.detach().float()).nanmean()
        if not mean.isnan():
            stored[FIGURE + name].append(mean.item())


def figures(logs: Mapping[str, float]) -> dict[str, float]:
    """Returns the figures among what a trainer logged, by their own names."""
    return {
        name.removeprefix(FIGURE): value for name, value in logs.items() if name.startswith(FIGURE)
    }

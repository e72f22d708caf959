"""The closed sets of what a round does and of what it learns from."""

from django.db import models


class RoundMethod(models.TextChoices):
    """What a round makes of its preferences.

    REWARD makes a reward model, MIX interpolates adapters; the others tune the base.
    """

    DPO = "dpo", "DPO"
    KTO = "kto", "KTO"
    EXPERT = "expert", "expert iteration"
    GRPO = "grpo", "GRPO"
    RLOO = "rloo", "RLOO"
    REWARD = "reward", "reward model"
    MIX = "mix", "mix of adapters"


REWARDED_METHODS = (RoundMethod.GRPO, RoundMethod.RLOO)
"""Methods that make clips of their own and have a reward model judge them."""


class Verdict(models.TextChoices):
    """Whether a check let the candidate through; only PASSED does.

    NOT_MEASURED: there was nothing to measure, or so little that no figure could have failed.
    """

    PASSED = "passed", "passed"
    FAILED = "failed", "failed"
    NOT_MEASURED = "not_measured", "not measured"


class Outcome(models.TextChoices):
    """What the ratings of a pair say together."""

    CHOSEN = "chosen", "one is preferred"
    TIE = "tie", "tie"
    BOTH_BAD = "both_bad", "both are bad"

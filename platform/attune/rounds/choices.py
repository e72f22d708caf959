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


class Outcome(models.TextChoices):
    """What the ratings of a pair say together."""

    CHOSEN = "chosen", "one is preferred"
    TIE = "tie", "tie"
    BOTH_BAD = "both_bad", "both are bad"

"""The closed sets of a rating."""

from django.db import models


class Choice(models.TextChoices):
    """A rater's answer to a pair. TIE and BOTH_BAD are answers of their own."""

    A = "A", "A"
    B = "B", "B"
    TIE = "TIE", "tie"
    BOTH_BAD = "BOTH_BAD", "both are bad"


class Side(models.TextChoices):
    """The place a clip was shown."""

    A = "A", "A"
    B = "B", "B"


class Aspect(models.TextChoices):
    """What a study may ask about a pair in passes of their own, after the answer itself."""

    PROMPT_FIT = "prompt_fit", "prompt fit"
    MUSICALITY = "musicality", "musicality"
    SOUND_QUALITY = "sound_quality", "sound quality"


class PairPurpose(models.TextChoices):
    """TRAINING: one checkpoint twice (on-policy). JUDGING: two checkpoints. GOLD: known answer."""

    TRAINING = "training", "training"
    JUDGING = "judging", "judging"
    GOLD = "gold", "gold"


class AssignmentState(models.TextChoices):
    """OPEN until answered, skipped by a clip report, or past its lease."""

    OPEN = "open", "open"
    ANSWERED = "answered", "answered"
    SKIPPED = "skipped", "skipped"
    EXPIRED = "expired", "expired"

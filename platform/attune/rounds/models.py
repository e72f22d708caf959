"""Which answers were frozen, what was trained, and what came out."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from attune.catalog.models import Checkpoint, Clip, Population
from attune.jobs.models import Job
from attune.ratings.models import Pair, Study


class RoundMethod(models.TextChoices):
    """How a round aligns its base checkpoint."""

    DPO = "dpo", "DPO"


class RoundState(models.TextChoices):
    """FROZEN -> TRAINING -> EVALUATING -> DONE; FAILED and CANCELLED keep what was saved."""

    FROZEN = "frozen", "frozen"
    TRAINING = "training", "training"
    EVALUATING = "evaluating", "evaluating"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


RUNNING_STATES = (RoundState.FROZEN, RoundState.TRAINING, RoundState.EVALUATING)


class Round(models.Model):
    """Freeze, train, evaluate, publish: one pass from ratings to a candidate checkpoint."""

    name = models.CharField(max_length=120, unique=True)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="rounds")
    population = models.CharField(max_length=16, choices=Population.choices)
    method = models.CharField(max_length=16, choices=RoundMethod.choices)
    base_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="rounds")
    produced_checkpoint = models.OneToOneField(
        Checkpoint, on_delete=models.PROTECT, null=True, blank=True, related_name="produced_by"
    )
    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, null=True, blank=True, related_name="round"
    )
    config = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=RoundState.choices, default=RoundState.FROZEN)
    dataset_sha256 = models.CharField(max_length=64)
    counts = models.JSONField(
        default=dict, help_text="Ratings seen, ties, both bad, usable, train, held out."
    )
    summary = models.JSONField(default=dict, help_text="Final metrics of the training.")
    outcome = models.TextField(
        blank=True, default="", help_text="What became of the checkpoint, in one sentence."
    )
    error = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="done") | Q(produced_checkpoint__isnull=False),
                name="done_round_names_its_checkpoint",
            ),
            models.UniqueConstraint(
                fields=["study", "base_checkpoint"],
                condition=Q(state__in=RUNNING_STATES),
                name="one_running_round_per_study_and_base_checkpoint",
            ),
            models.CheckConstraint(
                condition=Q(state__in=RoundState.values), name="round_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Split(models.TextChoices):
    """TRAIN is learned from; HELD_OUT only measures."""

    TRAIN = "train", "train"
    HELD_OUT = "held_out", "held out"


class RoundPreference(models.Model):
    """One frozen preference of a round: chosen over rejected, with its weight and split."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="preferences")
    pair = models.ForeignKey(Pair, on_delete=models.PROTECT, related_name="+")
    chosen_clip = models.ForeignKey(Clip, on_delete=models.PROTECT, related_name="+")
    rejected_clip = models.ForeignKey(Clip, on_delete=models.PROTECT, related_name="+")
    weight = models.FloatField(default=1.0)
    n_ratings = models.PositiveSmallIntegerField(default=1)
    split = models.CharField(max_length=16, choices=Split.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "pair"], name="one_preference_per_round_and_pair"
            ),
            models.CheckConstraint(condition=Q(weight__gt=0), name="preference_weight_is_positive"),
            models.CheckConstraint(
                condition=~Q(chosen_clip=models.F("rejected_clip")),
                name="preference_has_two_different_clips",
            ),
        ]

    def __str__(self) -> str:
        return f"preference {self.pk} of round {self.round_id}"


class RoundMetric(models.Model):
    """What the trainer logged at one optimizer step."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="metrics")
    step = models.PositiveIntegerField()
    n_steps = models.PositiveIntegerField()
    values = models.JSONField(help_text="loss, margin, accuracy, chosen_logp, rejected_logp, ...")
    logged_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["round", "step"], name="one_metric_per_round_and_step"),
        ]

    def __str__(self) -> str:
        return f"step {self.step} of round {self.round_id}"


class Verdict(models.TextChoices):
    """Whether a check let the candidate through."""

    PASSED = "passed", "passed"
    FAILED = "failed", "failed"


class Evaluation(models.Model):
    """One named check of the gate: what was measured, against which threshold."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="evaluations")
    check_name = models.CharField(max_length=40)
    figure = models.FloatField(null=True, blank=True)
    threshold = models.FloatField(null=True, blank=True)
    verdict = models.CharField(max_length=16, choices=Verdict.choices)
    sentence = models.TextField(help_text="What was found, for people.")
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "check_name"], name="one_evaluation_per_round_and_check"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.check_name} {self.verdict}"

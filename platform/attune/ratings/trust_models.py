"""What is on record about trusting a rater, and what the chooser knows of two checkpoints."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from attune.catalog.models import Checkpoint, Population
from attune.raters.models import Rater


class OpponentTally(models.Model):
    """What raters said about two checkpoints in judging pairs, kept with each answer."""

    population = models.CharField(max_length=16, choices=Population.choices)
    first_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.CASCADE, related_name="+")
    second_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.CASCADE, related_name="+")
    n_first = models.PositiveIntegerField(default=0)
    n_second = models.PositiveIntegerField(default=0)
    n_ties = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "opponent tallies"
        constraints = [
            models.UniqueConstraint(
                fields=["population", "first_checkpoint", "second_checkpoint"],
                name="one_tally_per_population_and_opponents",
            ),
            models.CheckConstraint(
                condition=Q(first_checkpoint__lt=F("second_checkpoint")),
                name="tally_names_the_smaller_checkpoint_first",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first_checkpoint_id} {self.n_first}:{self.n_second}"


class RaterWarning(models.Model):
    """A rater was asked kindly to listen closely, by a rule and because of these figures."""

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="warnings")
    rule = models.CharField(max_length=40)
    rule_version = models.PositiveSmallIntegerField()
    figures = models.JSONField(default=dict)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["rater", "-made_at"], name="warnings_of_rater")]

    def __str__(self) -> str:
        return f"warning of {self.rater} by {self.rule} {self.rule_version}"


class RaterExclusion(models.Model):
    """A rater's answers are left out of datasets, by a rule or by a person, until it is lifted.

    It says nothing about whether the rater's work is accepted and paid.
    """

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="exclusions")
    rule = models.CharField(max_length=40)
    rule_version = models.PositiveSmallIntegerField()
    figures = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=500)
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty where the rule acted by itself.",
    )
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    lift_reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rater"],
                condition=Q(lifted_at__isnull=True),
                name="one_standing_exclusion_per_rater",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="exclusion_has_a_reason"),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True) | ~Q(lift_reason=""),
                name="lifted_exclusion_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"exclusion of {self.rater} by {self.rule} {self.rule_version}"


class WorkDecision(models.Model):
    """Whether a rater's work in a study is accepted, and so paid; the newest one holds.

    It says nothing about whether the answers are used.
    """

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="work_decisions")
    study = models.ForeignKey(
        "ratings.Study", on_delete=models.PROTECT, related_name="work_decisions"
    )
    is_accepted = models.BooleanField()
    n_ratings = models.PositiveIntegerField(help_text="Answers in the study at that time.")
    reason = models.CharField(max_length=500)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["rater", "study"], name="work_of_rater_in_study")]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="work_decision_has_a_reason"),
        ]

    def __str__(self) -> str:
        said = "accepted" if self.is_accepted else "not accepted"
        return f"work of {self.rater} {said}"

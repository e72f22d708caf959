"""How checkpoints stand against each other, with what certainty."""

from django.db import models
from django.db.models import F, Q

from attune.catalog.models import Checkpoint, Population
from attune.leaderboard.choices import IntervalMethod
from attune.raters.models import Rater


class PairCount(models.Model):
    """One rater's answers to pairs of two checkpoints. `first` has the smaller id.

    Counted per rater because intervals resample raters. Both-bad enters neither side.
    """

    population = models.CharField(max_length=16, choices=Population.choices)
    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="pair_counts")
    first_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    second_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    n_first_wins = models.PositiveIntegerField(default=0)
    n_second_wins = models.PositiveIntegerField(default=0)
    n_ties = models.PositiveIntegerField(default=0)
    n_both_bad = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["population", "rater", "first_checkpoint", "second_checkpoint"],
                name="one_pair_count_per_rater_and_two_checkpoints",
            ),
            models.CheckConstraint(
                condition=Q(first_checkpoint__lt=F("second_checkpoint")),
                name="pair_count_orders_its_checkpoints",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first_checkpoint_id} against {self.second_checkpoint_id}"


class Standing(models.Model):
    """One checkpoint's Bradley-Terry score, Elo-scaled around 1000, interval and counts."""

    population = models.CharField(max_length=16, choices=Population.choices)
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="standings")
    score = models.FloatField()
    low = models.FloatField(null=True, blank=True)
    high = models.FloatField(null=True, blank=True)
    n_wins = models.PositiveIntegerField()
    n_losses = models.PositiveIntegerField()
    n_ties = models.PositiveIntegerField()
    n_both_bad = models.PositiveIntegerField()
    n_raters = models.PositiveIntegerField()
    interval_method = models.CharField(max_length=16, choices=IntervalMethod.choices)
    groups = models.JSONField(
        default=list, help_text="Two checkpoints that share a number cannot be told apart."
    )
    refreshed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["population", "checkpoint"], name="one_standing_per_checkpoint"
            ),
            models.CheckConstraint(
                condition=Q(low__isnull=True) | (Q(low__lte=F("score")) & Q(high__gte=F("score"))),
                name="standing_lies_within_its_interval",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.checkpoint} {self.score:.0f}"

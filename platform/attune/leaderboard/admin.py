"""Standings in the admin: to look at; they are rebuilt from ratings."""

from django.contrib import admin

from attune.jobs.admin import EvidenceAdmin
from attune.leaderboard.models import PairCount, Standing


@admin.register(Standing)
class StandingAdmin(EvidenceAdmin):
    """The leaderboards of both populations."""

    list_display = ("population", "checkpoint", "score", "low", "high", "n_raters")
    list_filter = ("population",)
    list_select_related = ("checkpoint",)
    ordering = ("population", "-score")


@admin.register(PairCount)
class PairCountAdmin(EvidenceAdmin):
    """What each rater answered about two checkpoints."""

    list_display = (
        *("population", "rater", "first_checkpoint", "second_checkpoint"),
        *("n_first_wins", "n_second_wins", "n_ties", "n_both_bad"),
    )
    list_filter = ("population",)
    list_select_related = ("rater", "first_checkpoint", "second_checkpoint")
    ordering = ("population", "id")

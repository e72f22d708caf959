"""Rounds in the admin: to look at, never to edit."""

from django.contrib import admin

from attune.jobs.admin import EvidenceAdmin
from attune.rounds.models import Evaluation, Round, RoundPreference


@admin.register(Round)
class RoundAdmin(EvidenceAdmin):
    """Rounds, newest first."""

    list_display = ("name", "study", "base_checkpoint", "state", "produced_checkpoint", "outcome")
    list_filter = ("population", "state")
    list_select_related = ("study", "base_checkpoint", "produced_checkpoint")
    ordering = ("-id",)


@admin.register(RoundPreference)
class RoundPreferenceAdmin(EvidenceAdmin):
    """Frozen preferences."""

    list_display = ("round", "pair", "chosen_clip", "rejected_clip", "weight", "split")
    list_filter = ("round", "split")
    list_select_related = ("round", "pair", "chosen_clip", "rejected_clip")
    ordering = ("round", "pair")


@admin.register(Evaluation)
class EvaluationAdmin(EvidenceAdmin):
    """Checks of the gate."""

    list_display = ("round", "check_name", "figure", "threshold", "verdict", "sentence")
    list_filter = ("verdict", "check_name")
    list_select_related = ("round",)
    ordering = ("-id",)

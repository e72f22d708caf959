"""Rounds in the admin: to look at, never to edit."""

from django.contrib import admin

from attune.jobs.admin import EvidenceAdmin
from attune.rounds.models import (
    Evaluation,
    RaterGroup,
    Round,
    RoundEvent,
    RoundPreference,
    RoundSample,
    RoundSchedule,
)


@admin.register(Round)
class RoundAdmin(EvidenceAdmin):
    """Rounds, newest first."""

    list_display = ("name", "study", "base_checkpoint", "state", "produced_checkpoint", "outcome")
    list_filter = ("population", "state")
    list_select_related = ("study", "base_checkpoint", "produced_checkpoint")
    ordering = ("-id",)


@admin.register(RoundEvent)
class RoundEventAdmin(EvidenceAdmin):
    """Rounds that ended before their time, and those that were resumed."""

    list_display = ("round", "kind", "sentence", "actor", "happened_at")
    list_filter = ("kind",)
    list_select_related = ("round", "actor")
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


@admin.register(RaterGroup)
class RaterGroupAdmin(EvidenceAdmin):
    """Groups of raters; the API changes who belongs to one."""

    list_display = ("name", "created_at")


@admin.register(RoundSchedule)
class RoundScheduleAdmin(EvidenceAdmin):
    """Rounds that start by themselves."""

    list_display = ("study", "is_on", "every_n_preferences", "method", "changed_by", "changed_at")
    list_select_related = ("study", "changed_by")


@admin.register(RoundSample)
class RoundSampleAdmin(EvidenceAdmin):
    """Clips made while rounds trained."""

    list_display = ("round", "step", "number", "prompt", "duration_s", "made_at")
    list_filter = ("round",)
    list_select_related = ("round",)
    ordering = ("-id",)

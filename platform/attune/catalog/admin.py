"""Prompts to edit; checkpoints, clips and the rotation to look at."""

from django.contrib import admin

from attune.catalog.models import (
    Checkpoint,
    CheckpointMix,
    Clip,
    ClipScore,
    Melody,
    Prompt,
    PromptSet,
    RotationEntry,
    RotationEvent,
)
from attune.jobs.admin import EvidenceAdmin


@admin.register(PromptSet)
class PromptSetAdmin(admin.ModelAdmin):
    """Named collections of prompts."""

    list_display = ("name", "description", "created_at")
    search_fields = ("name",)


@admin.register(Melody)
class MelodyAdmin(EvidenceAdmin):
    """Recordings whose tunes clips follow."""

    list_display = ("name", "format", "duration_s", "sample_rate_hz", "created_by", "created_at")
    list_filter = ("format",)
    search_fields = ("name", "sha256")


@admin.register(Prompt)
class PromptAdmin(admin.ModelAdmin):
    """Prompts: what is asked stays as it was; whether it is in use may change."""

    list_display = ("text", "prompt_set", "melody", "tags", "is_held_out", "is_active")
    list_select_related = ("prompt_set", "melody")
    list_filter = ("prompt_set", "is_held_out", "is_active")
    search_fields = ("text",)
    readonly_fields = ("text", "melody", "prompt_set", "is_held_out", "created_at")

    def has_add_permission(self, request: object) -> bool:
        """Prompts are added by the API or from a file."""
        return False


@admin.register(Checkpoint)
class CheckpointAdmin(EvidenceAdmin):
    """Stored weights and their cards."""

    list_display = ("name", "kind", "family", "parent", "is_simulated", "is_retired", "created_at")
    list_filter = ("kind", "family", "is_simulated", "is_retired")
    search_fields = ("name", "content_hash")


@admin.register(RotationEntry)
class RotationEntryAdmin(EvidenceAdmin):
    """Who makes new clips; changed on the rotation page, where a reason is asked for."""

    list_display = ("checkpoint", "population", "role", "share", "entered_at")
    list_filter = ("population", "role")


@admin.register(RotationEvent)
class RotationEventAdmin(EvidenceAdmin):
    """Decisions about the rotation, with their reasons."""

    list_display = ("created_at", "population", "checkpoint", "action", "actor", "reason")
    list_filter = ("population", "action")
    ordering = ("-created_at",)


@admin.register(Clip)
class ClipAdmin(EvidenceAdmin):
    """Generated clips."""

    list_display = ("id", "prompt", "checkpoint", "status", "duration_s", "seed", "created_at")
    list_filter = ("status", "checkpoint")
    list_select_related = ("prompt", "checkpoint")
    ordering = ("-created_at",)


@admin.register(CheckpointMix)
class CheckpointMixAdmin(EvidenceAdmin):
    """Which adapters a checkpoint was mixed of."""

    list_display = ("checkpoint", "part", "weight")
    list_select_related = ("checkpoint", "part")


@admin.register(ClipScore)
class ClipScoreAdmin(EvidenceAdmin):
    """What reward models think of clips."""

    list_display = ("clip", "checkpoint", "mean", "std", "created_at")
    list_filter = ("checkpoint",)
    list_select_related = ("clip", "checkpoint")
    ordering = ("-id",)

"""Studies to edit; pairs, assignments and ratings to look at: they are evidence."""

from django.contrib import admin

import attune.ratings.arrival_admin  # noqa: F401 - registers its tables
from attune.jobs.admin import EvidenceAdmin
from attune.ratings.models import (
    AspectRating,
    AspectRevision,
    Assignment,
    ClipReport,
    ListeningEvent,
    Pair,
    Rating,
    RatingRevision,
    Remark,
    Study,
)
from attune.ratings.trust_models import OpponentTally, RaterExclusion, RaterWarning, WorkDecision


@admin.register(Study)
class StudyAdmin(admin.ModelAdmin):
    """What is asked of whom. Population, prompts and address stay as they were.

    The gate is set over the API, which knows its checks and refuses what is none.
    """

    list_display = (
        "slug",
        "population",
        "prompt_set",
        "overlap",
        "minimum_listening_s",
        "pool_target",
        "is_open",
    )
    list_filter = ("population", "is_open")

    def get_readonly_fields(self, request: object, obj: Study | None = None) -> tuple[str, ...]:
        """A study that exists keeps what its ratings depend on."""
        return ("slug", "population", "prompt_set", "gate") if obj else ("gate",)

    def has_delete_permission(self, request: object, obj: object | None = None) -> bool:
        """A study is closed, not deleted."""
        return False


@admin.register(Pair)
class PairAdmin(EvidenceAdmin):
    """Two clips of one prompt."""

    list_display = (
        "id",
        "study",
        "prompt",
        "purpose",
        "first_checkpoint",
        "second_checkpoint",
        "is_ready",
        "is_withdrawn",
        "n_ratings",
    )
    list_filter = ("study", "purpose", "is_ready", "is_withdrawn")
    list_select_related = ("study", "prompt", "first_checkpoint", "second_checkpoint")
    ordering = ("-id",)


@admin.register(Assignment)
class AssignmentAdmin(EvidenceAdmin):
    """Pairs handed to raters."""

    list_display = ("id", "pair", "rater", "state", "is_swapped", "propensity", "handed_out_at")
    list_filter = ("state",)
    ordering = ("-handed_out_at",)


@admin.register(Rating)
class RatingAdmin(EvidenceAdmin):
    """Stored answers."""

    list_display = (
        "id",
        "pair",
        "rater",
        "choice",
        "strength",
        "is_simulated",
        "is_frozen",
        "created_at",
    )
    list_filter = ("choice", "is_simulated", "is_frozen")
    ordering = ("-id",)


@admin.register(RatingRevision)
class RatingRevisionAdmin(EvidenceAdmin):
    """What ratings said before they were changed."""

    list_display = ("rating", "choice", "strength", "replaced_at")


@admin.register(ListeningEvent)
class ListeningEventAdmin(EvidenceAdmin):
    """What was heard."""

    list_display = ("assignment", "side", "start_s", "end_s")


@admin.register(ClipReport)
class ClipReportAdmin(EvidenceAdmin):
    """Clips that raters found broken."""

    list_display = ("assignment", "side", "remark", "created_at")


@admin.register(AspectRating)
class AspectRatingAdmin(EvidenceAdmin):
    """Answers about one aspect of a rated pair."""

    list_display = ("rating", "aspect", "choice", "created_at")
    list_filter = ("aspect", "choice")


@admin.register(AspectRevision)
class AspectRevisionAdmin(EvidenceAdmin):
    """What answers about aspects said before they were changed."""

    list_display = ("aspect_rating", "choice", "replaced_at")


@admin.register(Remark)
class RemarkAdmin(EvidenceAdmin):
    """Raters' words about moments of clips."""

    list_display = ("assignment", "side", "at_s", "text", "created_at")


@admin.register(RaterExclusion)
class RaterExclusionAdmin(EvidenceAdmin):
    """Raters left out of datasets; made and lifted by rule, in the console, or over the API."""

    list_display = ("rater", "rule", "rule_version", "reason", "made_at", "made_by", "lifted_at")
    list_filter = ("rule",)


@admin.register(RaterWarning)
class RaterWarningAdmin(EvidenceAdmin):
    """Kind words to raters."""

    list_display = ("rater", "rule", "rule_version", "made_at")


@admin.register(WorkDecision)
class WorkDecisionAdmin(EvidenceAdmin):
    """Work that was accepted, or not."""

    list_display = ("rater", "study", "is_accepted", "n_ratings", "reason", "decided_at")
    list_filter = ("study", "is_accepted")


@admin.register(OpponentTally)
class OpponentTallyAdmin(EvidenceAdmin):
    """What the chooser knows of two checkpoints."""

    list_display = (
        *("population", "first_checkpoint", "second_checkpoint"),
        *("n_first", "n_second", "n_ties"),
    )

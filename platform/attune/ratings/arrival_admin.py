"""Arrivals and panels in the admin: to look at, never to edit. No external id is stored."""

from django.contrib import admin

from attune.jobs.admin import EvidenceAdmin
from attune.ratings.arrival_models import Arrival, PanelLink, PanelPerson, PanelSession


@admin.register(Arrival)
class ArrivalAdmin(EvidenceAdmin):
    """How far raters are on the way to their first pair."""

    list_display = (
        *("rater", "study", "volume_set_at", "device_result"),
        *("practice_done_at", "declined_at", "created_at"),
    )
    list_filter = ("study", "device_result")


@admin.register(PanelLink)
class PanelLinkAdmin(EvidenceAdmin):
    """Secret addresses of studies for panels."""

    list_display = ("id", "study", "panel", "is_signed", "places", "created_at", "revoked_at")
    list_filter = ("panel", "study")


@admin.register(PanelPerson)
class PanelPersonAdmin(EvidenceAdmin):
    """People of panels by their raters."""

    list_display = ("id", "study", "link", "rater", "created_at")
    list_filter = ("study",)
    exclude = ("person_hash",)


@admin.register(PanelSession)
class PanelSessionAdmin(EvidenceAdmin):
    """Paid sittings and how they ended."""

    list_display = ("id", "link", "person", "end", "started_at", "ended_at")
    list_filter = ("end",)
    exclude = ("session_hash",)

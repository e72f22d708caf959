"""Raters, invitations and consent in the admin. Tokens are never shown: only hashes exist."""

from django.contrib import admin

from attune.jobs.admin import EvidenceAdmin
from attune.raters.models import ApiToken, Consent, ConsentText, DeviceCheck, Invitation, Rater


@admin.register(Rater)
class RaterAdmin(EvidenceAdmin):
    """Listeners by pseudonym."""

    list_display = ("pseudonym", "is_simulated", "created_at", "withdrawn_at")
    list_filter = ("is_simulated",)


@admin.register(Invitation)
class InvitationAdmin(EvidenceAdmin):
    """Sign-in links and whether they were used."""

    list_display = (
        *("id", "role", "label", "is_open", "n_joined", "created_at"),
        *("expires_at", "revoked_at", "used_at"),
    )
    list_filter = ("role", "is_open")
    exclude = ("token_sha256",)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Bearer tokens: a date in `revoked_at` ends one."""

    list_display = ("id", "user", "created_at", "revoked_at")
    fields = ("user", "created_at", "revoked_at")
    readonly_fields = ("user", "created_at")

    def has_add_permission(self, request: object) -> bool:
        """A token made here could not be shown to anyone."""
        return False


@admin.register(Consent)
class ConsentAdmin(EvidenceAdmin):
    """Who agreed to which version of the consent text."""

    list_display = ("rater", "text", "given_at", "withdrawn_at")
    list_filter = ("text",)


@admin.register(ConsentText)
class ConsentTextAdmin(EvidenceAdmin):
    """Versions of consent texts; a new one is written on the console."""

    list_display = ("name", "version", "title", "language", "written_by", "created_at")
    list_filter = ("name",)


@admin.register(DeviceCheck)
class DeviceCheckAdmin(EvidenceAdmin):
    """Headphone checks."""

    list_display = ("rater", "kind", "n_correct", "n_trials", "created_at")
    list_filter = ("kind",)

"""Jobs in the admin: to look at, never to edit."""

from django.contrib import admin
from django.http import HttpRequest

from attune.jobs.models import Job, WorkerReport


class EvidenceAdmin(admin.ModelAdmin):
    """Rows that record what happened: nobody adds, changes or deletes them here."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object | None = None) -> bool:
        """Nobody rewrites one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object | None = None) -> bool:
        """Nobody deletes one."""
        return False


@admin.register(Job)
class JobAdmin(EvidenceAdmin):
    """Queued, running and ended work."""

    list_display = (
        "id",
        "kind",
        "queue",
        "state",
        "priority",
        "attempts",
        "owner",
        "created_at",
        "finished_at",
    )
    list_filter = ("state", "kind", "queue")
    ordering = ("-id",)


@admin.register(WorkerReport)
class WorkerReportAdmin(EvidenceAdmin):
    """What workers said of their machines."""

    list_display = ("queue", "device", "memory_mb", "n_cores", "worker", "answered_at")

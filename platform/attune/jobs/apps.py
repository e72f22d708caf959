"""The app's registration with Django."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """attune.jobs"""

    name = "attune.jobs"
    label = "jobs"
    default_auto_field = "django.db.models.BigAutoField"

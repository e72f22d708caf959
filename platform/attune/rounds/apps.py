"""The app's registration with Django."""

from django.apps import AppConfig


class RoundsConfig(AppConfig):
    """attune.rounds"""

    name = "attune.rounds"
    label = "rounds"
    default_auto_field = "django.db.models.BigAutoField"

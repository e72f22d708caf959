"""The app's registration with Django."""

from django.apps import AppConfig


class RatersConfig(AppConfig):
    """attune.raters"""

    name = "attune.raters"
    label = "raters"
    default_auto_field = "django.db.models.BigAutoField"

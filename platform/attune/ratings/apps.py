"""The app's registration with Django."""

from django.apps import AppConfig


class RatingsConfig(AppConfig):
    """attune.ratings"""

    name = "attune.ratings"
    label = "ratings"
    default_auto_field = "django.db.models.BigAutoField"

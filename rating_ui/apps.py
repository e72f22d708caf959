"""The app's registration with Django."""

from django.apps import AppConfig


class RatingUiConfig(AppConfig):
    """rating_ui"""

    name = "rating_ui"

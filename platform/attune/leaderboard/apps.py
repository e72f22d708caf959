"""The app's registration with Django."""

from django.apps import AppConfig


class LeaderboardConfig(AppConfig):
    """attune.leaderboard"""

    name = "attune.leaderboard"
    label = "leaderboard"
    default_auto_field = "django.db.models.BigAutoField"

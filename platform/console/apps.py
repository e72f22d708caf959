"""The app's registration with Django."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """console"""

    name = "console"

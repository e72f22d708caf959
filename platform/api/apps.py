"""The app's registration with Django."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """api"""

    name = "api"

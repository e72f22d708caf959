"""The app's registration with Django."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """attune.catalog"""

    name = "attune.catalog"
    label = "catalog"
    default_auto_field = "django.db.models.BigAutoField"

"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("rating_ui.urls")),
    path("", include("api.urls")),
    path("console/", include("console.urls")),
    path("admin/", admin.site.urls),
]

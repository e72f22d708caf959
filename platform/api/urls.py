"""Addresses of the API and of signed audio."""

from django.urls import path

from api.audio import signed_audio
from api.site import api

urlpatterns = [
    path("audio/<str:token>.wav", signed_audio, name="signed-audio"),
    path("api/v1/", api.urls),
]

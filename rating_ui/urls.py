"""Addresses of the landing page, the doors and the rating page."""

from django.urls import path
from django.views.i18n import set_language

from rating_ui import doors, views

urlpatterns = [
    path("", views.landing, name="landing"),
    path("join/<str:token>", doors.join, name="join"),
    path("sign-in", doors.sign_in, name="sign-in"),
    path("language", set_language, name="language"),
    path("sign-out", doors.sign_out, name="sign-out"),
    path("rate/", views.rate, name="rate"),
]

"""Addresses of the landing page, the doors, what comes before the first pair, and rating."""

from django.urls import path
from django.views.i18n import set_language

from rating_ui import arrival, doors, own_page, panel, views

urlpatterns = [
    path("", views.landing, name="landing"),
    path("join/<str:token>", doors.join, name="join"),
    path("sign-in", doors.sign_in, name="sign-in"),
    path("language", set_language, name="language"),
    path("sign-out", doors.sign_out, name="sign-out"),
    path("rate/", views.rate, name="rate"),
    path("arrival/consent", arrival.consent, name="arrival-consent"),
    path("arrival/declined", arrival.declined, name="arrival-declined"),
    path("arrival/volume", arrival.volume, name="arrival-volume"),
    path("arrival/device-check", arrival.device_check, name="arrival-device-check"),
    path("arrival/screened-out", arrival.screened_out, name="arrival-screened-out"),
    path("arrival/stop", arrival.stop, name="arrival-stop"),
    path("arrival/practice", arrival.practice, name="arrival-practice"),
    path("panel/<str:token>", panel.arrive, name="panel"),
    path("finish/", panel.finish, name="finish"),
    path("me/", own_page.own_page, name="own-page"),
    path("me/consent/<int:consent_id>", own_page.own_consent, name="own-consent"),
    path("me/withdraw", own_page.leave, name="leave"),
    path("withdrawn", own_page.withdrawn, name="withdrawn"),
]

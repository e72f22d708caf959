"""Every admin list opens, and evidence can be read but not written."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from attune.jobs.admin import EvidenceAdmin
from attune.ratings.models import ListeningEvent, Rating
from attune.rounds.models import RaterGroup, RoundSample, RoundSchedule
from tests.factories import make_anchor, make_pair, make_study

pytestmark = pytest.mark.django_db

OWN_APPS = ("jobs", "catalog", "raters", "ratings")
MODELS = [
    *(model for app in OWN_APPS for model in apps.get_app_config(app).get_models()),
    *(RaterGroup, RoundSchedule, RoundSample),
]


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(
        User.objects.create_superuser("boss"),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_list_opens(boss: Client, model: type) -> None:
    make_pair(make_study())
    make_anchor()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"  # type: ignore[attr-defined]
    assert boss.get(reverse(name)).status_code == 200


@pytest.mark.parametrize("model", [Rating, ListeningEvent])
def test_evidence_is_read_only(model: type[Rating] | type[ListeningEvent]) -> None:
    registered = admin.site.get_model_admin(model)
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("boss")
    assert isinstance(registered, EvidenceAdmin)
    assert registered.has_view_permission(request)
    assert not registered.has_add_permission(request)
    assert not registered.has_change_permission(request)
    assert not registered.has_delete_permission(request)


def test_a_stored_checkpoint_opens_without_a_save_button(boss: Client) -> None:
    checkpoint = make_anchor()
    page = boss.get(reverse("admin:catalog_checkpoint_change", args=[checkpoint.pk]))
    assert page.status_code == 200
    assert b'name="_save"' not in page.content

"""Consent texts: written in versions, never changed."""

from datetime import datetime
from typing import Annotated, cast

from django.db.models import Count, Q
from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from api.access import ENGINEERS, READERS, allow, caller
from api.shapes import Request
from attune.raters.consent_services import TEXT_CHARACTERS
from attune.raters.models import ConsentText
from attune.ratings.arrival_services import replace_consent_text

router = Router(tags=["consent texts"])


class ConsentTextRequest(Request):
    """The next version of a text. Empty lines part paragraphs, `## ` begins a heading."""

    name: Annotated[str, Field(pattern=r"^[-a-z0-9_]+$", max_length=40)]
    title: Annotated[str, Field(min_length=1, max_length=120)]
    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS)]
    language: Annotated[str, Field(min_length=2, max_length=16)] = "en"


class ConsentTextAnswer(Schema):
    """A version, who agreed to it, and the studies that ask for it."""

    name: str
    version: int
    title: str
    text: str
    language: str
    sha256: str
    created_at: datetime
    n_agreed: int
    n_withdrawn: int
    studies: list[str]


@router.get("consent-texts", response=list[ConsentTextAnswer], auth=allow(READERS))
def list_consent_texts(request: HttpRequest) -> list[ConsentTextAnswer]:
    """All versions of all texts, by name, newest first."""
    return [_answer(text.pk) for text in ConsentText.objects.order_by("name", "-version")]


@router.post("consent-texts", response={201: ConsentTextAnswer}, auth=allow(ENGINEERS))
def write_version(request: HttpRequest, body: ConsentTextRequest) -> Status[ConsentTextAnswer]:
    """Stores the next version; studies that asked for an older one ask for it from now on.

    The same words as the newest version's make no new one.
    """
    text, _ = replace_consent_text(
        name=body.name,
        title=body.title,
        text=body.text,
        language=body.language,
        written_by=caller(request),
    )
    return Status(201, _answer(text.pk))


def _answer(text_id: int) -> ConsentTextAnswer:
    text = ConsentText.objects.get(pk=text_id)
    counts = text.consents.aggregate(
        n_agreed=Count("pk", filter=Q(withdrawn_at__isnull=True)),
        n_withdrawn=Count("pk", filter=Q(withdrawn_at__isnull=False)),
    )
    return ConsentTextAnswer(
        name=text.name,
        version=text.version,
        title=text.title,
        text=text.text,
        language=text.language,
        sha256=text.text_sha256,
        created_at=text.created_at,
        studies=list(text.studies.order_by("slug").values_list("slug", flat=True)),
        **cast(dict[str, int], counts),
    )

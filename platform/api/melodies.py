"""Recordings whose tunes prompts follow: upload one, list them, hear one."""

from datetime import datetime

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from ninja import File, Form, Router, Schema, Status, UploadedFile

from api.access import ENGINEERS, allow, caller
from api.audio import stored_audio
from api.shapes import Limit, Offset
from attune.catalog.melodies import MelodyFormat
from attune.catalog.melody_selectors import melodies
from attune.catalog.melody_services import add_melody
from attune.catalog.models import Melody

router = Router(tags=["melodies"], auth=allow(ENGINEERS))


class MelodyAnswer(Schema):
    """A recording; prompts and clips name it by `name`."""

    id: int
    name: str
    format: MelodyFormat
    media_type: str
    n_bytes: int
    duration_s: float
    sample_rate_hz: int
    sha256: str
    n_prompts: int
    created_at: datetime
    created_by: str | None
    audio_url: str


def _melody_answer(melody: Melody, n_prompts: int) -> MelodyAnswer:
    return MelodyAnswer(
        id=melody.pk,
        name=melody.name,
        format=MelodyFormat(melody.format),
        media_type=melody.media_type,
        n_bytes=melody.n_bytes,
        duration_s=melody.duration_s,
        sample_rate_hz=melody.sample_rate_hz,
        sha256=melody.sha256,
        n_prompts=n_prompts,
        created_at=melody.created_at,
        created_by=melody.created_by.get_username() if melody.created_by else None,
        audio_url=reverse("api:melody_audio", args=[melody.pk]),
    )


@router.post("melodies", response={200: MelodyAnswer, 201: MelodyAnswer})
def upload_melody(
    request: HttpRequest, file: File[UploadedFile], name: Form[str] = ""
) -> Status[MelodyAnswer]:
    """Stores a WAV, FLAC, OGG or MP3 file of at most 25 MB, 1 s to 10 minutes long.

    201 for a new one; the same content again answers 200 with the recording there is, under its
    own name. Without a name it is called as the file was.
    """
    melody, is_new = add_melody(
        file=file,
        n_bytes=file.size or 0,
        name=name,
        file_name=file.name or "",
        created_by=caller(request),
    )
    return Status(201 if is_new else 200, _melody_answer(melody, melody.prompts.count()))


@router.get("melodies", response=list[MelodyAnswer])
def list_melodies(
    request: HttpRequest, *, limit: Limit = 50, offset: Offset = 0
) -> list[MelodyAnswer]:
    """Recordings, newest first."""
    found = melodies()[offset : offset + limit]
    return [_melody_answer(melody, melody.n_prompts) for melody in found]  # type: ignore[attr-defined]


@router.api_operation(["GET", "HEAD"], "melodies/{int:melody_id}/audio", url_name="melody_audio")
def hear_melody(request: HttpRequest, melody_id: int) -> HttpResponseBase:
    """The file as it was uploaded; byte ranges are answered."""
    melody = Melody.objects.filter(pk=melody_id).first()
    if melody is None:
        raise Http404(f"no recording {melody_id}")
    return stored_audio(
        request, melody.path, content_type=melody.media_type, etag_seed=melody.sha256
    )

"""Stored audio: of clips by a rater's signed address, which names none, and by id for others."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.crypto import salted_hmac
from django.views.decorators.http import require_safe

from api.access import READERS, find_person, may
from api.ranges import file_answer
from attune.catalog.models import Clip, ClipStatus
from attune.catalog.storage import media_file
from attune.ratings.models import Assignment
from attune.ratings.selectors import find_assignment_side, side_clip

CONTENT_TYPE = "audio/wav"
# A page that is left open for a working day still plays; an address that leaks soon does not.
TOKEN_LIFETIME_S = 12 * 3600


@require_safe
def signed_audio(request: HttpRequest, token: str) -> HttpResponseBase:
    """One side of an assignment, for its rater and for those who may hear everything."""
    person = find_person(request)
    if person is None:
        return JsonResponse({"detail": "sign in, or send a token, to hear this"}, status=401)
    found = find_assignment_side(token, max_age_s=TOKEN_LIFETIME_S)
    if found is None:
        raise Http404("this audio address is unknown or has expired")
    assignment, side = found
    if not _is_theirs(assignment, person.pk) and not may(person, READERS):
        raise Http404("this audio address is unknown or has expired")
    clip = side_clip(assignment, side)
    return clip_audio(request, clip, etag_seed=f"{assignment.pk}{side}")


def _is_theirs(assignment: Assignment, user_id: int) -> bool:
    return assignment.rater.user_id == user_id


def clip_audio(request: HttpRequest, clip: Clip, *, etag_seed: str) -> HttpResponseBase:
    """The clip's WAV file with ranges, once it is ready."""
    if clip.status != ClipStatus.READY:
        raise Http404(f"this clip is {clip.get_status_display()}, not ready")
    return stored_audio(
        request,
        clip.audio_path,
        content_type=CONTENT_TYPE,
        etag_seed=f"{etag_seed}{clip.audio_sha256}",
    )


def stored_audio(
    request: HttpRequest, path: str, *, content_type: str, etag_seed: str
) -> HttpResponseBase:
    """A file of the media store with ranges; handed to the front server where one is configured.

    With ATTUNE_ACCEL_PREFIX the front server reads the file and serves the ranges itself; its
    location must switch its own ETag and Last-Modified off, which tell when a clip was made.
    """
    if settings.ATTUNE_ACCEL_PREFIX:
        return _handed_over(path, content_type)
    file = media_file(path)
    if not file.is_file():
        raise Http404("this audio is missing from the media store")
    digest = salted_hmac("api.audio", etag_seed, algorithm="sha256")
    return file_answer(
        request, file, content_type=content_type, etag=f'"{digest.hexdigest()[:32]}"'
    )


def _handed_over(path: str, content_type: str) -> HttpResponse:
    prefix = settings.ATTUNE_ACCEL_PREFIX.rstrip("/")
    return HttpResponse(
        content_type=content_type,
        headers={
            "X-Accel-Redirect": f"{prefix}/{path}",
            "Cache-Control": "private, max-age=3600",
            "X-Content-Type-Options": "nosniff",
        },
    )

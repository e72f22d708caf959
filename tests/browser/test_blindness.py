"""Nothing a rater's browser receives tells which checkpoint, clip, seed or round it hears."""

import base64
import json
import re
import struct
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from attune.catalog.models import Clip
from attune.ratings.models import Pair
from tests.browser.conftest import Seen, Site, hear_both, open_pair, prompt_of
from tests.browser.test_rating_page import wait_for_other_prompt, wait_for_ratings

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ASSIGNMENT_FIELDS = {
    "id", "prompt", "question", "minimum_listening_s", "expires_at", "n_done", "n_target", "a", "b",
}  # fmt: skip
SIDE_FIELDS = {"audio_url", "gain_db", "duration_s", "peaks"}
WORDS = ("checkpoint", "canary", "anchor", "rotation", "training", "judging", "sampling", "adapter")


def secrets_of(site: Site) -> Iterator[str]:
    """Every text by which a clip, its checkpoint or how it was made could be known."""
    for checkpoint in site.checkpoints:
        yield from (checkpoint.name, checkpoint.content_hash)
    yield "quagga"
    for clip in Clip.objects.all():
        yield from (str(clip.pk), clip.pk.hex, str(clip.seed), clip.codes_sha256, clip.audio_sha256)


def wav_chunks(body: bytes) -> list[str]:
    """The names of a WAV file's chunks."""
    assert (body[:4], body[8:12]) == (b"RIFF", b"WAVE")
    names, at = [], 12
    while at < len(body):
        name, size = struct.unpack("<4sI", body[at : at + 8])
        names.append(name.decode())
        at += 8 + size + size % 2
    return names


def unsigned(url: str) -> str:
    """What a signed address says to whoever decodes it."""
    token = url.rsplit("/", 1)[-1].split(":", maxsplit=1)[0].split(".", maxsplit=1)[0]
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode(errors="replace")


def test_a_session_leaks_nothing_about_what_is_heard(page: Page, site: Site, seen: Seen) -> None:
    open_pair(page, site)
    for n, key in enumerate(("ArrowLeft", "ArrowDown", "x"), start=1):
        prompt = prompt_of(page)
        hear_both(page)
        page.keyboard.press(key)
        wait_for_other_prompt(page, prompt)
        wait_for_ratings(page, n)
    page.wait_for_timeout(300)

    audio = [entry for entry in seen.received if "/audio/" in entry[0]]
    assert len(audio) >= 6
    secrets = list(secrets_of(site))
    assert len(secrets) > 20
    for url, headers, body in seen.received:
        text = body.decode("latin-1")
        for secret in secrets:
            found = secret in url or secret in headers or secret in text
            assert not found, f"{secret!r} in what came from {url}"
        if "/static/" not in url and "/audio/" not in url:
            for word in WORDS:
                assert word not in text.lower(), f"{word!r} in what came from {url}"

    for url, headers, body in audio:
        assert wav_chunks(body) == ["fmt ", "data"]
        assert set(json.loads(unsigned(url))) == {"a", "s"}
        assert "last-modified" not in headers.lower()
        assert "content-disposition" not in headers.lower()

    assignments = [
        json.loads(body) for url, _, body in seen.received if url.endswith("/assignments") and body
    ]
    assert len(assignments) >= 3
    for assignment in assignments:
        assert set(assignment) == ASSIGNMENT_FIELDS
        assert set(assignment["a"]) == set(assignment["b"]) == SIDE_FIELDS
        pair = Pair.objects.get(assignments=assignment["id"])
        assert re.search(rf"\b{pair.pk}\b", assignment["a"]["audio_url"].split(":")[0]) is None
    sizes = {len(body) for _, _, body in audio}
    assert len(sizes) == 1, "the files of a study differ in size"

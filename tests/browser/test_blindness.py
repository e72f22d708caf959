"""Nothing a rater's browser receives tells which checkpoint, clip, seed or round it hears."""

import base64
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from scipy.stats import mannwhitneyu

from attune.catalog.models import Clip
from attune.ratings.models import Pair
from attune.ratings.services import update_study
from tests.browser.conftest import (
    STAGE,
    Seen,
    Site,
    hear_both,
    open_pair,
    prompt_of,
    wait_for_other_prompt,
    wait_for_ratings,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ASSIGNMENT_FIELDS = {
    "id", "prompt", "question", "minimum_listening_s", "asks_strength", "aspects", "notice",
    "shows_history", "break_after_min", "expires_at", "n_done", "n_target", "remarks", "a", "b",
}  # fmt: skip
SIDE_FIELDS = {"audio_url", "gain_db", "duration_s", "peaks"}
# Icons have round strokes; a background and what stands around it are no rounds either.
WORDS = re.compile(
    r"checkpoint|canary|anchor|rotation|training|judging|sampling|adapter|gold|repeat|damage"
    r'|(?<!stroke-linecap=")(?<!stroke-linejoin=")\brounds?\b',
    re.IGNORECASE,
)


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


def assert_tells_nothing(secrets: list[str], *texts: str) -> None:
    """Fails where one of the secrets stands in one of the texts."""
    found = [(secret, text[:200]) for secret in secrets for text in texts if secret in text]
    assert found == []


ASK = """async ([method, path, body]) => {
  const token = document.cookie.match(/attune_csrf=([^;]+)/)[1];
  const response = await fetch(path, {
    method,
    headers: {"Content-Type": "application/json", "X-CSRFToken": token},
    body: body === null ? undefined : JSON.stringify(body),
  });
  return [response.status, JSON.stringify([...response.headers]), await response.text()];
}"""
MISSING = "7e57ab1e-0000-4000-8000-000000000009"


def test_refusals_leak_nothing_either(page: Page, site: Site) -> None:
    open_pair(page, site)
    secrets = list(secrets_of(site))

    def ask(method: str, path: str, body: Any = None) -> tuple[int, str]:
        status, headers, text = page.evaluate(ASK, [method, path, body])
        assert_tells_nothing(secrets, headers, text)
        assert WORDS.findall(text) == [], f"in the {status} of {method} {path}: {text}"
        return status, text

    status, text = ask("POST", "/api/v1/assignments", {})
    assignment = json.loads(text)
    whole = {"A": [[0, 3]], "B": [[0, 3]]}
    answer = {
        "client_id": "7e57ab1e-0000-4000-8000-000000000001",
        "assignment": assignment["id"],
        "choice": "A",
        "heard": whole,
    }
    again = answer | {"client_id": "7e57ab1e-0000-4000-8000-000000000002"}
    forged = assignment["a"]["audio_url"].replace(".wav", "x.wav")

    assert status == 200
    assert ask("POST", "/api/v1/ratings", answer | {"heard": {}})[0] == 422
    assert ask("POST", "/api/v1/ratings", answer | {"choice": "C"})[0] == 422
    page.wait_for_timeout(6000)  # two clips of 3 s cannot have been heard sooner
    status, text = ask("POST", "/api/v1/ratings", answer)
    assert status == 201
    rating = json.loads(text)["id"]
    assert ask("POST", "/api/v1/ratings", again)[0] == 409
    assert ask("POST", "/api/v1/ratings", again | {"assignment": MISSING})[0] == 404
    assert ask("PATCH", f"/api/v1/ratings/{rating + 1}", {"choice": "B"})[0] == 404
    assert ask("POST", "/api/v1/reports", {"assignment": MISSING, "side": "A"})[0] == 404
    assert ask("GET", forged)[0] == 404


def test_a_session_leaks_nothing_about_what_is_heard(page: Page, site: Site, seen: Seen) -> None:
    update_study(study=site.study, aspects=["prompt_fit"])
    open_pair(page, site)
    for n, key in enumerate(("ArrowLeft", "ArrowDown", "x"), start=1):
        prompt = prompt_of(page)
        hear_both(page)
        page.keyboard.press("m")
        page.keyboard.type("a click")
        page.keyboard.press("Enter")
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        page.keyboard.press("ArrowDown")
        wait_for_other_prompt(page, prompt)
        wait_for_ratings(page, n)
    page.reload()  # the list of answers, and an answered pair fetched again
    wait_until(page, f'{STAGE} === "rating"')
    page.keyboard.press("u")
    wait_until(page, 'document.querySelector("#rate").classList.contains("changing")')
    page.wait_for_timeout(300)

    audio = [entry for entry in seen.received if "/audio/" in entry[0]]
    assert len(audio) >= 6
    for path in ("/remarks", "/aspects/prompt_fit", "/answers", "/assignments/"):
        assert any(path in url for url, _, _ in seen.received), path
    secrets = list(secrets_of(site))
    assert len(secrets) > 20
    for url, headers, body in seen.received:
        text = body.decode("latin-1")
        assert_tells_nothing(secrets, url, headers, text)
        if "/static/" not in url and "/audio/" not in url:
            assert WORDS.findall(text) == [], f"in what came from {url}"

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
    heads = {re.sub(r"(?im)^(date|etag):.*$", "", headers) for _, headers, _ in audio}
    assert len(heads) == 1, "the heads of audio answers differ in more than their tags"


TIME = """async ([urls, n, slower]) => {
  const times = urls.map(() => []);
  for (let i = 0; i < n; i += 1) {
    for (const k of i % 2 ? [0, 1] : [1, 0]) {
      const begin = performance.now();
      await (await fetch(urls[k], {cache: "no-store"})).arrayBuffer();
      if (k === slower) await new Promise((next) => setTimeout(next, 50));
      times[k].push(performance.now() - begin);
    }
  }
  return times;
}"""


def test_both_sides_answer_in_the_same_time(page: Page, site: Site) -> None:
    """Mann-Whitney over 60 answers a side; chance alone fails it once in ten thousand runs.

    That it can fail is seen by making one side 50 milliseconds slower, which load does not hide.
    """
    open_pair(page, site)
    status, _, text = page.evaluate(ASK, ["POST", "/api/v1/assignments", {}])
    assert status == 200
    urls = [json.loads(text)[side]["audio_url"] for side in ("a", "b")]

    def p_value(slower: int | None) -> float:
        first, second = page.evaluate(TIME, [urls, 60, slower])
        return float(mannwhitneyu(first, second).pvalue)

    assert p_value(None) > 1e-4
    assert p_value(1) < 1e-4

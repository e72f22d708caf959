"""Simulated raters at a small site that speaks the API: who is given what, and what is sent."""

import io
import json
import threading
import time
from collections import Counter

import httpx
import numpy as np
import pytest
import soundfile

from alignment.simulation.tastes import Taste
from rehearsal import site as site_module
from rehearsal.errors import SiteError
from rehearsal.raters import Calibration, RatingRoom, SimulatedRater, Tally, rating_threads
from rehearsal.site import Site

RATE_HZ = 16_000


def wav_of_tone(frequency_hz: float) -> bytes:
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    content = io.BytesIO()
    soundfile.write(content, 0.3 * np.sin(2 * np.pi * frequency_hz * time_s), RATE_HZ, format="WAV")
    return content.getvalue()


class FakeSite:
    """Hands out n pairs of two tones, one at a time to each token, and stores ratings by id."""

    def __init__(self, n_pairs: int, n_failures: int = 0) -> None:
        rng = np.random.default_rng(0)
        self.pairs = {str(n): tuple(rng.uniform(200.0, 4000.0, size=2)) for n in range(n_pairs)}
        self.free = list(self.pairs)
        self.held: dict[str, str] = {}
        self.ratings: dict[str, tuple[str, str]] = {}
        self.n_failures = n_failures
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.seen[request.url.path] += 1
            if self.n_failures:
                self.n_failures -= 1
                return httpx.Response(503, text="busy")
            return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        path = request.url.path.removeprefix("/api/v1/")
        if path.startswith("/audio/"):
            pair, side = path.removeprefix("/audio/").removesuffix(".wav").split("-")
            return httpx.Response(200, content=wav_of_tone(self.pairs[pair]["AB".index(side)]))
        body = json.loads(request.content)
        if path == "assignments":
            if token not in self.held and not self.free:
                return httpx.Response(204)
            pair = self.held.setdefault(token, self.free.pop(0) if token not in self.held else "")
            sides = {
                side: {"audio_url": f"/audio/{pair}-{side.upper()}.wav"} for side in ("a", "b")
            }
            return httpx.Response(200, json={"id": pair, **sides})
        if path == "ratings":
            assert self.held.pop(token) == body["assignment"]
            self.ratings[body["client_id"]] = (body["assignment"], body["choice"])
            return httpx.Response(201, json={"id": 1, "created": True})
        return httpx.Response(404, text=f"no {path}")

    def share_of_darker_choices(self) -> float:
        chosen = [
            self.pairs[pair]["AB".index(choice)] == min(self.pairs[pair])
            for pair, choice in self.ratings.values()
        ]
        return float(np.mean(chosen))


def rate_all(fake: FakeSite, agreement: float, n_raters: int = 6) -> Tally:
    site = Site("http://site", transport=httpx.MockTransport(fake))
    raters = [
        SimulatedRater(token=f"rater-{n}", rng=np.random.default_rng(n)) for n in range(n_raters)
    ]
    room = RatingRoom(site=site, study="s", taste=Taste.DARKER, raters=raters)
    calibration = Calibration(agreement=agreement, n_needed=n_raters)
    tally = Tally()
    n_pairs = len(fake.pairs)
    deadline = time.monotonic() + 60
    with rating_threads(room, calibration, tally) as check:
        while tally.n_ratings < n_pairs:
            check()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return tally


def test_raters_who_never_err_always_pick_the_darker_clip() -> None:
    fake = FakeSite(40)
    tally = rate_all(fake, agreement=1.0)
    assert fake.share_of_darker_choices() == 1.0
    assert (tally.n_ratings, tally.agreement) == (40, 1.0)
    assert {pair for pair, _ in fake.ratings.values()} == set(fake.pairs)


def test_the_agreement_asked_for_is_reached_at_the_site() -> None:
    fake = FakeSite(400)
    tally = rate_all(fake, agreement=0.75)
    assert fake.share_of_darker_choices() == pytest.approx(0.75, abs=0.06)
    assert tally.agreement == pytest.approx(fake.share_of_darker_choices())


def test_coin_flips_favour_nothing() -> None:
    fake = FakeSite(400)
    rate_all(fake, agreement=0.5)
    assert fake.share_of_darker_choices() == pytest.approx(0.5, abs=0.08)


def test_a_busy_site_is_asked_again_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "FIRST_PAUSE_S", 0.001)
    fake = FakeSite(10, n_failures=4)
    assert rate_all(fake, agreement=1.0).n_ratings == 10
    assert len(fake.ratings) == 10


def test_a_refusal_is_an_error_with_what_the_site_said() -> None:
    site = Site("http://site", transport=httpx.MockTransport(FakeSite(1)))
    with pytest.raises(SiteError, match="was answered 404: no nonsense") as caught:
        site.post("nonsense", "token")
    assert caught.value.status == 404


def test_a_refused_thread_ends_the_rating_with_its_error() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, text="unknown token")

    site = Site("http://site", transport=httpx.MockTransport(refuse))
    raters = [SimulatedRater(token="x", rng=np.random.default_rng(0))]
    room = RatingRoom(site=site, study="s", taste=Taste.DARKER, raters=raters)
    deadline = time.monotonic() + 20
    with (
        pytest.raises(SiteError, match="401"),
        rating_threads(room, Calibration(agreement=0.75, n_needed=1), Tally()) as check,
    ):
        while time.monotonic() < deadline:
            check()
            time.sleep(0.01)


def test_nobody_answers_before_enough_pairs_were_heard_to_calibrate_on() -> None:
    fake = FakeSite(3)
    site = Site("http://site", transport=httpx.MockTransport(fake))
    raters = [SimulatedRater(token=f"r{n}", rng=np.random.default_rng(n)) for n in range(3)]
    room = RatingRoom(site=site, study="s", taste=Taste.DARKER, raters=raters)
    calibration, tally = Calibration(agreement=0.75, n_needed=3), Tally()
    assert room.take_turn(calibration, tally) and room.take_turn(calibration, tally)
    assert calibration.scale() is None and tally.n_ratings == 0
    assert room.take_turn(calibration, tally)  # the third pair makes it enough
    assert calibration.scale() is not None and tally.n_ratings == 1

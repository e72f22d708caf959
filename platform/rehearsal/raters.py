"""Simulated raters: they fetch a pair, download both clips, judge them by taste, and answer."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from alignment.simulation.noise import calibrate_scale, chooses_a
from alignment.simulation.tastes import Taste, read_clip, taste_score
from rehearsal.site import Site

N_THREADS = 4
IDLE_PAUSE_S = 1.0


@dataclass(frozen=True)
class Heard:
    """An assignment whose clips were downloaded and scored."""

    assignment: str
    score_a: float
    score_b: float

    @property
    def difference(self) -> float:
        """How much better the taste finds A."""
        return self.score_a - self.score_b


@dataclass
class SimulatedRater:
    """One account with its own random stream, and the pair it has heard but not yet judged."""

    token: str
    rng: np.random.Generator
    heard: Heard | None = None


@dataclass
class Tally:
    """What was answered so far."""

    n_ratings: int = 0
    n_agreeing: int = 0
    n_equal: int = 0
    moved_s: float = 0.0
    """When the last answer was sent, on the monotonic clock."""

    @property
    def agreement(self) -> float | None:
        """Share of ratings in the taste's favour, pairs of equal scores left out."""
        n_decided = self.n_ratings - self.n_equal
        return self.n_agreeing / n_decided if n_decided else None


@dataclass
class Calibration:
    """The noise's scale, fitted on the differences heard so far until it is frozen.

    Raters wait with their answers until `n_needed` pairs were heard, so that the first ones
    do not answer with a scale that one odd pair decided.
    """

    agreement: float
    n_needed: int
    differences: list[float] = field(default_factory=list)
    frozen_scale: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, difference: float) -> None:
        """Takes one more difference into account, unless the scale is frozen."""
        with self._lock:
            if self.frozen_scale is None:
                self.differences.append(difference)

    def scale(self) -> float | None:
        """Returns the scale, or None while too few pairs were heard."""
        with self._lock:
            if self.frozen_scale is not None:
                return self.frozen_scale
            if len(self.differences) < self.n_needed:
                return None
            return calibrate_scale(self.differences, self.agreement)

    def freeze(self) -> float:
        """Keeps the present scale for all later answers and returns it."""
        with self._lock:
            if self.frozen_scale is None:
                self.frozen_scale = calibrate_scale(self.differences, self.agreement)
            return self.frozen_scale


class RatingRoom:
    """Raters of one taste at one study, working in a few threads."""

    def __init__(
        self, *, site: Site, study: str, taste: Taste, raters: Sequence[SimulatedRater]
    ) -> None:
        self._site = site
        self._study = study
        self._taste = taste
        self._waiting = list(raters)
        self._lock = threading.Lock()

    def take_turn(self, calibration: Calibration, tally: Tally) -> bool:
        """Lets the next rater hear or judge one pair; False when there was nothing to do."""
        with self._lock:
            if not self._waiting:
                return False
            rater = self._waiting.pop(0)
        try:
            return self._serve(rater, calibration, tally)
        finally:
            with self._lock:
                self._waiting.append(rater)

    def _serve(self, rater: SimulatedRater, calibration: Calibration, tally: Tally) -> bool:
        has_heard = False
        if rater.heard is None:
            rater.heard = self._hear_next(rater)
            if rater.heard is None:
                return False
            calibration.add(rater.heard.difference)
            has_heard = True
        scale = calibration.scale()
        if scale is None:
            return has_heard
        heard, rater.heard = rater.heard, None
        picks_a = chooses_a(heard.score_a, heard.score_b, scale, rater.rng)
        self._site.post(
            "ratings",
            rater.token,
            {
                "client_id": str(uuid.UUID(bytes=rater.rng.bytes(16), version=4)),
                "assignment": heard.assignment,
                "choice": "A" if picks_a else "B",
                "heard": {},
            },
        )
        with self._lock:
            tally.n_ratings += 1
            tally.moved_s = time.monotonic()
            tally.n_equal += heard.difference == 0.0
            tally.n_agreeing += heard.difference != 0.0 and picks_a == (heard.difference > 0.0)
        return True

    def _hear_next(self, rater: SimulatedRater) -> Heard | None:
        answer = self._site.post("assignments", rater.token, {"study": self._study})
        if answer is None:
            return None
        scores = []
        for side in ("a", "b"):
            content = self._site.download(answer[side]["audio_url"], rater.token)
            scores.append(taste_score(self._taste, *read_clip(content)))
        return Heard(assignment=answer["id"], score_a=scores[0], score_b=scores[1])


@contextmanager
def rating_threads(
    room: RatingRoom, calibration: Calibration, tally: Tally
) -> Iterator[Callable[[], None]]:
    """Lets the room's raters work in threads for the block.

    Yields a function that raises the error of a thread that has ended with one.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            if not room.take_turn(calibration, tally):
                stop.wait(IDLE_PAUSE_S)

    with ThreadPoolExecutor(N_THREADS, thread_name_prefix="rater") as pool:
        futures = [pool.submit(work) for _ in range(N_THREADS)]

        def check() -> None:
            for future in futures:
                if future.done():
                    future.result()

        try:
            yield check
        finally:
            stop.set()
    check()

"""What raters do in tests: they get a pair, answer it, or do both at once."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID, uuid4

from django.db import connection

from attune.raters.models import Rater
from attune.ratings.choices import Choice, Side
from attune.ratings.models import (
    Assignment,
    Rating,
    Study,
)
from attune.ratings.services import (
    assign_pair,
    record_rating,
)
from tests.factories import (
    later,
)


def hand_out(
    study: Study, rater: Rater, *, at: float = 0, after: UUID | None = None, seed: int = 1
) -> Assignment:
    assignment = find_next(study, rater, at=at, after=after, seed=seed)
    assert assignment is not None
    return assignment


def find_next(
    study: Study, rater: Rater, *, at: float = 0, after: UUID | None = None, seed: int = 1
) -> Assignment | None:
    rng = random.Random(seed)
    return assign_pair(study=study, rater=rater, rng=rng, now=later(at), after=after)


def answer(
    rater: Rater,
    assignment: Assignment,
    choice: str = Choice.A,
    *,
    client_id: UUID | None = None,
    strength: int | None = None,
    heard: Mapping[Side, Sequence[tuple[float, float]]] | None = None,
    at: float = 60,
) -> Rating:
    rating, _ = record_rating(
        rater=rater,
        assignment_id=assignment.pk,
        client_id=client_id or uuid4(),
        choice=choice,
        strength=strength,
        heard=heard or {},
        now=later(at),
    )
    return rating


def run_at_once(works: Sequence[Callable[[], object]]) -> list[Exception]:
    """Runs all works in threads that start together; returns what they raised."""
    errors: list[Exception] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        start.wait()
        try:
            work()
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors

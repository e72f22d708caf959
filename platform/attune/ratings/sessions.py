"""How far a rater is in the present sitting."""

from collections.abc import Iterable
from datetime import datetime, timedelta

SESSION_GAP = timedelta(minutes=30)


def count_session(answered_at: Iterable[datetime], now: datetime) -> int:
    """How many of the answers, newest first, belong to the sitting that goes on at `now`.

    A sitting ends with a gap of more than half an hour between answers.
    """
    n_done = 0
    later = now
    for moment in answered_at:
        if later - moment > SESSION_GAP:
            break
        n_done += 1
        later = moment
    return n_done

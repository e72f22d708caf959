"""What becomes of clips and rounds whose job has ended without finishing them.

A round that was resumed has another job: the end of the former one is nothing to it.
"""

import contextlib
from typing import assert_never

from attune.catalog.services import fail_stranded_clips
from attune.jobs.models import Job, JobKind
from attune.ratings.services import mark_ready_pairs
from attune.rounds.errors import RoundStateError
from attune.rounds.models import Round
from attune.rounds.services import cancel_round, fail_round


def settle_failed_job(*, job: Job, error: str) -> None:
    """Ends what a failed job leaves open."""
    kind = JobKind(job.kind)
    match kind:
        case JobKind.GENERATE_CLIPS:
            close_abandoned_clips()
        case JobKind.RUN_ROUND | JobKind.RUN_GATE:
            for round in Round.objects.filter(job=job):
                fail_round(round=round, error=error)
        case JobKind.SCORE_CLIPS:
            pass  # the scores that were stored stay; a repeat adds the others
        case _:
            assert_never(kind)


def settle_cancelled_job(*, job: Job) -> None:
    """Ends what a cancelled job leaves open; a round that has ended stays as it is."""
    kind = JobKind(job.kind)
    match kind:
        case JobKind.GENERATE_CLIPS:
            close_abandoned_clips()
        case JobKind.RUN_ROUND | JobKind.RUN_GATE:
            for round in Round.objects.filter(job=job):
                with contextlib.suppress(RoundStateError):
                    cancel_round(round=round, actor=None)
        case JobKind.SCORE_CLIPS:
            pass  # the scores that were stored stay; a repeat adds the others
        case _:
            assert_never(kind)


def close_abandoned_clips() -> int:
    """Fails the unfinished clips of jobs that have ended, and withdraws their pairs."""
    clips = fail_stranded_clips()
    if clips:
        mark_ready_pairs(clips=clips)
    return len(clips)

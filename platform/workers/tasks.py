"""Celery tasks. A message only wakes a worker; what is to be done stands in the jobs table."""

import mmap
from typing import Any

import numpy as np
import structlog
from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from attune.catalog.models import Population, RotationEntry, RotationRole
from attune.jobs.models import JobQueue
from attune.jobs.report_services import record_worker_report, request_worker_report
from attune.jobs.services import reap_expired_jobs
from attune.leaderboard.canaries import judge_canary
from attune.leaderboard.selectors import needs_refresh
from attune.leaderboard.services import refresh_leaderboard
from attune.ratings.models import Study
from attune.ratings.services import fill_pool
from attune.rounds.models import RoundSchedule
from attune.rounds.schedule import start_scheduled_round
from attune.rounds.services import close_abandoned_rounds
from workers.claims import carry_out, new_owner
from workers.machine import this_machine
from workers.settlement import close_abandoned_clips

logger = structlog.get_logger(__name__)

# One byte that the worker's parent shares with its forked pool: only the parent hears that
# the worker is being stopped, and only the child can put its job back.
_STOPPING = mmap.mmap(-1, 1)


@worker_shutting_down.connect
def note_shutdown(**_: Any) -> None:
    """Tells the pool to stop at the next safe place and to put its job back."""
    _STOPPING[0] = 1


def is_stopping() -> bool:
    """Whether this worker was asked to end."""
    return bool(_STOPPING[0])


@shared_task(name="workers.tasks.run_jobs")
def run_jobs(queue: str) -> None:
    """Carries out the queue's jobs until none is left.

    May run twice, and beside itself: each job is claimed by a conditional update that one
    claim loop wins, and a loop that finds nothing to claim ends.
    """
    n_taken = carry_out(queue, new_owner(), is_stopping=is_stopping)
    if n_taken:
        logger.info("queue_empty", queue=queue, n_jobs=n_taken)


@shared_task(name="workers.tasks.reap")
def reap() -> None:
    """Takes back the jobs of lost workers, and ends what failed jobs left open.

    May run twice: every update repeats the condition it relies on.
    """
    now = timezone.now()
    reap_expired_jobs(now=now)
    n_rounds = close_abandoned_rounds(now=now)
    n_clips = close_abandoned_clips()
    if n_rounds or n_clips:
        logger.warning("abandoned_work_closed", n_rounds=n_rounds, n_clips=n_clips)


@shared_task(name="workers.tasks.fill_pools")
def fill_pools() -> None:
    """Requests pairs for every open study whose pool is below its target.

    May run twice: the pool is counted again each time, so that a second run finds it full.
    """
    for study in Study.objects.filter(is_open=True, pool_target__gt=0).order_by("pk"):
        fill_pool(study=study, rng=np.random.default_rng())


@shared_task(name="workers.tasks.refresh_leaderboards")
def refresh_leaderboards() -> None:
    """Rebuilds the leaderboard of each population that has newer ratings.

    May run twice: counts and standings are rebuilt whole in one transaction.
    """
    for population in Population:
        if needs_refresh(population):
            refresh_leaderboard(
                population=population, now=timezone.now(), rng=np.random.default_rng()
            )
            logger.info("leaderboard_refreshed", population=population.value)


@shared_task(name="workers.tasks.start_scheduled_rounds")
def start_scheduled_rounds() -> None:
    """Starts the next round of every study whose schedule is on and due.

    May run twice: each study is locked while its round is frozen, and a study with a running
    round is never due.
    """
    for schedule in RoundSchedule.objects.filter(is_on=True, study__is_open=True).order_by("pk"):
        try:
            start_scheduled_round(schedule=schedule)
        except Exception:
            # What is wrong with one study must not keep the others from their rounds.
            logger.exception("schedule_failed", schedule=schedule.pk)


@shared_task(name="workers.tasks.ask_machines")
def ask_machines() -> None:
    """Asks the device workers what they run on, so that pages know whether one is there.

    May run twice: a queue whose question is still open is not asked again.
    """
    request_worker_report(queue=JobQueue.DEVICE, now=timezone.now())


@shared_task(name="workers.tasks.report_machine")
def report_machine(queue: str) -> None:
    """Answers what this worker runs on. May run twice: the newest answer holds."""
    record_worker_report(queue=JobQueue(queue), machine=this_machine(), now=timezone.now())


@shared_task(name="workers.tasks.judge_canaries")
def judge_canaries() -> None:
    """Promotes, holds or rolls back every canary as people's ratings say.

    May run twice: a decision is taken under a lock on the canary's entry, which a promotion
    changes and a roll-back removes, and a hold is put on record once for each doubling.
    """
    for entry in RotationEntry.objects.filter(role=RotationRole.CANARY).order_by("pk"):
        try:
            judge_canary(entry=entry)
        except Exception:
            # What is wrong with one canary must not keep the others from being judged.
            logger.exception("canary_not_judged", checkpoint=entry.checkpoint_id)

"""Messages that wake workers. They carry no work: the jobs table does."""

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

TASK_NAME = "workers.tasks.run_jobs"
MESSAGE_LIFETIME_S = 60


def wake_workers(queue: str) -> None:
    """Send one message to the queue. A broker that is away is logged: beat wakes again."""
    try:
        current_app.send_task(
            TASK_NAME,
            args=[queue],
            queue=queue,
            expires=MESSAGE_LIFETIME_S,
            ignore_result=True,
            retry=False,
        )
    except (OperationalError, OSError) as exc:
        log.warning("workers_not_woken", queue=queue, error=str(exc))

"""Messages that wake workers. They carry no work: the jobs table does."""

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

TASK_NAME = "workers.tasks.run_jobs"
REPORT_TASK_NAME = "workers.tasks.report_machine"
MESSAGE_LIFETIME_S = 60


def wake_workers(queue: str) -> None:
    """Send one message to the queue. A broker that is away is logged: beat wakes again."""
    _send(TASK_NAME, queue, expires=MESSAGE_LIFETIME_S)


def ask_worker(queue: str) -> None:
    """Ask whoever works on the queue what it runs on; the question waits for an answer."""
    _send(REPORT_TASK_NAME, queue, expires=None)


def _send(task_name: str, queue: str, *, expires: int | None) -> None:
    try:
        current_app.send_task(
            task_name,
            args=[queue],
            queue=queue,
            expires=expires,
            ignore_result=True,
            retry=False,
        )
    except (OperationalError, OSError) as exc:
        log.warning("workers_not_woken", queue=queue, task=task_name, error=str(exc))

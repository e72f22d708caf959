"""The Celery application: queues, beat and early acknowledgement.

Messages only wake workers; the jobs table says what is to be done. So messages are
acknowledged when they arrive, no result is stored, and a lost or doubled one is harmless.
"""

import os
from pathlib import Path

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

TRANSPORT_ALIASES["filesystem"] = "config.folder_broker:Transport"

app = Celery("attune")
app.config_from_object("django.conf:settings", namespace="CELERY")
if app.conf.broker_url == "filesystem://":
    for option in ("data_folder_in", "control_folder"):
        Path(app.conf.broker_transport_options[option]).mkdir(parents=True, exist_ok=True)
app.conf.update(
    task_acks_late=False,
    task_ignore_result=True,
    task_default_queue="default",
    task_create_missing_queues=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    enable_utc=True,
    timezone="UTC",
    beat_schedule={
        "reap": {"task": "workers.tasks.reap", "schedule": 5.0, "options": {"expires": 5}},
        "fill_pools": {
            "task": "workers.tasks.fill_pools",
            "schedule": 10.0,
            "options": {"expires": 10},
        },
        "refresh_leaderboards": {
            "task": "workers.tasks.refresh_leaderboards",
            "schedule": 20.0,
            "options": {"expires": 20},
        },
        "ask_machines": {
            "task": "workers.tasks.ask_machines",
            "schedule": 30.0,
            "options": {"expires": 30},
        },
        "start_scheduled_rounds": {
            "task": "workers.tasks.start_scheduled_rounds",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "judge_canaries": {
            "task": "workers.tasks.judge_canaries",
            "schedule": 20.0,
            "options": {"expires": 20},
        },
    },
)
app.autodiscover_tasks(["workers"])

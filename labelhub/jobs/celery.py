"""Jobs over Celery, for many machines: `celery -A labelhub.jobs.celery worker`, with JOBS_BACKEND=celery.

A message is no more than a nudge, {job id}: the Job row stays the truth, claimed through the same lease as by `manage.py
worker`. A message that comes twice finds nothing to claim; one that is lost is sent again by the sweeper, which runs
in every Celery worker.
"""

import os
import threading

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import connection
from django.utils import timezone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
log = structlog.get_logger(__name__)
stopping = threading.Event()

app = Celery("labelhub", broker=settings.CELERY_BROKER_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue=settings.CELERY_QUEUE,
    worker_prefetch_multiplier=1,  # a long job must not sit on the short ones behind it
    broker_connection_retry_on_startup=True,
    # Whoever submits a job does not wait long for a broker that is away: the sweeper sends it again.
    broker_transport_options={"max_retries": 0, "interval_start": 0, "interval_step": 0, "socket_connect_timeout": 2},
)


@app.task(name="labelhub.jobs.run")
def run(job_id):
    from . import queue, worker  # models: only once Celery has set Django up

    if job := queue.claim(job_id):
        worker.run(job, stopping)


def send(job_id, run_after):
    """Send the message for one job; a broker that is away delays the job until the sweeper sends it again."""
    try:
        run.apply_async([job_id], countdown=max(0.0, (run_after - timezone.now()).total_seconds()), retry=False)
    except run.OperationalError as error:
        log.warning("job_not_sent", job=job_id, error=str(error))


@setup_logging.connect
def log_as_the_hub_does(**_):
    """Keep Celery from setting up logs of its own."""


@worker_ready.connect
def keep_sweeping(**_):
    threading.Thread(target=_sweep_until_stopped, name="sweeper", daemon=True).start()


def _sweep_until_stopped():
    from . import queue

    while not stopping.wait(settings.JOB_LEASE_SECONDS / 4):
        try:
            queue.sweep()
        except Exception:  # the database is away, most often
            log.exception("sweep_failed")
        connection.close()


@worker_shutting_down.connect
def stop_jobs(**_):
    stopping.set()  # with `-P threads` running jobs are put back; other pools let them end first

"""Doing the work: take a job, keep its lease alive while it runs, write down how it ended."""

import threading
import time

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from labelhub.facts import Fact

from . import queue
from .kinds import kind_of
from .models import Job

log = structlog.get_logger(__name__)

REPORT_SECONDS = 0.5


class Cancelled(Exception):
    """Someone asked for the job to be stopped."""


class LeaseLost(Exception):
    """The job was given to another worker: this run must not write any more."""


class Interrupted(Exception):
    """The worker is being shut down: the job goes back into the queue."""


class Progress:
    """What a running job speaks through. Calling it is the point at which a job can be stopped."""

    def __init__(self, job: Job, stop: threading.Event):
        self.job = job
        self.lost = threading.Event()
        self._stop = stop
        self._reported = 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """Report `done` of `total`; at most twice a second reaches the database.

        Raises Cancelled, LeaseLost or Interrupted: let it through.
        """
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS and done < total:
            return
        self._reported = now
        if self._stop.is_set():
            raise Interrupted
        percent = min(100, 100 * done // total) if total else 0
        if self.lost.is_set() or not queue.renew(self.job, progress=percent, message=message[:300]):
            raise LeaseLost
        if Job.objects.filter(pk=self.job.pk).exclude(cancel_requested_at=None).exists():
            raise Cancelled


def _keep_alive(progress, ended):
    while not ended.wait(settings.JOB_LEASE_SECONDS / 3):
        try:
            if not queue.renew(progress.job):
                progress.lost.set()
                break
        except DatabaseError as error:  # a long write elsewhere, or a restart: the next beat may get through
            log.warning("job_heartbeat_missed", job=progress.job.pk, error=str(error))
    connection.close()


def run(job: Job, stop: threading.Event | None = None) -> None:
    """Run a claimed `job` to its end, whatever that is; nothing is raised."""
    progress = Progress(job, stop or threading.Event())
    ended = threading.Event()
    heart = threading.Thread(target=_keep_alive, args=(progress, ended), name=f"heartbeat-{job.pk}", daemon=True)
    heart.start()
    try:
        result = kind_of(job).run(progress, **job.params)
        if not queue.finish(job, result):
            log.warning("job_lost", job=job.pk, kind=job.kind)
    except Cancelled:
        queue.end(job, Job.State.CANCELLED)
    except LeaseLost:
        log.warning("job_lost", job=job.pk, kind=job.kind)
    except Interrupted:
        queue.put_back(job, counted=False)
    except Exception as error:
        log.exception("job_failed", job=job.pk, kind=job.kind, attempt=job.attempt)
        said = error.message if isinstance(error, Fact) else f"{type(error).__name__}: {error}"
        queue.fail(job, said, permanent=isinstance(error, Fact))
    finally:
        ended.set()
        heart.join()


def work(stop: threading.Event, *, until_empty: bool = False) -> int:
    """Take and run jobs until `stop` is set (or, `until_empty`, until none is due); returns how many were run."""
    done, last_sweep = 0, 0.0
    while not stop.is_set():
        close_old_connections()
        try:
            if time.monotonic() - last_sweep > settings.JOB_LEASE_SECONDS / 4:
                last_sweep = time.monotonic()
                queue.sweep()
            queue.wake.clear()
            job = queue.claim()
        except DatabaseError as error:
            log.warning("worker_waits_for_database", error=str(error))
            job = None
        if job:
            run(job, stop)
            done += 1
        elif until_empty:
            break
        else:
            queue.wake.wait(settings.JOB_POLL_SECONDS)
    connection.close()
    return done


class WorkerThreads:
    """`count` threads that work until the block ends: `with WorkerThreads(2): …`."""

    def __init__(self, count: int = 1):
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, args=(self._stop,), name=f"worker-{n}", daemon=True) for n in range(count)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        queue.wake.set()
        for thread in self._threads:
            thread.join()

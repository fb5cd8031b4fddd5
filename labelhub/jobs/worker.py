"""Doing the work: take a job, keep its lease alive while it runs, write down how it ended."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import structlog
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import close_old_connections, connection

from labelhub.facts import Fact

from . import queue
from .kinds import kind_named
from .models import Job

log = structlog.get_logger(__name__)

REPORT_SECONDS = 0.5
GRACE_SECONDS = 5.0  # what a job has, when its worker is told to stop, to come to its next progress report


class Stop(BaseException):
    """Leave the job now. Not an Exception, so that a job's own `except Exception` lets it through."""


class Cancelled(Stop):
    """Someone asked for the job to be stopped."""


class LeaseLost(Stop):
    """The job was given to another worker: this run must not write any more."""


class Interrupted(Stop):
    """The worker is being shut down: the job goes back into the queue."""


class Again(Stop):
    """The job has done what can be done now: run it again after so many seconds, as if for the first time."""

    def __init__(self, seconds: float):
        super().__init__(seconds)
        self.seconds = seconds


class Progress:
    """What a running job speaks through. Calling it is the point at which a job can be stopped."""

    def __init__(self, job: Job, stop: threading.Event):
        self.job = job
        self.lost = threading.Event()
        self._stop = stop
        self._reported = 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """Report `done` of `total` (0: unknown); twice a second, and the last, reach the database.

        Raises Cancelled, LeaseLost or Interrupted: let it through.
        """
        if self.lost.is_set():
            raise LeaseLost
        if self._stop.is_set():
            raise Interrupted
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS and not 0 < total <= done:
            return
        self._reported = now
        percent = max(0, min(100, 100 * done // total)) if total else 0
        if not queue.renew(self.job, progress=percent, message=message[:300]):
            raise LeaseLost
        if Job.objects.filter(pk=self.job.pk).exclude(cancel_requested_at=None).exists():
            raise Cancelled


def _refresh_connection():
    """Drop a connection that broke or grew old; not within a caller's transaction, which would go with it."""
    if not connection.in_atomic_block:
        close_old_connections()


_runs: set[Progress] = set()  # what this process is doing at the moment


def _keep_alive(progress, ended):
    while not ended.wait(settings.JOB_LEASE_SECONDS / 3):
        try:
            if not queue.renew(progress.job):
                progress.lost.set()
                break
        except DatabaseFailure as error:  # a long write elsewhere, or a restart: the next beat may get through
            log.warning("job_heartbeat_missed", job=progress.job.pk, error=str(error))
            close_old_connections()
    connection.close()


def run(job: Job, stop: threading.Event | None = None) -> None:
    """Run a claimed `job` to its end, whatever that is, and write it down."""
    with kept_alive(job, stop) as progress:
        _run(job, progress)


@contextmanager
def kept_alive(job: Job, stop: threading.Event | None = None) -> Iterator[Progress]:
    """Within the block, a claimed `job` stays this run's; gives what the run speaks through."""
    progress = Progress(job, stop or threading.Event())
    ended = threading.Event()
    heart = threading.Thread(target=_keep_alive, args=(progress, ended), name=f"heartbeat-{job.pk}", daemon=True)
    heart.start()
    _runs.add(progress)
    with structlog.contextvars.bound_contextvars(job=job.pk, kind=job.kind, attempt=job.attempt):
        try:
            yield progress
        finally:
            _runs.discard(progress)
            ended.set()
            heart.join()


def _run(job, progress):
    started = time.monotonic()
    log.info("job_started")
    try:
        outcome = "done"
        written = queue.finish(job, kind_named(job.kind).run(progress, **job.params))
    except Cancelled:
        outcome = "cancelled"
        written = queue.end(job, Job.State.CANCELLED)
    except Interrupted:
        outcome = "interrupted"
        written = queue.put_back(job, counted=False)
    except Again as again:
        outcome = "again"
        written = queue.repeat(job, delay=again.seconds)
    except LeaseLost:
        written = False
    except (Exception, SystemExit) as error:  # sys.exit() deep in a library must not end the worker
        outcome = "failed"
        permanent = isinstance(error, Fact) and not error.passes
        level = logging.INFO if permanent else logging.ERROR
        log.log(level, "job_raised", exc_info=not isinstance(error, Fact), error=str(error))
        _refresh_connection()  # it may be what failed
        said = error.message if isinstance(error, Fact) else f"{type(error).__name__}: {error}"
        written = queue.fail(job, said, permanent=permanent)
    log.info("job_ended", outcome=outcome if written else "lost", seconds=round(time.monotonic() - started, 3))


def work(stop: threading.Event, *, until_empty: bool = False) -> int:
    """Take and run jobs until `stop` is set (or, `until_empty`, until none is due); returns how many were run."""
    done, last_sweep = 0, 0.0
    while not stop.is_set():
        try:
            _refresh_connection()
            if time.monotonic() - last_sweep > settings.JOB_LEASE_SECONDS / 4:
                last_sweep = time.monotonic()
                queue.sweep()
            queue.wake.clear()
            job = queue.claim()
            if job:
                run(job, stop)
                done += 1
            elif until_empty:
                break
            else:
                queue.wake.wait(settings.JOB_POLL_SECONDS)
        except Exception:  # the database is away, most often; what was running is swept when its lease is over
            if until_empty:
                raise
            log.exception("worker_stumbled")
            stop.wait(1.0)
    return done


def bring_to_end(job: Job) -> Job:
    """Run `job` here and now, or wait for the worker who was faster; returns it as it ended."""
    while not job.is_finished:
        if mine := queue.claim(job.pk):
            run(mine)
        else:
            queue.sweep()
            time.sleep(settings.JOB_POLL_SECONDS)
        job.refresh_from_db()
    return job


class WorkerThreads:
    """`count` threads that work until the block ends: `with WorkerThreads(2) as workers: …`."""

    def __init__(self, count: int = 1, *, until_empty: bool = False):
        self.failure: Exception | None = None
        self._stop = threading.Event()
        self._until_empty = until_empty
        self._threads = [threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(count)]

    def _work(self):
        try:
            work(self._stop, until_empty=self._until_empty)
        except Exception as error:
            self.failure = error
        finally:
            connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def ask_to_stop(self) -> None:
        """Let every running job be interrupted at its next progress report."""
        self._stop.set()

    def wait(self) -> None:
        """Return when the threads have been asked to stop, or have run out of work."""
        while not self._stop.is_set() and not self.ended:
            time.sleep(0.1)  # not a wait on the event: a signal handler of this thread sets it

    @property
    def ended(self) -> bool:
        """Whether no thread is at work any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def __exit__(self, *_):
        """Stop; what has not come to an end within the grace is put back, its run having lost the right to write."""
        self._stop.set()
        queue.wake.set()
        until = time.monotonic() + GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for progress in list(_runs):
            progress.lost.set()
            try:  # a moment later: this process is still to end, and must not meet the next run of the job
                queue.put_back(progress.job, counted=False, delay=1.0)
            except DatabaseFailure as error:
                log.warning("job_not_put_back", job=progress.job.pk, error=str(error))


@contextmanager
def stop_on_signals(stop: Callable[[], None]):
    """Within the block, the first SIGTERM or Ctrl-C calls `stop`; a second one kills.

    The block is given a function that takes the signals again, should a server have taken them for itself.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(*_):
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        stop()

    def take_signals():
        for number in before:
            signal.signal(number, handle)

    take_signals()
    try:
        yield take_signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_process() -> NoReturn:
    """End at once, whatever a job that could not be interrupted is doing: its lease is gone and it may not write."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""The life of a job: submit, claim, renew, finish, fail, cancel; each step one conditional UPDATE."""

import random
import secrets
import threading
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from .kinds import UnknownKind, kind_named, periodic
from .models import Job, JobQuerySet

log = structlog.get_logger(__name__)
wake = threading.Event()  # set on submit, so that a worker in this process need not wait for its next look

BACKOFF_SECONDS = 2.0
BACKOFF_LIMIT_SECONDS = 600.0
CLOCKS_DIFFER = timedelta(seconds=1)  # a broker's message must not come too early for a machine that is a little slow


def submit(kind: str, params: dict | None = None, *, by=None, run_after: datetime | None = None) -> Job:
    """Put work of `kind` in the queue; it is seen when the transaction around this call commits."""
    kind_named(kind)  # a typing error fails here, not in a worker at night
    job = Job.objects.create(
        kind=kind,
        params=params or {},
        owner=by,
        run_after=run_after or timezone.now(),
        max_attempts=settings.JOB_MAX_ATTEMPTS,
    )
    _announce(job)
    return job


def _announce(job):
    """Tell the workers, once it is committed, that `job` waits; an announcement that is lost is made again by sweep."""
    if settings.JOBS_BACKEND == "celery":
        from .celery import send  # only this backend needs the package

        transaction.on_commit(partial(send, job.pk, job.run_after))
    else:
        transaction.on_commit(wake.set)


def _lease():
    return timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def claim(job_id: int | None = None) -> Job | None:
    """Take the next due job (or that one) for this caller; None where there is none."""
    due = Job.objects.due() if job_id is None else Job.objects.due(within=CLOCKS_DIFFER).filter(pk=job_id)
    while (pk := due.order_by("run_after", "id").values_list("pk", flat=True).first()) is not None:
        token = secrets.token_hex(16)
        if due.filter(pk=pk).update(
            state=Job.State.RUNNING,
            token=token,
            lease_until=_lease(),
            attempt=F("attempt") + 1,
            started_at=timezone.now(),
            progress=0,
            message="",
            error="",
        ):
            return Job.objects.get(pk=pk)
    return None  # only now: losing one job to a faster caller says nothing about the next


def held(job: Job) -> JobQuerySet:
    """The row of `job` as long as this run holds it."""
    return Job.objects.running().filter(pk=job.pk, token=job.token)


def renew(job: Job, **changes) -> bool:
    """Move the lease on (and write `changes`); False when the job is no longer this run's."""
    return bool(held(job).update(lease_until=_lease(), **changes))


def finish(job: Job, result: dict | None) -> bool:
    """Mark the run's job DONE; False when it was given to another meanwhile."""
    return bool(
        held(job).update(
            state=Job.State.DONE, progress=100, result=result, token="", lease_until=None, finished_at=timezone.now()
        )
    )


def put_back(job: Job, *, error: str = "", delay: float = 0.0, counted: bool = True) -> bool:
    """Queue a running job again after `delay` seconds, or end it if it is to be cancelled; False when it is not ours.

    `counted=False` gives it its attempt back.
    """
    return _wait(job, delay, error=error, attempt=F("attempt") if counted else F("attempt") - 1)


def repeat(job: Job, *, delay: float) -> bool:
    """Queue a running job again that did what it could for now: its next run is a first attempt."""
    return _wait(job, delay, error="", attempt=0)


def _wait(job, delay, **changes):
    """RUNNING → QUEUED, or CANCELLED if somebody asked for that."""
    job.run_after = timezone.now() + timedelta(seconds=delay)
    waiting = {"state": Job.State.QUEUED, "token": "", "lease_until": None, "run_after": job.run_after, **changes}
    queued = held(job).filter(cancel_requested_at=None).update(**waiting)
    if queued:
        _announce(job)
        return True
    return end(job, Job.State.CANCELLED)


@transaction.atomic
def end(job: Job, state: Job.State, *, error: str = "") -> bool:
    """Mark a running job FAILED or CANCELLED and tell its kind; False when it is no longer this run's."""
    if not held(job).update(state=state, error=error, token="", lease_until=None, finished_at=timezone.now()):
        return False
    _tell(job)
    return True


def _tell(job):
    """Let the kind of `job` hear that it has ended; what goes wrong there is noted on the job, which stays ended."""
    job.refresh_from_db()
    try:
        with transaction.atomic():
            kind = kind_named(job.kind)
            if kind.ended:
                kind.ended(job, **job.params)
    except UnknownKind:  # an older release's job: nobody is left to hear of it
        pass
    except OperationalError:  # a lock or a lost connection: nothing is written, and the sweeper tries again
        raise
    except Exception as error:
        log.exception("job_end_not_heard", job=job.pk, kind=job.kind)
        job.error = f"{job.error}\nwhen told of the end: {type(error).__name__}: {error}".strip()
        job.save(update_fields=["error"])


def backoff(attempt: int) -> float:
    """Seconds to wait before the try after `attempt`: doubling up to a limit, less up to half of it by chance."""
    return min(BACKOFF_SECONDS * 2.0 ** min(attempt - 1, 30), BACKOFF_LIMIT_SECONDS) * random.uniform(0.5, 1.0)


def fail(job: Job, error: str, *, permanent: bool = False) -> bool:
    """A try went wrong: once more later, or FAILED when it was the last or trying again cannot help."""
    if permanent or job.attempt >= job.max_attempts:
        return end(job, Job.State.FAILED, error=error)
    return put_back(job, error=error, delay=backoff(job.attempt))


@transaction.atomic
def cancel(job: Job) -> bool:
    """Stop `job`: at once where it waits, at its next progress report where it runs; False where it had ended."""
    now = timezone.now()
    asked = Job.objects.unfinished().filter(pk=job.pk).update(cancel_requested_at=now)
    waiting = Job.objects.filter(pk=job.pk, state=Job.State.QUEUED)
    if asked and waiting.update(state=Job.State.CANCELLED, finished_at=now):
        _tell(job)
    return bool(asked)


def sweep() -> int:
    """Give the jobs of dead workers to the living, or fail those that killed every worker; returns how many."""
    _submit_periodic()
    return sum(_take_over(job) for job in Job.objects.abandoned()) + _announce_again()


def _submit_periodic():
    """Submit what is due every so often. Two sweepers at the same moment may both do: such a job bears being run twice."""
    for kind, often in periodic():
        recent = Job.objects.filter(kind=kind, created_at__gt=timezone.now() - often)
        if not recent.exists() and not Job.objects.unfinished().filter(kind=kind).exists():
            submit(kind)


def _take_over(job):
    """End the run of a worker that is gone: hold its lease first, for it may be beating after all."""
    token = secrets.token_hex(16)
    if not held(job).abandoned().update(token=token, lease_until=_lease()):
        return False
    log.warning("job_abandoned", job=job.pk, kind=job.kind, attempt=job.attempt)
    job.token = token
    if job.attempt >= job.max_attempts and not job.cancel_requested_at:
        return end(job, Job.State.FAILED, error=f"its worker died in each of {job.attempt} tries; not tried again")
    return put_back(job, error="its worker died")


def _announce_again():
    """Announce to a message broker what has been due for a lease: the message may be lost. A database needs no news."""
    if settings.JOBS_BACKEND == "database":
        return 0
    now = timezone.now()
    overdue = Job.objects.due().filter(run_after__lt=now - timedelta(seconds=settings.JOB_LEASE_SECONDS))
    announced = 0
    for job in overdue:
        job.run_after = now
        if overdue.filter(pk=job.pk).update(run_after=now):  # of several sweepers one, and once a lease
            _announce(job)
            announced += 1
    return announced

"""The life of a job: submit, claim, renew, finish, fail, cancel; each step one conditional UPDATE."""

import random
import secrets
import threading
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .kinds import UnknownKind, kind_of
from .models import Job

log = structlog.get_logger(__name__)
wake = threading.Event()  # set on submit, so that a worker in this process need not wait for its next look

BACKOFF_SECONDS = 2.0
BACKOFF_LIMIT_SECONDS = 600.0


def submit(kind: str, params: dict | None = None, *, by=None, run_after=None) -> Job:
    """Put work of `kind` in the queue; it is seen when the transaction around this call commits."""
    job = Job.objects.create(
        kind=kind,
        params=params or {},
        owner=by,
        run_after=run_after or timezone.now(),
        max_attempts=settings.JOB_MAX_ATTEMPTS,
    )
    kind_of(job)  # a typing error fails here, not in a worker at night
    transaction.on_commit(wake.set)
    return job


def _lease():
    return timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def claim(job_id: int | None = None) -> Job | None:
    """Take the next due job (or that one) for this caller; None where there is none or another was faster."""
    due = Job.objects.due().order_by("run_after", "id")
    if job_id is not None:
        due = due.filter(pk=job_id)
    for pk in list(due.values_list("pk", flat=True)[:8]):
        token = secrets.token_hex(16)
        taken = Job.objects.due().filter(pk=pk)
        now = timezone.now()
        if taken.update(
            state=Job.State.RUNNING,
            token=token,
            lease_until=_lease(),
            attempt=F("attempt") + 1,
            started_at=now,
            error="",
        ):
            return Job.objects.get(pk=pk)
    return None


def held(job: Job):
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
    """Queue a running job again after `delay` seconds; `counted=False` gives it its attempt back."""
    return bool(
        held(job).update(
            state=Job.State.QUEUED,
            token="",
            lease_until=None,
            error=error,
            run_after=timezone.now() + timedelta(seconds=delay),
            attempt=F("attempt") if counted else F("attempt") - 1,
        )
    )


@transaction.atomic
def end(job: Job, state: Job.State, *, error: str = "") -> bool:
    """Mark a running job FAILED or CANCELLED and tell its kind; False when it is no longer this run's."""
    if not held(job).update(state=state, error=error, token="", lease_until=None, finished_at=timezone.now()):
        return False
    _tell(job)
    return True


def _tell(job):
    job.refresh_from_db()
    try:
        kind = kind_of(job)
    except UnknownKind:  # an older release's job: nobody is left to hear of it
        return
    if kind.ended:
        kind.ended(job, **job.params)


def backoff(attempt: int) -> float:
    """Seconds to wait before the try after `attempt`: doubling, capped, with a quarter of jitter."""
    return min(BACKOFF_SECONDS * 2 ** (attempt - 1), BACKOFF_LIMIT_SECONDS) * random.uniform(0.75, 1.25)


def fail(job: Job, error: str, *, permanent: bool = False) -> None:
    """A try went wrong: once more later, or FAILED when it was the last or trying again cannot help."""
    if permanent or job.attempt >= job.max_attempts:
        end(job, Job.State.FAILED, error=error)
    else:
        put_back(job, error=error, delay=backoff(job.attempt))


@transaction.atomic
def cancel(job: Job) -> bool:
    """Stop `job`: at once where it waits, at its next progress report where it runs; False where it had ended."""
    now = timezone.now()
    waiting = Job.objects.filter(pk=job.pk, state=Job.State.QUEUED)
    if waiting.update(state=Job.State.CANCELLED, cancel_requested_at=now, finished_at=now):
        _tell(job)
        return True
    return bool(Job.objects.running().filter(pk=job.pk).update(cancel_requested_at=now))


def sweep() -> int:
    """Give the jobs of dead workers to the living, or fail those that killed every worker; returns how many."""
    swept = 0
    for job in Job.objects.abandoned():
        if job.cancel_requested_at:
            swept += end(job, Job.State.CANCELLED)
        elif job.attempt >= job.max_attempts:
            swept += end(job, Job.State.FAILED, error=f"its worker died {job.attempt} times")
        else:
            swept += put_back(job, error="its worker died")
        log.warning("job_swept", job=job.pk, kind=job.kind, attempt=job.attempt)
    return swept

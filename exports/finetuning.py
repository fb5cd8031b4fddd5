"""Fine-tunes: a batch is given to a provider, a job trains on it, and success leaves a model version."""

import time
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.jobs import queue
from labelhub.jobs.models import Job
from samples.models import Project
from samples.permissions import require

from . import providers
from .errors import AlreadyStarted, NotReady, Unsuitable, WrongState
from .models import Batch, FineTune, ModelVersion
from .providers.base import Progress, Trained

Status = FineTune.Status
UNDER_WAY = (Status.NOT_STARTED, Status.SUBMITTING, Status.RUNNING)
NOTED_SECONDS = 0.5  # between two notes of the progress on the row


# Starting -------------------------------------------------------------------------------------------------------------


def submit(
    batch: Batch,
    *,
    by,
    provider: str = "local",
    model: str = "",
    hyperparameters: Mapping[str, Any] | None = None,
    again: bool = False,
) -> FineTune:
    """Start a fine-tune on the file of `batch`, as a job; `by` None is the hub itself.

    AlreadyStarted while one is under way, whoever asks however often, and after one that succeeded unless `again`.
    """
    trainer = providers.get(provider)
    if batch.project is None:
        raise Unsuitable(f"{batch} mixes several projects; a model belongs to one")
    if by is not None:
        require(by, Power.FINETUNE, batch.project)
    batch.refresh_from_db(fields=["state", "manifest", "files_removed_at"])
    if batch.is_sharded or batch.compression != "none":
        raise Unsuitable(f"{batch} is in shards or compressed: models are trained on one plain file or ZIP")
    if not batch.is_ready:
        raise NotReady(f"{batch} is {batch.get_state_display().lower()}: it has no file to train on", state=batch.state)
    trainer.check(batch, model=model, hyperparameters=hyperparameters)
    finetune = FineTune(
        batch=batch,
        provider=trainer.name,
        model=model,
        hyperparameters=dict(hyperparameters or {}),
        status=Status.SUBMITTING,
        created_by=by,
    )
    try:
        with transaction.atomic():
            finetune.save()
            # Only now: with this row there, no other can come to an end unseen.
            if not again and batch.finetunes.filter(status=Status.SUCCESS).exists():
                raise AlreadyStarted(f"{batch} has been fine-tuned already; ask for it again to train once more")
            finetune.job = queue.submit("exports.finetune", {"finetune": finetune.pk}, by=by)
            finetune.save(update_fields=["job"])
            audit.record(finetune, "submit", by=by, before=Status.NOT_STARTED, after=Status.SUBMITTING)
    except IntegrityError as error:
        if not batch.finetunes.filter(status__in=UNDER_WAY).exists():
            raise
        raise AlreadyStarted(f"a fine-tune of {batch} is under way") from error
    return finetune


# The job --------------------------------------------------------------------------------------------------------------


def run(finetune: FineTune, progress: Progress) -> None:
    """Train, and write down what came of it: RUNNING, then SUCCESS with a model version.

    Starts over what a dead worker began. A run that is overtaken by another, or by a cancel, leaves no version.
    """
    before = finetune.status
    begun = FineTune.objects.filter(pk=finetune.pk, status__in=UNDER_WAY)
    with transaction.atomic():
        changes = {"status": Status.RUNNING, "started_at": timezone.now(), "progress": 0, "error": ""}
        if not begun.update(**changes):
            return  # the run before died between SUCCESS and telling the queue
        audit.record(finetune, "start", before=before, after=Status.RUNNING)
    provider = providers.get(finetune.provider)
    trained = provider.train(finetune, _Noted(finetune, progress))
    _succeed(finetune, trained)
    finetune.refresh_from_db()


class _Noted:
    """The job's progress, kept on the fine-tune as well."""

    def __init__(self, finetune: FineTune, progress: Progress):
        self._row = FineTune.objects.filter(pk=finetune.pk, status=Status.RUNNING)
        self._progress, self._noted = progress, 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        self._progress(done, total, message)  # may stop the run: nothing is written after that
        if time.monotonic() - self._noted >= NOTED_SECONDS:
            self._noted = time.monotonic()
            self._row.update(progress=100 * done // total)


@transaction.atomic
def _succeed(finetune: FineTune, trained: Trained) -> None:
    """RUNNING → SUCCESS and the project's next version; WrongState where the fine-tune has ended otherwise."""
    running = FineTune.objects.filter(pk=finetune.pk, status=Status.RUNNING)
    changed = running.update(
        status=Status.SUCCESS,
        progress=100,
        metrics=trained.metrics,
        artefact=trained.artefact,
        events=trained.events,
        finished_at=timezone.now(),
    )
    if not changed:
        raise WrongState(f"{finetune} ended while it was still being trained")
    # Two fine-tunes of a project that end together count one after the other. (SQLite has one writer anyway.)
    project = Project.objects.select_for_update(no_key=True).get(pk=_project_of(finetune).pk)
    newest = project.model_versions.aggregate(newest=Max("version"))["newest"] or 0
    version = ModelVersion.objects.create(
        project=project,
        version=newest + 1,
        finetune=finetune,
        metrics=trained.metrics,
        artefact=trained.artefact,
        provider_model=trained.provider_model,
    )
    audit.record(finetune, "succeed", before=Status.RUNNING, after=Status.SUCCESS, reason=str(version))


def _project_of(finetune: FineTune) -> Project:
    project = finetune.batch.project
    assert project is not None, "submit lets no batch of several projects through"
    return project


# Ending otherwise -----------------------------------------------------------------------------------------------------


def ended(job: Job, finetune: int) -> None:
    """The job has failed for good or was cancelled: so has the fine-tune."""
    found = FineTune.objects.filter(pk=finetune).first()
    if found is not None:
        _end(found, Status.CANCELLED if job.state == Job.State.CANCELLED else Status.FAILED, error=job.error)


def cancel(finetune: FineTune, *, by) -> bool:
    """Stop `finetune`: at once where it waits, at its next progress report where it runs; False where it has ended."""
    with transaction.atomic():
        require(by, Power.FINETUNE, _project_of(finetune))
        finetune.refresh_from_db()
        if finetune.status not in UNDER_WAY:
            return False
        audit.record(finetune, "ask to cancel", by=by, before=finetune.status, after=finetune.status)
        if finetune.job is None or not queue.cancel(finetune.job):
            _end(finetune, Status.CANCELLED)  # nobody is left who would
        finetune.refresh_from_db()
    return True


def _end(finetune, status, *, error=""):
    under_way = FineTune.objects.filter(pk=finetune.pk, status__in=UNDER_WAY)
    if under_way.update(status=status, error=error, finished_at=timezone.now()):
        audit.record(finetune, status.label.lower(), before=finetune.status, after=status, reason=error)


# Asking how it goes ---------------------------------------------------------------------------------------------------


def refresh(finetune: FineTune) -> FineTune:
    """`finetune` as it stands now. One whose job is over, and did not say so, ends as the job did."""
    finetune.refresh_from_db()
    if finetune.status in UNDER_WAY:
        job = finetune.job
        if job is None:
            _end(finetune, Status.FAILED, error="its job is gone")
        elif job.is_finished:
            cancelled = job.state == Job.State.CANCELLED
            _end(finetune, Status.CANCELLED if cancelled else Status.FAILED, error=job.error or "its job ended early")
        finetune.refresh_from_db()
    return finetune


def refresh_all() -> int:
    """Refresh every fine-tune that is under way; returns how many changed their status."""
    changed = 0
    for finetune in FineTune.objects.filter(status__in=UNDER_WAY).select_related("job"):
        before = finetune.status
        changed += refresh(finetune).status != before
    return changed

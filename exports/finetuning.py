"""Fine-tunes: a batch is given to a provider, a job trains on it or looks after it, and success leaves a model version.

What happens elsewhere is asked for outside any transaction, after the intention is written down (`asked_at`), and never
twice on suspicion: where the answer was lost, the job is looked for first.
"""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.facts import Fact
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Dataset, Project
from samples.permissions import require

from . import provider_accounts, providers
from .errors import (
    AlreadyStarted,
    NotReady,
    ProviderBusy,
    ProviderDown,
    ProviderRefused,
    ProviderTimeout,
    UnreadableKey,
    UnsafeAddress,
    Unsuitable,
    WrongState,
)
from .models import Batch, FineTune, ModelVersion, ProviderAccount
from .providers import Remote, Trainer
from .providers.base import Progress, Report, State, Trained, joined

log = structlog.get_logger(__name__)

Status = FineTune.Status
UNDER_WAY = FineTune.UNDER_WAY
IN_THE_WAY = (ProviderDown, ProviderRefused, UnsafeAddress, UnreadableKey)  # why a provider could not be asked
NOTED_SECONDS = 0.5  # between two notes of the progress on the row
SLOWER = 1.5  # each look without news makes the next wait so many times longer


# Starting -------------------------------------------------------------------------------------------------------------


def submit(
    batch: Batch,
    *,
    by,
    provider: str = "local",
    model: str = "",
    hyperparameters: Mapping[str, Any] | None = None,
    account: ProviderAccount | None = None,
    again: bool = False,
    repeats: FineTune | None = None,
) -> FineTune:
    """Start a fine-tune on the file of `batch`, as a job; `by` None is the hub itself.

    AlreadyStarted while one is under way, whoever asks however often, and after one that succeeded unless `again`.
    Without `account` it goes through the project's own at that provider, else through that of the settings.
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
    if isinstance(trainer, Remote):
        account = provider_accounts.account_for(trainer.name, batch.project, account)
    elif account is not None:
        raise Unsuitable(f"{trainer.name} trains here and takes no account")
    trainer.check(batch, model=model, hyperparameters=hyperparameters, account=account)
    if isinstance(trainer, Remote):
        model = model or trainer.usual_model(account)
    finetune = FineTune(
        batch=batch,
        provider=trainer.name,
        account=account,
        model=model,
        hyperparameters=dict(hyperparameters or {}),
        status=Status.SUBMITTING,
        repeats=repeats,
        created_by=by,
    )
    if isinstance(trainer, Trainer):
        finetune.provider_job_id = f"{trainer.name}-{finetune.uuid}"
    try:
        with transaction.atomic():
            finetune.save()
            # Only now: with this row there, no other can come to an end unseen.
            if not again and batch.finetunes.filter(status=Status.SUCCESS).exists():
                raise AlreadyStarted(f"{batch} has been fine-tuned already; ask for it again to train once more")
            _put_in_queue(finetune, by=by)
            audit.record(finetune, "submit", by=by, before=Status.NOT_STARTED, after=Status.SUBMITTING)
    except IntegrityError as error:
        if not batch.finetunes.under_way().exists():
            raise
        raise AlreadyStarted(f"a fine-tune of {batch} is under way") from error
    return finetune


def _put_in_queue(finetune, *, by, delay=0.0):
    run_after = timezone.now() + timedelta(seconds=delay)
    finetune.job = queue.submit("exports.finetune", {"finetune": finetune.pk}, by=by, run_after=run_after)
    finetune.save(update_fields=["job"])


def retry(finetune: FineTune, *, by) -> FineTune:
    """The same once more: a new fine-tune with what a failed or cancelled one was asked for."""
    finetune.refresh_from_db()
    if finetune.status not in (Status.FAILED, Status.CANCELLED):
        raise WrongState(f"{finetune} is {finetune.get_status_display().lower()}: only what failed is tried again")
    return submit(
        finetune.batch,
        by=by,
        provider=finetune.provider,
        model=finetune.model,
        hyperparameters=finetune.hyperparameters,
        account=finetune.account if finetune.account and finetune.account.is_active else None,
        again=True,
        repeats=finetune,
    )


def send(finetune: FineTune) -> FineTune:
    """Give a fine-tune that waits to its provider here and now, not when a worker comes to it; returns it as it stands.

    For a door whose answer names the provider's job. What came in the way (ProviderDown, ProviderRefused, …) is raised;
    unless the provider may have begun, the fine-tune is FAILED then, and may be started anew. One that is trained here
    is left to the workers.
    """
    provider = providers.get(finetune.provider)
    job = queue.claim(finetune.job.pk) if isinstance(provider, Remote) and finetune.job else None
    if isinstance(provider, Remote) and job is not None:
        with worker.kept_alive(job) as progress:
            try:
                _tend(finetune, provider, progress)
            except worker.Again as again:
                queue.repeat(job, delay=again.seconds)
                if isinstance(again.__cause__, Fact):
                    raise again.__cause__ from None
            except worker.Stop:
                queue.put_back(job, counted=False)
            except Fact as fact:
                queue.fail(job, fact.message, permanent=True)
                raise
            except Exception:
                queue.put_back(job)
                raise
            else:
                queue.finish(job, None)
    elif isinstance(provider, Remote):
        _wait_for_the_faster(finetune)
    finetune.refresh_from_db()
    return finetune


def _wait_for_the_faster(finetune):
    """A worker took the job first: until it has sent the fine-tune, or met what is in the way, for a while at most."""
    until = time.monotonic() + 2 * settings.PROVIDER_TIMEOUT
    while time.monotonic() < until:
        finetune.refresh_from_db()
        if finetune.status == Status.FAILED or (finetune.trouble and not finetune.provider_job_id):
            raise ProviderDown(finetune.error or finetune.trouble)
        if finetune.provider_job_id or not finetune.is_under_way:
            return
        time.sleep(0.1)
    raise ProviderTimeout(f"{finetune.provider} has not begun yet; it is waited for in the background")


# The job --------------------------------------------------------------------------------------------------------------


def run(finetune: FineTune, progress: Progress) -> None:
    """Train, and write down what came of it: RUNNING, then SUCCESS with a model version.

    Starts over what a dead worker began. A run that is overtaken by another, or by a cancel, leaves no version. What is
    trained elsewhere is sent, or looked at once: worker.Again says when to look next.
    """
    provider = providers.get(finetune.provider)
    if isinstance(provider, Remote):
        _tend(finetune, provider, progress)
    else:
        _train(finetune, provider, progress)
    finetune.refresh_from_db()


def _train(finetune, provider, progress):
    if _begin(finetune):  # else the run before died between SUCCESS and telling the queue
        _succeed(finetune, provider.train(finetune, _Noted(finetune, progress)))


def _begin(finetune, **more) -> bool:
    """SUBMITTING (or RUNNING, after a crash) → RUNNING; False where it has ended."""
    before = finetune.status
    changes = {"status": Status.RUNNING, "started_at": timezone.now(), "progress": 0, "error": "", **more}
    with transaction.atomic():
        if not FineTune.objects.under_way().filter(pk=finetune.pk).update(**changes):
            return False
        audit.record(
            finetune, "start", before=before, after=Status.RUNNING, reason=str(more.get("provider_job_id", ""))
        )
    return True


class _Noted:
    """The job's progress, kept on the fine-tune as well, with what has happened so far."""

    def __init__(self, finetune: FineTune, progress: Progress):
        self._row = FineTune.objects.filter(pk=finetune.pk, status=Status.RUNNING)
        self._progress, self._noted = progress, 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        self._progress(done, total, message)  # may stop the run: nothing is written after that
        if time.monotonic() - self._noted >= NOTED_SECONDS:
            self._noted = time.monotonic()
            self._row.update(progress=100 * done // total)

    def tell(self, events: list[dict[str, Any]]) -> None:
        self._row.update(events=events)


def _succeed(finetune: FineTune, trained: Trained) -> None:
    """RUNNING → SUCCESS and the project's next version; WrongState where the fine-tune has ended otherwise."""
    with transaction.atomic():
        running = FineTune.objects.filter(pk=finetune.pk, status=Status.RUNNING)
        changed = running.update(
            status=Status.SUCCESS,
            progress=100,
            trouble="",
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
        dataset = Dataset.objects.filter(batches=finetune.batch_id).first()  # it may have gone since the batch was read
        version = ModelVersion.objects.create(
            project=project,
            dataset=dataset,
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


# What is trained elsewhere --------------------------------------------------------------------------------------------


def _tend(finetune: FineTune, provider: Remote, progress: Progress) -> None:
    """One step with a fine-tune that a provider runs: send it, or see how it is; worker.Again until it has ended."""
    finetune.refresh_from_db()
    if not finetune.is_under_way:
        return
    if not finetune.provider_job_id:
        try:
            if not _send(finetune, provider, progress):
                return
        except IN_THE_WAY as fact:
            _note_trouble(finetune, fact)  # while it is tried again, people see why it does not begin
            raise
    finetune.refresh_from_db()
    try:
        if finetune.cancel_requested_at:
            _stop(finetune, provider)
        else:
            _look(finetune, provider)
    except IN_THE_WAY as fact:
        log.info("finetune_not_heard_of", finetune=finetune.pk, fact=fact.code, said=fact.message)
    if finetune.is_under_way:
        raise worker.Again(_patience(finetune))


def _patience(finetune) -> float:
    """Seconds until the next look: few while there is news, more and more while there is none."""
    return min(
        settings.FINETUNE_POLL_SECONDS * SLOWER ** min(finetune.quiet_looks, 50), settings.FINETUNE_POLL_LIMIT_SECONDS
    )


def _send(finetune, provider, progress) -> bool:
    """Have the provider begin, once: True where it has, False where the fine-tune came to its end instead."""
    if finetune.asked_at:
        begun = _found_again(finetune, provider)
    else:
        if not finetune.provider_files:
            files = provider.upload(finetune, progress)
            FineTune.objects.filter(pk=finetune.pk).update(provider_files=files)
            finetune.provider_files = files
        progress(2, 3, "asking the provider to begin")
        begun = None
    if begun is None:
        if not _intend(finetune):
            return False
        begun = _created(finetune, provider)
    return _begin(finetune, provider_job_id=begun.job_id, provider_status=begun.status, trouble="", quiet_looks=0)


def _intend(finetune) -> bool:
    """Write down that the provider is asked to begin; False where somebody has asked to cancel, which ends it.

    Who asks to cancel before this moment, is heard; who asks after it, finds a job to stop. Of several runs that found
    no job one writes it down, for it must find the intention it has read; the others change nothing and leave.
    """
    unchanged = FineTune.objects.filter(pk=finetune.pk, status=Status.SUBMITTING, asked_at=finetune.asked_at)
    now = timezone.now()
    if unchanged.filter(cancel_requested_at=None).update(asked_at=now):
        finetune.asked_at = now
        return True
    if not _end(finetune, Status.CANCELLED, among=unchanged.exclude(cancel_requested_at=None)):
        raise worker.Again(_patience(finetune))  # another run was faster: what it made of it is seen at the next look
    return False


def _nothing_has_begun(finetune):
    """Take back the intention of this run, not that of another which has asked since."""
    FineTune.objects.filter(pk=finetune.pk, asked_at=finetune.asked_at).update(asked_at=None)


def _created(finetune, provider) -> Report:
    """What the provider made of the request to begin; where its answer is lost, worker.Again, to look for the job."""
    try:
        return provider.create(finetune)
    except (ProviderRefused, ProviderBusy, UnsafeAddress, UnreadableKey) as fact:
        if fact.details.get("status") == 409 and (begun := provider.find(finetune)):
            return begun
        _nothing_has_begun(finetune)  # it said no
        raise
    except ProviderDown as fact:
        lost = f"{fact.message}; whether it began is looked up before anything is tried again"
        FineTune.objects.filter(pk=finetune.pk).update(trouble=lost)
        raise worker.Again(min(settings.FINETUNE_POLL_SECONDS, settings.FINETUNE_SETTLING_SECONDS)) from fact


def _found_again(finetune, provider) -> Report | None:
    """The job that a request whose answer was lost has begun; None once it is sure that there is none."""
    try:
        begun = provider.find(finetune)
    except ProviderRefused as fact:
        if fact.details.get("status") in (404, 405, 501):
            _nothing_has_begun(finetune)
            raise ProviderRefused(
                f"{provider.name} gave no answer to the request to begin and lists no jobs: look there whether it has "
                "begun before you try again",
                **fact.details,
            ) from fact
        raise _kept_waiting(finetune, fact) from fact
    except (ProviderDown, UnsafeAddress, UnreadableKey) as fact:
        raise _kept_waiting(finetune, fact) from fact
    settled_at = finetune.asked_at + timedelta(seconds=settings.FINETUNE_SETTLING_SECONDS)
    wait = (settled_at - timezone.now()).total_seconds()
    if begun is None and wait > 0:  # the request may still be on its way through the provider
        raise worker.Again(min(wait, settings.FINETUNE_POLL_LIMIT_SECONDS))
    return begun


def _kept_waiting(finetune, fact) -> worker.Again:
    _note_trouble(finetune, fact)
    return worker.Again(_patience(finetune))


def _stop(finetune, provider) -> None:
    """Have the provider stop, and write down what it says; what keeps it from that is noted, and raised.

    One that refuses to stop the job may still say how it goes, and that it has ended: else nobody would ever see it.
    """
    try:
        report = provider.cancel(finetune)
    except ProviderRefused as fact:
        _look(finetune, provider, trouble=fact.message)
        if finetune.is_under_way:
            raise
        return
    except (ProviderDown, UnsafeAddress, UnreadableKey) as fact:
        _note_trouble(finetune, fact)
        raise
    _apply(finetune, report)


def _look(finetune, provider, *, trouble="") -> None:
    """Ask the provider and write down what it says; what keeps it from answering is noted, and raised."""
    try:
        report = provider.ask(finetune)
    except ProviderRefused as fact:
        if fact.details.get("status") == 404:
            _end(finetune, Status.FAILED, error=f"{provider.name} does not know the job any more: {fact.message}")
            finetune.refresh_from_db()
            return
        _note_trouble(finetune, fact)
        raise
    except (ProviderDown, UnsafeAddress, UnreadableKey) as fact:
        _note_trouble(finetune, fact)
        raise
    _apply(finetune, report, trouble=trouble)


def _note_trouble(finetune, fact):
    quiet = finetune.quiet_looks + 1
    FineTune.objects.under_way().filter(pk=finetune.pk).update(trouble=fact.message, quiet_looks=quiet)
    finetune.trouble, finetune.quiet_looks = fact.message, quiet


def _apply(finetune, report: Report, *, trouble="") -> None:
    """Write down how the provider's job stands. Of two who bring the same news, one ends the fine-tune.

    Somebody else may have written more since the provider was asked: nothing is set back.
    """
    events = report.events
    with transaction.atomic():
        row = FineTune.objects.under_way().select_for_update(no_key=True).filter(pk=finetune.pk).first()
        if row is not None:
            events = joined(row.events, report.events)
            is_news = (report.status, events) != (row.provider_status, row.events)
            row.provider_status, row.events = report.status, events
            row.trouble, row.heard_at = trouble, timezone.now()
            row.quiet_looks = 0 if is_news else row.quiet_looks + 1
            row.progress = max(report.progress or 0, row.progress)
            row.save(update_fields=["provider_status", "events", "trouble", "heard_at", "quiet_looks", "progress"])
    if report.state == State.SUCCESS:
        trained = Trained(metrics=report.metrics, provider_model=report.provider_model, events=events)
        try:
            _succeed(finetune, trained)
        except WrongState:
            log.info("finetune_ended_already", finetune=finetune.pk)
    elif report.state != State.RUNNING:
        _end(finetune, Status(report.state), error=report.error)
    finetune.refresh_from_db()


# Ending otherwise -----------------------------------------------------------------------------------------------------


def ended(job: Job, finetune: int) -> None:
    """The job has failed for good or was cancelled: so has the fine-tune, unless a provider may be at work on it.

    Then somebody must stay to see its end, or to stop it there: another job.
    """
    found = FineTune.objects.select_related("batch__project").filter(pk=finetune).first()
    if found is None or not found.is_under_way:
        return
    was_cancelled = job.state == Job.State.CANCELLED
    if not found.asked_at:
        _end(found, Status.CANCELLED if was_cancelled else Status.FAILED, error=job.error)
        return
    if was_cancelled:
        FineTune.objects.filter(pk=found.pk, cancel_requested_at=None).update(cancel_requested_at=timezone.now())
        _put_in_queue(found, by=job.owner)
    else:
        FineTune.objects.filter(pk=found.pk).update(trouble=job.error)
        _put_in_queue(found, by=job.owner, delay=settings.FINETUNE_POLL_LIMIT_SECONDS)


def cancel(finetune: FineTune, *, by) -> bool:
    """Stop `finetune`: at once where it waits, at its next progress report where it runs; False where it has ended.

    At a provider it is stopped there, which it may take its time for. ProviderDown where the provider does not hear: it
    is told again at every look.
    """
    provider = providers.get(finetune.provider)
    with transaction.atomic():
        require(by, Power.FINETUNE, _project_of(finetune))
        finetune.refresh_from_db()
        if not finetune.is_under_way:
            return False
        audit.record(finetune, "ask to cancel", by=by, before=finetune.status, after=finetune.status)
        FineTune.objects.under_way().filter(pk=finetune.pk).update(cancel_requested_at=timezone.now())
        finetune.refresh_from_db()
        if not finetune.asked_at and (finetune.job is None or not queue.cancel(finetune.job)):
            _end(finetune, Status.CANCELLED)  # nobody is left who would
        finetune.refresh_from_db()
    if isinstance(provider, Remote) and finetune.is_under_way and finetune.provider_job_id:
        _stop(finetune, provider)
    return finetune.status != Status.SUCCESS


def _end(finetune, status, *, error="", among=None) -> bool:
    """Whether this was what ended it: only where it is under way, and `among` those rows if given."""
    with transaction.atomic():
        rows = FineTune.objects.all() if among is None else among
        under_way = rows.under_way().filter(pk=finetune.pk)
        if not under_way.update(status=status, error=error, trouble="", finished_at=timezone.now()):
            return False
        audit.record(finetune, status.label.lower(), before=finetune.status, after=status, reason=error)
    return True


# Asking how it goes ---------------------------------------------------------------------------------------------------


def refresh(finetune: FineTune) -> FineTune:
    """`finetune` as it stands now: what a provider has, is asked of it live.

    ProviderDown, ProviderTimeout or ProviderRefused where it does not say. One whose job is over, and did not say so,
    ends as the job did.
    """
    finetune.refresh_from_db()
    if not finetune.is_under_way:
        return finetune
    provider = providers.get(finetune.provider)
    if isinstance(provider, Remote) and finetune.asked_at:
        _have_it_looked_after(finetune)
        if finetune.provider_job_id:
            _look(finetune, provider)
        return finetune
    job = finetune.job
    if job is None:
        _end(finetune, Status.FAILED, error="its job is gone")
    elif job.is_finished:
        cancelled = job.state == Job.State.CANCELLED
        _end(finetune, Status.CANCELLED if cancelled else Status.FAILED, error=job.error or "its job ended early")
    finetune.refresh_from_db()
    return finetune


def _have_it_looked_after(finetune):
    """A job for one whose job is gone; one, however many ask at the same moment."""
    if finetune.job is not None and not finetune.job.is_finished:
        return
    with transaction.atomic():
        row = FineTune.objects.under_way().select_for_update(no_key=True).filter(pk=finetune.pk).first()
        if row is not None and (row.job is None or row.job.is_finished):
            _put_in_queue(row, by=row.created_by)


def refresh_all() -> int:
    """Refresh every fine-tune that is under way; returns how many changed their status.

    What keeps a provider from answering stands on the fine-tune, as its `trouble`.
    """
    changed = 0
    for finetune in FineTune.objects.under_way().select_related("job", "batch__project", "account"):
        before = finetune.status
        try:
            changed += refresh(finetune).status != before
        except IN_THE_WAY as fact:
            log.info("finetune_not_heard_of", finetune=finetune.pk, fact=fact.code, said=fact.message)
    return changed

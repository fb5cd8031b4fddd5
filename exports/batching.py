"""Batches: approved samples are gathered once, and written by a job to one file at a destination."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, BinaryIO

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Value
from django.utils import timezone

from labelhub import __version__
from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.jobs import queue
from labelhub.jobs.models import Job
from labelhub.setwise import Ids, insert_select
from samples.models import Project, Sample
from samples.models.samples import SampleQuerySet

from . import bundle, destinations, files, formats, rows, splits
from .context import label_map, projects_of, prompts_of
from .errors import AlreadyExported, BadSplit, EmptyBatch, NoneFits, NotApproved, NotReady, Refusable, WrongState
from .figures import figures_of_batch
from .files import File
from .formats import Context
from .formats.checks import Figures, flaws_of
from .formats.shape import Prompt
from .models import Batch, BatchItem

log = structlog.get_logger(__name__)

Progress = Callable[[int, int, str], None]
Split, State = BatchItem.Split, Batch.State

FOLDER = "export"
SEED_LENGTH = 64
LARGEST_ID = 2**63 - 1
IDS_KEPT = 1000  # in `selection`; the items hold every one of them


# Gathering ------------------------------------------------------------------------------------------------------------


def gather(
    samples: SampleQuerySet,
    *,
    by,
    format: str,
    project: Project | None = None,
    ids: Collection[int] | None = None,
    ratios: str | Sequence[Any] | None = None,
    seed: str = "0",
    stratify: bool = False,
    destination: str | None = None,
    options: Mapping[str, Any] | None = None,
    allow_reexport: bool = False,
    selection: Mapping[str, Any] | None = None,
) -> Batch:
    """Take approved samples into a new batch, and have it written.

    With `ids` exactly these of `samples`, or none at all; else every approved one that no batch carries. Samples of
    projects in which `by` may not export are not found. `selection` is what the batch remembers of the question.
    """
    shape = formats.get(format)
    formats.check_options(shape, options or {})
    shares = None if ratios is None else splits.parse(ratios)
    seed = str(seed)
    if len(seed) > SEED_LENGTH:
        raise BadSplit(f"a seed has at most {SEED_LENGTH} characters, not {len(seed)}")
    destination = destination or destinations.default()
    destinations.storage_of(destination)
    within = rows.unsliced(samples).where(by, Power.EXPORT)
    if project is not None:
        within = within.filter(project=project)
    with transaction.atomic():
        batch = Batch.objects.create(
            project=project,
            format=shape.name,
            options=dict(options or {}),
            ratios=None if shares is None else [f"{share:f}" for share in shares],
            seed=seed,
            is_stratified=stratify and shares is not None,
            allows_reexport=allow_reexport,
            selection=dict(selection) if selection is not None else _described(ids),
            destination=destination,
            created_by=by,
        )
        _take(within.approved(), shape, ids, batch)
        _freeze(batch, shape)
        batch.job = queue.submit("exports.write_batch", {"batch": batch.pk}, by=by)
        batch.save(update_fields=["project", "sample_count", "label_map", "path", "warnings", "job"])
        audit.record(batch, "gather", by=by, after=State.QUEUED)
    return batch


def _described(ids):
    if ids is None:
        return {"approved": "every sample no batch carries"}
    kept = sorted(set(ids))
    return {"ids": kept} if len(kept) <= IDS_KEPT else {"ids": {"count": len(kept), "from": kept[0], "to": kept[-1]}}


def _take(approved, shape, ids, batch):
    """Claim the samples: one statement, in which the database sees to it that nobody else has them.

    What the format cannot hold is left out with a warning; where it was asked for by id, or is all there is, NoneFits.
    """
    wanted = None if ids is None else {id for id in ids if 0 < id <= LARGEST_ID}
    free = approved
    if wanted is not None:
        free = free.filter(pk__in=Ids(sorted(wanted)))
    elif not batch.allows_reexport:
        free = free.filter(~Exists(BatchItem.objects.claims().filter(sample=OuterRef("pk"))))
    # Everybody in the same order: of two who take the same samples one waits, and never both for each other.
    fits = files.fitting(free, shape)
    left_out = free.none() if shape.takes is None else free.exclude(fits)  # a sample has a label, whatever its type
    if wanted is not None and (unfit := list(left_out.values_list("pk", flat=True)[:IDS_KEPT])):
        raise NoneFits(f"{files.holds(shape)}, not {_listed(unfit)}", takes=files.taken(shape), ids=unfit)
    if number := left_out.count():
        batch.warnings = [files.left_out(shape, number, left_out)]
    in_order = free.filter(fits).order_by("pk")
    batch.sample_count = insert_select(
        BatchItem,
        in_order,
        {
            "batch": Value(batch.pk),
            "sample": "pk",
            "split": Value(Split.WHOLE if batch.ratios is None else Split.TRAIN),
            "is_claim": Value(not batch.allows_reexport),
        },
        ignore_conflicts=True,
    )
    if ids is not None and batch.sample_count < len(set(ids)):
        raise _missing(set(ids), free, batch)
    if not batch.sample_count and batch.warnings:
        raise NoneFits(f"{files.holds(shape)}; none of what was selected is", takes=files.taken(shape))
    if not batch.sample_count:
        raise EmptyBatch("nothing to export: no approved sample that no other batch carries was selected")


def _missing(ids, found, batch):
    """Why some of `ids` did not come along."""
    known = set(found.values_list("pk", flat=True))
    if unknown := sorted(ids - known):
        return NotApproved(f"unknown here, or not approved: {_listed(unknown)}", ids=unknown)
    mine = set(batch.items.values_list("sample_id", flat=True))
    taken = sorted(ids - mine)
    return AlreadyExported(f"carried by another batch already: {_listed(taken)}", ids=taken)


def _listed(ids, most=20):
    names = ", ".join(str(id) for id in ids[:most])
    return f"samples {names}" + (f", … ({len(ids)} in all)" if len(ids) > most else "")


def _freeze(batch, shape):
    """Fix what the rows alone do not say: project, label indices, the file's name; prompts are only looked at."""
    taken = _samples_of(batch)
    projects = [batch.project_id] if batch.project_id else projects_of(taken)
    if len(projects) == 1:
        batch.project_id = projects[0]
    if shape.uses(Prompt):
        prompts_of(projects)
    batch.label_map = label_map(taken, projects)
    batch.path = _path(batch, 8)
    if _is_another_s(batch, batch.path):
        batch.path = _path(batch, 32)


def _samples_of(batch):
    return Sample.objects.filter(batch_items__batch=batch)


def _path(batch, digits):
    """`export/550e8400.jsonl`: so many digits of the uuid; all of them only where the eight are another file's."""
    shape = formats.get(batch.format)
    extension = files.extension(shape, batch.options, is_split=bool(batch.ratios))
    return f"{FOLDER}/{batch.uuid.hex[:digits]}.{extension}"


def _is_another_s(batch, path):
    """Whether another batch has this name; with another ending too, for the manifests would be the same."""
    same = Batch.objects.filter(destination=batch.destination, path__startswith=path.rpartition(".")[0] + ".")
    return same.exclude(pk=batch.pk).exists()


# Writing --------------------------------------------------------------------------------------------------------------


class SelectionMoved(Exception):
    """A sample lost its approval while the file was being written: start over."""


def write(batch: Batch, progress: Progress) -> None:
    """Write the file of `batch` and its manifest to their destination: RUNNING, then READY.

    Starts over whatever an earlier run left behind. A sample that is no longer approved is let go. The file gets its name
    in the moment the batch becomes READY, and only if this run is still the batch's latest.
    """
    batch.refresh_from_db()
    if batch.is_ready:
        return  # the run before died between READY and telling the queue
    storage = destinations.storage_of(batch.destination)
    with destinations.reporting(batch.destination), ExitStack() as undo:
        _begin(batch, storage)
        undo.callback(_this_run(batch).update, state=State.QUEUED)
        progress(0, batch.sample_count, "reading the selection")
        withdrawn = _let_go_of_the_unapproved(batch)
        remaining = batch.sample_count - withdrawn
        if batch.ratios:
            _deal(batch, partial(progress, 0, remaining, "dealing the split"))
        figures = figures_of_batch(batch)
        warnings = [*batch.warnings, *_checked(batch, figures)]
        file = _file_of(batch, figures, lambda done, part: progress(done, remaining, f"writing {part}"))
        draft = destinations.draft(storage, batch.path)
        undo.callback(draft.abandon)
        for chunk in file.chunks():
            draft.write(chunk)
        if file.rows != remaining:
            raise SelectionMoved("a sample lost its approval while the file was being written; starting over")
        finished_at = timezone.now()
        manifest = _manifest(batch, file, figures, withdrawn=withdrawn, finished_at=finished_at, warnings=warnings)
        note = destinations.draft(storage, manifest_path(batch))
        undo.callback(note.abandon)
        note.write(_readable(manifest))
        progress(remaining, remaining, "storing the file")
        draft.finish()
        note.finish()
        with transaction.atomic():
            ready = _this_run(batch).update(
                state=State.READY,
                byte_count=file.whole.bytes,
                sha256=file.whole.sha256,
                sample_count=remaining,
                label_map=file.context.labels,
                manifest=manifest,
                warnings=warnings,
                error="",
                finished_at=finished_at,
            )
            if not ready:
                raise WrongState("the batch was cancelled, or given to another worker, while this one wrote")
            audit.record(batch, "write", before=State.RUNNING, after=State.READY)
            draft.publish()
            note.publish()
        undo.pop_all()
    batch.refresh_from_db()


def manifest_path(batch: Batch) -> str:
    """Beside the file, under the same short name."""
    return f"{batch.path.rpartition('.')[0]}.manifest.json"


def _begin(batch, storage):
    """Make this the batch's latest run: `started_at` is its mark."""
    changes = {"state": State.RUNNING, "started_at": timezone.now(), "error": ""}
    if batch.started_at is None and storage.exists(batch.path):  # another hub's; on later runs it is our own
        changes["path"] = _path(batch, 32)
    waiting = Batch.objects.filter(pk=batch.pk, state__in=[State.QUEUED, State.RUNNING])
    if not waiting.update(**changes):
        raise WrongState(f"{batch} is {batch.get_state_display().lower()}: there is nothing to write")
    for field, value in changes.items():
        setattr(batch, field, value)
    for path in (batch.path, manifest_path(batch)):
        destinations.remove_unfinished(storage, path)


def _this_run(batch):
    return Batch.objects.filter(pk=batch.pk, state=State.RUNNING, started_at=batch.started_at)


def _let_go_of_the_unapproved(batch):
    """Release the samples that lost their approval since they were gathered; returns how many are gone by now."""
    batch.items.filter(~Q(sample__status=Sample.Status.APPROVED)).delete()
    remaining = batch.items.count()
    if not remaining:
        raise EmptyBatch(f"none of the {batch.sample_count} samples of the batch is approved any more")
    return batch.sample_count - remaining


def _deal(batch, report):
    """Put every item in its part; those of train, the largest as a rule, are there from the start."""
    batch.items.exclude(split=Split.TRAIN).update(split=Split.TRAIN)
    dealt = splits.deal(
        _reported(rows.identities_of_part(batch, Split.TRAIN), report),
        splits.parse(batch.ratios),
        seed=batch.seed,
        stratify=batch.is_stratified,
    )
    for split, ids in zip((Split.VAL, Split.TEST), dealt[1:], strict=True):
        for start in range(0, len(ids), 50_000):  # one short write after the other: others want to write too
            report()
            batch.items.filter(sample_id__in=Ids(ids[start : start + 50_000])).update(split=split)


def _reported(identities, report):
    for number, identity in enumerate(identities):
        if number % 10_000 == 0:
            report()
        yield identity


def _checked(batch: Batch, figures: Figures) -> list[str]:
    """What is worth a warning; Refusable where the format's consumer would not take the file."""
    flaws = flaws_of(formats.get(batch.format).checks, figures)
    if fatal := [flaw.said for flaw in flaws if flaw.is_fatal]:
        raise Refusable("; ".join(fatal), flaws=fatal)
    return [flaw.said for flaw in flaws]


def _file_of(batch, figures, report):
    shape = formats.get(batch.format)
    prompts = {}
    if shape.uses(Prompt):
        prompts = prompts_of([batch.project_id] if batch.project_id else projects_of(_samples_of(batch)))
    context = Context(labels=dict(batch.label_map), prompts=prompts, types=figures.types)
    splits_used = (Split.TRAIN, Split.VAL, Split.TEST) if batch.ratios else (Split.WHOLE,)
    parts = {split.label: rows.walk_part(batch, split) for split in splits_used}
    notes = partial(bundle.notes_of_batch, batch, figures) if batch.options.get("bundle") else files.no_notes
    return File(shape, parts, context, batch.options, report, notes)


def _manifest(batch, file, figures, *, withdrawn, finished_at, warnings):
    """Everything needed to explain the file or to make it again."""
    name = batch.path.rpartition("/")[2]
    return {
        "batch": str(batch.uuid),
        "project": batch.project and batch.project.name,
        "selection": batch.selection,
        "allows_reexport": batch.allows_reexport,
        "samples": file.rows,
        "withdrawn": withdrawn,
        "warnings": warnings,
        "format": batch.format,
        "options": batch.options,
        "split": batch.ratios
        and {
            "ratios": dict(zip(splits.PARTS, batch.ratios, strict=True)),
            "seed": batch.seed,
            "stratified": batch.is_stratified,
        },
        "label_map": file.context.labels,
        "prompts": {str(project): words for project, words in file.context.prompts.items() if words},
        "file": {
            "name": name,
            "destination": batch.destination,
            "bytes": file.whole.bytes,
            "sha256": file.whole.sha256,
        },
        "parts": bundle.parts_of(file, figures, name),
        "software": {"name": "LabelHub", "version": __version__},
        "created_by": batch.created_by and batch.created_by.get_username(),
        "created_at": _moment(batch.created_at),
        "finished_at": _moment(finished_at),
    }


def _moment(time):
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _readable(manifest):
    return json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n"


# Ending ---------------------------------------------------------------------------------------------------------------


def ended(job: Job, batch: int) -> None:
    """The job of a batch has failed for good or was cancelled: so has the batch. Only a cancelled one frees its samples."""
    found = Batch.objects.filter(pk=batch).first()
    if found is None:
        return
    if job.state == Job.State.CANCELLED:
        _end(found, State.CANCELLED, since=[State.QUEUED, State.RUNNING])
    else:
        _end(found, State.FAILED, since=[State.QUEUED, State.RUNNING], error=job.error)


def cancel(batch: Batch, *, by) -> bool:
    """Stop `batch` and free its samples; False where it is READY or was cancelled before.

    A waiting or failed one stops at once, a running one at its worker's next progress report.
    """
    with transaction.atomic():
        batch.refresh_from_db()
        if batch.state in (State.READY, State.CANCELLED):
            return False
        audit.record(batch, "ask to cancel", by=by, before=batch.state, after=batch.state)
        if batch.job is not None and queue.cancel(batch.job):
            batch.refresh_from_db()
            return True
        return _end(batch, State.CANCELLED, since=[State.QUEUED, State.RUNNING, State.FAILED], by=by)


def _end(batch, state, *, since, error="", by=None):
    """The batch will not be written (now): no file stays behind. A failed one holds its samples for `retry`."""
    before = batch.state
    changed = Batch.objects.filter(pk=batch.pk, state__in=since)
    if not changed.update(state=state, error=error, finished_at=timezone.now()):
        return False
    if state == State.CANCELLED:
        batch.items.all().delete()
    action = "cancel" if state == State.CANCELLED else "fail"
    audit.record(batch, action, by=by, before=before, after=state, reason=error)
    if batch.started_at:
        transaction.on_commit(partial(_clear, batch))
    batch.refresh_from_db()
    return True


def _clear(batch):
    """Remove whatever runs of a batch that is not READY left behind."""
    try:
        storage = destinations.storage_of(batch.destination)
        destinations.remove(storage, batch.path, manifest_path(batch))
    except Exception:  # the store is away, most likely for the reason the batch failed
        log.exception("batch_leftovers_stay", batch=batch.pk, destination=batch.destination)


def retry(batch: Batch, *, by) -> Batch:
    """Have a failed batch written again, with the samples it holds."""
    with transaction.atomic():
        failed = Batch.objects.filter(pk=batch.pk, state=State.FAILED)
        if not failed.update(state=State.QUEUED, error="", finished_at=None):
            batch.refresh_from_db()
            raise WrongState(f"{batch} is {batch.get_state_display().lower()}: only a failed batch is tried again")
        batch.refresh_from_db()
        batch.job = queue.submit("exports.write_batch", {"batch": batch.pk}, by=by)
        batch.save(update_fields=["job"])
        audit.record(batch, "retry", by=by, before=State.FAILED, after=State.QUEUED)
    return batch


# Reading --------------------------------------------------------------------------------------------------------------


def open_file(batch: Batch) -> tuple[BinaryIO, int]:
    """The batch's file, open for reading, and its size; NotReady where there is none (yet, or any more)."""
    if not batch.is_ready:
        raise NotReady(f"{batch} is {batch.get_state_display().lower()}: it has no file", state=batch.state)
    try:
        file = destinations.reading(destinations.storage_of(batch.destination), batch.path)
    except FileNotFoundError:
        raise NotReady(f"the file of {batch}, {batch.path}, is gone from destination {batch.destination!r}") from None
    return file, batch.byte_count

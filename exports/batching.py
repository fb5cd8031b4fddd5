"""Batches: samples or tasks are gathered once, and written by a job to one file at a destination."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, BinaryIO, TypeVar

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet, Value
from django.utils import timezone

from labelhub import __version__
from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.jobs import queue
from labelhub.jobs.models import Job
from labelhub.setwise import Ids, insert_select, take_stock
from samples.models import Dataset, Project, Task
from samples.models.samples import SampleQuerySet
from samples.models.tasks import TaskQuerySet

from . import bundle, compression, dealing, destinations, files, formats, rows, splits
from .carried import CarriedTasks, carried_by, parts_of
from .context import label_map, projects_of, prompts_of, types_of
from .errors import (
    AlreadyExported,
    BadCompression,
    BadShards,
    BadSplit,
    EmptyBatch,
    InShards,
    NoneFits,
    NotApproved,
    NotReady,
    Refusable,
    UnknownTasks,
    WrongState,
)
from .figures import figures_of_file
from .files import File, writable
from .formats import Columnar, Context, Format
from .formats.checks import Figures, flaws_of
from .formats.shape import Prompt
from .models import Batch, BatchItem

log = structlog.get_logger(__name__)

Rows = TypeVar("Rows", bound=QuerySet)
Progress = Callable[[int, int, str], None]
Split, State = BatchItem.Split, Batch.State

FOLDER = "export"
MANIFEST = "manifest.json"
SEED_LENGTH = 64
MOST_SHARDS = 1000
LARGEST_ID = 2**63 - 1
FREE = {"approved": "every sample no batch carries"}
LATE = timedelta(minutes=10)  # longer than any review takes from its verdict to its commit
MANY = 20_000  # rows, after which a database should look at its tables anew
TRIES = 3  # to deal a split among approvals that come and go
IDS_KEPT = 1000  # in `selection`; the items hold every one of them


# Gathering ------------------------------------------------------------------------------------------------------------


def gather(
    samples: SampleQuerySet,
    *,
    by,
    project: Project | None = None,
    ids: Collection[int] | None = None,
    allow_reexport: bool = False,
    since: Batch | None = None,
    selection: Mapping[str, Any] | None = None,
    **how: Any,
) -> Batch:
    """Take approved samples into a new batch, and have it written.

    With `ids` exactly these of `samples`, or none at all; else every approved one that no batch carries. With `since`
    only what is new since that batch (`new_since`). Samples of projects in which `by` may not export are not found.
    `selection` is what the batch remembers of the question, `how` what its file is to be like: `Asked` names it all
    (format, ratios, shards, destination, …).
    """
    asked = Asked(**how)
    within = _within(samples, by=by, project=project)
    if since is not None:
        within = new_since(since, within)
    with transaction.atomic():
        batch = asked.batch(by=by, project=project, allows_reexport=allow_reexport)
        batch.selection = _described(selection, ids, since, FREE)
        batch.save()
        _take(within.approved(), asked.shape, ids, batch)
        _freeze(batch, asked.shape, carried_by(batch).rows())
        _submit(batch, "gather", by=by)
    return batch


def gather_tasks(
    tasks: TaskQuerySet,
    *,
    by,
    project: Project | None = None,
    ids: Collection[int] | None = None,
    dataset: Dataset | None = None,
    since: Batch | None = None,
    selection: Mapping[str, Any] | None = None,
    **how: Any,
) -> Batch:
    """Have these tasks written as they stand, settled or not: a batch that claims nothing and asks nobody's approval.

    With `ids` exactly these of `tasks`, else UnknownTasks; tasks of projects in which `by` may not export are not found.
    `dataset` is remembered as the one whose tasks they are. Which tasks is settled now, what they say when they are
    written: one deleted meanwhile is left out.
    """
    asked = Asked(**how)
    within = _within(tasks, by=by, project=project)
    if since is not None:
        within = new_since(since, within)
    with transaction.atomic():
        batch = asked.batch(by=by, project=project, dataset=dataset, carries=Batch.Carries.TASKS)
        batch.selection = _described(selection, ids, since, {"tasks": "every task"})
        batch.save()
        chosen = writable(within, asked.shape)
        if ids is not None:
            chosen = chosen.filter(pk__in=Ids(sorted(_possible(ids))))
        batch.sample_count = CarriedTasks(batch).take(chosen)
        if ids is not None and batch.sample_count < len(set(ids)):
            unknown = sorted(set(ids) - set(chosen.values_list("pk", flat=True)))
            raise UnknownTasks(
                f"unknown here, or of no use to {batch.format}: {_listed(unknown, 'tasks')}", ids=unknown
            )
        if not batch.sample_count:
            raise EmptyBatch("nothing to export: no task was selected")
        _freeze(batch, asked.shape, chosen)
        _submit(batch, "gather", by=by)
    return batch


@dataclass(kw_only=True)
class Asked:
    """What the file of a new batch is to be like, refused here if it cannot be: before a row is taken."""

    format: str
    options: Mapping[str, Any] | None = None
    ratios: str | Sequence[Any] | None = None
    seed: str = "0"
    stratify: bool = False
    group_by: str | Sequence[str] = ()  # what no two parts may share: dealing.GROUPS, or metadata:KEY
    split_name: str = ""  # keep the split under this name, and follow what is kept there
    shards: int | None = None  # files a part; None: one file for all
    compression: str = "none"  # or gzip, zstd: of a file in one piece and of shards; a ZIP has its own
    destination: str = ""  # empty: the installation's default

    def __post_init__(self):
        self.shape = formats.get(self.format)
        formats.check_options(self.shape, self.options or {})
        self.shares = None if self.ratios is None else splits.parse(self.ratios)
        self.seed = str(self.seed)
        if len(self.seed) > SEED_LENGTH:
            raise BadSplit(f"a seed has at most {SEED_LENGTH} characters, not {len(self.seed)}")
        self.grouped = dealing.criteria(self.group_by)
        if self.shares is None and (self.grouped or self.split_name):
            raise BadSplit("only a split keeps rows together or is kept: give its shares, as 0.8/0.1/0.1")
        if len(self.split_name) > SEED_LENGTH:
            raise BadSplit(f"a split's name has at most {SEED_LENGTH} characters, not {len(self.split_name)}")
        if self.shards is not None and not (type(self.shards) is int and 1 <= self.shards <= MOST_SHARDS):
            raise BadShards(f"shards is a whole number from 1 to {MOST_SHARDS}, not {self.shards!r}")
        compression.check(self.compression)
        self._check_archive()
        self.destination = self.destination or destinations.default()
        destinations.storage_of(self.destination)

    def _check_archive(self):
        """A ZIP is compressed already, and is one file; only a split can be had in shards instead."""
        options = self.options or {}
        if self.shards is not None and files.is_archive(self.shape, options, is_split=False):
            raise BadShards(
                f"{self.shape.name}{' in a bundle' if options.get('bundle') else ''} is one ZIP, not shards"
            )
        is_archive = files.is_archive(self.shape, options, is_split=self.shares is not None)
        if self.compression != "none" and is_archive and self.shards is None:
            raise BadCompression(
                "the parts of a split go into a ZIP, which is compressed already: ask for none, or for shards"
                if self.shares is not None
                else f"the file is a ZIP, which is compressed already: ask for no {self.compression}"
            )

    def batch(self, *, by, **fields) -> Batch:
        """The batch, not saved yet."""
        return Batch(
            format=self.shape.name,
            options=dict(self.options or {}),
            ratios=None if self.shares is None else [f"{share:f}" for share in self.shares],
            seed=self.seed,
            is_stratified=self.stratify and self.shares is not None,
            group_by=self.grouped,
            split_name=self.split_name,
            shard_count=self.shards,
            compression=self.compression,
            destination=self.destination,
            created_by=by,
            **fields,
        )


def new_since(batch: Batch, chosen: Rows) -> Rows:
    """What `batch` could not see when it was gathered: samples reviewed since, tasks made since; and what it carries never.

    A verdict given shortly before may have been committed shortly after: LATE makes sure that nothing falls between two
    batches, at the price that one that `batch` was not asked for may come along if it is that young.
    """
    if batch.state == State.CANCELLED:
        raise WrongState(f"{batch} was cancelled: nothing is new since a batch that carried nothing")
    start = batch.created_at - LATE
    if chosen.model is Task:
        return chosen.filter(created_at__gt=start).exclude(pk__in=Ids(CarriedTasks(batch).keys()))
    return chosen.filter(~Exists(batch.items.filter(sample=OuterRef("pk"))), reviewed_at__gt=start)


def _within(chosen: QuerySet, *, by, project):
    within = rows.unsliced(chosen).where(by, Power.EXPORT)  # type: ignore[attr-defined]  # of samples and of tasks
    return within if project is None else within.filter(project=project)


def _submit(batch, action, *, by):
    """Have the batch written; its state and its audit row say so."""
    batch.job = queue.submit("exports.write_batch", {"batch": batch.pk}, by=by)
    batch.save(update_fields=["project", "sample_count", "label_map", "path", "warnings", "job"])
    audit.record(batch, action, by=by, after=State.QUEUED)


def _possible(ids):
    """Those that a database can look for."""
    return {id for id in ids if 0 < id <= LARGEST_ID}


def _described(selection, ids, since, everything):
    """What the batch remembers of the question."""
    if selection is not None:
        said = dict(selection)
    elif ids is None:
        said = dict(everything)
    else:
        kept = sorted(set(ids))
        shown = kept if len(kept) <= IDS_KEPT else {"count": len(kept), "from": kept[0], "to": kept[-1]}
        said = {"ids": shown}
    return said if since is None else {**said, "since": str(since.uuid)}


def _take(approved, shape, ids, batch):
    """Claim the samples: one statement, in which the database sees to it that nobody else has them.

    What the format cannot hold is left out with a warning; where it was asked for by id, or is all there is, NoneFits.
    """
    free = approved
    if ids is not None:
        free = free.filter(pk__in=Ids(sorted(_possible(ids))))
    elif not batch.allows_reexport:
        free = free.filter(~Exists(BatchItem.objects.claims().filter(sample=OuterRef("pk"))))
    # Everybody in the same order: of two who take the same samples one waits, and never both for each other.
    fits = files.fitting(free, shape)
    left_out = free.none() if shape.takes is None else free.exclude(fits)  # a sample has a label, whatever its type
    if ids is not None and (unfit := list(left_out.values_list("pk", flat=True)[:IDS_KEPT])):
        raise NoneFits(f"{files.holds(shape)}, not {_listed(unfit)}", takes=files.taken(shape), ids=unfit)
    if number := left_out.count():
        batch.warnings = [files.left_out(shape, number, left_out)]
    in_order = free.filter(fits).order_by("pk")
    columns = {
        "batch": Value(batch.pk),
        "sample": "pk",
        "split": Value(Split.WHOLE if batch.ratios is None else Split.TRAIN),
        "is_claim": Value(not batch.allows_reexport),
    }
    batch.sample_count = _insert_items(in_order, columns, are_free=ids is None)
    if ids is not None and batch.sample_count < len(set(ids)):
        raise _missing(set(ids), free, batch)
    if not batch.sample_count and batch.warnings:
        raise NoneFits(f"{files.holds(shape)}; none of what was selected is", takes=files.taken(shape))
    if not batch.sample_count:
        raise EmptyBatch("nothing to export: no approved sample that no other batch carries was selected")


def _insert_items(samples, columns, *, are_free):
    """One item for each of `samples` that nobody has; `are_free`: nobody had any when the statement began.

    To look out for others costs PostgreSQL half as much again, so those that were free are claimed as if nobody else
    were there; should somebody take one at this very moment, all is done again with care.
    """
    if are_free:
        with suppress(IntegrityError), transaction.atomic():
            return insert_select(BatchItem, samples, columns)
    return insert_select(BatchItem, samples, columns, ignore_conflicts=True)


def _missing(ids, found, batch):
    """Why some of `ids` did not come along."""
    known = set(found.values_list("pk", flat=True))
    if unknown := sorted(ids - known):
        return NotApproved(f"unknown here, or not approved: {_listed(unknown)}", ids=unknown)
    mine = set(batch.items.values_list("sample_id", flat=True))
    taken = sorted(ids - mine)
    return AlreadyExported(f"carried by another batch already: {_listed(taken)}", ids=taken)


def _listed(ids, what="samples", most=20):
    names = ", ".join(str(id) for id in ids[:most])
    return f"{what} {names}" + (f", … ({len(ids)} in all)" if len(ids) > most else "")


def _freeze(batch, shape, taken):
    """Fix what the rows alone do not say: project, label indices, the file's name; prompts are only looked at."""
    if batch.shard_count and batch.shard_count > batch.sample_count:
        raise BadShards(f"{batch.shard_count} shards are more than the {batch.sample_count} rows they would hold")
    projects = [batch.project_id] if batch.project_id else projects_of(taken)
    if len(projects) == 1:
        batch.project_id = projects[0]
    if shape.uses(Prompt):
        prompts_of(projects)
    if batch.split_name:
        dealing.kept_split(batch)
    batch.label_map = label_map(taken, projects)
    batch.path = _path(batch, 8)
    if _is_another_s(batch, batch.path):
        batch.path = _path(batch, 32)


def _path(batch, digits):
    """`export/550e8400.jsonl`: so many digits of the uuid; all of them only where the eight are another file's.

    A batch in shards has a folder of its own; its path is the manifest's, which is written last and names them all.
    """
    if batch.is_sharded:
        return f"{FOLDER}/{batch.uuid.hex[:digits]}/{MANIFEST}"
    shape = formats.get(batch.format)
    extension = files.extension(shape, batch.options, is_split=bool(batch.ratios), compression=batch.compression)
    return f"{FOLDER}/{batch.uuid.hex[:digits]}.{extension}"


def _is_another_s(batch, path):
    """Whether another batch has this name; with another ending too, for the manifests would be the same."""
    if batch.is_sharded:
        return Batch.objects.filter(destination=batch.destination, path=path).exclude(pk=batch.pk).exists()
    same = Batch.objects.filter(destination=batch.destination, path__startswith=_stem(path) + ".")
    return same.exclude(pk=batch.pk).exists()


# Writing --------------------------------------------------------------------------------------------------------------


class SelectionMoved(Exception):
    """A sample lost its approval while the split was being dealt or the file written: start over."""


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
        begin(batch, storage)
        undo.callback(this_run(batch).update, state=State.QUEUED)
        progress(0, batch.sample_count, "reading the selection")
        # To look for approvals taken back before the file is written would be to read every sample twice. The file shows
        # it by its length, and is then written once more; but not where they were let go already, by an earlier run or
        # when the split was dealt.
        remaining = batch.sample_count
        file, draft = _drafted(batch, storage, remaining, progress, undo)
        if file.rows != remaining and not carried_by(batch).are_all(file.rows):
            draft.abandon()
            remaining = let_go(batch)
            file, draft = _drafted(batch, storage, remaining, progress, undo)
            if file.rows != remaining:
                raise SelectionMoved("a sample lost its approval while the file was being written; starting over")
        if not file.rows:
            raise none_left(batch)
        finished_at = timezone.now()
        warnings = warnings_of(batch, figures_of_file(batch, file))
        withdrawn = batch.sample_count - file.rows
        manifest = _manifest(batch, file, withdrawn=withdrawn, finished_at=finished_at, warnings=warnings)
        note = destinations.draft(storage, manifest_path(batch))
        undo.callback(note.abandon)
        note.write(readable(manifest))
        progress(file.rows, file.rows, "storing the file")
        draft.finish()
        note.finish()
        with transaction.atomic():
            ready = this_run(batch).update(
                state=State.READY,
                byte_count=file.whole.bytes,
                sha256=file.whole.sha256,
                sample_count=file.rows,
                label_map=file.context.labels,
                manifest=manifest,
                warnings=warnings,
                error="",
                finished_at=finished_at,
            )
            if not ready:
                raise WrongState("the batch was cancelled, or given to another worker, while this one wrote")
            record_written(batch, file.whole.sha256)
            draft.publish()
            note.publish()
        undo.pop_all()
    batch.refresh_from_db()


def _drafted(batch, storage, expected, progress, undo) -> tuple[File, Any]:
    """The rows in their parts and on their way: what was written, and the draft that holds it."""
    if batch.ratios and not batch.manifest:  # written before, it is dealt for good
        deal(batch, partial(progress, 0, expected, "dealing the split"))
    file = _file_of(batch, lambda done, part: progress(done, expected, f"writing {part}"))
    draft = destinations.draft(storage, batch.path)
    undo.callback(draft.abandon)
    for chunk in file.chunks():
        draft.write(chunk)
    return file, draft


def record_written(batch: Batch, sha256: str) -> None:
    """The audit row of a file that is there; where it was there before and was another, it says so."""
    another = f"not the same as before, whose sha256 was {batch.sha256}" if batch.sha256 not in ("", sha256) else ""
    audit.record(batch, "write", before=State.RUNNING, after=State.READY, reason=another)


def manifest_path(batch: Batch) -> str:
    """Beside the file, under the same short name; that of shards is in their folder."""
    if batch.is_sharded:
        return batch.path
    return f"{_stem(batch.path)}.manifest.json"


def _stem(path):
    """Without its endings: `export/550e8400` of `export/550e8400.jsonl.gz`."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def paths_of(batch: Batch) -> list[str]:
    """Every file of the batch."""
    return [batch.path, manifest_path(batch), *(shard.path for shard in batch.shards.select_related("batch"))]


def begin(batch, storage):
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
    if batch.sample_count >= MANY and batch.carries == Batch.Carries.SAMPLES:
        take_stock(BatchItem)


def this_run(batch):
    return Batch.objects.run_of(batch)


def deal(batch: Batch, report: Callable[[], None]) -> None:
    """Put every row in its part; those that must not leave any more are let go first."""
    for _ in range(TRIES):
        if dealing.deal(batch, report):
            return
        let_go(batch)
    raise SelectionMoved("samples kept losing their approval while the split was being dealt; starting over")


def let_go(batch):
    """Release the rows that must not leave any more; returns how many remain."""
    with transaction.atomic():
        batch.hold()
        remaining = carried_by(batch).let_go()
    if not remaining:
        raise none_left(batch)
    return remaining


def none_left(batch) -> EmptyBatch:
    if batch.carries == Batch.Carries.SAMPLES:
        gone = "is approved"
    else:
        gone = f"is of use to {batch.format}" if carried_by(batch).rows().exists() else "is there"
    return EmptyBatch(f"none of the {batch.sample_count} {batch.carries.lower()} of the batch {gone} any more")


def warnings_of(batch: Batch, figures: Figures) -> list[str]:
    """What is worth a warning, after what was said of the selection; Refusable where no consumer would take the file."""
    flaws = flaws_of(formats.get(batch.format).checks, figures)
    if fatal := [flaw.said for flaw in flaws if flaw.is_fatal]:
        raise Refusable("; ".join(fatal), flaws=fatal)
    # The batch's others are those of a file that was written before, or planned.
    of_selection = [said for said in batch.warnings if said.startswith(files.LEFT_OUT)]
    return list(dict.fromkeys([*of_selection, *(flaw.said for flaw in flaws)]))


def _file_of(batch, report):
    shape = formats.get(batch.format)
    parts = {split.label: carried_by(batch).walk(split, shape) for split in parts_of(batch)}
    return File(
        shape,
        parts,
        context_of(batch, shape),
        batch.options,
        report,
        partial(bundle.notes_of_batch, batch) if batch.options.get("bundle") else files.no_notes,
        with_figures=True,
        compression=batch.compression,
    )


def context_of(batch: Batch, shape: Format) -> Context:
    """What the encoder must know: the label map frozen with the batch, and the projects' prompts.

    These are as they are now, or, where some of the batch was written before, as they were then.
    """
    prompts = {}
    if batch.manifest:
        prompts = {int(project): words for project, words in batch.manifest["prompts"].items()}
    elif shape.uses(Prompt):
        prompts = prompts_of([batch.project_id] if batch.project_id else projects_of(carried_by(batch).rows()))
    types = types_of(carried_by(batch).rows()) if isinstance(shape, Columnar) else frozenset()
    return Context(labels=dict(batch.label_map), prompts=prompts, types=types)


def _manifest(batch, file, *, withdrawn, finished_at, warnings):
    name, suffix = batch.path.rpartition("/")[2], compression.SUFFIXES[batch.compression]
    parts = bundle.parts_of(file, name.removesuffix(suffix))
    whole = {"name": name, "destination": batch.destination, "bytes": file.whole.bytes, "sha256": file.whole.sha256}
    return manifest_of(
        batch,
        file.context,
        whole,
        parts,
        samples=file.rows,
        withdrawn=withdrawn,
        finished_at=finished_at,
        warnings=warnings,
    )


def manifest_of(
    batch: Batch, context: Context, file: dict, parts: list[dict], *, samples, withdrawn, finished_at, warnings
) -> dict:
    """Everything needed to explain the batch's file or files, or to make them again.

    `samples` are its rows; in the file there may be several of each.
    """
    return {
        "batch": str(batch.uuid),
        "project": batch.project and batch.project.name,
        "carries": batch.carries.lower(),
        "selection": batch.selection,
        "allows_reexport": batch.allows_reexport,
        "samples": samples,
        "withdrawn": withdrawn,
        "warnings": warnings,
        "format": batch.format,
        "options": batch.options,
        "compression": batch.compression,
        "split": batch.ratios
        and {
            "ratios": dict(zip(splits.PARTS, batch.ratios, strict=True)),
            "seed": batch.seed,
            "stratified": batch.is_stratified,
            **batch.dealt,
        },
        "label_map": context.labels,
        "prompts": noted_prompts(context),
        "file": file,
        "parts": parts,
        "software": {"name": "LabelHub", "version": __version__},
        "created_by": batch.created_by and batch.created_by.get_username(),
        "created_at": _moment(batch.created_at),
        "finished_at": _moment(finished_at),
    }


def noted_prompts(context: Context) -> dict[str, Any]:
    return {str(project): words for project, words in context.prompts.items() if words}


def _moment(time):
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def readable(manifest):
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
        fail(found, job.error)


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


@transaction.atomic
def fail(batch: Batch, error: str) -> bool:
    """The batch cannot be finished (now); False where it had ended before."""
    return _end(batch, State.FAILED, since=[State.QUEUED, State.RUNNING], error=error)


def _end(batch, state, *, since, error="", by=None):
    """The batch will not be written (now): no file stays behind, but for whole shards, which `retry` need not write again.

    A failed one holds its samples for `retry`.
    """
    before = batch.state
    changes = {"state": state, "error": error, "finished_at": timezone.now()}
    if (
        state == State.CANCELLED and batch.was_written
    ):  # its rows have left: they stay with it, only its files are not there
        changes |= {"state": State.READY, "files_removed_at": changes["finished_at"]}
    if not Batch.objects.filter(pk=batch.pk, state__in=since).update(**changes):
        return False
    for job in Job.objects.unfinished().filter(shard__batch=batch):  # it may not publish any more
        queue.cancel(job)
    if state == State.CANCELLED:
        leftovers = paths_of(batch)
        if not batch.was_written:
            for carried in (batch.shards, batch.items, batch.tasks):
                carried.all().delete()
    else:
        unwritten = batch.shards.select_related("batch").unwritten()
        leftovers = [batch.path, manifest_path(batch), *(shard.path for shard in unwritten)]
    action = "cancel" if state == State.CANCELLED else "fail"
    audit.record(batch, action, by=by, before=before, after=changes["state"], reason=error)
    if batch.started_at:
        transaction.on_commit(partial(_clear, batch, leftovers))
    batch.refresh_from_db()
    return True


def _clear(batch, paths):
    """Remove whatever runs of a batch that is not READY left behind."""
    try:
        destinations.remove(destinations.storage_of(batch.destination), *paths)
    except Exception:  # the store is away, most likely for the reason the batch failed
        log.exception("batch_leftovers_stay", batch=batch.pk, destination=batch.destination)


def retry(batch: Batch, *, by) -> Batch:
    """Have a failed batch written again, with the samples it holds."""
    with transaction.atomic():
        failed = Batch.objects.filter(pk=batch.pk, state=State.FAILED)
        if not failed.update(state=State.QUEUED, error="", finished_at=None, files_removed_at=None):
            batch.refresh_from_db()
            raise WrongState(f"{batch} is {batch.get_state_display().lower()}: only a failed batch is tried again")
        batch.refresh_from_db()
        batch.job = queue.submit("exports.write_batch", {"batch": batch.pk}, by=by)
        batch.save(update_fields=["job"])
        audit.record(batch, "retry", by=by, before=State.FAILED, after=State.QUEUED)
    return batch


def write_again(batch: Batch, *, by) -> Batch:
    """Have the files of a batch made again that were removed: the same rows in the same parts, as they are now."""
    with transaction.atomic():
        without = Batch.objects.ready().filter(pk=batch.pk).exclude(files_removed_at=None)
        if not without.update(state=State.QUEUED, files_removed_at=None, finished_at=None):
            batch.refresh_from_db()
            state = "has its files" if batch.is_ready else f"is {batch.get_state_display().lower()}"
            raise WrongState(f"{batch} {state}: only a batch whose files were removed is written again")
        batch.shards.update(written_at=None, job=None)
        batch.refresh_from_db()
        batch.job = queue.submit("exports.write_batch", {"batch": batch.pk}, by=by)
        batch.save(update_fields=["job"])
        audit.record(batch, "write again", by=by, before=State.READY, after=State.QUEUED)
    return batch


# Reading --------------------------------------------------------------------------------------------------------------


def open_file(batch: Batch, name: str | None = None) -> tuple[BinaryIO, int]:
    """The batch's file, open for reading, and its size; NotReady where there is none (yet, or any more).

    Of a batch in shards it is the one called `name`; InShards, naming them, where none is.
    """
    path, size, _ = stored_file(batch, name)
    return _opened(batch, path, destinations.reading), size


def open_range(batch: Batch, start: int, stop: int, name: str | None = None) -> Iterator[bytes]:
    """The bytes from `start` up to `stop` of the same file, in chunks; open by now, and to be closed."""
    return _opened(batch, stored_file(batch, name)[0], partial(destinations.chunks, start=start, stop=stop))


def _opened(batch, path, how):
    try:
        return how(destinations.storage_of(batch.destination), path)
    except FileNotFoundError:
        raise NotReady(f"the file of {batch}, {path}, is gone from destination {batch.destination!r}") from None


def link_to(batch: Batch, name: str | None = None) -> str | None:
    """An address that gives the file to whoever holds it, for EXPORT_LINK_SECONDS; None where the hub must serve it."""
    path, _, _ = stored_file(batch, name)
    storage = destinations.storage_of(batch.destination)
    return destinations.link(storage, path, name=download_name(batch, name), seconds=settings.EXPORT_LINK_SECONDS)


def download_name(batch: Batch, name: str | None = None) -> str:
    """What the file is called on the reader's disk: `reviews-1a2b3c4d-openai.jsonl`, `reviews-1a2b3c4d-train-00000-…`."""
    project = batch.project.name[:80] if batch.project else "samples"
    if name is not None:
        return f"{project}-{batch.short_id}-{name}"
    ending = "".join(batch.path[batch.path.rfind("/") + 1 :].partition(".")[1:])
    return f"{project}-{batch.short_id}-{batch.format}{ending}"


def stored_file(batch: Batch, name: str | None = None) -> tuple[str, int, str]:
    """Path, size and sha256 of the batch's file, or of its shard called `name`; NotReady where there is none."""
    if batch.files_removed_at and batch.state == State.READY:
        when = f"{batch.files_removed_at:%Y-%m-%d}"
        raise NotReady(f"the files of {batch} were removed on {when}: write it again to have them", state=batch.state)
    if not batch.is_ready:
        raise NotReady(f"{batch} is {batch.get_state_display().lower()}: it has no file", state=batch.state)
    if not batch.is_sharded and name is None:
        return batch.path, batch.byte_count, batch.sha256
    shard = batch.shards.filter(name=name).select_related("batch").first()
    if shard is None:
        names = list(batch.shards.values_list("name", flat=True))
        known = f"its files: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}" if names else "it has one file"
        raise InShards(
            f"{batch} has no file {name!r}: {known}" if name else f"{batch} is in shards; {known}", files=names
        )
    return shard.path, shard.byte_count, shard.sha256

"""Batches in shards: the ranges are drawn once, each shard is a job for any worker anywhere, the manifest comes last.

A shard that is whole keeps its place whatever becomes of the others: who takes up a batch again writes only what is
missing. Shards stand under their names from the moment each is whole, so readers go by the manifest.
"""

from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.utils import timezone

from labelhub.jobs import queue
from labelhub.jobs.models import Job

from . import batching, destinations, formats
from .batching import Progress, State
from .carried import Split, carried_by, parts_of
from .compression import SUFFIXES
from .errors import EmptyBatch, WrongState
from .figures import figures_of_batch, figures_of_shards
from .files import File
from .formats import Format
from .models import Batch, Shard

WHOLE = "data"  # the stem of an unsplit batch's shards


# Planning -------------------------------------------------------------------------------------------------------------


def plan(batch: Batch, progress: Progress) -> int:
    """Draw the shards of `batch`, and give each that is not written yet to a job; returns how many were given out."""
    batch.refresh_from_db()
    if batch.is_ready:
        return 0
    storage = destinations.storage_of(batch.destination)
    with destinations.reporting(batch.destination), ExitStack() as undo:
        batching.begin(batch, storage)
        undo.callback(batching.this_run(batch).update, state=State.QUEUED)
        progress(0, batch.sample_count, "reading the selection")
        if batch.shards.exists():
            _forget_lost(batch, storage)
        else:
            remaining = batching.let_go(batch)
            if batch.ratios:
                batching.deal(batch, partial(progress, 0, remaining, "dealing the split"))
            batch.warnings = batching.warnings_of(batch, figures_of_batch(batch))
            with transaction.atomic():
                batch.hold()
                _draw(batch)
                _fix_prompts(batch)
        with transaction.atomic():
            batch.hold()
            waiting = list(batch.shards.unwritten().exclude(job__in=Job.objects.unfinished()))
            for shard in waiting:
                shard.job = queue.submit(
                    "exports.write_shard", {"batch": batch.pk, "shard": shard.pk}, by=batch.created_by
                )
                shard.save(update_fields=["job"])
        undo.pop_all()
    complete(batch)  # where nothing was missing but the manifest
    return len(waiting)


def _forget_lost(batch, storage):
    """Shards whose file is gone since they were written are to be written again."""
    for shard in batch.shards.exclude(written_at=None).select_related("batch"):
        if not storage.exists(shard.path):
            Shard.objects.filter(pk=shard.pk).update(written_at=None, job=None)


def _draw(batch):
    """The shards of every part, as many as were asked for, but none without a row."""
    shape = formats.get(batch.format)
    shards = []
    for split in parts_of(batch):
        rows = carried_by(batch).size(split)
        count = max(1, min(batch.shard_count, rows))
        stem = split.label if batch.ratios else WHOLE
        for number, ((after, upto), size) in enumerate(carried_by(batch).ranges(split, count)):
            name = f"{stem}-{number:05}-of-{count:05}.{shape.extension}{SUFFIXES[batch.compression]}"
            shards.append(
                Shard(batch=batch, split=split, number=number, name=name, after=after, upto=upto, row_count=size)
            )
    Shard.objects.bulk_create(shards)


def _fix_prompts(batch):
    """The words around the rows are the same in every shard, whatever becomes of the projects' own meanwhile."""
    context = batching.context_of(batch, formats.get(batch.format))
    batch.manifest = {"prompts": batching.noted_prompts(context)}
    batch.save(update_fields=["manifest", "warnings"])


def _locked(batch) -> bool:
    """Hold the batch's row to the end of the transaction; whether its shards may be written."""
    return Batch.objects.select_for_update().filter(pk=batch.pk, state=State.RUNNING).first() is not None


# Writing a shard ------------------------------------------------------------------------------------------------------


def write(batch_id: int, shard_id: int, progress: Progress) -> Shard:
    """Write one shard, unless it is whole already, and finish the batch if it was the last."""
    shard = Shard.objects.select_related("batch__project", "batch__created_by").filter(pk=shard_id).first()
    if shard is None or shard.batch.state != State.RUNNING:
        raise WrongState(f"batch {batch_id} is not being written any more")
    batch = shard.batch
    with destinations.reporting(batch.destination):
        if shard.written_at is None:
            while not _written(shard, progress):
                batch.refresh_from_db(fields=["label_map"])
        complete(batch)
    return shard


def _written(shard: Shard, progress: Progress) -> bool:
    """Write the file of `shard`; False where it met labels that the batch's map did not know, and now does."""
    batch, split = shard.batch, Split(shard.split)
    storage = destinations.storage_of(batch.destination)
    mark = _begin(shard, storage)
    within = (shard.after, shard.upto)
    remaining = carried_by(batch).let_go(split, within)
    file = _file_of(shard, lambda done, _: progress(done, remaining, f"writing {shard}"))
    with ExitStack() as undo:
        draft = destinations.draft(storage, shard.path)
        undo.callback(draft.abandon)
        for chunk in file.chunks():
            draft.write(chunk)
        if _agree_on_labels(batch, file.context.labels):
            return False
        if file.rows != remaining and batch.carries == Batch.Carries.SAMPLES:
            raise batching.SelectionMoved("a sample lost its approval while the shard was being written; starting over")
        progress(remaining, remaining, "storing the shard")
        draft.finish()
        with transaction.atomic():
            shard.row_count, shard.byte_count, shard.sha256 = file.rows, file.whole.bytes, file.whole.sha256
            shard.labels, shard.written_at = file.parts["whole"].labels(), timezone.now()
            written = {
                name: getattr(shard, name) for name in ("row_count", "byte_count", "sha256", "labels", "written_at")
            }
            if not _locked(batch) or not Shard.objects.filter(pk=shard.pk, started_at=mark).update(**written):
                raise WrongState("the batch was cancelled, or the shard given to another worker, while this one wrote")
            draft.publish()
        undo.pop_all()
    return True


def _begin(shard, storage):
    """Make this the shard's latest run: `started_at` is its mark."""
    mark = timezone.now()
    Shard.objects.filter(pk=shard.pk).update(started_at=mark)
    destinations.remove_unfinished(storage, shard.path)
    return mark


def _file_of(shard: Shard, report) -> File:
    shape: Format = formats.get(shard.batch.format)
    walk = carried_by(shard.batch).walk(Split(shard.split), shape)
    walk = walk._replace(ends=lambda: (shard.after, shard.upto))
    context = batching.context_of(shard.batch, shape)
    return File(
        shape,
        {"whole": walk},
        context,
        shard.batch.options,
        report,
        with_figures=True,
        compression=shard.batch.compression,
    )


@transaction.atomic
def _agree_on_labels(batch: Batch, met: dict[str, int]) -> bool:
    """Add labels that nobody foresaw to the batch's map, for all its shards alike; whether there were any."""
    if met.keys() <= batch.label_map.keys():
        return False
    now = Batch.objects.select_for_update().get(pk=batch.pk)
    for name in met:
        now.label_map.setdefault(name, len(now.label_map))
    now.save(update_fields=["label_map"])
    return True


# The whole ------------------------------------------------------------------------------------------------------------


def complete(batch: Batch) -> bool:
    """Write the manifest and make the batch READY, if every shard is there and nobody did it before."""
    with transaction.atomic():  # behind whoever is publishing a shard: of two last ones, the later sees both
        if not _locked(batch):
            return False
    batch.refresh_from_db()
    shards = list(batch.shards.select_related("batch"))
    if not shards or any(shard.written_at is None for shard in shards):
        return False
    rows = sum(shard.row_count for shard in shards)
    if not rows:
        raise EmptyBatch(f"none of the {batch.sample_count} {batch.carries.lower()} of the batch may leave any more")
    storage = destinations.storage_of(batch.destination)
    finished_at = timezone.now()
    figures = figures_of_shards(batch, shards)  # some rows may be gone since it was planned
    warnings = batching.warnings_of(batch, figures)
    manifest = _manifest(batch, shards, withdrawn=batch.sample_count - rows, finished_at=finished_at, warnings=warnings)
    with ExitStack() as undo:
        note = destinations.draft(storage, batch.path)
        undo.callback(note.abandon)
        note.write(batching.readable(manifest))
        note.finish()
        with transaction.atomic():
            ready = batching.this_run(batch).update(
                state=State.READY,
                byte_count=manifest["file"]["bytes"],
                sha256=manifest["file"]["sha256"],
                sample_count=rows,
                manifest=manifest,
                warnings=warnings,
                error="",
                finished_at=finished_at,
            )
            if not ready:
                return False
            batching.record_written(batch, manifest["file"]["sha256"])
            note.publish()
        undo.pop_all()
    batch.refresh_from_db()
    return True


def _manifest(batch, shards, *, withdrawn, finished_at, warnings) -> dict[str, Any]:
    shape = formats.get(batch.format)
    parts: list[dict] = [
        {
            "name": shard.name,
            "part": Split(shard.split).label,
            "rows": shard.row_count * shape.records,
            "bytes": shard.byte_count,
            "sha256": shard.sha256,
            "labels": shard.labels,
        }
        for shard in shards
    ]
    whole = {
        "name": batch.path.rpartition("/")[2],
        "destination": batch.destination,
        "shards": batch.shard_count,
        "bytes": sum(part["bytes"] for part in parts),
        "sha256": sha256_of(shards),
    }
    return batching.manifest_of(
        batch,
        batching.context_of(batch, shape),
        whole,
        parts,
        samples=sum(shard.row_count for shard in shards),
        withdrawn=withdrawn,
        finished_at=finished_at,
        warnings=warnings,
    )


def sha256_of(shards: list[Shard]) -> str:
    """One hash for all: that of what the command `sha256sum` prints for the files, in their order."""
    return sha256("".join(f"{shard.sha256}  {shard.name}\n" for shard in shards).encode()).hexdigest()


def ended(job: Job, batch: int, shard: int) -> None:
    """A shard's job has failed for good or was cancelled: so has the batch, unless it has ended before."""
    found = Batch.objects.filter(pk=batch, state=State.RUNNING).first()
    if found is None:
        return
    if job.state == Job.State.CANCELLED:
        batching.cancel(found, by=None)
    else:
        name = Shard.objects.filter(pk=shard).values_list("name", flat=True).first()
        batching.fail(found, f"{name}: {job.error}")

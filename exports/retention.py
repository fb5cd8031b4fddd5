"""Files that have been kept long enough are removed; the batch stays, says so, and can be written again."""

from datetime import timedelta
from itertools import chain

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from labelhub.accounts import audit

from . import batching, destinations
from .models import Batch, FineTune

log = structlog.get_logger(__name__)

LOOK_EVERY = timedelta(hours=6)


def every() -> timedelta | None:
    """How often to look; None where files are kept for ever."""
    return LOOK_EVERY if settings.EXPORT_RETENTION_DAYS else None


def remove_expired(days: float | None = None) -> int:
    """Remove the files of batches written more than so many days ago (EXPORT_RETENTION_DAYS); returns of how many.

    Of those that failed so long ago, the shards that were whole. What a fine-tune is reading stays until the next look,
    and so does what is in a store that is away.
    """
    kept_for = settings.EXPORT_RETENTION_DAYS if days is None else days
    if not kept_for:
        return 0
    old = Batch.objects.filter(finished_at__lt=timezone.now() - timedelta(days=kept_for)).order_by("finished_at")
    written = old.with_files().exclude(finetunes__in=FineTune.objects.running())
    removed = 0
    for batch in chain(written.iterator(), old.half_written().iterator()):
        remove = remove_files if batch.is_ready else remove_whole_shards
        try:
            removed += remove(batch, reason=f"kept for {kept_for:g} days")
        except Exception:  # one store that is away must not keep the others' files
            log.exception("batch_files_stay", batch=batch.pk, destination=batch.destination)
    return removed


def remove_files(batch: Batch, *, by=None, reason: str = "") -> bool:
    """Remove the files of a READY batch; False where it has none. First the files, then the word: never the other way."""
    if not batch.is_ready:
        return False
    storage = destinations.storage_of(batch.destination)
    with destinations.reporting(batch.destination):
        destinations.remove(storage, *batching.paths_of(batch))
    with transaction.atomic():
        if not Batch.objects.with_files().filter(pk=batch.pk).update(files_removed_at=timezone.now()):
            return False
        audit.record(batch, "remove files", by=by, before=batch.state, after=batch.state, reason=reason)
    batch.refresh_from_db()
    return True


def remove_whole_shards(batch: Batch, *, by=None, reason: str = "") -> bool:
    """Remove the shards that were whole when `batch` failed; False where it has none, or is tried again.

    One by one, each with the batch held: whoever tries it again in between finds those that are left, and writes the rest.
    """
    storage = destinations.storage_of(batch.destination)
    removed = False
    for shard in batch.shards.written().select_related("batch"):
        with destinations.reporting(batch.destination), transaction.atomic():
            failed = Batch.objects.select_for_update(no_key=True).filter(pk=batch.pk, state=Batch.State.FAILED).first()
            if failed is None:
                break
            if failed.files_removed_at is None:
                Batch.objects.filter(pk=batch.pk).update(files_removed_at=timezone.now())
                audit.record(batch, "remove files", by=by, before=failed.state, after=failed.state, reason=reason)
            batch.shards.filter(pk=shard.pk).update(written_at=None, job=None)
            destinations.remove(storage, shard.path)
            removed = True
    batch.refresh_from_db()
    return removed

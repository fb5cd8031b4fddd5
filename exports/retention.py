"""Files that have been kept long enough are removed; the batch stays, says so, and can be written again."""

from datetime import timedelta

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

    Those a fine-tune is reading stay until the next look, and so do those of a store that is away.
    """
    kept_for = settings.EXPORT_RETENTION_DAYS if days is None else days
    if not kept_for:
        return 0
    due = Batch.objects.with_files().filter(finished_at__lt=timezone.now() - timedelta(days=kept_for))
    removed = 0
    for batch in due.exclude(finetunes__in=FineTune.objects.running()).order_by("finished_at").iterator():
        try:
            removed += remove_files(batch, reason=f"kept for {kept_for:g} days")
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

"""A batch in shards over Celery: two worker processes take the shards from one Redis queue, one of them is killed."""

import os
import signal
from datetime import timedelta
from hashlib import sha256

from django.db import OperationalError, transaction
from django.db.models import Value
from django.db.models.functions import Concat

from exports import batching
from exports.models import Batch
from samples.models import Sample
from tests.factories import make_samples, make_superuser
from tests.jobs.conftest import installation, migrated, processes_under, wait_until  # noqa: F401  (fixtures)
from tests.jobs.test_celery import needs_redis, on_celery, start_celery  # noqa: F401

SHARDS = 24


def shards_begun(worker):
    """How many shards the worker's log says it began."""
    lines = worker.log.read_text().splitlines()
    return sum("job_started" in line and "exports.write_shard" in line for line in lines)


def whole(batch):
    return batch.shards.exclude(written_at=None)


def hang(worker):
    """Stop it as a machine stops that hangs; but not while it writes, for SQLite would wait for it as long as it hangs."""
    while True:
        for pid in processes_under(worker.pid):
            os.kill(pid, signal.SIGSTOP)
        try:
            with transaction.atomic():  # IMMEDIATE: it has SQLite's one place for a writer, or nobody has
                return
        except OperationalError:
            for pid in processes_under(worker.pid):
                os.kill(pid, signal.SIGCONT)


@needs_redis
def test_two_celery_workers_share_a_batch_and_survive_the_death_of_one(on_celery):  # noqa: F811
    on_celery.env["JOB_LEASE_SECONDS"] = "6"
    project = make_samples(10_000)
    Sample.objects.update(content=Concat("content", Value(" Ce produit est fantastique !" * 400)))  # a while's work
    batch = batching.gather(project.samples.all(), by=make_superuser(), format="jsonl", shards=SHARDS)
    first, second = start_celery(on_celery), start_celery(on_celery)
    # Nobody was told of the job: this process has no broker. The sweeper of one worker announces it.
    batch.job.run_after = batch.job.created_at - timedelta(hours=1)
    batch.job.save(update_fields=["run_after"])
    quick = wait_until(lambda: next((worker for worker in (first, second) if shards_begun(worker)), None), seconds=60)
    hang(quick)  # in the middle of its shards: the other has the rest
    slow = second if quick is first else first
    wait_until(lambda: shards_begun(slow), seconds=60)
    for pid in processes_under(quick.pid):
        os.kill(pid, signal.SIGKILL)
    assert whole(batch).count() < SHARDS, "it was not stopped in the middle"
    wait_until(lambda: Batch.objects.get(pk=batch.pk).state == "READY", seconds=90)

    batch.refresh_from_db()
    folder = on_celery.folder / "exports" / "export" / batch.short_id
    data = [(folder / part["name"]).read_bytes() for part in batch.manifest["parts"]]
    assert [sha256(part).hexdigest() for part in data] == [part["sha256"] for part in batch.manifest["parts"]]
    assert sum(part.count(b"\n") for part in data) == Sample.objects.count() == 10_000
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [*(part["name"] for part in batch.manifest["parts"]), "manifest.json"]
    )

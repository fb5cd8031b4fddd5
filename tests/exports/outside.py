"""What tests let other processes do: `python -m tests.exports.outside <verb> …` prints its result as one JSON line."""

import io
import json
import os
import resource
import sys
import threading
import time

import django


def prepare(count):
    """An empty database becomes a hub with a superuser and so many approved samples."""
    from django.core.management import call_command

    from tests.factories import make_superuser

    call_command("migrate", verbosity=0)
    make_superuser("boss")
    call_command("generate_samples", int(count), project="synthetic", stdout=io.StringIO())


def wait_for_the_word():
    print("here", flush=True)
    sys.stdin.readline()


def gather(*ids):
    """When told to, gather everything, or exactly the ids from here to there."""
    from exports import batching
    from labelhub.accounts.models import User
    from labelhub.facts import Fact
    from samples.models import Sample

    boss = User.objects.get()
    samples = Sample.objects.count()
    wait_for_the_word()
    try:
        wanted = range(int(ids[0]), int(ids[1]) + 1) if ids else None
        batch = batching.gather(Sample.objects.all(), by=boss, format="jsonl", ids=wanted, ratios="0.8/0.1/0.1")
    except Fact as fact:
        return {"refused": fact.code, "of": samples}
    return {"batch": batch.pk, "taken": batch.items.count(), "of": samples}


def gather_shards(count):
    """Gather everything into a batch of so many shards."""
    from exports import batching
    from labelhub.accounts.models import User
    from samples.models import Sample

    batch = batching.gather(Sample.objects.all(), by=User.objects.get(), format="jsonl", shards=int(count))
    return {"batch": batch.pk}


def shards(batch):
    """What became of the batch and of each of its shards."""
    from exports.models import Batch

    found = Batch.objects.get(pk=batch)
    return {
        "state": found.state,
        "error": found.error,
        "sha256": found.sha256,
        "path": found.path,
        "shards": [
            {"name": shard.name, "rows": shard.row_count, "sha256": shard.sha256, "attempts": shard.job.attempt}
            for shard in found.shards.select_related("job")
        ],
    }


def work(batch):
    """When told to, be a worker until the batch has come to an end."""
    from exports.models import Batch
    from labelhub.jobs import worker

    wait_for_the_word()
    stop, done = threading.Event(), []
    thread = threading.Thread(target=lambda: done.append(worker.work(stop)), daemon=True)
    thread.start()
    while (found := Batch.objects.get(pk=batch)).state in (Batch.State.QUEUED, Batch.State.RUNNING):
        time.sleep(0.02)
    time.sleep(0.2)  # the job's own end
    stop.set()
    thread.join()
    return {
        "state": found.state,
        "error": found.error,
        "sha256": found.sha256,
        "path": found.path,
        "finished_at": found.finished_at.timestamp(),
        "attempts": found.job.attempt,
        "jobs": done[0],
    }


def claims():
    """How many claims there are, on how many samples, in how many batches."""
    from exports.models import BatchItem

    items = BatchItem.objects.claims()
    return {
        "claims": items.count(),
        "samples": items.values("sample").distinct().count(),
        "batches": items.values("batch").distinct().count(),
    }


def weigh(count, format, ratios=None):
    """Gather and write so many samples; the process's largest size in MiB."""
    from django.db.models import Max
    from django.db.models.functions import Length

    from exports import batching
    from labelhub.accounts.models import User
    from samples.models import Sample

    # SQLite fills its page cache, a constant, before anything else: else only the larger export would be seen to fill it.
    Sample.objects.aggregate(longest=Max(Length("content")))
    batch = batching.gather(
        Sample.objects.order_by("pk")[: int(count)],
        by=User.objects.get(),
        format=format,
        ratios=ratios,
        allow_reexport=True,
    )
    started = time.perf_counter()
    batching.write(batch, lambda *_: None)
    return {
        "rows": batch.sample_count,
        "bytes": batch.byte_count,
        "seconds": round(time.perf_counter() - started, 2),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
    django.setup()
    verb, *arguments = sys.argv[1:]
    print(json.dumps(globals()[verb](*arguments)))

"""What tests of fine-tuning let other processes do: `python -m tests.exports.trainers <verb> …` prints a JSON line."""

import json
import os
import random
import sys
import threading
import time
from collections import Counter

import django


def prepare(count, labels):
    """An empty database becomes a hub with one READY batch of so many texts with so many labels."""
    from django.core.management import call_command

    from .training import batch_of

    call_command("migrate", verbosity=0)
    dice = random.Random(0)
    rows = [
        (f"{number}: " + " ".join(f"w{dice.randrange(400) + number % int(labels)}" for _ in range(12)), label)
        for number in range(int(count))
        for label in [f"label-{number % int(labels):02}"]
    ]
    return {"batch": batch_of(rows).pk}


def submit_together(count):
    """So many threads, each on its own connection, ask for a fine-tune of the batch at the same moment."""
    from django.db import connections

    from exports import finetuning
    from exports.models import Batch, FineTune
    from labelhub.accounts.models import User
    from labelhub.facts import Fact
    from labelhub.jobs.models import Job

    ready, answers = threading.Barrier(int(count)), []

    def ask():
        try:
            batch, boss = Batch.objects.get(), User.objects.get(is_superuser=True)
            ready.wait()
            finetuning.submit(batch, by=boss)
            answers.append("started")
        except Fact as fact:
            answers.append(fact.code)
        except Exception as error:
            answers.append(repr(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jobs = Job.objects.filter(kind="exports.finetune")
    return {"answers": Counter(answers), "finetunes": FineTune.objects.count(), "jobs": jobs.count()}


def train():
    """Start the fine-tune, if nobody has, and be a worker until it has ended; the first says when it is on its way."""
    from exports import finetuning
    from exports.models import Batch, FineTune, ModelVersion
    from labelhub.jobs import worker

    if not FineTune.objects.exists():
        finetuning.submit(Batch.objects.get(), by=None)
    stop, said = threading.Event(), False
    thread = threading.Thread(target=worker.work, args=(stop,), daemon=True)
    thread.start()
    while (found := FineTune.objects.select_related("job").get()).status in ("SUBMITTING", "RUNNING"):
        if found.progress >= 20 and found.job.attempt == 1 and not said:
            said = True
            print("on its way", flush=True)
        time.sleep(0.02)
    stop.set()
    thread.join()
    return {
        "status": found.status,
        "error": found.error,
        "attempts": found.job.attempt,
        "versions": ModelVersion.objects.count(),
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
    django.setup()
    verb, *arguments = sys.argv[1:]
    print(json.dumps(globals()[verb](*arguments)))

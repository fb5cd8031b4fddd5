"""What models cost at work: guessing, and giving the next task in each order, in a project of many.

    python -m tests.bench.working [TASKS] [RUNS]     on SQLite, or on DATABASE_URL (a database of its own: rows are added)

The orders are asked in turn, for the speed of a shared machine drifts: compare them with each other.
"""

import io
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="labelhub-bench-"))
os.environ.setdefault("LOG_LEVEL", "WARNING")

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from exports import predicting  # noqa: E402
from exports.finetuning import submit  # noqa: E402
from labelhub.accounts.models import new_uid  # noqa: E402
from labelhub.jobs.worker import bring_to_end  # noqa: E402
from labelhub.setwise import insert_rows  # noqa: E402
from samples import assigning  # noqa: E402
from samples.intake import import_tasks  # noqa: E402
from samples.models import Project, Task  # noqa: E402
from tests.exports.training import batch_of, opinions  # noqa: E402
from tests.factories import make_member, make_project, make_source, make_superuser  # noqa: E402

GUESSED = 24_000


def guessing(runs: int) -> list[float]:
    """Texts a second of a run of predictions, from the job's beginning to its end, loading the model included."""
    batch = batch_of(opinions(2_000), by=make_superuser(f"bench-{new_uid()}"))
    finetune = submit(batch, by=batch.created_by)
    bring_to_end(finetune.job)
    texts = [text for text, _ in opinions(GUESSED)]
    lines = "".join(json.dumps({"text": f"unseen {text}"}) + "\n" for text in texts)
    import_tasks(batch.project, io.BytesIO(lines.encode()), name="unseen.jsonl")
    finetune.refresh_from_db()
    speeds = []
    for _ in range(runs):
        Task.objects.filter(project=batch.project).update(margin=None)
        run = predicting.ask(finetune.model_version, predicting.unlabelled(batch.project), by=None)
        start = time.perf_counter()
        bring_to_end(run.job)
        speeds.append(run.task_count / (time.perf_counter() - start))
    return speeds


def many(tasks: int) -> Project:
    """A project of so many open tasks with margins, as many of another one's between them."""
    project, other = make_project(f"bench-{new_uid()}"), make_project(f"bench-{new_uid()}")
    dice, number = random.Random(0), 0
    same = {"type": "SENTIMENT_ANALYSIS", "locale": "fr", "updated_at": timezone.now()}
    for _ in range(4):
        for owner in (project, other):
            source, rows = make_source(owner), []
            for _ in range(tasks // 4):
                number += 1
                rows.append((owner.pk, source.pk, f"item-{number}", new_uid(), f"Texte numéro {number}", dice.random()))
            insert_rows(Task, ("project", "source", "external_id", "uid", "content", "margin"), rows, same=same)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return project


def asking(project: Project, runs: int) -> dict[str, list[float]]:
    """Milliseconds until a task is lent, by order."""
    project.random_share = 0.0  # of margin alone
    person = make_member(project)
    took: dict[str, list[float]] = {order: [] for order in assigning.ORDERS}
    for _ in range(runs):
        for order, times in took.items():
            start = time.perf_counter()
            lent = assigning.take_next(project, user=person, order=order)
            times.append((time.perf_counter() - start) * 1000)
            assert lent is not None
            assigning.release(lent.task, user=person)
    return took


def main(tasks=300_000, runs=40):
    call_command("migrate", verbosity=0)
    logging.disable(logging.CRITICAL)
    speeds = guessing(3)
    print(
        f"{connection.vendor}: {GUESSED:,} texts guessed and written, texts/s: {', '.join(f'{s:,.0f}' for s in speeds)}"
    )
    took = asking(many(tasks), runs)
    print(f"the next of {tasks:,} open tasks ({2 * tasks:,} in the table), milliseconds, {runs} runs")
    for order, times in took.items():
        print(f"{order:8} median {statistics.median(times):7.1f}  p95 {statistics.quantiles(times, n=20)[-1]:7.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

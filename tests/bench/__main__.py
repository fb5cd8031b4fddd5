"""How fast samples leave and tasks come in, beside the bare driver and Django's own ways, in one table of ratios.

    python -m tests.bench [ROWS] [RUNS]        on SQLite, or on DATABASE_URL (a database of its own: rows are added)

"driver" is the same rows fetched by the bare driver's cursor, encoded with orjson and written to a file. Every figure is
the median of RUNS, taken in turn with the others, for the speed of a shared machine drifts.
"""

import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

SCRATCH = Path(tempfile.mkdtemp(prefix="labelhub-bench-"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
os.environ.setdefault("DATA_DIR", str(SCRATCH))
os.environ.setdefault("LOG_LEVEL", "WARNING")

import django  # noqa: E402

django.setup()

import orjson  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from exports import files  # noqa: E402
from labelhub.accounts.models import new_uid  # noqa: E402
from samples.intake import import_tasks  # noqa: E402
from samples.models import Project, Sample  # noqa: E402
from samples.projects import create_project  # noqa: E402

COLUMNS = ("uid", "type", "content", "label_name")
KEYS = ("id", "type", "content", "label")
OUT = SCRATCH / "out"


def driver(samples):
    sql, params = samples.order_by("pk").values_list(*COLUMNS).query.sql_with_params()
    connection.ensure_connection()
    if connection.vendor == "postgresql":  # without a name the driver would hold every row
        cursor = connection.connection.cursor("bench", withhold=True)
        cursor.itersize = 5000
        cursor.execute(sql, params)
    else:
        cursor = connection.connection.cursor().execute(sql.replace("%s", "?"), params)
    with OUT.open("wb") as file:
        for row in cursor:
            file.write(orjson.dumps(dict(zip(KEYS, row, strict=True))) + b"\n")
    cursor.close()


def model_instances(samples):
    with OUT.open("w") as file:
        for sample in samples.order_by("pk").iterator():
            values = (getattr(sample, column) for column in COLUMNS)
            file.write(json.dumps(dict(zip(KEYS, values, strict=True)), ensure_ascii=False) + "\n")


def ours(format, **how):
    def export(samples):
        with OUT.open("wb") as file:
            for chunk in files.file_of(samples, format=format, **how).chunks():
                file.write(chunk)

    return export


WAYS = {
    "driver, jsonl": driver,
    "model instances, jsonl": model_instances,
    **{f"LabelHub, {format}": ours(format) for format in ("jsonl", "json", "csv", "openai", "huggingface", "alpaca")},
    "LabelHub, jsonl as train/val/test ZIP": ours("jsonl", ratios="0.8/0.1/0.1"),
}


def seconds(work, *args):
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def bring_in(samples):
    """The samples as JSON Lines into a project of their own."""
    lines = b"".join(files.file_of(samples, format="jsonl").chunks()).replace(b'{"id":"', b'{"id":"again-')
    project = create_project(f"bench-{new_uid()}", task_type="TEXT_CLASSIFICATION")
    return seconds(lambda: import_tasks(project, io.BytesIO(lines), name="bench.jsonl"))


def main(rows=100_000, runs=5):
    call_command("migrate", verbosity=0)
    name = f"bench-{new_uid()}"
    call_command("generate_samples", str(rows), project=name, stdout=io.StringIO())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    samples = Sample.objects.filter(project=Project.objects.get(name=name)).approved()
    taken = {way: [] for way in WAYS}
    for _ in range(runs):
        for way, work in WAYS.items():
            taken[way].append(seconds(work, samples))
    base = statistics.median(taken["driver, jsonl"])
    print(f"{rows:,} samples on {connection.vendor}, Python {platform.python_version()}, {os.cpu_count()} cores;")
    print(f"medians of {runs}, in one run\n")
    print(f"{'':40}{'seconds':>9}{'rows/s':>11}{'of driver':>11}")
    for way, times in taken.items():
        median = statistics.median(times)
        print(f"{way:40}{median:9.2f}{rows / median:11,.0f}{base / median:10.2f}x")
    imported = bring_in(samples)
    print(f"{'LabelHub, import of jsonl with verdicts':40}{imported:9.2f}{rows / imported:11,.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

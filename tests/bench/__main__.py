"""How fast samples leave and tasks come in, beside the bare driver, the database's bulk ways and Django's own: ratios of one run.

    python -m tests.bench [ROWS] [RUNS]        on SQLite, or on DATABASE_URL (a database of its own: rows are added)

Every figure is the median of RUNS, taken in turn with the others, for the speed of a shared machine drifts. "driver" is
the same rows fetched by the bare driver's cursor, encoded with orjson and written to a file.
"""

import io
import os
import platform
import statistics
import subprocess
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

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from exports import batching  # noqa: E402
from labelhub.accounts.models import new_uid  # noqa: E402
from samples.models import Project  # noqa: E402

from . import batches, exports, intake, serving  # noqa: E402

STREAMED = ("jsonl", "json", "csv", "openai", "huggingface", "alpaca", "parquet")


def seconds(work, *args):
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def quietly(*_):
    pass


def generated(rows: int) -> str:
    """A project of so many synthetic samples; its name."""
    call_command("migrate", verbosity=0)
    name = f"bench-{new_uid()}"
    call_command("generate_samples", str(rows), project=name, stdout=io.StringIO())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    return name


def heading(title: str, *columns: str) -> None:
    print(f"\n### {title}\n\n| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}", flush=True)


def line(what: str, *figures: str) -> None:
    print(f"| {what} | {' | '.join(figures)} |", flush=True)


def files_beside_the_driver(samples, rows, runs):
    ways = list(exports.ways(samples, SCRATCH / "out"))
    taken = {what: [] for what, _, _ in ways}
    for _ in range(runs):
        for what, _, work in ways:
            taken[what].append(seconds(work))
    median = {what: statistics.median(times) for what, times in taken.items()}
    heading("Files", "seconds", "rows/s", "of the driver's speed")
    for what, base, _ in ways:
        ratio = f"{median[base] / median[what]:.2f}x" if base else ""
        line(what, f"{median[what]:.2f}", f"{rows / median[what]:,.0f}", ratio)
    return median


WRITTEN = ("jsonl", "openai", "huggingface", "alpaca", "csv")  # in batches


def batches_beside_bare_statements(samples, rows, runs, drivers):
    """Each batch beside the driver that writes the same format; `drivers` are their seconds by format."""
    bench = batches.Bench(samples)
    ways = {format: {"format": format} for format in WRITTEN} | {"zip": {"ratios": "0.8/0.1/0.1", "stratify": True}}
    taken = {what: [] for what in ("bare", "claim", *ways, "plan")}
    for _ in range(runs):
        bench.free()
        bench.prepare_bare()
        taken["bare"].append(seconds(bench.bare_claim))
        bench.free()
        taken["claim"].append(seconds(bench.gather))
        for what, how in ways.items():
            bench.free()
            batch = bench.gather(**how)
            taken[what].append(seconds(batching.write, batch, quietly))
        taken["plan"].append(seconds(bench.plan))
    bench.free()
    median = {what: statistics.median(times) for what, times in taken.items()}
    heading("Batches", "seconds", "rows/s", "")
    line("bare INSERT … SELECT of the claims", f"{median['bare']:.2f}", f"{rows / median['bare']:,.0f}", "")
    ratio = f"{median['claim'] / median['bare']:.2f} times the bare statement's time"
    line("gather (claim, label map, job, audit)", f"{median['claim']:.2f}", f"{rows / median['claim']:,.0f}", ratio)
    for what in ways:
        title = "deal and write a stratified ZIP" if what == "zip" else f"write {what}, sha256, figures, manifest"
        ratio = f"{drivers.get(what, drivers['jsonl']) / median[what]:.2f}x the driver's speed"
        line(title, f"{median[what]:.2f}", f"{rows / median[what]:,.0f}", ratio)
    ratio = f"{median['plan'] / drivers['jsonl']:.2f} times the driver's time"
    line("plan a stratified split", f"{median['plan']:.2f}", f"{rows / median['plan']:,.0f}", ratio)


def over_http(project, rows, runs, driver):
    heading("GET /api/v1/exports, granian, local client", "first byte, ms", "seconds", "of the driver's speed")
    uid = Project.objects.get(name=project).uid
    with serving.Server() as server:
        for format in ("jsonl", "openai", "csv"):
            path = f"/api/v1/exports?format={format}&projectId={uid}"
            server.get(path)
            answers = [server.get(path) for _ in range(runs)]
            first, last = (statistics.median(figures) for figures in list(zip(*answers, strict=True))[:2])
            line(format, f"{first * 1000:.0f}", f"{last:.2f}", f"{driver / last:.2f}x")


def memory(project, rows):
    heading(f"Peak memory of one export of {rows:,} rows", "before, MiB", "peak, MiB", "more")
    for format in STREAMED:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.memory", project, format], capture_output=True, text=True, check=True
        )
        idle, peak = (int(figure) / 1024 for figure in done.stdout.split()[-2:])
        line(format, f"{idle:.0f}", f"{peak:.0f}", f"{peak - idle:.0f}")


def main(rows=100_000, runs=5):
    project = generated(rows)
    samples = exports.of_project(Project.objects.get(name=project))
    where = f"{connection.vendor}, Python {platform.python_version()}, {os.cpu_count()} cores"
    print(f"## {rows:,} samples on {where}; medians of {runs}, in one run")
    median = files_beside_the_driver(samples, rows, runs)
    drivers = {format: median[f"driver, {format}"] for format in exports.LINES}
    batches_beside_bare_statements(samples, rows, runs, drivers)
    over_http(project, rows, runs, drivers["jsonl"])
    memory(project, rows)
    heading("Import of 100,000 lines", "seconds", "rows/s", "of bare bulk writing")
    intake.main(min(rows, 100_000), max(1, runs // 2), line)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

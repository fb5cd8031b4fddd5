"""How fast rows come in, beside the database's own bulk way: the same rows into identical tables, nothing computed.

On PostgreSQL that is a bare COPY of a text that is ready, elsewhere executemany of tuples that are; the tables beside
ours have the same columns, indexes and constraints, and take the same tasks, samples and audit entries.
"""

import io
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace

import orjson
from django.db import connection, transaction

from labelhub.accounts.models import AuditEntry, new_uid
from samples.intake import import_tasks
from samples.management.commands.generate_samples import texts
from samples.models import Project, Sample, Task
from samples.projects import create_project

LABELS = ("Label 001", "Label 002", "Label 003")
BLOCK = 2_000


def lines(rows: int, *, labelled: bool) -> bytes:
    """JSON Lines of texts of 120 to 400 characters in three languages, with or without labels."""
    labels = [SimpleNamespace(name=name) for name in LABELS]
    records = []
    for number, text in enumerate(texts(rows, seed="bench", labels=labels)):  # type: ignore[arg-type]
        record = {"id": f"row-{number}", "content": text.content, "locale": text.locale}
        records.append(orjson.dumps(record | ({"label": text.label.name} if labelled else {})))
    return b"\n".join(records) + b"\n"


def import_seconds(data: bytes) -> tuple[float, Project]:
    """How long one import takes, and the project it went into."""
    project = create_project(f"bench-{new_uid()}", task_type="TEXT_CLASSIFICATION", labels=LABELS)
    start = time.perf_counter()
    import_tasks(project, io.BytesIO(data), name="bench.jsonl")
    return time.perf_counter() - start, project


def bare_seconds(project: Project) -> float:
    """How long the rows of `project` take to be written into identical tables by the database's own bulk way."""
    samples = Sample.objects.filter(project=project)
    written = {
        Task: Task.objects.filter(project=project),
        Sample: samples,
        AuditEntry: AuditEntry.objects.filter(subject="sample", subject_id__in=samples.values("pk")),
    }
    return sum(_bare_table(model, rows) for model, rows in written.items())


def _bare_table(model, rows) -> float:
    table, copy = model._meta.db_table, f"bench_{model._meta.model_name}"
    columns = [field.column for field in model._meta.concrete_fields]
    picked = list(rows.order_by("pk").values_list(*(field.attname for field in model._meta.concrete_fields)))
    prepared = [
        tuple(
            field.get_db_prep_save(value, connection)
            for field, value in zip(model._meta.concrete_fields, row, strict=True)
        )
        for row in picked
    ]
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        for sql in identical(cursor, table, copy):
            cursor.execute(sql)
        try:
            if connection.vendor == "postgresql":
                cursor.execute(f"CREATE TEMP TABLE bench_text (LIKE {table})")
                with cursor.copy(f"COPY bench_text ({names}) FROM STDIN") as load:
                    for row in prepared:
                        load.write_row(row)
                with cursor.copy(f"COPY bench_text ({names}) TO STDOUT") as out:
                    ready = b"".join(map(bytes, out))
                cursor.execute("DROP TABLE bench_text")
                start = time.perf_counter()
                with cursor.copy(f"COPY {copy} ({names}) FROM STDIN") as load:
                    load.write(ready)
                return time.perf_counter() - start
            marks = ", ".join(["%s"] * len(columns))
            start = time.perf_counter()
            for first in range(0, len(prepared), BLOCK):
                with transaction.atomic():
                    cursor.executemany(
                        f"INSERT INTO {copy} ({names}) VALUES ({marks})", prepared[first : first + BLOCK]
                    )
            return time.perf_counter() - start
        finally:
            cursor.execute(f"DROP TABLE {copy}")


def identical(cursor, table: str, copy: str) -> list[str]:
    """What makes an empty table `copy` with the columns, indexes and constraints of `table`."""
    if connection.vendor == "postgresql":
        made = [f"CREATE TABLE {copy} (LIKE {table} INCLUDING ALL)"]
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype = 'f'",
            [table],
        )
        return made + [f"ALTER TABLE {copy} ADD CONSTRAINT bench_{name} {rule}" for name, rule in cursor.fetchall()]
    cursor.execute("SELECT sql FROM sqlite_master WHERE tbl_name = %s AND sql IS NOT NULL ORDER BY type DESC", [table])
    found = [sql for (sql,) in cursor.fetchall()]
    return [
        sql.replace(f'"{table}"', f'"{copy}"', 1).replace('INDEX "', 'INDEX "bench_', 1)
        if sql.startswith("CREATE TABLE")
        else sql.replace(f' ON "{table}"', f' ON "{copy}"', 1).replace('INDEX "', 'INDEX "bench_', 1)
        for sql in found
    ]


def main(rows: int, runs: int, line: Callable[..., None]) -> None:
    """A line each for an import with labels and one without, and for the bare way beside it; medians of `runs`."""
    for labelled in (True, False):
        data = lines(rows, labelled=labelled)
        ours, bare = [], []
        for _ in range(runs):
            seconds, project = import_seconds(data)
            ours.append(seconds)
            bare.append(bare_seconds(project))
        what = "with verdicts and samples" if labelled else "without labels"
        took, base = statistics.median(ours), statistics.median(bare)
        line(f"import {what}", f"{took:.2f}", f"{rows / took:,.0f}", f"{base / took:.2f}x")
        line("the same rows, bare", f"{base:.2f}", f"{rows / base:,.0f}", "")

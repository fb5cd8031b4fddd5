"""How fast rows come in, beside the database's own bulk way: the same rows into the same tables, nothing computed.

On PostgreSQL that is a bare COPY of a text that is ready, elsewhere executemany of tuples that are. They go where the
import's own rows went, so that both write into indexes of one size: tasks, samples and audit entries.
"""

import io
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace

import orjson
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max

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
    """How long the rows of `project` take to be written once more, under other keys, by the database's own bulk way."""
    tasks, samples = Task.objects.filter(project=project), Sample.objects.filter(project=project)
    entries = AuditEntry.objects.filter(subject="sample", subject_id__in=samples.values("pk"))
    further = {model: _further(model) for model in (Task, Sample, AuditEntry)}
    ready = [
        (Task, _rows(tasks, further, {"uid": lambda _: new_uid(), "external_id": "bare-{}".format})),
        (Sample, _rows(samples, further, {"uid": lambda _: new_uid()})),
        (AuditEntry, _rows(entries, further, {"subject_id": lambda pk: pk + further[Sample]})),
    ]
    took = sum(_written(model, rows) for model, rows in ready)
    with connection.cursor() as cursor:  # the next keys come after these
        for sql in connection.ops.sequence_reset_sql(no_style(), [Task, Sample, AuditEntry]):
            cursor.execute(sql)
    return took


def _further(model) -> int:
    """What to add to a key of `model` for one that nobody has."""
    return model.objects.aggregate(last=Max("pk"))["last"] or 0


def _rows(rows, further, changes) -> list[tuple]:
    """The rows as the driver takes them, each with another key and what else must be its own."""
    model = rows.model
    changes = {model._meta.pk.attname: lambda pk: pk + further[model], **changes}
    for field in model._meta.concrete_fields:
        if field.related_model in further:
            changes[field.attname] = lambda pk, by=further[field.related_model]: pk + by
    fields = model._meta.concrete_fields
    return [
        tuple(
            field.get_db_prep_save(changes.get(field.attname, _same)(value), connection)
            for field, value in zip(fields, row, strict=True)
        )
        for row in rows.order_by("pk").values_list(*(field.attname for field in fields))
    ]


def _same(value):
    return value


def _written(model, rows: list[tuple]) -> float:
    table = connection.ops.quote_name(model._meta.db_table)
    names = ", ".join(connection.ops.quote_name(field.column) for field in model._meta.concrete_fields)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            ready = _as_text(cursor, table, names, rows)
            start = time.perf_counter()
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as load:
                load.write(ready)
            return time.perf_counter() - start
        marks = ", ".join(["%s"] * len(model._meta.concrete_fields))
        start = time.perf_counter()
        for first in range(0, len(rows), BLOCK):
            with transaction.atomic():
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows[first : first + BLOCK])
        return time.perf_counter() - start


def _as_text(cursor, table: str, names: str, rows: list[tuple]) -> bytes:
    """The rows as COPY writes them, and reads them back."""
    cursor.execute(f"CREATE TEMP TABLE bench_text (LIKE {table} INCLUDING GENERATED)")
    with cursor.copy(f"COPY bench_text ({names}) FROM STDIN") as load:
        for row in rows:
            load.write_row(row)
    with cursor.copy(f"COPY bench_text ({names}) TO STDOUT") as out:
        ready = b"".join(map(bytes, out))
    cursor.execute("DROP TABLE bench_text")
    return ready


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

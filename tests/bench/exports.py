"""Files beside the bare driver: the same rows fetched by its cursor in one process, encoded the shortest way, written out."""

import csv
import json
from pathlib import Path

import orjson
from django.db import connection

from exports import files, formats
from samples.models import Sample

LINES = {
    "jsonl": ("uid", "type", "content", "label_name"),
    "openai": ("content", "label_name", "locale"),
    "huggingface": ("content", "label_name"),
    "alpaca": ("content", "label_name", "locale"),
    "csv": ("uid", "type", "content", "label_name", "confidence", "locale", "validated_at"),
}
KEYS = ("id", "type", "content", "label")


def fetched(samples, columns):
    """The driver's own tuples, on PostgreSQL by a cursor with a name: without one it would hold every row."""
    sql, params = samples.order_by("pk").values_list(*columns).query.sql_with_params()
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        cursor = connection.connection.cursor("bench", withhold=True)
        cursor.itersize = 5000
        cursor.execute(sql, params)
    else:
        cursor = connection.connection.cursor().execute(sql.replace("%s", "?"), params)
    yield from cursor
    cursor.close()


def driver(format: str, samples, out: Path) -> None:
    project = samples.first().project
    prompts = {locale: project.prompts_for(locale) for locale in ("en", "fr", "zh")}
    chats = {locale: words.chat.replace("{content}", "") for locale, words in prompts.items()}
    index = {name: number for number, name in enumerate(project.labels.values_list("name", flat=True))}
    records = {
        "jsonl": lambda *row: dict(zip(KEYS, row, strict=True)),
        "openai": lambda text, label, locale: {
            "messages": [{"role": "user", "content": chats[locale] + text}, {"role": "assistant", "content": label}]
        },
        "huggingface": lambda text, label: {"text": text, "label": label, "label_id": index[label]},
        "alpaca": lambda text, label, locale: {
            "instruction": prompts[locale].instruction,
            "input": text,
            "output": label,
        },
    }
    if format == "csv":
        with out.open("w", newline="") as file:
            csv.writer(file).writerows(fetched(samples, LINES[format]))
        return
    record = records[format]
    with out.open("wb") as file:
        for row in fetched(samples, LINES[format]):
            file.write(orjson.dumps(record(*row)) + b"\n")


def model_instances(samples, out: Path) -> None:
    """Django's `.iterator()` and the standard library's json."""
    with out.open("w") as file:
        for sample in samples.order_by("pk").iterator():
            row = (sample.uid, sample.type, sample.content, sample.label_name)
            file.write(json.dumps(dict(zip(KEYS, row, strict=True)), ensure_ascii=False) + "\n")


def ours(format: str, samples, out: Path, **how) -> None:
    with out.open("wb") as file:
        for chunk in files.file_of(samples, format=format, **how).chunks():
            file.write(chunk)


def ways(samples, out: Path):
    """(what, what it is compared with, the work), each to be timed in turn with the others."""
    for format in LINES:
        base = f"driver, {format}"
        yield base, None, lambda format=format: driver(format, samples, out)
        yield f"LabelHub, {format}", base, lambda format=format: ours(format, samples, out)
    yield "model instances, jsonl", "driver, jsonl", lambda: model_instances(samples, out)
    for format in formats.names():
        wanted = formats.get(format)
        if format not in LINES and not isinstance(wanted, formats.Folders) and _holds(wanted):
            yield f"LabelHub, {format}", "driver, jsonl", lambda format=format: ours(format, samples, out)
    yield (
        "LabelHub, jsonl, train/val/test ZIP",
        "driver, jsonl",
        lambda: ours("jsonl", samples, out, ratios="0.8/0.1/0.1"),
    )


def _holds(format) -> bool:
    return format.takes is None or "TEXT_CLASSIFICATION" in format.takes


def of_project(project) -> object:
    return Sample.objects.filter(project=project).approved()

"""Uploads put aside until somebody has said what their columns mean, and their import."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from itertools import islice
from typing import Any, BinaryIO, cast

from django.core.files.storage import default_storage
from django.utils import timezone

from labelhub.accounts.models import User
from samples.errors import BadFile, BadRow
from samples.models import Project

from .importing import import_tasks
from .reading import Layout, read
from .recognising import Columns

FOLDER = "imports"
KEPT_FOR = timedelta(days=1)
PREVIEW_ROWS = 5
ERRORS_SHOWN = 100


def keep(file, *, token: str) -> str:
    """Store an uploaded file under a name nobody can guess; its path. Uploads that nobody came back for go."""
    with suppress(FileNotFoundError, NotImplementedError):  # no folder yet; a storage that cannot list
        for name in default_storage.listdir(FOLDER)[1]:
            path = f"{FOLDER}/{name}"
            if default_storage.get_modified_time(path) < timezone.now() - KEPT_FOR:
                default_storage.delete(path)
    return default_storage.save(f"{FOLDER}/{token}", file)


def is_kept(path: str) -> bool:
    return default_storage.exists(path)


def size(path: str) -> int:
    return default_storage.size(path)


def forget(path: str) -> None:
    default_storage.delete(path)


def opened(path: str) -> BinaryIO:
    return cast(BinaryIO, default_storage.open(path, "rb"))


def first_rows(*, path: str, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns of a file, in the order they turn up, and the first of its rows that can be read."""
    with opened(path) as file:
        found = islice(read(file, name=name, layout=Layout()), PREVIEW_ROWS * 4)
        rows = [row for _, row in found if not isinstance(row, BadRow)][:PREVIEW_ROWS]
    if not rows:
        raise BadFile(f"{name}: none of the first rows can be read")
    return list(dict.fromkeys(name for row in rows for name in row)), rows


def import_kept(
    project: int,
    *,
    path: str,
    name: str,
    columns: dict[str, str],
    source: str,
    labels_as: str,
    annotator: int | None,
    on_error: str,
    by=None,
    written: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Import a file that was put aside, and say as plain data what became of it."""
    with opened(path) as file:
        imported = import_tasks(
            Project.objects.get(pk=project),
            file,
            name=name,
            source=source,
            by=by,
            columns=Columns(**columns),  # type: ignore[arg-type]
            labels_as=labels_as,  # type: ignore[arg-type]
            annotator=annotator and User.objects.get(pk=annotator),
            on_error=on_error,  # type: ignore[arg-type]
            written=written,
        )
    errors = [error._asdict() for error in imported.errors[:ERRORS_SHOWN]]
    return {**asdict(imported), "errors": errors, "name": name, "source": source}

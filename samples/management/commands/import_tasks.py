"""manage.py import_tasks FILE --project P: rows of a file become tasks of a project."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import ProtectedError
from tqdm import tqdm

from labelhub.accounts.models import User
from labelhub.facts import Fact
from samples import task_types
from samples.intake import KINDS, Columns, Layout, import_tasks
from samples.models import Label, Project
from samples.projects import add_labels, create_project

ERRORS_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Make tasks of the rows of a CSV, TSV, JSONL, JSON or Parquet file (by its ending; text files also as .gz). "
        "A file that cannot be taken is refused before anything is written, and the same file twice changes nothing."
    )

    def add_arguments(self, parser: argparse.ArgumentParser):
        parser.add_argument("file", help="the file, or - for standard input (then say --format)")
        parser.add_argument("--project", required=True)
        parser.add_argument("--create", action="store_true", help="make the project if it is not there (needs --type)")
        parser.add_argument("--type", choices=task_types.names(), help="the task type of a new project")
        parser.add_argument("--labels", metavar="A,B,C", help="labels the project shall have, in this order")
        parser.add_argument(
            "--new-labels", action="store_true", help="add labels the file brings to the list (with --create: always)"
        )
        parser.add_argument("--source", default="import", help="the project's source to import into (%(default)s)")
        parser.add_argument("--dataset", help="a dataset this source shall belong to; made if it is not there")
        fields = parser.add_argument_group("columns", "by name, or 1, 2, … with --no-header")
        for part in ("content", "label", "id"):
            fields.add_argument(f"--{part}-field", metavar="COLUMN")
        parser.add_argument("--locale", help="the locale of every row (else its own, or the project's)")
        parser.add_argument("--label-map", metavar="1=Positive,0=Negative", help="labels of the file, renamed")
        parser.add_argument("--labels-as", choices=["verdict", "annotations"], default="verdict")
        parser.add_argument(
            "--annotator", metavar="USER", help="whose answers the labels are (--labels-as annotations)"
        )
        parser.add_argument("--on-error", choices=["stop", "skip"], default="stop")
        parser.add_argument("--format", choices=sorted(set(KINDS.values())), help="whatever the file's ending says")
        parser.add_argument("--encoding", default="utf-8")
        parser.add_argument("--no-header", action="store_true", help="the first line is a row like the others")
        parser.add_argument("--delimiter", help=r"what stands between cells (, or a tab; \t is a tab)")
        parser.add_argument(
            "--quotes",
            choices=["auto", "always", "never"],
            default="auto",
            help="whether double quotes enclose cells; auto: always in CSV, where they are closed in their line in TSV",
        )

    def handle(self, *args, **options):
        layout = Layout(
            kind=options["format"],
            encoding=options["encoding"],
            header=not options["no_header"],
            delimiter=options["delimiter"] and options["delimiter"].replace("\\t", "\t"),
            quotes=options["quotes"],
        )
        columns = Columns(
            content=options["content_field"],
            label=options["label_field"],
            id=options["id_field"],
            label_map=_label_map(options["label_map"]),
        )
        began = perf_counter()
        try:
            with _opened(options["file"], layout) as (file, name, progress), _project(options) as project:
                imported = import_tasks(
                    project,
                    file,
                    name=name,
                    source=options["source"],
                    columns=columns,
                    layout=layout,
                    labels_as=options["labels_as"],
                    annotator=_user(options["annotator"]),
                    locale=options["locale"],
                    dataset=options["dataset"],
                    on_error=options["on_error"],
                    new_labels=options["create"] or options["new_labels"],
                    progress=progress,
                )
        except Fact as fact:
            raise CommandError(fact.message) from fact
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}") from error
        self._report(imported, name, perf_counter() - began)

    def _report(self, imported, name, seconds):
        for error in imported.errors[:ERRORS_SHOWN]:
            self.stderr.write(str(error))
        if imported.skipped > ERRORS_SHOWN:
            self.stderr.write(f"… and {imported.skipped - ERRORS_SHOWN:,} more")
        rows = imported.created + imported.updated + imported.unchanged + imported.skipped
        added = f"; new labels: {_shown(imported.labels_added)}" if imported.labels_added else ""
        self.stdout.write(
            f"{name}: {rows:,} rows: {imported.created:,} created, {imported.updated:,} updated, "
            f"{imported.unchanged:,} unchanged, {imported.skipped:,} skipped{added} ({rows / seconds:,.0f} rows/s)"
        )


@contextmanager
def _project(options) -> Iterator[Project]:
    """The project, made or given labels where that was asked for; both are undone if nothing of the file is taken."""
    with transaction.atomic():
        known = list(Label.objects.filter(project__name=options["project"]).values_list("pk", flat=True))
        is_new = not Project.objects.filter(name=options["project"]).exists()
        project = _found_or_made(options)
    try:
        yield project
    except BaseException:
        with suppress(ProtectedError):  # somebody works with it already
            if is_new and not project.tasks.exists():
                project.delete()
            elif not is_new:
                project.labels.exclude(pk__in=known).delete()
        raise


def _found_or_made(options) -> Project:
    labels = [name.strip() for name in (options["labels"] or "").split(",") if name.strip()]
    project = Project.objects.filter(name=options["project"]).first()
    if project is None:
        if not options["create"]:
            raise CommandError(f"there is no project {options['project']!r}; --create makes it")
        if not options["type"]:
            raise CommandError(f"--create needs --type, one of: {', '.join(task_types.names())}")
        own = {"locale": options["locale"]} if options["locale"] else {}
        return create_project(options["project"], task_type=options["type"], labels=labels, **own)
    if options["type"] not in (None, project.task_type):
        raise CommandError(f"the project {project.name} is of type {project.task_type}, not {options['type']}")
    add_labels(project, labels)
    return project


def _user(name):
    if name is None:
        return None
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"there is no user {name!r}")
    return user


def _label_map(text) -> dict[str, str]:
    pairs = {}
    for pair in text.split(",") if text else ():
        given, equals, meant = (part.strip() for part in pair.partition("="))
        if not (given and equals and meant):
            raise CommandError(f"--label-map {pair!r} is not like 1=Positive")
        if given in pairs:
            raise CommandError(f"--label-map names {given!r} twice")
        pairs[given] = meant
    return pairs


@contextmanager
def _opened(path, layout):
    """The file, its name and the progress bar's callback; standard input is kept in a temporary file first."""
    if path != "-":
        with open(path, "rb") as file, _bar(Path(path).stat().st_size, Path(path).name) as bar:
            yield file, Path(path).name, bar.update
        return
    if layout.kind is None:
        raise CommandError("standard input has no ending: say --format")
    with tempfile.TemporaryFile() as file:  # a slow pipe must not hold up everybody else's writes
        shutil.copyfileobj(sys.stdin.buffer, file)
        size = file.tell()
        file.seek(0)
        with _bar(size, "standard input") as bar:
            yield file, "standard input", bar.update


def _bar(size, name):
    return tqdm(total=size, desc=name, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty())


def _shown(names):
    return ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")

"""Taking out what nobody needs any more, with all that hangs on it; what a reviewer approved or a batch carries stays."""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import Model, ProtectedError, QuerySet
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.roles import Power

from .errors import StillNeeded
from .models import Annotation, Dataset, Project, Sample, Source, Task
from .permissions import require

CHUNK = 500


@transaction.atomic
def delete_tasks(tasks: QuerySet[Task], *, project: Project, by) -> int:
    """Delete those of `tasks` that are of `project`, with answers, guesses and waiting samples; returns how many.

    Where one of them has become an approved sample, StillNeeded, and nothing is deleted.
    """
    require(by, Power.MANAGE, project)
    own = tasks.filter(project=project)
    sources = list(own.order_by().values_list("source", flat=True).distinct())
    approved = Sample.objects.approved().filter(task__in=own.order_by().values("pk"))
    held = list(approved.values_list("task__external_id", flat=True)[:5])
    if held:
        raise StillNeeded(f"approved as training data: {', '.join(held)}", ids=held)
    gone = sum(_delete_chunk(project, chunk) for chunk in _chunks(own))
    Dataset.objects.filter(sources__in=sources).update(updated_at=timezone.now())  # there is less in them now
    return gone


@transaction.atomic
def delete_source(source: Source, *, by) -> None:
    """Delete `source` with its tasks."""
    delete_tasks(Task.objects.filter(source=source), project=source.project, by=by)
    _delete(source)
    audit.record(source.project, "delete source", by=by, before=str(source)[:200])


@transaction.atomic
def delete_dataset(dataset: Dataset, *, by) -> None:
    """Delete `dataset`; the sources it names, their tasks and answers stay."""
    require(by, Power.MANAGE, dataset.project)
    _delete(dataset)
    audit.record(dataset.project, "delete dataset", by=by, before=str(dataset)[:200])


@transaction.atomic
def delete_project(project: Project, *, by, with_contents: bool = False) -> None:
    """Delete `project`: an empty one, or one `with_contents`, unless they hold approved samples, batches or models."""
    require(by, Power.MANAGE, project)
    held = {
        name: count
        for name, count in (("sources", project.sources.count()), ("datasets", project.datasets.count()))
        if count
    }
    if held and not with_contents:
        raise StillNeeded(f"{project.name} holds {held}", held=held)
    audit.record(project, "delete", by=by, before=project.name[:200])
    for dataset in project.datasets.all():
        _delete(dataset)
    for source in project.sources.all():
        delete_source(source, by=by)
    _delete(project)


def _chunks(tasks: QuerySet[Task]) -> Iterator[list[int]]:
    last = 0
    while chunk := list(tasks.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        yield chunk
        last = chunk[-1]


def _delete_chunk(project: Project, pks: list[int]) -> int:
    try:
        Sample.objects.filter(task__in=pks).delete()
        Annotation.objects.filter(task__in=pks).delete()
        Task.objects.filter(pk__in=pks).delete()
    except ProtectedError as error:
        raise StillNeeded(f"carried by a batch of {project.name}: {_named(error)}") from error
    return len(pks)


def _delete(row: Model) -> None:
    try:
        row.delete()
    except ProtectedError as error:
        raise StillNeeded(f"{row._meta.verbose_name} {row} is needed by {_named(error)}") from error


def _named(error: ProtectedError) -> str:
    """The first of the rows that stand in the way."""
    held = next(iter(error.protected_objects))
    return f"{held._meta.verbose_name} {held}"

"""Sources and datasets begin and change: the channels items come through, and named choices of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import IntegrityError, transaction

from labelhub.accounts.roles import Power

from .errors import InvalidValue, NameTaken
from .models import Dataset, Project, Source
from .permissions import require
from .projects import add_labels, checked

Row = TypeVar("Row", Source, Dataset)


@transaction.atomic
def create_source(project: Project, name: str, *, by, **fields) -> Source:
    """A new channel of `project`."""
    require(by, Power.MANAGE, project)
    return _created(Source(project=project, name=name, **fields))


@transaction.atomic
def create_dataset(
    project: Project, name: str, *, by, sources: Iterable[Source] = (), labels: Sequence[str] = (), **fields
) -> Dataset:
    """A new choice of `sources`, all of `project`; those of `labels` the project does not have are appended to its list."""
    require(by, Power.MANAGE, project)
    dataset = _created(Dataset(project=project, name=name, **fields))
    dataset.sources.set(own(sources, project))
    add_labels(project, labels)
    return dataset


@transaction.atomic
def update_source(source: Source, *, by, properties: Mapping[str, Any] | None = None, **fields) -> Source:
    """Change the named fields of `source`; `properties` are merged into those it has."""
    require(by, Power.MANAGE, source.project)
    return _changed(source, properties, fields)


@transaction.atomic
def update_dataset(
    dataset: Dataset,
    *,
    by,
    sources: Iterable[Source] | None = None,
    properties: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    **fields,
) -> Dataset:
    """Change the named fields of `dataset`; `sources`, if given, replace those it has."""
    require(by, Power.MANAGE, dataset.project)
    add_labels(dataset.project, labels)
    if sources is not None:
        dataset.sources.set(own(sources, dataset.project))
    return _changed(dataset, properties, fields, touch=sources is not None)


@transaction.atomic
def amend_properties(dataset: Dataset, change: Callable[[dict[str, Any]], None]) -> Dataset:
    """Let `change` alter the properties of `dataset`, read afresh under a lock: of two at once, neither loses."""
    dataset.refresh_from_db(
        from_queryset=Dataset.objects.select_for_update(no_key=True, of=("self",)).select_related("project")
    )
    change(dataset.properties)
    dataset.save(update_fields=["properties"])
    return dataset


def own(sources: Iterable[Source], project: Project) -> list[Source]:
    """`sources`, if all are of `project`: labels and members are the project's, so a dataset stays inside it."""
    sources = list(sources)
    strangers = [str(source) for source in sources if source.project_id != project.pk]
    if strangers:
        raise InvalidValue(f"not a source of the project {project.name}: {strangers[0]}", field="sources")
    return sources


def _created(row: Row) -> Row:
    """Save the new `row`, unless its project has one of that name."""
    taken = NameTaken(f"there is a {row._meta.verbose_name} called {row.project.name}/{row.name}", name=row.name)
    if type(row).objects.filter(project=row.project, name=row.name).exists():
        raise taken
    checked(row)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:  # another was faster
        raise taken from error
    return row


def _changed(row: Row, properties, fields, *, touch=False) -> Row:
    """Save what is new on `row`, read afresh under a lock: two who change properties at once lose nothing."""
    if not (fields or properties or touch):
        return row
    row.refresh_from_db(
        from_queryset=type(row).objects.select_for_update(no_key=True, of=("self",)).select_related("project")
    )
    for name, value in fields.items():
        setattr(row, name, value)
    row.properties = row.properties | dict(properties or {})
    checked(row)
    row.save(update_fields=[*fields, "properties", "updated_at"])
    return row

"""A project begins, and its list of labels grows."""

from collections.abc import Iterable, Sequence

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from labelhub.accounts.models import User
from labelhub.accounts.roles import Power, Role

from .errors import InvalidValue, NameTaken
from .models import Label, Membership, Project
from .permissions import require

# Labels are told apart at a glance: each next one takes the next colour, dark enough for white letters on it.
COLOURS = (
    "#1A73E8",
    "#B3261E",
    "#1E7B34",
    "#8E24AA",
    "#A15C00",
    "#00707C",
    "#C2185B",
    "#4B5563",
    "#5E6AD2",
    "#6B7A00",
)


def checked(row: models.Model, *, may_be_taken: bool = False) -> models.Model:
    """`row`, if its fields and constraints hold; else InvalidValue naming the first field that does not.

    With `may_be_taken` whether its name is free is left to the database.
    """
    try:
        row.full_clean(validate_unique=not may_be_taken)
    except ValidationError as error:
        field, reasons = next(iter(error.message_dict.items()))
        what = "" if field == "__all__" else f"{field} {getattr(row, field, '')!r}: "
        raise InvalidValue(f"{row._meta.verbose_name} {what}{reasons[0]}", field=field) from error
    return row


@transaction.atomic
def create_project(
    name: str, *, task_type: str, labels: Sequence[str] = (), by=None, managers: Iterable[User] = (), **fields
) -> Project:
    """A new project with `labels` in this order; `by`, if anyone, becomes its manager, and so do `managers`."""
    if Project.objects.filter(name=name).exists():
        raise NameTaken(f"there is a project called {name}", name=name)
    project = Project(name=name, task_type=task_type, created_by=by, **fields)
    checked(project, may_be_taken=True)
    try:
        with transaction.atomic():
            project.save()
    except IntegrityError as error:  # by somebody else, in this moment
        raise NameTaken(f"there is a project called {name}", name=name) from error
    people = {person.pk: person for person in (by, *managers) if person is not None}
    Membership.objects.bulk_create(
        Membership(project=project, user=person, role=Role.MANAGER) for person in people.values()
    )
    add_labels(project, labels)
    return project


@transaction.atomic
def update_project(project: Project, *, by, **fields) -> Project:
    """Change the named fields of `project`."""
    require(by, Power.MANAGE, project)
    if fields:
        for name, value in fields.items():
            setattr(project, name, value)
        checked(project).save(update_fields=[*fields, "updated_at"])
    return project


@transaction.atomic
def add_labels(project: Project, names: Iterable[str]) -> list[Label]:
    """Append to the project's list those of `names` it does not hold yet, in their order; returns the new ones."""
    Project.objects.select_for_update(no_key=True).get(
        pk=project.pk
    )  # two who append at once must not share a position
    held = dict(project.labels.values_list("name", "position"))
    wanted = [name for name in dict.fromkeys(names) if name not in held]
    if not wanted:
        return []
    if not project.kind.has_labels:
        raise InvalidValue(f"a project of type {project.task_type} has no labels", field="labels")
    first = max(held.values(), default=-1) + 1
    labels = [
        Label(project=project, name=name, position=place, colour=COLOURS[place % len(COLOURS)])
        for place, name in enumerate(wanted, first)
    ]
    for label in labels:
        checked_label(label)
    return Label.objects.bulk_create(labels)


def checked_label(label: Label) -> None:
    """Refuse a label that cannot stand in a list; the constraints of the table need no query here."""
    check_label_name(label.name)
    try:
        label.clean_fields(exclude=["project", "name"])
    except ValidationError as error:
        raise InvalidValue(f"label {label.name!r}: {error.messages[0]}", field="labels") from error


def check_label_name(name: str) -> None:
    """Refuse, with InvalidValue, a name that cannot be told from another on a page or does not fit its column."""
    most = Label._meta.get_field("name").max_length or 0
    if not name or name != name.strip() or not name.isprintable() or len(name) > most:
        raise InvalidValue(
            f"{name[:80]!r} cannot be a label: 1 to {most} characters, none of them control characters, "
            "no spaces before or after",
            field="label",
        )

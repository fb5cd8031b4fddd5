"""Changing the list of labels safely: one that stands in answers or verdicts keeps its name and its position."""

from django.db import transaction
from django.db.models import Case, F, Value, When

from labelhub.accounts.roles import Power

from .errors import LabelInUse, NameTaken
from .models import Label, Project
from .permissions import require
from .projects import check_label_name, checked_label


@transaction.atomic
def rename_label(label: Label, *, name: str, by) -> Label:
    """Call an unused `label` something else."""
    require(by, Power.MANAGE, label.project)
    _hold(label.project)
    _refuse_used([label], "renamed")
    check_label_name(name)
    if label.project.labels.exclude(pk=label.pk).filter(name=name).exists():
        raise NameTaken(f"{label.project.name} has a label called “{name}” already")
    label.name = name
    label.save(update_fields=["name"])
    return label


def recolour_label(label: Label, *, colour: str, by) -> Label:
    """Paint `label`, in use or not, with `colour`, as #RRGGBB."""
    require(by, Power.MANAGE, label.project)
    label.colour = colour
    checked_label(label)
    label.save(update_fields=["colour"])
    return label


@transaction.atomic
def move_label(label: Label, *, to: int, by) -> Label:
    """Put `label` at position `to` of its project's list; every label whose position changes must be unused."""
    require(by, Power.MANAGE, label.project)
    _hold(label.project)
    label.refresh_from_db()
    labels = label.project.labels
    to = max(0, min(to, labels.count() - 1))
    low, high = sorted((label.position, to))
    moved = labels.filter(position__range=(low, high))
    _refuse_used(moved, "moved")
    step = -1 if label.position < to else 1
    # Out of the way first, then to the new places: no two labels ever share a position.
    aside = labels.count()
    shifted = list(moved.values_list("pk", flat=True))
    moved.update(position=F("position") + aside)
    Label.objects.filter(pk__in=shifted).update(
        position=Case(When(pk=label.pk, then=Value(to)), default=F("position") - aside + step)
    )
    label.refresh_from_db()
    return label


@transaction.atomic
def delete_label(label: Label, *, by) -> None:
    """Delete an unused `label` and close the gap; the labels after it must be unused too, for their positions change."""
    require(by, Power.MANAGE, label.project)
    last = label.project.labels.count() - 1
    _refuse_used([label], "deleted")
    move_label(label, to=last, by=by)
    label.delete()


def _hold(project):
    """One change of a project's labels at a time."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _refuse_used(labels, done):
    used = [label.name for label in labels if label.is_in_use]
    if used:
        raise LabelInUse(f"in use, and cannot be {done}: {', '.join(used)}", labels=used)

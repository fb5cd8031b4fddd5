"""Where an order goes: into the project it names, or into the buyer's own for its type, made when he first asks."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.utils.text import Truncator

from labelhub.accounts.models import User, new_uid
from labelhub.accounts.roles import Power, Role
from samples import task_types
from samples.asking import ask, check_options
from samples.errors import NameTaken
from samples.models import Membership, Project, Task
from samples.permissions import require
from samples.projects import add_labels, create_project

from .envelope import Wrong
from .serializers import DEFAULT_VALIDATIONS, KEPT, Order

SOURCE = "dloopiq"
MOST_LABELS = 100  # options beyond stay the item's own: a list that grows with every question is no list of labels

HOUR_MS = 3_600_000
LOOKED_AT = 50  # verdicts


@transaction.atomic
def place(order: Order, *, by: User, project: Project | None) -> Task:
    """Make the task that is ordered, in `project` or in the buyer's own."""
    project = own_project(order.type, buyer=by) if project is None else project
    if project.task_type != order.type:
        raise Wrong(f"the project {project.name} takes {project.task_type}, not {order.type}", "INVALID_TYPE")
    require(by, Power.IMPORT, project)
    learn_labels(project, order.options, by=by)
    return ask(
        project,
        order.content,
        by=by,
        source=SOURCE,
        options=order.options,
        locale=order.locale,
        validations_needed=order.validations_needed,
        metadata={KEPT: {"maxCents": order.max_cents, "costCents": order.cost_cents}},
    )


def own_project(task_type: str, *, buyer: User) -> Project:
    """The project in which `buyer` asks for labels of `task_type` without naming one.

    He is its buyer, and its manager only where he might have created it himself. It is known by who made it: a name
    alone could be taken by somebody who would like to read along.
    """
    name = f"orders-{buyer.uid}-{task_type}"
    mine = Project.objects.filter(created_by=buyer, task_type=task_type, name__startswith=name).order_by("pk")
    project = mine.first()
    if project is None:
        try:
            with transaction.atomic():
                project = _created(name, task_type, buyer)
        except (NameTaken, IntegrityError):  # by his own other request, or by somebody else
            project = mine.first() or _created(f"{name}-{new_uid()}", task_type, buyer)
    return project


def _created(name: str, task_type: str, buyer: User) -> Project:
    title = Truncator(f"{buyer.get_username()}: {task_types.get(task_type).title}").chars(128)
    project = create_project(
        name,
        task_type=task_type,
        by=buyer,
        title=title,
        validations_needed=DEFAULT_VALIDATIONS,
        consensus_rule="weighted",
    )
    if not buyer.has_perm("samples.add_project"):
        Membership.objects.filter(project=project, user=buyer).update(role=Role.BUYER)
    return project


def learn_labels(project: Project, options: Sequence[str], *, by: User) -> None:
    """Append `options` to the labels of a project that began with such orders, or that `by` manages.

    So `label_id` in exports follows the order in which the options were given. Elsewhere they stay the item's own.
    """
    check_options(project, options)
    if not project.kind.has_labels:
        return
    held = set(project.labels.values_list("name", flat=True))
    new = [option for option in options if option not in held]
    is_theirs = project.created_by_id == by.pk or Project.objects.where(by, Power.MANAGE).filter(pk=project.pk).exists()
    if new and is_theirs and len(held) + len(new) <= MOST_LABELS:
        add_labels(project, new)


def expected_ms(project: Project) -> int:
    """How long a task of `project` has taken of late, from question to verdict, in milliseconds; an hour where none has."""
    settled = Task.objects.completed().filter(project=project, decided_by=None).order_by("-pk")
    took = [
        at - asked for asked, at in settled.values_list("created_at", "validated_at")[:LOOKED_AT] if at and at > asked
    ]
    return round(sorted(took)[len(took) // 2].total_seconds() * 1000) if took else HOUR_MS

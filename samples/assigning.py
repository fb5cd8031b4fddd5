"""Assigning: the next task for an annotator, lent to him for a while, so that nobody is asked in vain."""

import random
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from labelhub.accounts.roles import Power

from .errors import InvalidValue
from .models import Annotation, Assignment, Project, Task, TaskOrder
from .permissions import require


def take_next(project: Project, *, user, order: str | None = None, skipping: Collection[int] = ()) -> Assignment | None:
    """Lend `user` the next task of `project` for TASK_LEASE_MINUTES; None where none is left for him.

    Who holds one is given the same again, for as long again. A task is lent to as many at once as it still needs
    answers. `order` is a name in ORDERS, else the project's own; `skipping` holds the ids of tasks that he passed over.
    """
    require(user, Power.ANNOTATE, project)
    pick = picker(order or project.task_order)
    mine = Assignment.objects.filter(annotator=user, task__project=project)
    mine.filter(until__lte=timezone.now()).delete()
    waiting = waiting_for(user, project=project, skipping=skipping)
    # First which he holds, few, then whether they wait: in one query SQLite looks through every task of the project.
    held = list(mine.values_list("task_id", flat=True))
    pk = waiting.filter(pk__in=held).values_list("pk", flat=True).first() if held else None
    while pk is not None or (pk := pick(waiting, project)) is not None:
        if assignment := _lend(waiting, pk, user=user):
            return assignment
        pk = None  # somebody was faster: look again
    return None


def release(task: Task, *, user) -> bool:
    """Give `task` back before its time, unanswered; False where `user` did not hold it."""
    gone, _ = Assignment.objects.filter(task=task, annotator=user).delete()
    return bool(gone)


def waiting_for(user, *, project: Project, skipping: Collection[int] = ()) -> QuerySet[Task]:
    """The open tasks of `project` that `user` has not answered and that others, by now, do not answer enough."""
    given = _count(Annotation.objects.all())
    lent = _count(Assignment.objects.live().exclude(annotator=user))
    return (
        Task.objects.where(user, Power.ANNOTATE)
        .filter(project=project)
        .unanswered_by(user)
        .exclude(pk__in=skipping)
        .alias(given=given, lent=lent)
        .filter(given__lt=Coalesce("validations_needed", "project__validations_needed") - F("lent"))
    )


def _count(rows):
    counted = rows.filter(task=OuterRef("pk")).order_by().values("task").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted), 0)


@transaction.atomic
def _lend(waiting, pk, *, user):
    """Write the assignment of task `pk`, if under its lock it is still among those `waiting`; else None."""
    Task.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk").first()
    task = waiting.filter(pk=pk).select_related("project", "source").first()  # a new look: others may have come first
    if task is None:
        return None
    until = timezone.now() + timedelta(minutes=settings.TASK_LEASE_MINUTES)
    assignment = Assignment(task=task, annotator=user, until=until)
    Assignment.objects.bulk_create(  # one statement, whether he held it before or not
        [assignment], update_conflicts=True, unique_fields=["task", "annotator"], update_fields=["until"]
    )
    return assignment


# Which first ----------------------------------------------------------------------------------------------------------

dice = random.Random()  # what is drawn at random; a test may seed it
DRAWN = 64  # places tried at once for a task that waits
LOOKED_AT = 8  # of those that hold an open one: it may be lent to others, or answered by the one who asks


def by_age(waiting: QuerySet[Task], project: Project, *, last: bool = False) -> int | None:
    """The id of the first of `waiting` (or of the last).

    The first of each open state is looked up in the index on (project, status, id), and the older of the two taken.
    """
    order = "-pk" if last else "pk"
    firsts = [Subquery(waiting.filter(status=status).order_by(order).values("pk")[:1]) for status in Task.OPEN]
    found = Task.objects.filter(Q(pk=firsts[0]) | Q(pk=firsts[1]))
    return found.order_by(order).values_list("pk", flat=True).first()


def at_random(waiting: QuerySet[Task], project: Project) -> int | None:
    """The id of any of `waiting`, each as likely as another; cheap in any number.

    Places between the oldest and the newest are drawn until one holds a task that waits. Where hardly any does, the
    first after a random place is taken: then the task after a gap is drawn more often.
    """
    first, last = by_age(waiting, project), by_age(waiting, project, last=True)
    if first is None or last is None:
        return None
    drawn = [dice.randint(first, last) for _ in range(DRAWN)]
    # By their keys alone, and then one by one: asked for both at once, SQLite walks through the project instead.
    places = dict(Task.objects.filter(pk__in=drawn, status__in=Task.OPEN).order_by().values_list("pk", "project"))
    for pk in [pk for pk in drawn if places.get(pk) == project.pk][:LOOKED_AT]:
        if waiting.filter(pk=pk).exists():
            return pk
    return by_age(waiting.filter(pk__gte=drawn[0]), project)


def by_margin(waiting: QuerySet[Task], project: Project) -> int | None:
    """The id of that of `waiting` which the model was most torn about; by age where it has guessed about none of them.

    A share of them, the project's own, is drawn at random: a model that chooses its own lessons would never hear of
    what it is wrongly sure about, and figures on what it chose would not be those of the whole.
    """
    if dice.random() < project.random_share:
        return at_random(waiting, project)
    guessed = waiting.filter(margin__isnull=False).order_by("margin", "pk")
    firsts = [Subquery(guessed.filter(status=status).values("pk")[:1]) for status in Task.OPEN]
    found = Task.objects.filter(Q(pk=firsts[0]) | Q(pk=firsts[1]))
    pk = found.order_by("margin", "pk").values_list("pk", flat=True).first()
    return by_age(waiting, project) if pk is None else pk


ORDERS: Mapping[str, Callable[[QuerySet[Task], Project], int | None]] = {
    TaskOrder.AGE.value: by_age,
    TaskOrder.MARGIN.value: by_margin,
    TaskOrder.RANDOM.value: at_random,
}


def picker(order: str) -> Callable[[QuerySet[Task], Project], int | None]:
    """The rule called `order`; InvalidValue, naming the known ones, where there is none."""
    try:
        return ORDERS[order]
    except KeyError:
        known = list(ORDERS)
        raise InvalidValue(f"order is {order!r}; it may be {' or '.join(known)}", field="order", known=known) from None

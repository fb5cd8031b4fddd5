"""What is found out about new texts once they are in: their figures, and which of them are nearly the same.

Both are jobs beside the import, in blocks that resume where they stopped, so that an import takes no longer for them.
"""

from collections.abc import Callable

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from labelhub.jobs import queue
from labelhub.jobs.models import Job
from labelhub.setwise import Ids, insert_rows

from . import duplicates, quality, task_types
from .models import Project, Task, TextStatistics

MEASURE, COMPARE = "samples.measure_texts", "samples.find_duplicates"
BLOCK = 1_000  # texts in one transaction

Told = Callable[[int, int], object]


def look_over(project: Project, *, by=None) -> None:
    """Have the new texts of `project` measured and compared; a job that waits already will see them too."""
    for kind in (MEASURE, COMPARE):
        waiting = Job.objects.filter(kind=kind, state=Job.State.QUEUED).values_list("params", flat=True)
        if {"project": project.pk} not in waiting:
            queue.submit(kind, {"project": project.pk}, by=by)


def measure_texts(tasks: QuerySet[Task], *, told: Told | None = None) -> int:
    """Write the figures of those of `tasks` that have none; returns how many. May be stopped and run again."""
    unmeasured = ~Exists(TextStatistics.objects.filter(task=OuterRef("pk")))
    ids = list(tasks.filter(unmeasured, type__in=text_types()).order_by("pk").values_list("pk", flat=True))
    measured = 0
    for start in range(0, len(ids), BLOCK):
        measured += _measure(ids[start : start + BLOCK])
        if told:
            told(start + BLOCK, len(ids))
    return measured


def _measure(ids: list[int]) -> int:
    """Measure outside the transaction, for it takes a moment, then write what nobody else has written meanwhile."""
    texts = Task.objects.filter(pk__in=Ids(ids)).values_list("pk", "content", "locale")
    figures = {pk: quality.measure(content, locale) for pk, content, locale in texts}
    with transaction.atomic():
        # Two runs side by side come one after the other, and a task that was deleted meanwhile gets no row.
        there = Task.objects.select_for_update(no_key=True).filter(pk__in=Ids(ids)).order_by("pk")
        left = set(there.values_list("pk", flat=True)) & figures.keys()
        left -= set(TextStatistics.objects.filter(task__in=Ids(ids)).values_list("task_id", flat=True))
        rows = [(pk, *figures[pk]) for pk in sorted(left)]
        insert_rows(TextStatistics, ("task", *quality.Figures._fields), rows, same={})
    return len(rows)


def compare_texts(tasks: QuerySet[Task], *, told: Told | None = None) -> int:
    """Find what those of `tasks` that were never compared are nearly the same as; returns how many."""
    return duplicates.index_tasks(tasks, told=told)


def forget(task_ids: list[int]) -> None:
    """The texts of these tasks have changed: what was found out about them is no longer true."""
    if not task_ids:
        return
    TextStatistics.objects.filter(task__in=Ids(task_ids)).delete()
    duplicates.forget(task_ids)


def text_types() -> list[str]:
    """The task types whose items are texts."""
    return [name for name in task_types.names() if task_types.get(name).sample_type == "TEXT"]

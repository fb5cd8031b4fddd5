"""What is found out about new texts once they are in: their figures, and which of them are nearly the same.

Both are jobs beside the import, in blocks that resume where they stopped, so that an import takes no longer for them.
"""

from collections.abc import Callable

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Left

from labelhub.jobs import queue
from labelhub.jobs.models import Job
from labelhub.setwise import Ids, insert_rows, update_each

from . import duplicates, perplexity, quality, task_types
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


def tell_perplexities(project: int, *, told: Told | None = None) -> int:
    """Tell how surprising the measured texts of `project` are among those of their locale; returns for how many.

    The texts that were never told, and all of a locale once it has grown enough for a new model. Models are not kept:
    the first so many texts of a locale make the same ones again. May be stopped and run again.
    """
    texts = Task.objects.filter(project=project, type__in=text_types()).order_by()
    due: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for locale, count in texts.values_list("locale").annotate(count=Count("pk")).order_by("locale"):
        if among := perplexity.tier(count):
            mine = TextStatistics.objects.filter(task__in=texts.filter(locale=locale))
            rows = mine.filter(Q(told_among=None) | Q(told_among__lt=among) | Q(told_among__gt=among))
            due[locale, among] = list(rows.order_by("task").values_list("task", "task__uid"))
    done, total = 0, sum(map(len, due.values()))
    for (locale, among), untold in due.items():
        if not untold:
            continue
        learnt = _texts_to_learn(texts.filter(locale=locale), among)
        for fold in range(perplexity.FOLDS):
            if not (ids := [pk for pk, uid in untold if perplexity.fold(uid) == fold]):
                continue
            model = perplexity.model_without(fold, learnt)
            for start in range(0, len(ids), BLOCK):
                block = ids[start : start + BLOCK]
                _tell(block, model, among)
                done += len(block)
                if told:
                    told(done, total)
            del model  # before the next one is made: they are large
    return done


def _texts_to_learn(texts: QuerySet[Task], among: int) -> list[list[str]]:
    """What models read of the first `among` of `texts`, by fold."""
    keys = texts.order_by("pk").values_list("pk", "uid")[:among]
    folds = []
    for ids in perplexity.drawn(keys.iterator(chunk_size=10_000)):
        start = Left("content", perplexity.MOST_READ)
        found = dict(Task.objects.filter(pk__in=Ids(ids)).order_by().values_list("pk", start))
        folds.append([found[pk] for pk in ids if pk in found])
    return folds


def _tell(ids: list[int], model: perplexity.Model, among: int) -> None:
    """Work it out outside the transaction, then write it for the texts that have not changed meanwhile."""
    texts = dict(Task.objects.filter(pk__in=Ids(ids)).values_list("pk", "content"))
    surprises = {pk: model.surprise(content) or (None, None) for pk, content in texts.items()}
    with transaction.atomic():
        there = Task.objects.select_for_update(no_key=True).filter(pk__in=Ids(ids)).order_by("pk")
        same = [pk for pk, content in there.values_list("pk", "content") if texts.get(pk) == content]
        rows = [(pk, *surprises[pk], among) for pk in same]
        update_each(TextStatistics, ("bits_per_byte", "perplexity", "told_among"), rows)


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

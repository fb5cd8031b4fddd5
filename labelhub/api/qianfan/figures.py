"""How much a dataset holds and when that changed last: one statement for any number of datasets."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.core.cache import cache
from django.db.models import Count, Func, IntegerField, Max, Q, Sum
from django.db.models.functions import Length

from samples.models import Annotation, Dataset, Label, Task

SIZES_KEPT = 3600  # seconds


class Bytes(Func):
    """The length of a text in UTF-8."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler, connection, **context):
        return self.as_sql(compiler, connection, template="length(CAST(%(expressions)s AS BLOB))", **context)


@dataclass
class Holdings:
    """What one dataset holds; `annotated` as `entities.listed` counts for the caller."""

    changed_at: datetime
    entities: int = 0
    annotated: int = 0
    labels: int = 0
    characters: int = 0
    bytes: int = 0


def holdings(datasets: Iterable[Dataset], *, user) -> dict[int, Holdings]:
    """What each of `datasets` holds, by its primary key."""
    found = {dataset.pk: Holdings(dataset.updated_at) for dataset in datasets}
    tasks = Task.objects.filter(source__datasets__in=found).order_by()
    counted = tasks.values_list("source__datasets").annotate(
        entities=Count("pk"), settled=Count("pk", filter=Q(status=Task.Status.COMPLETED)), changed_at=Max("updated_at")
    )
    for pk, entities, settled, changed_at in counted:
        held = found[pk]
        held.entities, held.annotated = entities, settled
        held.changed_at = max(held.changed_at, changed_at)
    own = Annotation.objects.filter(task__source__datasets__in=found, annotator=user).order_by()
    waiting = own.exclude(task__status=Task.Status.COMPLETED).values_list("task__source__datasets")
    for pk, answered in waiting.annotate(answered=Count("pk")):
        if pk in found:
            found[pk].annotated += answered
    labels = Label.objects.filter(project__datasets__in=found).order_by().values_list("project__datasets")
    for pk, number in labels.annotate(number=Count("pk")):
        if pk in found:
            found[pk].labels = number
    return found


def with_sizes(found: dict[int, Holdings]) -> dict[int, Holdings]:
    """The same with characters and bytes, which take a look at every text: kept until something changes."""
    for pk, held in found.items():
        state = f"{held.entities}-{held.changed_at.timestamp()}"
        size = cache.get_or_set(f"qianfan-size-{pk}-{state}", partial(_size, pk), SIZES_KEPT)
        held.characters, held.bytes = size or (0, 0)
    return found


def _size(pk: int) -> tuple[int, int]:
    tasks = Task.objects.filter(source__datasets=pk).order_by()
    size = tasks.aggregate(characters=Sum(Length("content")), bytes=Sum(Bytes("content")))
    return size["characters"] or 0, size["bytes"] or 0

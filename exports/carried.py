"""What a batch carries, and in which part: samples, an item each, or tasks, a list of keys; asked and dealt alike."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from django.db import transaction
from django.db.models import Q, QuerySet

from labelhub.setwise import Ids
from samples.models import Sample, Task

from . import rows
from .files import writable
from .formats import Format
from .keys import pack, unpack
from .models import Batch, BatchItem, BatchTasks
from .rows import Walk
from .splits import Slim

Split = BatchItem.Split
CHUNK = 50_000  # rows in one statement: others want to write too

Range = tuple[int, int]  # on the axis of a part's walk: after the first, up to the second


class Carried(Protocol):
    """The rows of a batch."""

    def rows(self) -> QuerySet:
        """All of them, whatever their part."""

    def let_go(self, split: Split | None = None, within: Range | None = None) -> int:
        """Release the rows, there or anywhere, that must not leave any more; returns how many remain."""

    def are_all(self, number: int) -> bool:
        """Whether so many rows, dealt or written, are all there are; if not, some are to be let go."""

    def walk(self, split: Split, format: Format) -> Walk:
        """The rows of a part, for the reader."""

    def size(self, split: Split) -> int:
        """How many rows a part has."""

    def ranges(self, split: Split, count: int) -> list[tuple[Range, int]]:
        """The part in so many ranges, alike in size, and how many rows there are in each."""

    def tasks(self) -> QuerySet[Task]:
        """The rows as tasks: themselves, or those the samples were made from."""

    def identities(self, *columns: str) -> Iterator[Slim]:
        """What a split must know of every row, and these columns of its task."""

    def place(self, dealt: Sequence[Sequence[int]], report: Callable[[], None]) -> None:
        """Put the rows where they were dealt: the keys of train, val and test, each ascending."""


def carried_by(batch: Batch) -> Carried:
    return CarriedTasks(batch) if batch.carries == Batch.Carries.TASKS else CarriedSamples(batch)


def parts_of(batch: Batch) -> tuple[Split, ...]:
    return (Split.TRAIN, Split.VAL, Split.TEST) if batch.ratios else (Split.WHOLE,)


def _cuts(total: int, count: int) -> list[Range]:
    """`total` places in `count` runs, none longer than another by more than one."""
    return [(total * number // count, total * (number + 1) // count) for number in range(count)]


class CarriedSamples:
    """Approved samples, by the batch's items."""

    def __init__(self, batch: Batch):
        self._batch = batch

    def rows(self) -> QuerySet:
        return Sample.objects.filter(batch_items__batch=self._batch)

    def let_go(self, split=None, within=None) -> int:
        """Those that lost their approval since they were gathered go."""
        items = self._items(split, within)
        items.filter(~Q(sample__status=Sample.Status.APPROVED)).delete()
        return items.count()

    def are_all(self, number: int) -> bool:
        return number == self._batch.items.count()

    def _items(self, split=None, within=None):
        items = self._batch.items.all() if split is None else self._batch.items.filter(split=split)
        return items if within is None else items.filter(sample_id__gt=within[0], sample_id__lte=within[1])

    def size(self, split: Split) -> int:
        return self._items(split).count()

    def ranges(self, split: Split, count: int) -> list[tuple[Range, int]]:
        """The axis is the samples' ids."""
        ids = array("q", self._items(split).order_by("sample_id").values_list("sample_id", flat=True).iterator(10_000))
        return [
            ((ids[start] - 1, ids[end - 1]) if end > start else (0, 0), end - start)
            for start, end in _cuts(len(ids), count)
        ]

    def walk(self, split: Split, format: Format) -> Walk:
        return rows.walk_part(self._batch, split)

    def tasks(self) -> QuerySet[Task]:
        return Task.objects.filter(sample__batch_items__batch=self._batch)

    def identities(self, *columns: str) -> Iterator[Slim]:
        return rows.identities(rows.walk_part(self._batch), *(f"task__{name}" for name in columns))

    def place(self, dealt, report) -> None:
        """All are put in train, the largest part as a rule, and those of the others moved from there."""
        with self._held() as items:
            items.exclude(split=Split.TRAIN).update(split=Split.TRAIN)
        for split, ids in zip((Split.VAL, Split.TEST), dealt[1:], strict=True):
            for chunk in _chunks(ids):
                report()
                with self._held() as items:
                    items.filter(sample_id__in=Ids(chunk)).update(split=split)

    @contextmanager
    def _held(self) -> Iterator[QuerySet]:
        """The items, in a transaction of its own that only the batch's latest run may begin: others want to write too."""
        with transaction.atomic():
            self._batch.hold()
            yield self._batch.items.all()


class CarriedTasks:
    """Tasks as they stand when they are read, by the keys kept when they were gathered; one deleted since is not there."""

    def __init__(self, batch: Batch):
        self._batch = batch

    def take(self, tasks: QuerySet) -> int:
        """Keep the keys of these tasks; returns how many there are."""
        found = array("q", tasks.order_by("pk").values_list("pk", flat=True).iterator(chunk_size=10_000))
        split = Split.TRAIN if self._batch.ratios else Split.WHOLE
        BatchTasks.objects.create(batch=self._batch, split=split, keys=pack(found))
        return len(found)

    def rows(self) -> QuerySet:
        return Task.objects.filter(pk__in=Ids(self.keys()))

    def let_go(self, split=None, within=None) -> int:
        return sum(Task.objects.filter(pk__in=Ids(chunk)).count() for chunk in _chunks(self.keys(split, within)))

    def are_all(self, number: int) -> bool:
        """One that is missing is gone for good, and in no part."""
        return True

    def size(self, split: Split) -> int:
        return len(self.keys(split))

    def ranges(self, split: Split, count: int) -> list[tuple[Range, int]]:
        """The axis is the place among the part's keys."""
        return [((start, end), end - start) for start, end in _cuts(len(self.keys(split)), count)]

    def walk(self, split: Split, format: Format) -> Walk:
        return rows.walk_ids(writable(Task.objects.all(), format), self.keys(split))

    def tasks(self) -> QuerySet[Task]:
        return self.rows()

    def identities(self, *columns: str) -> Iterator[Slim]:
        return rows.identities(rows.walk_ids(Task.objects.all(), self.keys()), *columns)

    def place(self, dealt, report) -> None:
        report()
        make = partial(BatchTasks, batch=self._batch)
        placed = [make(split=split, keys=pack(ids)) for split, ids in zip(parts_of(self._batch), dealt, strict=True)]
        with transaction.atomic():
            self._batch.hold()
            self._batch.tasks.all().delete()
            BatchTasks.objects.bulk_create(placed)

    def keys(self, split: Split | None = None, within: Range | None = None) -> Sequence[int]:
        """The tasks' keys, ascending; none where the batch carries no tasks."""
        kept = self._batch.tasks.all() if split is None else self._batch.tasks.filter(split=split)
        parts = [unpack(bytes(data)) for data in kept.values_list("keys", flat=True)]
        found = parts[0] if len(parts) == 1 else array("q", sorted(key for part in parts for key in part))
        return found if within is None else found[slice(*within)]


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]

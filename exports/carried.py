"""What a batch carries, and in which part: samples, an item each, or tasks, a list of keys; asked and dealt alike."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from labelhub.setwise import Ids
from samples.models import Sample, Task

from . import keys, rows
from .files import writable
from .formats import Format
from .formats.context import LABELLED
from .models import Batch, BatchItem, BatchTasks
from .rows import Identity, Walk

Split = BatchItem.Split
CHUNK = 50_000  # rows in one statement: others want to write too

Labels = Iterable[tuple[str, list[str] | None, int]]  # label_name, label_names, and how many rows have them


class Carried(Protocol):
    """The rows of a batch."""

    def rows(self) -> QuerySet:
        """All of them, whatever their part."""

    def let_go(self) -> int:
        """Release the rows that must not leave any more; returns how many remain."""

    def walk(self, split: Split, format: Format) -> Walk:
        """The rows of a part, for the reader."""

    def identities(self) -> Iterator[Identity]:
        """What a split must know of every row."""

    def place(self, dealt: Sequence[Sequence[int]], report: Callable[[], None]) -> None:
        """Put the rows where they were dealt: the keys of train, val and test, each ascending."""

    def labels(self, split: Split) -> Labels:
        """Which labels a part has, and how often; nothing for answers in free text."""


def carried_by(batch: Batch) -> Carried:
    return CarriedTasks(batch) if batch.carries == Batch.Carries.TASKS else CarriedSamples(batch)


def parts_of(batch: Batch) -> tuple[Split, ...]:
    return (Split.TRAIN, Split.VAL, Split.TEST) if batch.ratios else (Split.WHOLE,)


def label_counts(batch: Batch) -> dict[str, dict[str, int]]:
    """How many rows of each part carry each label, the most frequent first."""
    counts = {}
    for split in parts_of(batch):
        found: Counter[str] = Counter()
        for name, names, number in carried_by(batch).labels(split):
            for label in [name] if names is None else names:
                found[label] += number
        counts[split.label] = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    return counts


class CarriedSamples:
    """Approved samples, by the batch's items."""

    def __init__(self, batch: Batch):
        self._batch = batch

    def rows(self) -> QuerySet:
        return Sample.objects.filter(batch_items__batch=self._batch)

    def let_go(self) -> int:
        """Those that lost their approval since they were gathered go."""
        self._batch.items.filter(~Q(sample__status=Sample.Status.APPROVED)).delete()
        return self._batch.items.count()

    def walk(self, split: Split, format: Format) -> Walk:
        return rows.walk_part(self._batch, split)

    def identities(self) -> Iterator[Identity]:
        self._batch.items.exclude(split=Split.TRAIN).update(split=Split.TRAIN)
        return rows.identities_of_part(self._batch, Split.TRAIN)

    def place(self, dealt, report) -> None:
        """Those of train, the largest part as a rule, are there from the start."""
        for split, ids in zip((Split.VAL, Split.TEST), dealt[1:], strict=True):
            for chunk in _chunks(ids):
                report()
                self._batch.items.filter(sample_id__in=Ids(chunk)).update(split=split)

    def labels(self, split: Split) -> Labels:
        verdicts = self._batch.items.filter(split=split, sample__type__in=LABELLED).exclude(sample__label_name=None)
        grouped = verdicts.order_by().values_list("sample__label_name", "sample__label_names")
        return grouped.annotate(rows=Count("pk")).iterator()


class CarriedTasks:
    """Tasks as they stand when they are read, by the keys kept when they were gathered; one deleted since is not there."""

    def __init__(self, batch: Batch):
        self._batch = batch

    def take(self, tasks: QuerySet) -> int:
        """Keep the keys of these tasks; returns how many there are."""
        found = array("q", tasks.order_by("pk").values_list("pk", flat=True).iterator(chunk_size=10_000))
        split = Split.TRAIN if self._batch.ratios else Split.WHOLE
        BatchTasks.objects.create(batch=self._batch, split=split, keys=keys.pack(found))
        return len(found)

    def rows(self) -> QuerySet:
        return Task.objects.filter(pk__in=Ids(self._keys()))

    def let_go(self) -> int:
        return sum(Task.objects.filter(pk__in=Ids(chunk)).count() for chunk in _chunks(self._keys()))

    def walk(self, split: Split, format: Format) -> Walk:
        return rows.walk_ids(writable(Task.objects.all(), format), self._keys(split))

    def identities(self) -> Iterator[Identity]:
        for chunk in _chunks(self._keys()):
            known = Task.objects.filter(pk__in=Ids(chunk)).order_by("pk")
            for pk, uid, type, label in known.values_list("pk", "uid", "type", "label_name"):
                yield pk, uid, label if type in LABELLED else None

    def place(self, dealt, report) -> None:
        report()
        make = partial(BatchTasks, batch=self._batch)
        placed = [
            make(split=split, keys=keys.pack(ids)) for split, ids in zip(parts_of(self._batch), dealt, strict=True)
        ]
        with transaction.atomic():
            self._batch.tasks.all().delete()
            BatchTasks.objects.bulk_create(placed)

    def labels(self, split: Split) -> Labels:
        for chunk in _chunks(self._keys(split)):
            verdicts = Task.objects.filter(pk__in=Ids(chunk), type__in=LABELLED).exclude(label_name=None).order_by()
            yield from verdicts.values_list("label_name", "label_names").annotate(rows=Count("pk"))

    def _keys(self, split: Split | None = None) -> Sequence[int]:
        kept = self._batch.tasks.all() if split is None else self._batch.tasks.filter(split=split)
        parts = [keys.unpack(bytes(data)) for data in kept.values_list("keys", flat=True)]
        return parts[0] if len(parts) == 1 else array("q", sorted(key for part in parts for key in part))


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]

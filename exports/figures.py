"""What is about to be written, in figures: a few statements of the database, whatever the number of rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, Count, F, Func, Q, QuerySet, Sum, TextField, Value, When
from django.db.models.lookups import Exact

from labelhub.setwise import Ids
from samples.models import Task

from . import formats
from .carried import CarriedTasks, carried_by, parts_of
from .files import File, writable
from .formats.checks import Figures, Part
from .formats.context import LABELLED
from .formats.sql import BLANKS, DIALECTS
from .formats.takes import LABELLED_TEXTS, PREFERENCES
from .models import Batch, BatchItem, Shard

MOST_COMPARED = 100_000  # rows whose texts are compared; it takes a second there, and memory for every text


class Bare(Func):
    """A text without its leading white space."""

    function = "LTRIM"
    output_field = TextField()


class Rejected(Func):
    """The response that a preference's answer, as it is stored, rejects."""

    output_field = TextField()

    def as_sql(self, compiler, connection, **context):
        document, params = compiler.compile(self.get_source_expressions()[0])
        return DIALECTS[connection.vendor].within(document, "rejected"), params


def _is_blank(text: Any) -> Exact:
    return Exact(Bare(text, Value(BLANKS)), Value(""))


def _is_silent(at: str) -> Q:
    """Whether the answer says nothing; of a preference, the response that was rejected counts too."""
    rejected = Case(When(**{f"{at}type__in": sorted(PREFERENCES)}, then=Rejected(F(f"{at}answer"))))
    return Q(_is_blank(F(f"{at}label_name"))) | Q(_is_blank(rejected))


def figures_of_batch(batch: Batch) -> Figures:
    """The figures of a batch before it is written, its rows dealt as they are now."""
    parts: dict[str, Part] = {}
    for chosen in _chosen(batch):
        parts |= _parts(chosen)
    return Figures(parts, **_repeats_of_batch(batch, parts))


def figures_of_shards(batch: Batch, shards: Iterable[Shard]) -> Figures:
    """The figures of a batch in shards: its rows and labels as they were written, the rest as it is now."""
    rows, labels = Counter[str](), defaultdict[str, Counter](Counter)
    for shard in shards:
        name = BatchItem.Split(shard.split).label
        rows[name] += shard.row_count
        labels[name].update(shard.labels)
    blanks: dict[str, Counter] = defaultdict(Counter)
    for chosen in _chosen(batch):
        for name, what, number in _blank(chosen):
            blanks[name][what] += number
    parts = {
        name: Part(rows[name], labels=_in_order(labels[name]), **blanks[name])
        for name in (split.label for split in parts_of(batch))
    }
    return Figures(parts, **_repeats_of_batch(batch, parts))


def _chosen(batch: Batch) -> Iterator["_Chosen"]:
    """The batch's rows: the items of all its parts together, tasks part by part."""
    if batch.carries == Batch.Carries.SAMPLES:
        yield _Chosen(batch.items.all(), [split.label for split in parts_of(batch)], at="sample__", split=F("split"))
        return
    carried = CarriedTasks(batch)
    for split in parts_of(batch):
        rows = writable(Task.objects.filter(pk__in=Ids(carried.keys(split))), formats.get(batch.format))
        yield _Chosen(rows, [split.label], split=Value(int(split)))


def _repeats_of_batch(batch: Batch, parts: Mapping[str, Part]) -> dict[str, int]:
    """Nothing where there are too many rows to compare; of tasks it is not known in which parts a text is."""
    if sum(part.rows for part in parts.values()) > MOST_COMPARED:
        return {}
    if batch.carries == Batch.Carries.SAMPLES:
        return _repeats(batch.items.all(), "sample__", "split")
    found = _repeats(writable(carried_by(batch).rows(), formats.get(batch.format)), "", None)
    return {name: number for name, number in found.items() if name != "shared"}


def figures_of_file(batch: Batch, file: File) -> Figures:
    """The figures of a batch's file that has been written: what was counted on the way, and how its texts repeat."""
    parts = {
        name: Part(tally.rows, tally.blank_contents, tally.blank_answers, tally.labels())
        for name, tally in file.parts.items()
    }
    is_compared = batch.carries == Batch.Carries.SAMPLES and file.rows <= MOST_COMPARED
    return Figures(parts, **(_repeats(batch.items.all(), "sample__", "split") if is_compared else {}))


def figures_of_rows(rows: QuerySet) -> Figures:
    """The figures of a queryset of Sample or Task as one part, "whole"."""
    parts = _parts(_Chosen(rows, ["whole"]))
    return Figures(parts, **(_repeats(rows, "", None) if parts["whole"].rows <= MOST_COMPARED else {}))


@dataclass(frozen=True)
class _Chosen:
    """Rows to be counted: `split` says in which of the `parts` each is, `at` leads from it to the columns."""

    rows: QuerySet
    parts: list[str]
    at: str = ""
    split: Any = field(default_factory=lambda: Value(0))


def _parts(chosen: _Chosen) -> dict[str, Part]:
    found: dict[str, dict[str, Any]] = {name: defaultdict(int, labels=Counter()) for name in chosen.parts}
    for part, type, name, several, number in _grouped(chosen):
        found[part]["rows"] += number
        for label in ([name] if several is None else several) if type in LABELLED and name is not None else []:
            found[part]["labels"][label] += number
    for part, what, number in _blank(chosen):
        found[part][what] += number
    return {name: Part(**figures | {"labels": _in_order(figures["labels"])}) for name, figures in found.items()}


def _in_order(labels: Counter) -> dict[str, int]:
    return dict(sorted(labels.items(), key=lambda item: (-item[1], item[0])))


def _grouped(chosen: _Chosen) -> Iterator[tuple]:
    """(part, type, label, labels, rows) of each group of rows alike."""
    at = chosen.at
    of_labels = {f"{at}type__in": sorted(LABELLED)}
    groups = chosen.rows.order_by().annotate(
        in_part=chosen.split,
        of_type=F(f"{at}type"),
        name=Case(When(**of_labels, then=F(f"{at}label_name"))),
        names=Case(When(**of_labels, then=F(f"{at}label_names"))),
    )
    for part, *group in groups.values_list("in_part", "of_type", "name", "names").annotate(rows=Count("pk")).iterator():
        yield BatchItem.Split(part).label, *group


def _blank(chosen: _Chosen) -> Iterator[tuple[str, str, int]]:
    """(part, what is blank, rows) of each group; a row without a text counts for that alone.

    A statement of its own: to group by it, SQLite would sort every row of the batch a second time.
    """
    blank_content = _is_blank(F(f"{chosen.at}content"))
    groups = chosen.rows.order_by().filter(Q(blank_content) | _is_silent(chosen.at))
    groups = groups.annotate(in_part=chosen.split, has_text=Case(When(Q(blank_content), then=0), default=1))
    for part, has_text, number in groups.values_list("in_part", "has_text").annotate(rows=Count("pk")):
        yield BatchItem.Split(part).label, "blank_answers" if has_text else "blank_contents", number


def _repeats(rows: QuerySet, at: str, split: str | None) -> dict[str, int]:
    """How texts with a label repeat: rows too many, texts in several parts, texts with different labels."""
    texts = rows.order_by().filter(**{f"{at}type__in": sorted(LABELLED_TEXTS)}).values(f"{at}content")
    texts = texts.annotate(
        copies=Count("pk"),
        in_parts=Count(split, distinct=True) if split else Value(1),
        meanings=Count(f"{at}label_name", distinct=True),
    ).filter(copies__gt=1)
    found = texts.aggregate(
        repeated=Sum(F("copies") - 1),
        shared=Count("copies", filter=Q(in_parts__gt=1)),
        contradicted=Count("copies", filter=Q(meanings__gt=1)),
    )
    return {name: number or 0 for name, number in found.items()}

"""What is about to be written, in figures: a few statements of the database, whatever the number of rows."""

from collections import Counter, defaultdict
from typing import Any

from django.db.models import Case, Count, F, Func, Q, QuerySet, Sum, TextField, Value, When

from .formats.checks import Figures, Part
from .formats.context import LABELLED
from .formats.takes import LABELLED_TEXTS
from .models import Batch, BatchItem

BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
MOST_COMPARED = 100_000  # rows whose texts are compared; it takes a second there, and memory for every text


class Blank(Func):
    """A text without its leading white space."""

    function = "LTRIM"
    output_field = TextField()

    def __init__(self, name: str):
        super().__init__(F(name), Value(BLANKS))


def figures_of_batch(batch: Batch) -> Figures:
    """The figures of a batch's items, dealt as they are now."""
    names = [split.label for split in BatchItem.Split if bool(split) == bool(batch.ratios)]
    return _figures(batch.items.all(), at="sample__", split="split", names=names)


def figures_of_rows(rows: QuerySet) -> Figures:
    """The figures of a queryset of Sample or Task as one part, "whole"."""
    return _figures(rows, at="", split=None, names=["whole"])


def _figures(rows: QuerySet, *, at: str, split: str | None, names: list[str]) -> Figures:
    found: dict[str, dict[str, Any]] = {name: defaultdict(int, labels=Counter()) for name in names}
    types = set()
    for part, type, name, several, counts in _grouped(rows, at, split):
        types.add(type)
        figures = found[part]
        for what, number in counts.items():
            figures[what] += number
        for label in ([name] if several is None else several) if type in LABELLED and name is not None else []:
            figures["labels"][label] += counts["rows"]
    parts = {name: Part(**figures | {"labels": _in_order(figures["labels"])}) for name, figures in found.items()}
    total = sum(part.rows for part in parts.values())
    return Figures(parts, frozenset(types), **(_repeats(rows, at, split) if total <= MOST_COMPARED else {}))


def _in_order(labels: Counter) -> dict[str, int]:
    return dict(sorted(labels.items(), key=lambda item: (-item[1], item[0])))


def _grouped(rows: QuerySet, at: str, split: str | None):
    """(part, type, label, labels, counts) of each group of rows alike in these."""
    of_labels = {f"{at}type__in": sorted(LABELLED)}
    groups = rows.order_by().annotate(
        in_part=F(split) if split else Value(0),
        of_type=F(f"{at}type"),
        name=Case(When(**of_labels, then=F(f"{at}label_name"))),
        names=Case(When(**of_labels, then=F(f"{at}label_names"))),
        bare_content=Blank(f"{at}content"),
        bare_answer=Blank(f"{at}label_name"),
    )
    groups = groups.values_list("in_part", "of_type", "name", "names").annotate(
        rows=Count("pk"),
        blank_contents=Count("pk", filter=Q(bare_content="")),
        blank_answers=Count("pk", filter=Q(bare_answer="")),
    )
    for part, type, name, names, *counts in groups.iterator():
        said = dict(zip(("rows", "blank_contents", "blank_answers"), counts, strict=True))
        yield BatchItem.Split(part).label, type, name, names, said


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

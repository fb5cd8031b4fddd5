"""The one reader: tasks or samples, walked in the order of their primary key, a page of plain tuples at a time.

Each page is one statement that starts after the last key of the page before: no cursor and no transaction stays open, so
SQLite's writers are never held up, and memory holds one page. A row that comes to match behind the reader is not seen, one
that stops matching ahead of it is left out; a batch is exempt from both, for its items are frozen.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import CharField, F, Func, QuerySet

from labelhub.setwise import Ids
from samples.models import Sample

from .formats import COLUMNS, Page
from .formats.context import LABELLED
from .models import Batch, BatchItem

FIRST_PAGE = 100  # rows: a browser that waits for the first byte gets it early
MOST_ROWS = 2000
PAGE_CHARACTERS = 400_000  # of content and what surrounds it


class Moment(Func):
    """A timestamp as `2026-05-25T10:05:00Z`, written by the database: whole seconds, cut, not rounded."""

    output_field = CharField()

    def as_sqlite(self, compiler, connection, **context):
        template = "replace(substr(%(expressions)s, 1, 19), ' ', 'T') || 'Z'"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler, connection, **context):
        template = """to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
        return self.as_sql(compiler, connection, template=template, **context)


Rows = TypeVar("Rows", bound=QuerySet)
RowsAfter = Callable[[int, int], QuerySet]  # (a key, how many) → the next rows behind it, in order


def pages(rows: QuerySet) -> Iterator[Page]:
    """Every row of a queryset of Task or Sample."""
    return _paged(_of_queryset(rows))


def pages_of_part(batch: Batch, split: int) -> Iterator[Page]:
    """The approved samples in a part of a batch, as its items freeze them."""
    return _paged(_of_part(batch, split))


def pages_of_ids(rows: QuerySet, ids: Sequence[int]) -> Iterator[Page]:
    """The rows of a queryset whose primary keys are `ids`, which ascend."""
    pace, start = _Pace(), 0
    while start < len(ids):
        chosen = ids[start : start + pace.rows]
        start += len(chosen)
        if page := _fetch(rows.filter(pk__in=Ids(chosen)).order_by("pk")):
            pace.learn(page)
            yield page


Identity = tuple[int, str, str | None]  # id, uid and label, which is None where the answer is free text


def identities(rows: QuerySet) -> Iterator[Identity]:
    """What a split must know of every row, without its content."""
    return _identified(_of_queryset(rows))


def identities_of_part(batch: Batch, split: int) -> Iterator[Identity]:
    """The same for a part of a batch."""
    return _identified(_of_part(batch, split))


def _of_queryset(rows: QuerySet) -> RowsAfter:
    rows = unsliced(rows)
    return lambda after, most: rows.filter(pk__gt=after).order_by("pk")[:most]


def _of_part(batch: Batch, split: int) -> RowsAfter:
    items = BatchItem.objects.filter(batch=batch, split=split).order_by("sample_id").values("sample_id")
    # The keys first, in a bracket of their own: joined, PostgreSQL may scan the samples from the first one for each page.
    return lambda after, most: (
        Sample.objects.approved().filter(pk__in=items.filter(sample_id__gt=after)[:most]).order_by("pk")
    )


def _identified(rows_after: RowsAfter) -> Iterator[Identity]:
    after = 0
    while page := list(rows_after(after, 10_000).values_list("pk", "uid", "type", "label_name")):
        for pk, uid, type, label in page:
            yield pk, uid, label if type in LABELLED else None
        after = page[-1][0]


def unsliced(rows: Rows) -> Rows:
    """The same rows as a queryset that may be filtered further."""
    if rows.query.is_sliced:
        return rows.model._default_manager.filter(pk__in=rows.values("pk"))
    return rows


class _Pace:
    """How many rows the next page should have, after how long those of the last one were."""

    rows = FIRST_PAGE

    def learn(self, page: Page) -> None:
        content = COLUMNS.index("content")
        characters = sum(len(row[content]) + 200 for row in page)
        self.rows = max(1, min(MOST_ROWS, PAGE_CHARACTERS * len(page) // characters))


def _paged(rows_after: RowsAfter) -> Iterator[Page]:
    pace, after = _Pace(), 0
    while page := _fetch(rows_after(after, pace.rows)):
        yield page
        after = page[-1][0]
        pace.learn(page)


def _fetch(rows: QuerySet) -> list[tuple]:
    """The rows as the driver gives them: no model, no converter, JSON as its stored text."""
    columns = [F(name) for name in COLUMNS[:-1]] + [Moment(COLUMNS[-1])]
    try:
        sql, params = rows.values_list(*columns).query.get_compiler(rows.db).as_sql()
    except EmptyResultSet:  # Django sees that nothing can match
        return []
    with connections[rows.db].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()

"""The one reader: tasks or samples, walked in the order of their primary key, a page at a time.

A walk goes along an axis of keys in steps; each step is one statement over a range of them: no cursor and no transaction
stays open, so SQLite's writers are never held up, and memory holds a page or two. A row that comes to match behind the
reader is not seen, one that stops matching ahead of it is left out; a batch is exempt from both, for its items are frozen.

A page is read as plain tuples (`pages`), or written by the database itself (`written`), which is several times as fast.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import CharField, F, Func, QuerySet
from django.db.models.expressions import RawSQL

from labelhub.setwise import Ids
from samples.models import Sample

from .formats import COLUMNS, Format, Page
from .formats.context import LABELLED
from .formats.shape import LabelId, Prompt
from .formats.sql import DIALECTS, Dialect, Record, Scope
from .models import Batch, BatchItem

FIRST_PAGE = 100  # rows: a browser that waits for the first byte gets it early
MOST_ROWS = 2000  # to aim at; where the keys turn out to be denser than those before, at most twice as many
PAGE_BYTES = 800_000
READERS = 2  # connections that write pages side by side, where the database is a server

Rows = TypeVar("Rows", bound=QuerySet)


class Moment(Func):
    """A timestamp as `2026-05-25T10:05:00Z`, written by the database: whole seconds, cut, not rounded."""

    output_field = CharField()

    def as_sql(self, compiler, connection, **context):
        column, params = compiler.compile(self.get_source_expressions()[0])
        return DIALECTS[connection.vendor].moment(column), params


class Walk(NamedTuple):
    """`between(after, upto)` are the rows whose place on the axis lies in that range; `ends()` bound the whole in this way.

    `origins()` are the (project, type, locale) that occur among the rows, or among more than them.
    """

    using: str
    table: str
    origins: Callable[[], Iterable[tuple[int, str, str]]]
    keeps_its_form: bool  # whether the statements of two steps differ in their bounds alone
    between: Callable[[int, int], QuerySet]
    ends: Callable[[], tuple[int, int]]


def walk(rows: QuerySet) -> Walk:
    """Every row of a queryset of Task or Sample; the axis is the primary key."""
    rows = unsliced(rows)
    return Walk(
        rows.db,
        rows.model._meta.db_table,
        lambda: _origins(rows),
        True,
        lambda after, upto: rows.filter(pk__gt=after, pk__lte=upto).order_by("pk"),
        lambda: _ends(rows, "pk"),
    )


def walk_part(batch: Batch, split: int) -> Walk:
    """The approved samples in a part of a batch, as its items freeze them."""
    items = BatchItem.objects.filter(batch=batch, split=split)
    samples = Sample.objects.approved()

    def between(after, upto):
        # The range twice: PostgreSQL then walks both indexes side by side instead of looking each sample up.
        keys = items.filter(sample_id__gt=after, sample_id__lte=upto).values("sample_id")
        return samples.filter(pk__in=keys, pk__gt=after, pk__lte=upto).order_by("pk")

    return Walk(
        samples.db,
        Sample._meta.db_table,
        lambda: _origins(samples.filter(batch_items__batch=batch)),
        True,
        between,
        lambda: _ends(items, "sample_id"),
    )


def _ends(rows: QuerySet, key: str) -> tuple[int, int]:
    keys = rows.order_by(key).values_list(key, flat=True)
    first, last = keys.first(), keys.last()
    return (0, 0) if first is None or last is None else (first - 1, last)


def _origins(rows: QuerySet) -> QuerySet:
    return rows.order_by().values_list("project", "type", "locale").distinct()


def walk_ids(rows: QuerySet, ids: Sequence[int]) -> Walk:
    """The rows of a queryset whose primary keys are `ids`, which ascend; the axis is the place among them."""
    return Walk(
        rows.db,
        rows.model._meta.db_table,
        lambda: _origins(rows),
        False,
        lambda after, upto: rows.filter(pk__in=Ids(ids[after:upto])).order_by("pk"),
        lambda: (0, len(ids)),
    )


def scope_of(walk: Walk, format: Format) -> Scope:
    """What SQL must know of the rows to write them in `format`: their table and, for some, where they come from."""
    asks = format.uses(Prompt) or format.uses(LabelId)
    return Scope(walk.table, tuple(walk.origins()) if asks else ())


def dialect_of(walk: Walk) -> Dialect:
    return DIALECTS[connections[walk.using].vendor]


def unsliced(rows: Rows) -> Rows:
    """The same rows as a queryset that may be filtered further."""
    if rows.query.is_sliced:
        return rows.model._default_manager.filter(pk__in=rows.values("pk"))
    return rows


# Pages of tuples ------------------------------------------------------------------------------------------------------

CONTENT = COLUMNS.index("content")


def pages(walk: Walk) -> Iterator[Page]:
    pace, (after, end) = _Pace(), walk.ends()
    while after < end:
        upto = min(after + pace.width, end)
        page = _fetch(walk.between(after, upto)[: 2 * MOST_ROWS + 1])
        pace.learn(upto - after, len(page), sum(len(row[CONTENT]) + 200 for row in page))
        if len(page) > 2 * MOST_ROWS:
            continue  # with the narrower step it has just learnt
        after = upto
        if page:
            yield page


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


class _Pace:
    """How wide the next step should be, after what the last ones found."""

    def __init__(self):
        self.width = FIRST_PAGE

    def learn(self, width: int, rows: int, bytes: int) -> None:
        wanted = min(MOST_ROWS, PAGE_BYTES * rows // max(bytes, 1)) if rows else MOST_ROWS
        # Never more than eightfold at once: what is sparse here may be dense ahead.
        self.width = max(1, min(width * 8, width * wanted // max(rows, 1)))


# Pages written by the database ----------------------------------------------------------------------------------------


class Written(NamedTuple):
    """A page's rows and their lines; `data` is None where SQL could not write every one of them."""

    rows: int
    data: bytes | None


def written(walk: Walk, record: Record, by_hand: Callable[[Page], bytes]) -> Iterator[tuple[int, bytes]]:
    """(rows, bytes) of each page; one that SQL could not write is written by `by_hand`."""
    for (after, upto), page in _pages_of_lines(walk, record):
        if page.data is not None:
            yield page.rows, record.before + page.data + record.after
        elif page.rows:
            rows = _fetch(walk.between(after, upto))
            yield len(rows), by_hand(rows)


Step = tuple[int, int]


def _pages_of_lines(walk: Walk, record: Record) -> Iterator[tuple[Step, Written]]:
    """The steps in their order, and what the database wrote for each; several are under way at once where that helps."""
    pace, (after, end) = _Pace(), walk.ends()
    statement = _statements(walk, record)
    with _readers(walk.using) as (ask, ahead):
        asked: deque[tuple[Step, Future[Written]]] = deque()
        while after < end or asked:
            while after < end and len(asked) < ahead:
                step = (after, min(after + pace.width, end))
                asked.append((step, ask(*statement(step))))
                after = step[1]
            step, answer = asked.popleft()
            page = answer.result()
            pace.learn(step[1] - step[0], page.rows, len(page.data or b""))
            if page.rows > 2 * MOST_ROWS:
                for half in reversed(_halves(step)):
                    asked.appendleft((half, ask(*statement(half))))
            else:
                yield step, page


def _halves(step: Step) -> tuple[Step, Step]:
    after, upto = step
    middle = (after + upto) // 2
    return (after, middle), (middle, upto)


Statement = tuple[str, tuple]
MARKS = (2**62 + 1, 2**62 + 2)  # keys that no row has, to find the bounds among a statement's parameters


def _statements(walk: Walk, record: Record) -> Callable[[Step], Statement]:
    """What has the database write a step; Django puts it together once, for that takes a fifth as long as the page."""
    if not walk.keeps_its_form:
        return lambda step: _statement(walk, record, step)
    sql, params = _statement(walk, record, MARKS)

    def bound(step: Step) -> Statement:
        values = dict(zip(MARKS, step, strict=True))
        return sql, tuple(values.get(param, param) if type(param) is int else param for param in params)

    return bound


def _statement(walk: Walk, record: Record, step: Step) -> Statement:
    lines = walk.between(*step).annotate(line=RawSQL(record.line.text, record.line.params, CharField()))
    try:
        sql, params = lines.values_list("line")[: 2 * MOST_ROWS + 1].query.get_compiler(walk.using).as_sql()
    except EmptyResultSet:
        sql, params = "SELECT NULL AS line WHERE 1 = 0", ()
    page = dialect_of(walk).page("%s")
    return f"SELECT count(*), count(line), {page} FROM ({sql}) page", (record.between, *params)


def _ask(connection, sql: str, params: tuple) -> Written:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows, lines, data = cursor.fetchone()
    return Written(rows, bytes(data) if rows == lines and rows else None)


@contextmanager
def _readers(using: str):
    """A function that has a statement answered, and how many answers may be awaited at once.

    A server answers on connections of our own, side by side. SQLite is in this process and holds its lock while it works:
    there the answer comes at once, and so it does inside a transaction, whose rows no other connection sees.
    """
    here = connections[using]
    if here.vendor == "sqlite" or here.in_atomic_block:

        def at_once(sql, params):
            answer: Future[Written] = Future()
            answer.set_result(_ask(here, sql, params))
            return answer

        yield at_once, 1
        return
    free: SimpleQueue = SimpleQueue()
    own = [here.copy() for _ in range(READERS)]
    for connection in own:
        connection.inc_thread_sharing()
        free.put(connection)

    def on_a_free_one(sql, params):
        connection = free.get()
        try:
            return _ask(connection, sql, params)
        finally:
            free.put(connection)

    pool = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
    try:
        for connection in own:  # a page is too small for a plan with helpers of its own
            with connection.cursor() as cursor:
                cursor.execute("SET max_parallel_workers_per_gather = 0; SET jit = off")
        yield lambda sql, params: pool.submit(on_a_free_one, sql, params), READERS + 1
    finally:
        pool.shutdown(cancel_futures=True)
        for connection in own:
            if connection.connection is not None:  # it goes back into a pool: as it came
                with connection.cursor() as cursor:
                    cursor.execute("RESET max_parallel_workers_per_gather; RESET jit")
            connection.close()


# What a split must know -----------------------------------------------------------------------------------------------

Identity = tuple[int, str, str | None]  # id, uid and label, which is None where the answer is free text


def identities(rows: QuerySet) -> Iterator[Identity]:
    """What a split must know of every row of a queryset, without its content."""
    return _identified(unsliced(rows))


def identities_of_part(batch: Batch, split: int) -> Iterator[Identity]:
    """The same for a part of a batch."""
    return _identified(Sample.objects.approved().filter(batch_items__batch=batch, batch_items__split=split))


def _identified(rows: QuerySet) -> Iterator[Identity]:
    after = 0
    known = rows.order_by("pk").values_list("pk", "uid", "type", "label_name")
    while page := list(known.filter(pk__gt=after)[:10_000]):
        for pk, uid, type, label in page:
            yield pk, uid, label if type in LABELLED else None
        after = page[-1][0]

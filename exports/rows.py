"""The one reader: tasks or samples, walked in the order of their primary key, a page at a time.

A walk goes along an axis of keys in steps; each step is one statement over a range of them: no cursor and no transaction
stays open, so SQLite's writers are never held up, and memory holds a page or two. A row that comes to match behind the
reader is not seen, one that stops matching ahead of it is left out; a batch is exempt from both, for its items are frozen.

A page is read as plain tuples (`pages`), or written by the database itself (`written`), which is several times as fast.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy
import orjson
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import CharField, F, Func, QuerySet
from django.db.models.expressions import RawSQL

from labelhub.setwise import Ids
from samples.models import Sample

from .formats import COLUMNS, Page
from .formats.context import LABELLED
from .formats.sql import DIALECTS, Compile, Dialect, Scope, Sql
from .formats.takes import PREFERENCES
from .models import Batch, BatchItem
from .splits import Slim

FIRST_PAGE = 100  # rows: a browser that waits for the first byte gets it early
MOST_ROWS = 2000  # to aim at; where the keys turn out to be denser than those before, at most twice as many
PAGE_BYTES = 800_000
READERS = 2  # connections that write pages side by side
AHEAD = 6  # answers they may be asked for before the first is taken: they have work while it is hashed and stored

Rows = TypeVar("Rows", bound=QuerySet)


class Moment(Func):
    """A timestamp as `2026-05-25T10:05:00Z`, written by the database: whole seconds, cut, not rounded."""

    output_field = CharField()

    def as_sql(self, compiler, connection, **context):
        column, params = compiler.compile(self.get_source_expressions()[0])
        return DIALECTS[connection.vendor].moment(column), params


class Walk(NamedTuple):
    """`between(after, upto)` are the rows whose place on the axis lies in that range; `ends()` bound the whole in this way."""

    using: str
    table: str
    keeps_its_form: bool  # whether the statements of two steps differ in their bounds alone
    between: Callable[[int, int], QuerySet]
    ends: Callable[[], tuple[int, int]]


def walk(rows: QuerySet) -> Walk:
    """Every row of a queryset of Task or Sample; the axis is the primary key."""
    rows = unsliced(rows)
    return Walk(
        rows.db,
        rows.model._meta.db_table,
        True,
        lambda after, upto: rows.filter(pk__gt=after, pk__lte=upto).order_by("pk"),
        lambda: _ends(rows, "pk"),
    )


def walk_part(batch: Batch, split: int | None = None) -> Walk:
    """The approved samples in a part of a batch, or in the whole of it, as its items freeze them."""
    items = BatchItem.objects.filter(batch=batch)
    if split is not None:
        items = items.filter(split=split)
    samples = Sample.objects.approved()

    def between(after, upto):
        # The range twice: PostgreSQL then walks both indexes side by side instead of looking each sample up.
        keys = items.filter(sample_id__gt=after, sample_id__lte=upto).values("sample_id")
        return samples.filter(pk__in=keys, pk__gt=after, pk__lte=upto).order_by("pk")

    return Walk(
        samples.db,
        Sample._meta.db_table,
        True,
        between,
        lambda: _ends(items, "sample_id"),
    )


def _ends(rows: QuerySet, key: str) -> tuple[int, int]:
    keys = rows.order_by(key).values_list(key, flat=True)
    first, last = keys.first(), keys.last()
    return (0, 0) if first is None or last is None else (first - 1, last)


def walk_ids(rows: QuerySet, ids: Sequence[int]) -> Walk:
    """The rows of a queryset whose primary keys are `ids`, which ascend; the axis is the place among them."""
    return Walk(
        rows.db,
        rows.model._meta.db_table,
        False,
        lambda after, upto: rows.filter(pk__in=Ids(ids[after:upto])).order_by("pk"),
        lambda: (0, len(ids)),
    )


def dialect_of(walk: Walk) -> Dialect:
    return DIALECTS[connections[walk.using].vendor]


def unsliced(rows: Rows) -> Rows:
    """The same rows as a queryset that may be filtered further."""
    if rows.query.is_sliced:
        return rows.model._default_manager.filter(pk__in=rows.values("pk"))
    return rows


# Pages of tuples ------------------------------------------------------------------------------------------------------

PROJECT, TYPE, CONTENT, LOCALE = map(COLUMNS.index, ("project", "type", "content", "locale"))
LABEL, LABELS, ANSWER = map(COLUMNS.index, ("label_name", "label_names", "answer"))


def pages(walk: Walk) -> Iterator[Page]:
    return _stepped(
        walk, _fetch, _Pace(FIRST_PAGE, MOST_ROWS), lambda page: sum(len(row[CONTENT]) + 200 for row in page)
    )


def _stepped(
    walk: Walk, fetch: Callable[[QuerySet], list[tuple]], pace: "_Pace", weigh: Callable[[Page], int]
) -> Iterator[list[tuple]]:
    """What `fetch` finds in each step; `weigh` says how many bytes it is."""
    after, end = walk.ends()
    while after < end:
        upto = min(after + pace.width, end)
        page = fetch(walk.between(after, upto)[: 2 * pace.most + 1])
        pace.learn(upto - after, len(page), weigh(page))
        if len(page) > 2 * pace.most:
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

    def __init__(self, first: int, most: int):
        self.width = first
        self.most = most

    def learn(self, width: int, rows: int, bytes: int) -> None:
        wanted = min(self.most, PAGE_BYTES * rows // max(bytes, 1)) if rows else self.most
        # Never more than eightfold at once: what is sparse here may be dense ahead.
        self.width = max(1, min(width * 8, width * wanted // max(rows, 1)))


# Pages written by the database ----------------------------------------------------------------------------------------


class Written(NamedTuple):
    """A page's rows and their lines; `data` is None where SQL could not write every one of them.

    If they are asked for, `labels` says how many rows carry each label, or several, by its name or their names in JSON;
    and there are so many rows without a text, and so many others without an answer.
    """

    rows: int
    data: bytes | None
    labels: Mapping[bytes, int] = MappingProxyType({})
    blank_contents: int = 0
    blank_answers: int = 0

    @property
    def weight(self) -> int:
        return len(self.data or b"")


def written(
    walk: Walk,
    compile: Compile,
    by_hand: Callable[[Page], bytes],
    scope: Scope | None = None,
    *,
    with_figures: bool = False,
) -> Iterator[Written]:
    """Each page as it is to stand in the file. The first, and one that SQL could not write, is written by `by_hand`.

    From such pages SQL learns what it must know of the rows, unless `scope` says it: to look for it beforehand would be to
    read every row twice.
    """
    statement = _Statement(walk, compile, scope or Scope(walk.table), with_figures)
    start, end = walk.ends()
    if scope is None and start < end:
        first = min(start + FIRST_PAGE, end)
        yield from _by_hand(walk, (start, first), by_hand, statement)
        start = first
    for step, page in _answers(walk, statement, _Pace(FIRST_PAGE, MOST_ROWS), (start, end)):
        if page.data is not None:
            yield page._replace(data=statement.record.before + page.data + statement.record.after)
        elif page.rows:
            yield from _by_hand(walk, step, by_hand, statement)


def _by_hand(walk, step, by_hand, statement):
    if page := _fetch(walk.between(*step)):
        yield figures_of(page, by_hand(page))
        statement.learn(page)


def figures_of(page: Page, data: bytes | None) -> Written:
    """A page that was written by hand, with its figures."""
    labels = Counter(
        row[LABELS].encode() if row[LABELS] is not None else orjson.dumps(row[LABEL])
        for row in page
        if row[LABEL] is not None and row[TYPE] in LABELLED
    )
    blank = sum(not row[CONTENT].strip() for row in page)
    silent = sum(_is_silent(row) and bool(row[CONTENT].strip()) for row in page)
    return Written(len(page), data, labels, blank, silent)


def _is_silent(row: tuple) -> bool:
    """Whether its answer says nothing; of a preference, the response that was rejected counts too."""
    if row[LABEL] is not None and not row[LABEL].strip():
        return True
    if row[TYPE] not in PREFERENCES or row[ANSWER] is None:
        return False
    rejected = orjson.loads(row[ANSWER]).get("rejected")
    return rejected is not None and not rejected.strip()


Step = tuple[int, int]

AT_START = {
    # A page is too small for a plan with helpers. And whoever has once given back so large a piece of memory keeps smaller
    # ones: glibc would return each page's to the system, and the kernel clear it anew, for a quarter of all time.
    "postgresql": "SET max_parallel_workers_per_gather = 0; SET jit = off; SELECT octet_length(repeat(' ', 8000000))",
    "sqlite": "PRAGMA cache_size = -2000",  # KiB; who reads every page once needs none of them again
}


class _Question(Protocol):
    """What is asked of the database about a step: `of` is the statement, `read` makes something of the row it answers."""

    def of(self, step: Step) -> tuple[str, tuple]: ...

    def read(self, values: Sequence[Any]) -> Any:
        """It has `rows`, how many there are in the step, and `weight`, its bytes."""


def _answers(walk: Walk, question: _Question, pace: "_Pace", ends: Step) -> Iterator[tuple[Step, Any]]:
    """The steps in their order, and the answer for each; several are under way at once where that helps."""
    after, end = ends
    with _readers(walk.using) as (ask, ahead):
        asked: deque[tuple[Step, Future]] = deque()
        while after < end or asked:
            while after < end and len(asked) < ahead:
                step = (after, min(after + pace.width, end))
                asked.append((step, ask(*question.of(step))))
                after = step[1]
            step, answer = asked.popleft()
            found = question.read(answer.result())
            pace.learn(step[1] - step[0], found.rows, found.weight)
            if found.rows > 2 * pace.most:
                for half in reversed(_halves(step)):
                    asked.appendleft((half, ask(*question.of(half))))
            else:
                yield step, found


def _halves(step: Step) -> tuple[Step, Step]:
    after, upto = step
    middle = (after + upto) // 2
    return (after, middle), (middle, upto)


MARKS = (2**62 + 1, 2**62 + 2)  # keys that no row has, to find the bounds among a statement's parameters
MOST_ORIGINS = 500  # in one statement


class _Aggregate:
    """A statement that makes one row of a step; it is put together once for all steps that differ in their bounds alone.

    `columns` are written of each row, of `most` rows twice over at most; `said` is what is asked of them together.
    """

    def __init__(self, walk: Walk, columns: Mapping[str, Sql], said: Sql, most: int):
        self._walk, self._columns, self._said, self._most = walk, columns, said, most
        self._form = self._put_together(MARKS) if walk.keeps_its_form else None

    def of(self, step: Step) -> tuple[str, tuple]:
        """The statement for `step`, and its parameters."""
        if self._form is None:
            return self._put_together(step)
        sql, params = self._form
        values = dict(zip(MARKS, step, strict=True))
        return sql, tuple(values.get(param, param) if type(param) is int else param for param in params)

    def _put_together(self, step: Step) -> tuple[str, tuple]:
        rows = self._walk.between(*step).annotate(**{name: _raw(column) for name, column in self._columns.items()})
        try:
            compiler = rows.values_list(*self._columns)[: 2 * self._most + 1].query.get_compiler(self._walk.using)
            sql, params = compiler.as_sql()
        except EmptyResultSet:
            sql, params = f"SELECT {', '.join(f'NULL AS {name}' for name in self._columns)} WHERE 1 = 0", ()
        return f"SELECT {self._said.text} FROM ({sql}) page", (*self._said.params, *params)


class _Statement:
    """What has the database write a step's lines, and count what is in them."""

    def __init__(self, walk: Walk, compile: Compile, scope: Scope, with_figures: bool):
        self._walk = walk
        self._compile = compile
        self._with_figures = with_figures
        self._use(scope)

    def _use(self, scope: Scope) -> None:
        self._scope = scope
        self.record = self._compile(scope)
        page, labels = (dialect_of(self._walk).page(column, "%s") for column in ("line", "its_label"))
        said = f"count(*), count(line), {page}, {labels}, count(no_text), count(no_answer)"
        figures = _figures(dialect_of(self._walk), scope) if self._with_figures else dict.fromkeys(FIGURES, Sql("NULL"))
        columns = {"line": self.record.line, **figures}
        self.of = _Aggregate(self._walk, columns, Sql(said, (self.record.between, "\n")), MOST_ROWS).of

    def learn(self, page: Page) -> None:
        """Know from now on where the rows of `page` come from, and their labels."""
        known = self._scope
        origins = dict.fromkeys([*known.origins, *((row[PROJECT], row[TYPE], row[LOCALE]) for row in page)])
        if len(known.origins) < len(origins) <= MOST_ORIGINS:
            names = (row[LABEL] for row in page if row[LABEL] is not None and row[TYPE] in LABELLED)
            self._use(Scope(known.table, tuple(origins), tuple(dict.fromkeys([*known.labels, *names]))))

    def read(self, values: Sequence[Any]) -> Written:
        rows, lines, data, labels, no_text, no_answer = values
        counts = {self._key(key): number for key, number in Counter((labels or b"").split(b"\n")).items() if key}
        return Written(int(rows), data if int(rows) == int(lines) else None, counts, int(no_text), int(no_answer))

    def _key(self, written: bytes) -> bytes:
        """The JSON of what stands for it; a place keeps its meaning, for labels are only ever added."""
        return orjson.dumps(self._scope.labels[int(written)]) if written.isdigit() else written


FIGURES = ("its_label", "no_text", "no_answer")


def _figures(dialect: Dialect, scope: Scope) -> dict[str, Sql]:
    """What is counted of each row, by what FIGURES call it."""
    blank, silent = (dialect.is_blank(f'"{scope.table}"."{column}"') for column in ("content", "label_name"))
    rejected = dialect.is_rejected_blank(scope.table)
    no_text = Sql(f"CASE WHEN {blank.text} THEN 1 END", blank.params)
    no_answer = Sql(
        f"CASE WHEN ({silent.text} OR {rejected.text}) AND NOT ({blank.text}) THEN 1 END",
        silent.params + rejected.params + blank.params,
    )
    return {"its_label": dialect.label_key(scope.table, scope.labels), "no_text": no_text, "no_answer": no_answer}


def _raw(sql: Sql) -> RawSQL:
    return RawSQL(sql.text, sql.params, CharField())


def _ask(connection, sql: str, params: tuple) -> Sequence[Any]:
    """The one row of the answer, texts as UTF-8."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        if connection.vendor == "postgresql":  # as it came over the wire
            result = cursor.cursor.pgresult
            return [result.get_value(0, column) for column in range(result.nfields)]
        return cursor.fetchone()


@contextmanager
def _readers(using: str):
    """A function that has a statement answered, and how many answers may be awaited at once.

    They are asked on connections of our own, side by side with what is done with the pages. Inside a transaction no other
    connection sees its rows, and a database in memory has but one: there the answer comes at once.
    """
    here: Any = connections[using]
    if here.in_atomic_block or (here.vendor == "sqlite" and here.is_in_memory_db()):

        def at_once(sql, params):
            answer: Future = Future()
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

    pool = ThreadPoolExecutor(len(own), thread_name_prefix="reader")
    try:
        for connection in own:
            with connection.cursor() as cursor:
                cursor.execute(AT_START[here.vendor])
        yield lambda sql, params: pool.submit(on_a_free_one, sql, params), AHEAD
    finally:
        pool.shutdown(cancel_futures=True)
        for connection in own:
            if (
                here.vendor == "postgresql" and connection.connection is not None
            ):  # it goes back into a pool: as it came
                with connection.cursor() as cursor:
                    cursor.execute("RESET max_parallel_workers_per_gather; RESET jit")
            connection.close()


# What a split must know -----------------------------------------------------------------------------------------------


SLIM_ROWS = 10_000  # a page of rows without their content


def identities(walk: Walk, *columns: str) -> Iterator[Slim]:
    """What a split must know of every row, without its content, and whatever stands in `columns`; page by page.

    Without `columns` the database writes each page's ids, uids and labels as three texts: a tuple for each row would
    take four times as long.
    """
    if not columns:
        question = _Identities(walk)
        for _, found in _answers(walk, question, _Pace(SLIM_ROWS, SLIM_ROWS), walk.ends()):
            if found.rows:
                yield found.slim
        return

    def fetch(rows: QuerySet) -> list[tuple]:
        return list(rows.values_list("pk", "uid", "type", "label_name", *columns))

    for page in _stepped(walk, fetch, _Pace(SLIM_ROWS, SLIM_ROWS), lambda page: 0):
        ids, uids, types, names, *others = zip(*page, strict=True)
        labels = [name if type in LABELLED else None for type, name in zip(types, names, strict=True)]
        yield Slim(numpy.array(ids, "i8"), [uid.encode() for uid in uids], labels, others)


class _Found(NamedTuple):
    rows: int
    slim: Slim
    weight: int = 0  # they all weigh the same


class _Identities:
    """What has the database write a step's ids, uids and labels; these in JSON, for they may hold anything, or nothing."""

    def __init__(self, walk: Walk):
        say = dialect_of(walk)
        columns = {
            "its_id": Sql(f'"{walk.table}"."id"'),
            "its_uid": Sql(f'"{walk.table}"."uid"'),
            "its_label": say.label_text(walk.table),
        }
        pages = (say.page(name, "%s") for name in ("CAST(its_id AS text)", "its_uid", "its_label"))
        self.of = _Aggregate(walk, columns, Sql(f"count(*), {', '.join(pages)}", (",", ",", "\n")), SLIM_ROWS).of
        self._names = _Names({b"": None})

    def read(self, values: Sequence[Any]) -> _Found:
        ids, uids, labels = (value or b"" for value in values[1:])
        names = [self._names[text] for text in labels.split(b"\n")]
        return _Found(int(values[0]), Slim(numpy.fromstring(ids.decode(), "i8", sep=","), uids.split(b","), names))


class _Names(dict):
    """Label names by their JSON, each read once."""

    def __missing__(self, text: bytes) -> str:
        name = self[text] = orjson.loads(text)
        return name

"""What the ORM lacks for a hundred thousand rows at once: INSERT … SELECT, plain tuples in bulk, an UPDATE row by row, ids."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, models, router
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Cast

COPIED_LINES = 200  # in one piece on their way to PostgreSQL
SQLITE_VALUES = 32_766  # in one statement, its own limit; where a trigger writes too, one a row costs twice the time


def insert_select(
    model: type[models.Model],
    rows: models.QuerySet,
    columns: Mapping[str, str | Combinable],
    *,
    ignore_conflicts: bool = False,
) -> int:
    """Insert one `model` row for each of `rows`, computed by the database, and return how many were inserted.

    `columns` maps a field of `model` to an expression over `rows`, the name of one of its fields, or a plain value
    wrapped in `Value`. With `ignore_conflicts`, rows that break a unique constraint are left out.
    """
    using = router.db_for_write(model)
    fields: list[models.Field] = [model._meta.get_field(name) for name in columns]  # type: ignore[misc]
    expressions: list[Combinable] = []
    for field, expression in zip(fields, columns.values(), strict=True):
        if isinstance(expression, str):
            expression = models.F(expression)
        if isinstance(expression, models.Value):
            kind = getattr(field, "target_field", field)
            expression = models.Value(expression.value, output_field=kind)
            if expression.value is None:  # PostgreSQL would take a bare NULL in a SELECT for text
                expression = Cast(expression, kind)
        expressions.append(expression)
    try:
        sql, params = rows.using(using).values_list(*expressions).query.get_compiler(using).as_sql()
    except EmptyResultSet:  # Django knows that nothing matches, as with `pk__in=[]`
        return 0
    connection = connections[using]
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in fields)
    # The SELECT stands alone in brackets: SQLite would read a bare "… ON CONFLICT" as a join condition.
    tail = " WHERE true ON CONFLICT DO NOTHING" if ignore_conflicts else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(model._meta.db_table)} ({names}) SELECT * FROM ({sql}) AS picked{tail}", params
        )
        return cursor.rowcount


def update_each(model: type[models.Model], fields: Sequence[str], rows: Iterable[Sequence]) -> int:
    """Give each row its own values: `rows` hold the primary key, then a value for each of `fields`. Returns how many.

    `bulk_update` would write a CASE with a branch for every row and field. On PostgreSQL one statement is joined with
    the values, sent as an array a column; elsewhere one prepared statement is run many times.
    """
    connection = connections[router.db_for_write(model)]
    quote = connection.ops.quote_name
    targets: list[models.Field] = [model._meta.get_field(name) for name in fields]  # type: ignore[misc]
    prepare = [partial(field.get_db_prep_save, connection=connection) for field in targets]
    values = [(*(ready(value) for ready, value in zip(prepare, row, strict=True)), pk) for pk, *row in rows]
    if not values:
        return 0
    key: models.Field = model._meta.pk  # type: ignore[assignment]
    table, primary = quote(model._meta.db_table), quote(str(key.column))
    columns = [quote(str(field.column)) for field in targets]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            kinds = [field.cast_db_type(connection) for field in (*targets, key)]
            arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
            given = ", ".join(f"v{place}" for place in range(len(kinds)))
            sets = ", ".join(f"{column} = given.v{place}" for place, column in enumerate(columns))
            cursor.execute(
                f"UPDATE {table} SET {sets} FROM unnest({arrays}) AS given ({given})"
                f" WHERE {table}.{primary} = given.v{len(columns)}",
                [list(column) for column in zip(*values, strict=True)],
            )
        else:
            sets = ", ".join(f"{column} = %s" for column in columns)
            cursor.executemany(f"UPDATE {table} SET {sets} WHERE {primary} = %s", values)
    return len(values)


def insert_rows(
    model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]], *, same: Mapping[str, Any]
) -> None:
    """Insert one `model` row for each of `rows`, tuples of values for the fields `names`; `same` are values all share.

    Several times as fast as bulk_create, which makes an object of every row: COPY on PostgreSQL, many rows a statement
    on SQLite. Nothing is validated; foreign keys are given as primary keys and JSON as its text (`dump_json`). A column
    that is not named holds its default, asked for once; so does the primary key, which may be named (`new_ids`).
    """
    connection = connections[router.db_for_write(model)]
    defaults = {
        field.name: field.get_default()
        for field in model._meta.concrete_fields
        if not (field.primary_key or field.name in names or field.name in same)
    }
    shared: list[tuple[models.Field, Any]] = [
        (model._meta.get_field(name), value)  # type: ignore[misc]
        for name, value in {**same, **defaults}.items()
    ]
    fields: list[models.Field] = [model._meta.get_field(name) for name in names]  # type: ignore[misc]

    def writing(field):
        """How a value of `field` is written, where that is not how Python holds it."""
        if isinstance(field, models.DateTimeField | models.FloatField):  # a few moments and shares stand in many rows
            return lru_cache(lambda value: field.get_db_prep_save(value, connection))
        return None

    changes = [(place, change) for place, field in enumerate(fields) if (change := writing(field))]
    tail = [
        field.get_db_prep_save(value, connection)
        if writing(field) or (field.name in defaults and isinstance(field, models.JSONField))
        else value
        for field, value in shared
    ]

    def ready():
        for row in rows:
            values = list(row)
            for place, change in changes:
                if values[place] is not None:
                    values[place] = change(values[place])
            yield values

    quote = connection.ops.quote_name
    columns = [quote(str(field.column)) for field in (*fields, *(field for field, _ in shared))]
    target = f"{quote(model._meta.db_table)} ({', '.join(columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            end = "".join(f"\t{value}" for value in _copied(tail)) + "\n"
            lines = ("\t".join(_copied(values)) + end for values in ready())
            with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                while piece := "".join(islice(lines, COPIED_LINES)):
                    copy.write(piece)
        else:
            marks = f"({', '.join(['%s'] * len(columns))})"
            written, most = ready(), SQLITE_VALUES // len(columns)
            while some := [(*values, *tail) for values in islice(written, most)]:
                cursor.execute(f"INSERT INTO {target} VALUES {', '.join([marks] * len(some))}", [*chain(*some)])


def _copied(values: Iterable[Any]) -> list[str]:
    """A row's values as COPY reads them. (psycopg's write_row looks for the way to write each anew: thrice the time.)"""
    return [COPIED.get(type(value), _copied_text)(value) for value in values]


def _copied_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"COPY has not been taught to write a {type(value).__name__}")
    for plain, escaped in COPY_ESCAPES:
        if plain in value:
            value = value.replace(plain, escaped)
    return value


COPY_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))  # the backslash first
COPIED: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: r"\N",
    int: str,
    float: repr,
    bool: str,
    datetime: str,
}


def take_stock(model: type[models.Model]) -> None:
    """Have PostgreSQL look at what is in the table now: its own daemon does so a minute later, if it runs at all.

    After a million new rows it would take the table for empty, and look a page's rows up one by one.
    """
    connection = connections[router.db_for_write(model)]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {connection.ops.quote_name(model._meta.db_table)}")


def new_ids(model: type[models.Model], count: int) -> Sequence[int]:
    """`count` primary keys for rows of `model` about to be written, in ascending order; nobody else is given them.

    On SQLite they are the next ones, and the caller's transaction must be the one that writes (IMMEDIATE): it has no
    sequence to draw from, and no second writer either.
    """
    connection = connections[router.db_for_write(model)]
    table, column = model._meta.db_table, str(model._meta.pk.column)  # type: ignore[union-attr]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                # In brackets the sequence is looked up once, and not for every number.
                "SELECT nextval((SELECT pg_get_serial_sequence(%s, %s)::regclass)) FROM generate_series(1, %s)",
                [table, column, count],
            )
            return sorted(pk for (pk,) in cursor.fetchall())
        quote = connection.ops.quote_name
        # An AUTOINCREMENT table remembers the highest key it ever held, also of rows that are gone.
        cursor.execute(
            f"SELECT max(coalesce((SELECT max({quote(column)}) FROM {quote(table)}), 0),"
            " coalesce((SELECT seq FROM sqlite_sequence WHERE name = %s), 0))",
            [table],
        )
        last = cursor.fetchone()[0]
        return range(last + 1, last + 1 + count)


class Listed(RawSQL):
    """Many values as one parameter, however many there are: `filter(pk__in=Ids(ids))`, `filter(uid__in=Texts(uids))`."""

    kind: str  # PostgreSQL's name for the type of the values

    def __init__(self, values: Iterable[Any]):
        self.values = list(values)
        super().__init__("SELECT value FROM json_each(%s)", [json.dumps(self.values)])

    def as_postgresql(self, compiler, connection):
        return f"(SELECT unnest(%s::{self.kind}[]))", [self.values]


class Ids(Listed):
    """Primary keys."""

    kind = "bigint"


class Texts(Listed):
    """Texts."""

    kind = "text"


class Named(RawSQL):
    """The primary keys of `model` rows by a unique pair of a foreign key and a text:
    `pk__in=Named(Task, ("source", "external_id"), [(1, "a"), (1, "b")])`.

    Each pair is looked up by itself. Told of one source and many texts, PostgreSQL would judge by its last look at the
    table how many rows the source has, and of one that has come since read them all, again with every block of an import.
    """

    def __init__(self, model: type[models.Model], fields: tuple[str, str], pairs: Iterable[tuple[int, str]]):
        self.pairs = list(pairs)
        key, text, primary = (str(model._meta.get_field(name).column) for name in (*fields, model._meta.pk.name))  # type: ignore[union-attr]
        self.form = {"table": model._meta.db_table, "key": key, "text": text, "primary": primary}
        sql = (
            "SELECT row.{primary} FROM json_each(%s) AS given CROSS JOIN {table} AS row"  # CROSS: in this order
            " ON row.{key} = given.value ->> 0 AND row.{text} = given.value ->> 1"
        )
        super().__init__(sql.format(**self.form), [json.dumps(self.pairs)])

    def as_postgresql(self, compiler, connection):
        sql = (
            "(SELECT {primary} FROM unnest(%s::bigint[], %s::text[]) AS given ({key}, {text})"
            " JOIN {table} USING ({key}, {text}))"
        )
        keys, texts = zip(*self.pairs, strict=True) if self.pairs else ((), ())
        return sql.format(**self.form), [list(keys), list(texts)]

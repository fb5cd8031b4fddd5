"""What the ORM lacks for a hundred thousand rows at once: INSERT … SELECT."""

from collections.abc import Mapping

from django.db import connections, models, router
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast


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
        if isinstance(expression, models.Value):  # a bare NULL or number has no type of its own in a SELECT
            expression = Cast(expression, getattr(field, "target_field", field))
        expressions.append(expression)
    sql, params = rows.using(using).values_list(*expressions).query.get_compiler(using).as_sql()
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

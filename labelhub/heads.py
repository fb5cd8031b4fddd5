"""Long lists read in parts: of each no more than a page, as an index gives it; then the parts' heads are merged."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

MOST = 100  # parts in one UNION; SQLite takes no more than 500


def first_keys(
    parts: Sequence[QuerySet[Any]], limit: int, *, by: Sequence[str] = ("pk",), newest_first: bool = False
) -> RawSQL:
    """The first `limit` primary keys of all `parts` in the order of `by`, which ends with "pk".

    Each part comes in that order and is read no further than that. The parts stand in brackets of their own: SQLite
    allows no LIMIT directly inside a UNION.
    """
    heads: list[str] = []
    params: list[Any] = []
    for part in parts:
        try:
            sql, values = part.values_list(*by)[:limit].query.sql_with_params()
        except EmptyResultSet:  # Django knows that nothing matches
            continue
        heads.append(sql)
        params += values
    if not heads:
        return RawSQL("SELECT 0 WHERE 1 = 0", [])  # a number: PostgreSQL compares no bigint with a bare NULL
    order = f"ORDER BY {', '.join(f'{name} DESC' if newest_first else name for name in by)} LIMIT {limit}"
    while len(heads) > MOST:
        heads = [f"{union(some)} {order}" for some in runs(heads)]
    return RawSQL(f"SELECT pk FROM ({union(heads)} {order}) AS first", params)


def union(heads: Sequence[str]) -> str:
    bracketed = [f"SELECT * FROM ({sql}) AS part{number}" for number, sql in enumerate(heads)]
    return f"SELECT * FROM ({' UNION ALL '.join(bracketed)}) AS heads"


def runs(heads: Sequence[str]) -> list[Sequence[str]]:
    return [heads[start : start + MOST] for start in range(0, len(heads), MOST)]

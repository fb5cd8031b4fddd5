"""Pages by number, where a contract asks for them: their keys from an index alone, read from the nearer end."""

from django.db.models import QuerySet


def keys_at(rows: QuerySet, first: int, size: int, *, total: int) -> list[int]:
    """The primary keys of the ordered `rows` from place `first` (0 on), at most `size`; `total` is how many rows there are.

    What is skipped is walked over: seen from the other end it is never more than half of the rows.
    """
    last = min(first + size, total)
    if first >= last:
        return []
    keys = rows.values_list("pk", flat=True)
    if first <= total // 2:
        return list(keys[first:last])
    return list(keys.reverse()[total - last : total - first])[::-1]

"""Items a program posts, a few at a time: through the same gate as those of a file."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from labelhub.accounts.roles import Power
from labelhub.fields import dump_json
from labelhub.setwise import Texts
from samples.models import Project, Source, Task
from samples.permissions import require

from .importing import import_tasks
from .reading import Layout
from .recognising import content_id


class Posted(NamedTuple):
    """The ids of the tasks that the items are now, in the order of the items, and how many of them were new."""

    tasks: list[int]
    created: int
    unchanged: int


def post_tasks(project: Project, items: Sequence[Mapping[str, Any]], *, source: str, by) -> Posted:
    """Make tasks of `items` (content, and perhaps id, options, locale, metadata, occurred_at) in the source so called.

    All or none: BadRow, naming the item by its line, where one cannot be taken. Those that are there are known again.
    """
    require(by, Power.IMPORT, project)
    lines = b"".join(dump_json(_row(item)).encode() + b"\n" for item in items)
    imported = import_tasks(project, io.BytesIO(lines), name="tasks", layout=Layout(kind="jsonl"), source=source, by=by)
    ids = [item.get("id") or content_id(item["content"], item.get("options")) for item in items]
    whence = Source.objects.filter(project=project, name=source)
    known = dict(Task.objects.named((row, one) for row in whence for one in ids).values_list("external_id", "pk"))
    known |= dict(Task.objects.filter(project=project, uid__in=Texts(ids)).values_list("uid", "pk"))
    return Posted([known[one] for one in ids], imported.created, imported.unchanged)


def _row(item):
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in item.items()}

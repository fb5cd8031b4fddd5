"""Long lists read as their index gives them: project by project, state by state, each in the order of its keys."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from django.db.models import QuerySet

MOST = 64  # more parts than this and a walk over the whole table is the better plan
SELECTIVE = ("label", "external_id", "reviewed_by")  # they have an index of their own


def by_status(
    view: Any, rows: QuerySet[Any], asked: Mapping[str, Any], *, states: Sequence[str]
) -> list[QuerySet[Any]] | None:
    """`rows` by project and state, as the index on (project, status, id) holds them.

    Asked for a project's rows in the order of their ids, a database either sorts them all or walks over everybody's;
    of each part it needs to read no more than a page.
    """
    wanted = asked.get("status") or []
    if any(asked.get(name) for name in SELECTIVE):
        return None
    if (project := asked.get("project_id")) is not None:
        projects = [project]
    elif not view.sees_all:
        projects = view.visible
    elif wanted:
        projects = view.all_projects()
    else:
        return None  # everything: the table's own order will do
    if len(projects) * len(wanted or states) > MOST:
        return None
    return [rows.filter(project=project, status=status) for project, status in product(projects, wanted or states)]

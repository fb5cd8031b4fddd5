"""Asking for the label of one item: it becomes a task at once, as a program that has no file would want it."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from labelhub.accounts import audit
from labelhub.accounts.models import new_uid
from labelhub.accounts.roles import Power

from .errors import InvalidValue
from .models import Project, Source, Task
from .permissions import require
from .projects import check_label_name
from .task_types import InvalidAnswer

MOST_OPTIONS = 1000


@transaction.atomic
def ask(
    project: Project,
    content: str,
    *,
    by,
    source: str,
    options: Sequence[str] | None = None,
    locale: str = "",
    validations_needed: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Task:
    """Put one item to the annotators of `project`, each time as a new task; `source`, a name, is made where it is not there.

    `options` are this item's own choices; `validations_needed` the answers it needs, where that differs from the project.
    """
    require(by, Power.IMPORT, project)
    if options is not None:
        check_options(project, options)
    project.kind.check_content(content, options=options)
    channel, _ = Source.objects.get_or_create(project=project, name=source)
    uid = new_uid()
    task = Task.objects.create(
        project=project,
        source=channel,
        uid=uid,
        external_id=uid,
        type=project.task_type,
        content=content,
        locale=locale or project.locale,
        options=None if options is None else list(options),
        validations_needed=None if validations_needed == project.validations_needed else validations_needed,
        metadata=dict(metadata or {}),
    )
    audit.record(task, "ask", by=by, after=task.status)
    return task


def check_options(project: Project, options: Sequence[str]) -> None:
    """Refuse choices that nobody can choose from: fewer than two, the same twice, one that cannot stand as a label."""
    if not 2 <= len(options) <= MOST_OPTIONS:
        raise InvalidAnswer(f"an item has 2 to {MOST_OPTIONS} options, not {len(options)}")
    if len(set(options)) < len(options):
        twice = next(option for option in options if list(options).count(option) > 1)
        raise InvalidAnswer(f"the option {twice[:80]!r} is there more than once")
    if project.kind.has_labels:
        for option in options:
            check_label_name(option)
    elif not all(option.strip() for option in options):
        raise InvalidValue("an option is empty", field="options")

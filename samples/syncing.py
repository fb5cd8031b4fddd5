"""Keeping a source in step with the place its items come from: new ones are added, changed ones follow, none doubles."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from labelhub.accounts.roles import Power
from labelhub.setwise import update_each

from .errors import AlreadyThere
from .looking_over import forget, look_over
from .models import Source, Task
from .permissions import require

CHUNK = 1000


@dataclass(frozen=True)
class Item:
    """What the outside says about one item."""

    external_id: str
    content: str
    occurred_at: datetime
    metadata: dict[str, Any] = field(default_factory=dict)


class Synced(NamedTuple):
    """How many items were new, how many had another text, how many only other properties, how many were the same."""

    created: int = 0
    retold: int = 0
    amended: int = 0
    unchanged: int = 0


@transaction.atomic
def sync_tasks(source: Source, items: Iterable[Item], *, by, overwrite: bool = True) -> Synced:
    """Bring the tasks of `source` in line with `items`; of two with the same id the later counts.

    Answers and verdicts stay where a text changes, and a sample keeps the text that was approved. Without `overwrite`
    an item that is there with something else is refused (AlreadyThere), and nothing changes.
    """
    require(by, Power.IMPORT, source.project)
    Source.objects.select_for_update(no_key=True).get(
        pk=source.pk
    )  # two who bring the same item at once come one after the other
    latest = {item.external_id: item for item in items}
    counts = Synced()
    for chunk in _chunks(latest.values()):
        done = _sync_chunk(source, chunk, overwrite=overwrite)
        counts = Synced(*(sum(pair) for pair in zip(counts, done, strict=True)))
    if counts.created or counts.retold:
        look_over(source.project, by=by)
    return counts


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    waiting = iter(items)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk


def _sync_chunk(source: Source, items: Sequence[Item], *, overwrite: bool) -> Synced:
    there = {
        task.external_id: task
        for task in Task.objects.named((source, item.external_id) for item in items).only(
            "external_id", "content", "occurred_at", "metadata"
        )
    }
    new = [item for item in items if item.external_id not in there]
    changed = [item for item in items if item.external_id in there and _differs(item, there[item.external_id])]
    if changed and not overwrite:
        ids = [item.external_id for item in changed]
        raise AlreadyThere(f"there with other content: {', '.join(ids[:5])}", ids=ids)
    project = source.project
    for item in new:
        if item.content.strip():  # an e-mail without text is still an e-mail
            project.kind.check_content(item.content, options=None)
    Task.objects.bulk_create(
        Task(
            project=project,
            source=source,
            type=project.task_type,
            locale=project.locale,
            external_id=item.external_id,
            content=item.content,
            occurred_at=item.occurred_at,
            metadata=item.metadata,
        )
        for item in new
    )
    now = timezone.now()
    update_each(
        Task,
        ("content", "occurred_at", "metadata", "updated_at"),
        (
            (
                there[item.external_id].pk,
                item.content,
                item.occurred_at,
                there[item.external_id].metadata | item.metadata,
                now,
            )
            for item in changed
        ),
    )
    retold = [there[item.external_id].pk for item in changed if item.content != there[item.external_id].content]
    forget(retold)
    return Synced(len(new), len(retold), len(changed) - len(retold), len(items) - len(new) - len(changed))


def _differs(item: Item, task: Task) -> bool:
    return (
        item.content != task.content
        or item.occurred_at != task.occurred_at
        or any(key not in task.metadata or task.metadata[key] != value for key, value in item.metadata.items())
    )

"""Labelling by a program: what its user says of an item counts as his answer, and the latest word stands."""

from typing import Any

from django.db import transaction

from labelhub.accounts import audit
from labelhub.accounts.roles import Power

from .annotating import annotate, save_with_labels
from .models import Annotation, Task
from .permissions import require
from .settling import lock, overrule, settle, told, unsettle


@transaction.atomic
def assign(task: Task, *, by, answer: Any, properties: dict[str, Any] | None = None) -> Annotation:
    """Keep `answer` as that of `by`, with `properties` beside it.

    While the task is open, or settled by answers of which one is his, it is counted like any other. Against a verdict
    of others it takes the power to review, and is then the verdict.
    """
    require(by, Power.ANNOTATE, task.project)
    lock(task)
    mine = Annotation.objects.filter(task=task, annotator=by).first()
    if task.decided_by_id is None and (mine or not task.is_settled):
        annotation = annotate(task, by=by, answer=answer)
    else:
        require(by, Power.REVIEW, task.project)
        before = told(task)
        overrule(task, by=by, answer=answer, action="edited")
        audit.record(task, "assign", by=by, before=before, after=told(task))
        annotation = mine or Annotation(task=task, annotator=by)
        annotation.answer = task.answer
        save_with_labels(annotation)
    annotation.properties = properties
    annotation.save(update_fields=["properties", "updated_at"])
    return annotation


@transaction.atomic
def withdraw(task: Task, *, by) -> bool:
    """Take back the answer of `by`, if there is one; what others answered is counted again."""
    require(by, Power.ANNOTATE, task.project)
    lock(task)
    gone, _ = Annotation.objects.filter(task=task, annotator=by).delete()
    if not gone:
        return False
    before = told(task)
    others = Annotation.objects.filter(task=task).exists()
    if not others or task.decided_by_id == by.pk:
        unsettle(task, by=by)
    if others:
        settle(task, by=by)
    task.refresh_from_db()
    audit.record(task, "withdraw", by=by, before=before, after=told(task))
    return True

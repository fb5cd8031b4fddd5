"""Annotating: one person's answer to one task."""

from typing import Any

from django.db import transaction

from labelhub.accounts.roles import Power

from .errors import WrongState
from .models import Annotation, AnnotationLabel, Assignment, Task
from .permissions import require
from .settling import lock, settle


@transaction.atomic
def annotate(
    task: Task, *, by, answer: Any, lead_time_ms: int | None = None, prefilled_by: str | None = None
) -> Annotation:
    """Keep the answer of `by` to `task`, his first or a new one in its place, and settle the task if that is due.

    `prefilled_by` is the model whose guess stood in the form when it was opened.

    A settled task takes no first answers. One that a reviewer decided keeps his verdict, whatever is edited later.
    """
    require(by, Power.ANNOTATE, task.project)
    lock(task)  # two posts at once come one after the other, and the later answer stands
    answer = task.kind.clean(answer, choices=task.choices)
    annotation = Annotation.objects.filter(task=task, annotator=by).first()
    if annotation is None:
        if task.is_settled:
            raise WrongState(f"task {task.pk} is settled and takes no further answers", id=task.pk)
        annotation = Annotation(task=task, annotator=by)
    annotation.answer = answer
    if lead_time_ms is not None:
        annotation.lead_time_ms = lead_time_ms
    if prefilled_by is not None:
        annotation.prefilled_by = prefilled_by
    save_with_labels(annotation)
    Assignment.objects.filter(task=task, annotator=by).delete()
    settle(task, by=by)
    return annotation


def save_with_labels(annotation):
    """Save `annotation` with references to the project's labels that its answer names."""
    kind, answer = annotation.task.kind, annotation.answer
    names = (kind.label_names(answer) or [kind.label_name(answer)]) if kind.has_labels else []
    labels = list(annotation.task.project.labels.filter(name__in=names))
    if not kind.allows_several:
        annotation.label = labels[0] if labels else None
    annotation.save()
    if kind.allows_several:
        AnnotationLabel.objects.filter(annotation=annotation).delete()
        AnnotationLabel.objects.bulk_create(AnnotationLabel(annotation=annotation, label=label) for label in labels)

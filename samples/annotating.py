"""Annotating: one person's answer to one task, and the next task to ask him."""

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from labelhub.accounts.roles import Power

from .errors import WrongState
from .models import Annotation, AnnotationLabel, Project, Task
from .permissions import require
from .settling import lock, settle


@transaction.atomic
def annotate(task: Task, *, by, answer: Any, lead_time_ms: int | None = None) -> Annotation:
    """Keep the answer of `by` to `task`, his first or a new one in its place, and settle the task if that is due.

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
    save_with_labels(annotation)
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


def next_task(project: Project, *, user, skipping: Collection[int] = ()) -> Task | None:
    """The oldest open task of `project` that still needs answers and has none of `user`; None where there is none.

    `skipping` holds the ids of tasks that he passed over.

    The first of each open state is looked up in the index on (project, status, id), and the older of the two taken.
    """
    given = Annotation.objects.filter(task=OuterRef("pk")).order_by().values("task").annotate(n=Count("pk")).values("n")
    waiting = (
        Task.objects.where(user, Power.ANNOTATE)
        .filter(project=project)
        .unanswered_by(user)
        .exclude(pk__in=skipping)
        .annotate(given=Coalesce(Subquery(given), 0))
        .filter(given__lt=Coalesce("validations_needed", "project__validations_needed"))
        .order_by("pk")
        .values("pk")
    )
    firsts = [Subquery(waiting.filter(status=status)[:1]) for status in (Task.Status.PENDING, Task.Status.VALIDATING)]
    oldest = Task.objects.select_related("project").filter(Q(pk=firsts[0]) | Q(pk=firsts[1]))
    return oldest.order_by("pk").first()

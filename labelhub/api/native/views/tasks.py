"""Tasks, what people answer to them, and what models guess."""

from typing import Any

from django.db import transaction
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.response import Response

from labelhub.accounts.roles import Power
from labelhub.api.native import filters, serializers
from labelhub.api.native.envelope import ListRows, NativeViews, ShowRow
from labelhub.api.native.idempotency import idempotent
from labelhub.api.native.streams import by_status
from samples import assigning, settling
from samples.annotating import annotate
from samples.intake.posting import post_tasks
from samples.labelling import withdraw
from samples.models import Annotation, Prediction, Task
from samples.removal import delete_tasks

UID = "[0-9a-f]{16}"


class TaskViews(ListRows, ShowRow, NativeViews):
    tag = "tasks"
    joined = Task.objects.select_related("project", "source", "decided_by")
    serializer_class = serializers.TaskRow
    filterset_class = filters.TaskFilters
    lookup_field = "uid"
    lookup_value_regex = UID

    def streams(self, rows, asked):
        return by_status(self, rows, asked, states=Task.Status.values)

    @extend_schema(request=serializers.NewTasks, responses={201: serializers.CreatedTasks})
    @idempotent
    def create(self, request):
        """Post one task or up to a thousand; an item that is there already is not made twice.

        All of them or none: the first that cannot be taken is named.
        """
        asked = self.read(serializers.NewTasks)
        project = self.project(asked.pop("project"), Power.IMPORT)
        source = asked.pop("source")
        posted = post_tasks(project, asked.get("tasks", [asked]), source=source, by=request.user)
        rows = {task.pk: task for task in self.rows().filter(pk__in=posted.tasks)}
        told = {
            "created": posted.created,
            "unchanged": posted.unchanged,
            "results": [rows[pk] for pk in posted.tasks],
        }
        return Response(serializers.CreatedTasks(told).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request, uid):
        """Delete it with its answers; what has become an approved sample, or went into a batch, stays."""
        task = self.get_object()
        delete_tasks(Task.objects.filter(pk=task.pk), project=task.project, by=request.user)
        return Response(status=204)

    @extend_schema(
        request=serializers.AnswerFields,
        responses={200: serializers.AnnotationRow, 201: serializers.AnnotationRow},
        tags=["annotations"],
    )
    @action(detail=True, methods=["post"])
    def annotations(self, request, uid):
        """Answer a task; who has answered it before puts the new answer in place of his own."""
        return answered(self, self.get_object(), self.read(serializers.AnswerFields))

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["post"])
    def release(self, request, uid):
        """Give back a task that was lent to the caller, unanswered."""
        assigning.release(self.get_object(), user=request.user)
        return Response(status=204)

    @extend_schema(request=serializers.Revision, responses={200: serializers.SampleRow})
    @action(detail=True, methods=["post"])
    def decide(self, request, uid):
        """Give a task on which people did not agree the verdict of a reviewer; answers with its sample."""
        asked = self.read(serializers.Revision)
        sample = settling.decide(self.get_object(), by=request.user, **asked)
        return Response(serializers.SampleRow(sample).data)


def answered(view: NativeViews, task: Task, asked) -> Response:
    """Keep the caller's answer to `task`: 201 for his first, 200 for another in its place."""
    user: Any = view.request.user
    with transaction.atomic():
        settling.lock(task)
        known = Annotation.objects.filter(task=task, annotator=user).exists()
        annotation = annotate(task, by=user, **asked_in(asked))
    location = reverse("annotations-detail", args=[annotation.pk])
    data = serializers.AnnotationRow(annotation).data
    return Response(data, status=200 if known else 201, headers={"Location": location})


def asked_in(asked) -> dict[str, Any]:
    """What a body says of an answer, in the words of `annotate`."""
    return {name: asked[name] for name in ("answer", "lead_time_ms", "prefilled_by") if name in asked}


class AnnotationViews(ListRows, ShowRow, NativeViews):
    tag = "annotations"
    joined = Annotation.objects.select_related("task__project", "annotator")
    serializer_class = serializers.AnnotationRow
    filterset_class = filters.AnnotationFilters
    lookup_value_regex = "[0-9]{1,18}"

    def scoped(self, rows):
        return rows if self.sees_all else rows.filter(task__project__in=self.visible)

    def own(self) -> Annotation:
        """The annotation in the address, if it is the caller's."""
        annotation = self.get_object()
        if annotation.annotator_id != self.request.user.pk:
            raise PermissionDenied("Only the one who gave an answer may change it.", "not_allowed")
        return annotation

    @extend_schema(
        request=serializers.NewAnnotation,
        responses={200: serializers.AnnotationRow, 201: serializers.AnnotationRow},
    )
    def create(self, request):
        """Answer a task; who has answered it before puts the new answer in place of his own."""
        asked = self.read(serializers.NewAnnotation)
        task = self.lookup(Task.objects.visible_to(request.user).select_related("project"), uid=asked["task"])
        return answered(self, task, asked)

    @extend_schema(request=serializers.AnswerFields, responses=serializers.AnnotationRow)
    def partial_update(self, request, pk):
        """Change one's own answer; what follows from it is counted again."""
        asked = self.read(serializers.AnswerFields)
        with transaction.atomic():
            annotation = self.own()
            settling.lock(annotation.task)
            self.check_unchanged(annotation)
            annotate(annotation.task, by=request.user, **asked_in(asked))
        return self.shown(annotation)

    @extend_schema(responses={204: None})
    def destroy(self, request, pk):
        """Take one's own answer back; what others answered is counted again."""
        if not withdraw(self.own().task, by=request.user):
            raise NotFound("It has been taken back already.")
        return Response(status=204)


class PredictionViews(ListRows, ShowRow, NativeViews):
    tag = "predictions"
    joined = Prediction.objects.select_related("task__project", "label")
    serializer_class = serializers.PredictionRow
    filterset_class = filters.PredictionFilters
    lookup_value_regex = "[0-9]{1,18}"

    def scoped(self, rows):
        return rows if self.sees_all else rows.filter(task__project__in=self.visible)

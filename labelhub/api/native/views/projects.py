"""Projects, their labels, and the files that bring their tasks."""

import secrets
from typing import Any

from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Prefetch
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from exports import doubting
from exports.models import ModelVersion
from labelhub.accounts.models import User
from labelhub.accounts.roles import Power
from labelhub.api.native import filters, serializers
from labelhub.api.native.envelope import ListRows, NativeViews, ShowRow
from labelhub.api.native.idempotency import idempotent
from labelhub.api.wire import JSONBody
from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.jobs import queue
from samples import assigning, suggesting
from samples.errors import InvalidValue
from samples.intake import uploads
from samples.labels import delete_label, move_label, recolour_label, rename_label
from samples.models import Label, Membership, Project, Task
from samples.permissions import require
from samples.projects import add_labels, create_project, update_project
from samples.removal import delete_project

from .jobs import started

NAME = r"[A-Za-z0-9\-_.]{1,1024}"
CONTENTS = OpenApiParameter("contents", bool, description="true: with its sources, tasks and answers.")


class ProjectViews(ListRows, ShowRow, NativeViews):
    tag = "projects"
    joined = Project.objects.select_related("created_by").prefetch_related("labels")
    serializer_class = serializers.ProjectRow
    filterset_class = filters.ProjectFilters
    lookup_field = "name"
    lookup_value_regex = NAME

    def rows(self):
        mine = Membership.objects.filter(user=self.request.user)
        return self.joined.prefetch_related(Prefetch("memberships", mine, to_attr="mine"))

    def scoped(self, rows):
        return rows.visible_to(self.request.user)

    @extend_schema(request=serializers.NewProject, responses={201: serializers.ProjectRow})
    @idempotent
    def create(self, request):
        """Begin a project; the caller becomes its manager."""
        if not request.user.has_perm("samples.add_project"):
            raise PermissionDenied("Only staff may create projects.", "not_allowed")
        asked = self.read(serializers.NewProject)
        project = create_project(
            asked.pop("name"), task_type=asked.pop("type"), labels=asked.pop("labels"), by=request.user, **asked
        )
        return self.shown(project, 201, Location=reverse("projects-detail", args=[project.name]))

    @extend_schema(request=serializers.ProjectFields, responses=serializers.ProjectRow)
    def partial_update(self, request, name):
        """Change what is named, and nothing else."""
        asked = self.read(serializers.ProjectFields)
        with transaction.atomic():
            project = self.get_object()
            Project.objects.select_for_update(no_key=True).get(pk=project.pk)
            self.check_unchanged(project)
            return self.shown(update_project(project, by=request.user, **asked))

    @extend_schema(parameters=[CONTENTS], responses={204: None})
    def destroy(self, request, name):
        """Delete it, if it is empty or ?contents=true; approved samples, batches and models keep it."""
        delete_project(
            self.get_object(), by=request.user, with_contents=request.query_params.get("contents", "false") == "true"
        )
        return Response(status=204)

    @extend_schema(
        request={"multipart/form-data": serializers.Upload, "application/json": serializers.Upload},
        responses={202: serializers.JobRow},
    )
    @action(detail=True, methods=["post"], parser_classes=[JSONBody, MultiPartParser])
    @idempotent
    def imports(self, request, name):
        """Bring tasks in from a file, or from rows in the body; the answer is the job that does it.

        The same rows twice change nothing. Labels become verdicts waiting for review, or the answers of one person.
        """
        project = self.project(name, Power.IMPORT)
        asked = self.read(serializers.Upload)
        params = {"project": project.pk, **kept(asked, project, by=request.user)}
        job = queue.submit("samples.import_file", params, by=request.user)
        return started(job)

    @extend_schema(request=serializers.LookForErrors, responses={202: serializers.JobRow}, tags=["doubts"])
    @action(detail=True, methods=["post"])
    @idempotent
    def doubts(self, request, name):
        """Look for label errors among the settled tasks; the answer is the job that does it.

        Each is judged by a model that has not learnt from it. What comes out are doubts, the surest first.
        """
        project = self.project(name, Power.REVIEW)
        asked = self.read(serializers.LookForErrors)
        version = None
        if "model" in asked:
            version = self.lookup(
                ModelVersion.objects.filter(project=project).select_related("project", "finetune"), pk=asked["model"]
            )
        return started(doubting.look(project, by=request.user, version=version))

    @extend_schema(request=serializers.AskNext, responses={200: serializers.AssignedTask, 204: None})
    @action(detail=True, methods=["post"], url_path="tasks/next", url_name="next-task")
    def next_task(self, request, name):
        """The next task for the caller, kept for him for some minutes; 204 where nothing is left for him.

        Who asks again before he answered is given the same. Answer it with POST /api/v1/tasks/{id}/annotations.
        """
        project = self.project(name)
        asked = self.read(serializers.AskNext)
        passed = Task.objects.filter(project=project, uid__in=asked["skip"]).values_list("pk", flat=True)
        assignment = assigning.take_next(project, user=request.user, order=asked.get("order"), skipping=list(passed))
        if assignment is None:
            return Response(status=204)
        told = {
            "task": assignment.task,
            "choices": assignment.task.choices,
            "guidelines": project.guidelines,
            "suggestion": suggested(assignment.task),
            "until": assignment.until,
        }
        return Response(serializers.AssignedTask(told).data)


def suggested(task: Task) -> dict[str, Any] | None:
    found = suggesting.suggestion_for(task)
    if found is None:
        return None
    return {
        "model": found.model,
        "guesses": [{"label": label, "probability": chance} for label, chance in found.guesses],
        "fills_in": found.fills_in,
    }


def kept(asked: dict[str, Any], project: Project, *, by) -> dict[str, Any]:
    """The upload put aside, as the parameters of the job that imports it; refused where no row of it can be read."""
    if "rows" in asked:
        lines = (dump_json(row).encode() + b"\n" for row in asked["rows"])
        file, name = ContentFile(b"".join(lines)), "rows.jsonl"
    else:
        file, name = asked["file"], asked["file"].name
    annotator = annotator_in(asked, project, by=by)
    path = uploads.keep(file, token=secrets.token_urlsafe(12))
    try:
        uploads.first_rows(path=path, name=name)
    except Fact:
        uploads.forget(path)
        raise
    return {
        "path": path,
        "name": name,
        "columns": asked["columns"],
        "source": asked["source"],
        "labels_as": asked["labels_as"],
        "annotator": annotator,
        "on_error": asked["on_error"],
    }


def annotator_in(asked: dict[str, Any], project: Project, *, by) -> int | None:
    """Whose answers the labels are; None where they are verdicts."""
    if asked["labels_as"] != "annotations":
        if "annotator" in asked:
            raise ValidationError({"annotator": ["Only labels_as=annotations has an annotator."]})
        return None
    if "annotator" not in asked:
        return by.pk
    person = User.objects.filter(projects=project, is_active=True, username=asked["annotator"]).first()
    if person is None:
        raise ValidationError({"annotator": [f"{asked['annotator']!r:.80} is not a member of {project.name}."]})
    return person.pk


class LabelViews(ListRows, ShowRow, NativeViews):
    tag = "labels"
    joined = Label.objects.select_related("project")
    serializer_class = serializers.LabelRow
    filterset_class = filters.LabelFilters
    lookup_value_regex = "[0-9]{1,18}"

    @extend_schema(request=serializers.NewLabels, responses={201: serializers.LabelRow(many=True)})
    @idempotent
    def create(self, request):
        """Append labels to a project's list; those it has already stay as they are. Answers with the new ones."""
        asked = self.read(serializers.NewLabels)
        project = self.project(asked["project"], Power.MANAGE)
        labels = add_labels(project, asked["names"])
        return Response(self.get_serializer(labels, many=True).data, status=201)

    @extend_schema(request=serializers.LabelChange, responses=serializers.LabelRow)
    def partial_update(self, request, pk):
        """Rename, recolour or move a label; one in use keeps its name and its place."""
        asked = self.read(serializers.LabelChange)
        with transaction.atomic():
            label = self.get_object()
            Project.objects.select_for_update(no_key=True).get(pk=label.project_id)
            self.check_unchanged(label)
            require(request.user, Power.MANAGE, label.project)
            if "name" in asked and asked["name"] != label.name:
                rename_label(label, name=asked["name"], by=request.user)
            if "colour" in asked:
                recolour_label(label, colour=asked["colour"], by=request.user)
            if "position" in asked:
                if asked["position"] >= label.project.labels.count():
                    raise InvalidValue(f"there is no position {asked['position']}", field="position")
                move_label(label, to=asked["position"], by=request.user)
        return self.shown(label)

    @extend_schema(responses={204: None})
    def destroy(self, request, pk):
        """Delete an unused label, after which there is no label in use."""
        delete_label(self.get_object(), by=request.user)
        return Response(status=204)

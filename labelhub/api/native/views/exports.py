"""What leaves: batches and their files, fine-tunes, models and their tags."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response

from exports import batching, finetuning, predicting, trusting, versions
from exports.downloads import download
from exports.errors import AlreadyExported, NotApproved, NotReady, UnknownTasks
from exports.models import Batch, FineTune, ModelVersion, ProviderAccount
from labelhub.accounts.roles import Power
from labelhub.api.native import filters, serializers
from labelhub.api.native.envelope import ListRows, NativeViews, ShowRow
from labelhub.api.native.idempotency import idempotent
from labelhub.facts import Fact
from labelhub.fields import dump_json
from samples.models import Project, Sample, Task
from samples.models.samples import SampleQuerySet
from samples.permissions import require

from .jobs import cancelled, started

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
IDS_NAMED = 20
IDS_KEPT = 1000  # in `selection`; the batch's items hold every one of them
SHARD = OpenApiParameter("name", str, description="Of a batch in shards: which file, as the manifest calls it.")
RANGE = OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="bytes=0-1023, as RFC 9110 says.")


class BatchViews(ListRows, ShowRow, NativeViews):
    tag = "batches"
    joined = Batch.objects.select_related("project", "job", "created_by").defer("manifest")
    serializer_class = serializers.BatchRow
    filterset_class = filters.BatchFilters
    lookup_field = "uuid"
    lookup_value_regex = UUID
    newest_first = True

    def scoped(self, rows):
        return rows.visible_to(self.request.user)

    @extend_schema(request=serializers.NewBatch, responses={202: serializers.BatchRow})
    @idempotent
    def create(self, request):
        """Gather approved samples into a batch, and have its file written.

        With `ids` exactly these or none at all; else every approved one that a filter finds, or the project holds, and
        that no batch carries yet. With `since` only what is new since that batch. The batch is READY when its job is done.
        """
        asked = self.read(serializers.NewBatch)
        if "tasks" in asked:
            return self.accepted(self.of_tasks(asked))
        selected, asked = self.selected(asked)
        try:
            batch = batching.gather(by=request.user, **selected, **asked)
        except (NotApproved, AlreadyExported) as fact:
            raise in_uids(fact) from fact
        return self.accepted(batch)

    def accepted(self, batch: Batch) -> Response:
        return self.shown(batch, 202, Location=reverse("batches-detail", args=[batch.uuid]))

    def of_tasks(self, asked: dict[str, Any]) -> Batch:
        """A batch of the tasks that the filter in `asked` finds, as they stand."""
        wanted, name = asked.pop("tasks"), asked.pop("project", None)
        asked.pop("allow_reexport")
        if name not in (None, wanted["project"]):
            raise ValidationError({"project": ["The filter of the tasks names another."]})
        project = self.project(wanted["project"], Power.EXPORT)
        asked["since"] = self.since(asked, project)
        tasks: Any = filters.found_by(
            filters.TaskFilters, wanted, Task.objects.visible_to(self.request.user), self.request
        )
        return batching.gather_tasks(tasks, by=self.request.user, project=project, selection={"tasks": wanted}, **asked)

    def selected(self, asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Which samples `asked` means, in the words of `gather`, and what is left of it."""
        ids, wanted, name = asked.pop("ids", None), asked.pop("filter", None), asked.pop("project", None)
        if wanted is not None:
            if name not in (None, wanted["project"]):
                raise ValidationError({"project": ["The filter names another."]})
            name = wanted["project"]
        project = None if name is None else self.project(name, Power.EXPORT)
        asked["since"] = self.since(asked, project)
        samples = Sample.objects.visible_to(self.request.user)
        selection: dict[str, Any] = {"project": name}
        if wanted is not None:
            samples = filters.found_by(filters.SampleFilters, wanted, samples, self.request)
            selection = {"filter": {key: filters.as_plain(value) for key, value in wanted.items()}}
        if ids is not None:
            keys = self.keys(samples, ids, project)
            kept = ids if len(ids) <= IDS_KEPT else {"count": len(ids)}
            return {"samples": samples, "project": project, "ids": keys, "selection": {"ids": kept}}, asked
        return {"samples": samples, "project": project, "selection": selection}, asked

    def since(self, asked: dict[str, Any], project: Project | None) -> Batch | None:
        """The batch of `project` that `asked` names; one that is another's is not told from one that is not there."""
        if project is None or "since" not in asked:
            return None
        batch = Batch.objects.visible_to(self.request.user).filter(project=project, uuid=asked["since"]).first()
        if batch is None:
            raise ValidationError({"since": [f"There is no batch {asked['since']} of {project.name}."]})
        return batch

    def keys(self, samples: SampleQuerySet, uids: list[str], project: Project | None) -> list[int]:
        """The primary keys of the samples called `uids`, all of which the caller may export."""
        found = {uid: (pk, of) for pk, uid, of in samples.filter(uid__in=uids).values_list("pk", "uid", "project_id")}
        if unknown := [uid for uid in dict.fromkeys(uids) if uid not in found]:
            raise NotApproved(f"unknown here, or not approved: {listed(unknown)}", ids=unknown)
        projects = Project.objects.filter(pk__in={of for _, of in found.values()})
        if project is None and len(projects) > 1 and not self.request.user.is_superuser:
            raise ValidationError({"ids": ["They belong to several projects; a batch holds the samples of one."]})
        for one in projects if project is None else ():
            require(self.request.user, Power.EXPORT, one)
        return [pk for pk, _ in found.values()]

    @extend_schema(request=None, responses={200: serializers.Cancelled})
    @action(detail=True, methods=["post"])
    def cancel(self, request, uuid):
        """Stop it, and free its samples for another batch."""
        return cancelled(batching.cancel(self.get_object(), by=request.user))

    @extend_schema(request=None, responses={202: serializers.BatchRow})
    @action(detail=True, methods=["post"])
    @idempotent
    def retry(self, request, uuid):
        """Have a failed one written again, with the samples it holds."""
        return self.shown(batching.retry(self.get_object(), by=request.user), 202)

    @extend_schema(request=None, responses={202: serializers.BatchRow})
    @action(detail=True, methods=["post"], url_path="write-again")
    @idempotent
    def write_again(self, request, uuid):
        """Have the files made again that were removed when their time was over: the same rows in the same parts."""
        return self.shown(batching.write_again(self.get_object(), by=request.user), 202)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    @action(detail=True)
    def manifest(self, request, uuid):
        """Everything needed to explain the file or to make it again."""
        batch = self.get_object()
        if not batch.is_ready:
            raise NotReady(f"{batch} is {batch.get_state_display().lower()}: it has no manifest", state=batch.state)
        return HttpResponse(dump_json(batch.manifest or {}), content_type="application/json")

    @extend_schema(
        parameters=[SHARD, RANGE],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            302: OpenApiResponse(None, "The store serves it: follow Location."),
            304: OpenApiResponse(None, "It is as If-None-Match says."),
        },
    )
    @action(detail=True)
    def file(self, request, uuid):
        """The file itself, as a stream or by a short-lived link to its store; ranges go, and its ETag is its sha256."""
        batch, name = self.get_object(), request.query_params.get("name")
        if name is not None and "\0" in name:
            raise ValidationError({"name": ["A NUL is in no name."]})
        response = download(request, batch, name)
        if response.status_code == 416:
            raise BeyondTheEnd(response.headers["Content-Range"])
        return response


class BeyondTheEnd(APIException):
    """The range asked for begins where the file has ended."""

    status_code = 416
    default_code = "range_not_satisfiable"

    def __init__(self, range: str):
        super().__init__(f"The file has no such range: {range}.")


def in_uids(fact: NotApproved | AlreadyExported) -> Fact:
    """The same fact with samples called by their ids here, not by the database's."""
    uids = list(Sample.objects.filter(pk__in=fact.details["ids"]).order_by("pk").values_list("uid", flat=True))
    what = "not approved" if isinstance(fact, NotApproved) else "carried by another batch already"
    return type(fact)(f"{what}: {listed(uids)}", ids=uids)


def listed(uids: list[str]) -> str:
    more = f", … ({len(uids)} in all)" if len(uids) > IDS_NAMED else ""
    return f"samples {', '.join(uids[:IDS_NAMED])}{more}"


class FineTuneViews(ListRows, ShowRow, NativeViews):
    tag = "finetunes"
    joined = FineTune.objects.select_related("batch__project", "job", "created_by", "account", "model_version")
    serializer_class = serializers.FineTuneRow
    filterset_class = filters.FineTuneFilters
    lookup_field = "uuid"
    lookup_value_regex = UUID
    newest_first = True

    def scoped(self, rows):
        return rows.visible_to(self.request.user)

    @extend_schema(request=serializers.NewFineTune, responses={202: serializers.FineTuneRow})
    @idempotent
    def create(self, request):
        """Train on the file of a batch; a batch has at most one fine-tune under way."""
        asked = self.read(serializers.NewFineTune)
        batches = Batch.objects.visible_to(request.user).select_related("project")
        batch = self.lookup(batches, uuid=asked.pop("batch"))
        if "account" in asked and batch.project is not None:
            require(request.user, Power.FINETUNE, batch.project)
            asked["account"] = self.lookup(ProviderAccount.objects.usable_for(batch.project), name=asked["account"])
        finetune = finetuning.submit(batch, by=request.user, **asked)
        return self.shown(finetune, 202, Location=reverse("finetunes-detail", args=[finetune.uuid]))

    @extend_schema(request=None, responses={200: serializers.Cancelled})
    @action(detail=True, methods=["post"])
    def cancel(self, request, uuid):
        """Stop it: at once where it waits, at its next progress report where it runs."""
        return cancelled(finetuning.cancel(self.get_object(), by=request.user))

    @extend_schema(request=None, responses={200: serializers.FineTuneRow})
    @action(detail=True, methods=["post"])
    def refresh(self, request, uuid):
        """Ask the provider how it stands."""
        return self.shown(finetuning.refresh(self.get_object()))


TAG = OpenApiParameter("tag", str, OpenApiParameter.PATH, pattern=r"[A-Za-z0-9\-_.]{1,64}")


class ModelViews(ListRows, ShowRow, NativeViews):
    tag = "models"
    joined = ModelVersion.objects.select_related(
        "project", "dataset", "finetune__batch__project", "finetune__account"
    ).prefetch_related("tags")
    serializer_class = serializers.ModelRow
    filterset_class = filters.ModelFilters
    lookup_value_regex = "[0-9]{1,18}"
    newest_first = True

    @extend_schema(request=None, parameters=[TAG], responses=serializers.ModelRow)
    @action(detail=True, methods=["put"], url_path=r"tags/(?P<tag>[A-Za-z0-9\-_.]{1,64})")
    def tags(self, request, pk, tag):
        """Give this version the tag, taking it from the one that had it."""
        version = self.get_object()
        versions.tag(version, tag, by=request.user)
        return self.shown(version)

    @extend_schema(parameters=[TAG], responses={204: None})
    @tags.mapping.delete
    def untag(self, request, pk, tag):
        """Take the tag off."""
        versions.untag(self.get_object(), tag, by=request.user)
        return Response(status=204)

    @extend_schema(request=serializers.Predict, responses={202: serializers.JobRow})
    @action(detail=True, methods=["post"])
    @idempotent
    def predict(self, request, pk):
        """Let this model guess the labels of tasks of its project; the answer is the job that does it.

        Without a choice, the tasks that still wait for answers. What it has guessed before, it may guess again: nothing
        changes, and a model at a provider is not paid twice. The job's result counts what came of it.
        """
        version = self.get_object()
        asked = self.read(serializers.Predict)
        tasks: Any = Task.objects.visible_to(request.user).filter(project=version.project)
        if "ids" in asked:
            if unknown := sorted(
                set(asked["ids"]) - set(tasks.filter(uid__in=asked["ids"]).values_list("uid", flat=True))
            ):
                raise UnknownTasks(f"no tasks of {version.project.name}: {', '.join(unknown[:IDS_NAMED])}", ids=unknown)
            tasks = tasks.filter(uid__in=asked["ids"])
        elif "filter" in asked:
            wanted = asked["filter"] | {"project": version.project.name}
            tasks = filters.found_by(filters.TaskFilters, wanted, tasks, request)
        else:
            tasks = tasks.open()
        selection = {name: value if len(value) <= IDS_KEPT else {"count": len(value)} for name, value in asked.items()}
        return started(predicting.ask(version, tasks, by=request.user, selection=selection).job)

    @extend_schema(request=serializers.Prefill, responses=serializers.Trusted)
    @action(detail=True, methods=["put"])
    def prefill(self, request, pk):
        """Let forms begin with this model's answer, where it is so sure that as many as `precision` of them are right.

        How sure that is, is read off its held-out curve; without a curve, or where it is never so right, it is refused.
        """
        version = self.get_object()
        asked = self.read(serializers.Prefill)
        trust = trusting.fill_in(version, precision=asked["precision"], by=request.user)
        return Response(serializers.Trusted(trust).data)

    @extend_schema(responses={204: None})
    @prefill.mapping.delete
    def leave_empty(self, request, pk):
        """Let forms begin empty again."""
        trusting.leave_empty(self.get_object().project, by=request.user)
        return Response(status=204)

"""What was said about a dataset's comments: export, query, statistics, and the labellings in and out."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from rest_framework.exceptions import NotFound, ValidationError

from labelhub.api.uipath import serializers, shapes
from labelhub.api.uipath.comments import (
    ANNOTATED,
    between,
    filtered,
    label_counts,
    of_dataset,
    page_of,
    sources_of,
    with_answers,
    with_uids,
)
from labelhub.api.uipath.envelope import UiPathView, ok
from labelhub.api.uipath.labels import by_external_id, show
from labelhub.sqlite import turn
from samples.datasets import update_dataset
from samples.labelling import assign, withdraw
from samples.models import Dataset, Task
from samples.task_types import InvalidAnswer


def following(continuation: str | None, name: str = "continuation") -> dict[str, str]:
    """The token for the next page; absent, not null, where nothing follows."""
    return {name: continuation} if continuation else {}


class Export(UiPathView):
    """Comments with their labels, later than `from`, up to and with `to`."""

    needs = {"POST": "datasets-export"}

    def post(self, request, project, name):
        dataset = self.dataset(project, name)
        asked = self.read(serializers.ExportRequest)
        order_by, after, until = asked["order_by"], asked.get("from"), asked.get("to")
        tasks, sources = Task.objects.all(), None
        if asked.get("comment_uids") is not None:  # an empty list names none of them, it does not mean all
            tasks = with_uids(of_dataset(dataset), asked["comment_uids"])
        else:
            sources = sources_of(dataset, asked.get("source_ids"))
        page = page_of(
            between(tasks, order_by=order_by, after=after, until=until),
            sources=sources,
            question=[
                "export",
                dataset.uid,
                order_by,
                asked.get("comment_uids") and sorted(asked["comment_uids"]),
                asked.get("source_ids") and sorted(asked["source_ids"]),
                after and after.isoformat(),
                until and until.isoformat(),
            ],
            limit=asked["limit"],
            token=asked.get("continuation"),
            order_by=order_by,
        )
        rows = [shapes.exported(task, has_sentiment=dataset.has_sentiment) for task in page.tasks]
        return ok(comments=rows, **following(page.continuation))


class Query(UiPathView):
    """The latest comments first, under a filter."""

    needs = {"POST": "voc-readonly"}

    def post(self, request, project, name):
        dataset = self.dataset(project, name)
        asked = self.read(serializers.QueryRequest)
        wanted = dict(asked.get("filter", {}))
        sources = sources_of(dataset, wanted.pop("sources", None) or None)
        page = page_of(
            filtered(Task.objects.all(), wanted, asked.get("attribute_filters", ())),
            sources=sources,
            question=["query", dataset.uid, request.data.get("filter"), request.data.get("attribute_filters")],
            limit=asked["limit"],
            token=asked.get("continuation"),
            newest_first=True,
        )
        return ok(results=[shapes.annotated(task) for task in page.tasks], **following(page.continuation))


class Statistics(UiPathView):
    needs = {"POST": "voc-readonly"}

    def post(self, request, project, name):
        asked = self.read(serializers.StatisticsRequest)
        tasks = of_dataset(self.dataset(project, name))
        tasks = filtered(tasks, asked.get("comment_filter", {}), asked.get("attribute_filters", ()))
        return ok(
            statistics={
                "num_comments": tasks.count(),
                "label_counts": label_counts(tasks),
                "label_timeseries": [],
                "label_property_timeseries": [],
            }
        )


class Labellings(UiPathView):
    """The annotated comments, or those named by `id`; the client asks on until a page comes empty."""

    needs = {"GET": "datasets-review"}

    def get(self, request, project, name):
        dataset = self.dataset(project, name)
        asked = self.read(serializers.LabellingsQuery, request.query_params)
        ids = request.query_params.getlist("id")
        if any("\0" in one for one in ids) or len(ids) > 999:
            raise ValidationError({"id": ["name up to 999 comments by their uids"]})
        sources = sources_of(dataset, [asked["source_id"]] if "source_id" in asked else None)
        page = page_of(
            with_uids(Task.objects.all(), ids) if ids else Task.objects.filter(ANNOTATED),
            sources=sources,
            question=["labellings", dataset.uid, asked.get("source_id"), sorted(ids)],
            limit=asked["limit"],
            token=asked.get("after"),
            always=True,
        )
        rows = [shapes.annotated(task, with_predictions=asked["return_predictions"]) for task in page.tasks]
        return ok(results=rows, **following(page.continuation, "after"))


class LabellingOfComment(UiPathView):
    """Read or set what is said of one comment."""

    needs = {"GET": "datasets-review", "POST": "datasets-review"}

    def get(self, request, project, name, uid):
        task = comment_in(self.dataset(project, name), uid)
        return ok(**shapes.annotated(task))

    def post(self, request, project, name, uid):
        dataset = self.dataset(project, name)
        task = comment_in(dataset, uid)
        asked = self.read(serializers.Labellings)
        check_groups(dataset, labellings_in(asked))
        label(dataset, task, asked, by=request.user)
        return ok(**shapes.annotated(comment_in(dataset, uid)))


class SyncAnnotations(UiPathView):
    """Set the labels of many comments at once, named by themselves or by their outside ids."""

    needs = {"POST": "datasets-review"}

    def post(self, request, project, name):
        dataset = self.dataset(project, name)
        asked = self.read(serializers.Annotations)["annotations"]
        names = by_external_id(dataset)
        uids = [told["comment_uid"] for told in asked]
        rows = with_uids(of_dataset(dataset), uids).select_related("source", "project")
        tasks = {f"{task.source.uid}.{task.external_id}": task for task in rows}
        with transaction.atomic():
            for told in asked:
                if told["comment_uid"] not in tasks:
                    raise NotFound(f"No such comment: {told['comment_uid']}")
                labels = [named(each, names) for each in told["labels"]["assigned"]]
                label(dataset, tasks[told["comment_uid"]], {"labelling": [{"assigned": labels}]}, by=request.user)
        return ok()


def named(told: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`told` with the label's name in the place of its outside id."""
    if "name" in told:
        return dict(told)
    if told["external_id"] not in names:
        raise ValidationError(f"No such label: external_id {told['external_id']}")
    return {**told, "name": names[told["external_id"]]}


def comment_in(dataset: Dataset, uid: str) -> Task:
    task = with_uids(of_dataset(dataset), [uid]).select_related("source", "project").first()
    if task is None:
        raise NotFound(f"No such comment: {uid}")
    return with_answers([task])[0]


def check_groups(dataset: Dataset, labellings: Iterable[Mapping[str, Any]]) -> None:
    known = dataset.properties.get("label_groups", {shapes.DEFAULT_GROUP: {}})
    for labelling in labellings:
        if labelling.get("group", shapes.DEFAULT_GROUP) not in known:
            raise ValidationError(f"No such label group: {labelling['group']}")


def label(dataset: Dataset, task: Task, asked: Mapping[str, Any], *, by) -> None:
    """Make what is `asked` the labels that `by` gives `task`; a label nobody knew becomes one of the project's."""
    labellings = [labelling for labelling in labellings_in(asked) if "assigned" in labelling]
    if not labellings:
        return
    given = sentiments_in(labelling["assigned"] for labelling in labellings)
    if not given:
        with turn():
            withdraw(task, by=by)
        return
    beside = {
        "sentiments": given,
        "dismissed": sentiments_in(labelling.get("dismissed", ()) for labelling in labellings),
        **serializers.given(asked, "entities", "moon_forms"),
    }
    answer = answer_of(task, list(given))
    known = set(task.project.labels.filter(name__in=given).values_list("name", flat=True))
    unknown = [] if task.options else [name for name in given if name not in known]
    with turn(), transaction.atomic():  # clients label with 32 threads, and do not ask again where one was refused
        if unknown:
            update_dataset(dataset, by=by, labels=unknown)
        assign(task, by=by, answer=answer, properties=beside)
        show(dataset, list(given))


def labellings_in(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The labellings in `asked`; a client that fills forms names its labels there only."""
    if "labelling" in asked or "moon_forms" not in asked:
        return asked.get("labelling", [])
    return [
        {
            **forms,
            **{kind: [form["label"] for form in forms[kind]] for kind in ("assigned", "dismissed") if kind in forms},
        }
        for forms in asked["moon_forms"]
    ]


def sentiments_in(labels: Iterable[Iterable[Mapping[str, Any]]]) -> dict[str, str]:
    return {told["name"]: told.get("sentiment", "positive") for each in labels for told in each}


def answer_of(task: Task, names: list[str]) -> dict[str, Any]:
    """`names` as an answer of the task's type."""
    if task.kind.has_labels and task.kind.allows_several:
        return {"labels": names}
    if not task.kind.has_labels or len(names) > 1:
        raise InvalidAnswer(
            f"a {task.kind.title.lower()} task takes {'one label' if task.kind.has_labels else 'no labels'}"
        )
    return {"label": names[0]}

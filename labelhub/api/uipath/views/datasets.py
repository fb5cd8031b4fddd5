"""Datasets: list, read, create, change, delete; their labels and model tags."""

from django.db import transaction
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError

from exports.models import ModelTag
from labelhub.api.uipath import serializers, shapes
from labelhub.api.uipath.envelope import UiPathView, ok
from labelhub.api.uipath.labels import define, defs_of, groups_of, names_in
from samples.datasets import create_dataset, update_dataset
from samples.models import Dataset, Project, Source
from samples.removal import delete_dataset

FIELDS = ("title", "description", "model_family", "has_sentiment")
KEPT = (
    "general_fields",
    "entity_kinds",
    "debug_config_json",
    "_dataset_flags",
    "_model_config",
    "_timezone",
    "_preferred_locales",
    "_label_properties",
    "_default_label_group_instructions",
)


def listed(rows: QuerySet[Dataset]):
    rows = rows.select_related("project").prefetch_related("sources", "project__labels")
    return ok(datasets=[shapes.dataset(row) for row in rows])


def properties_in(asked) -> dict:
    kept = serializers.given(asked, *KEPT)
    if "entity_defs" in asked:
        kept["entity_defs"] = [shapes.entity_def(told) for told in asked["entity_defs"]]
    return kept


def sources_in(asked, project: Project) -> list[Source] | None:
    """The sources that a body names by id, None where it names none."""
    if "source_ids" not in asked:
        return None
    wanted = list(dict.fromkeys(asked["source_ids"]))
    found = {source.uid: source for source in Source.objects.filter(project=project, uid__in=wanted)}
    missing = [uid for uid in wanted if uid not in found]
    if missing:
        raise ValidationError({"dataset": {"source_ids": [f"No such source in {project.name}: {missing[0]}"]}})
    return [found[uid] for uid in wanted]


class Datasets(UiPathView):
    def get(self, request):
        return listed(Dataset.objects.filter(project__in=self.projects()))


class DatasetsOfProject(UiPathView):
    needs = {"GET": "voc-readonly"}

    def get(self, request, project):
        return listed(Dataset.objects.filter(project=self.project(project)))


class DatasetByName(UiPathView):
    needs = {"GET": "voc-readonly", "PUT": "voc", "POST": "datasets-admin", "DELETE": "datasets-admin"}

    def get(self, request, project, name):
        return ok(dataset=shapes.dataset(self.dataset(project, name)))

    def put(self, request, project, name):
        owner = self.project(project)
        asked = self.read(serializers.DatasetNew)["dataset"]
        groups = groups_of(asked)
        if "copy_annotations_from" in asked:
            copied = self.dataset(uid=asked["copy_annotations_from"]).properties.get("label_groups", {})
            groups = groups if names_in(groups) else copied or groups  # answers are the project’s: the list is copied
        row = create_dataset(
            owner,
            name,
            by=request.user,
            sources=sources_in(asked, owner) or (),
            labels=names_in(groups),
            properties=properties_in(asked) | {"label_groups": groups},
            **serializers.given(asked, *FIELDS),
        )
        return ok(dataset=shapes.dataset(row))

    def post(self, request, project, name):
        row = self.dataset(project, name)
        asked = self.read(serializers.DatasetUpdate)["dataset"]
        row = update_dataset(
            row,
            by=request.user,
            sources=sources_in(asked, row.project),
            properties=properties_in(asked),
            **serializers.given(asked, *FIELDS),
        )
        return ok(dataset=shapes.dataset(row))

    def delete(self, request, project, name):
        delete_dataset(self.dataset(project, name), by=request.user)
        return ok()


class DatasetById(UiPathView):
    needs = {"GET": "voc-readonly", "DELETE": "datasets-admin"}

    def get(self, request, uid):
        return ok(dataset=shapes.dataset(self.dataset(uid=uid)))

    def delete(self, request, uid):
        delete_dataset(self.dataset(uid=uid), by=request.user)
        return ok()


class ModelTags(UiPathView):
    needs = {"GET": "datasets-model-admin"}

    def get(self, request, project, name):
        dataset = self.dataset(project, name)
        return tagged(Q(version__dataset=dataset) | Q(version__dataset=None), dataset.project)


class DatasetOrTags(DatasetByName):
    """The page's own curl leaves the dataset out: the tags of the whole project, unless a dataset is called so."""

    def get(self, request, project, name):
        if Dataset.objects.filter(project__in=self.projects(), project__name=project, name=name).exists():
            return super().get(request, project, name)
        self.needs = ModelTags.needs
        return tagged(Q(), self.project(project))


def tagged(whose: Q, project: Project):
    tags = ModelTag.objects.filter(whose, project=project).select_related("version").order_by("name")
    return ok(
        model_tags=[
            {"name": tag.name, "updated_at": shapes.moment(tag.updated_at), "version": tag.version.version}
            for tag in tags
        ]
    )


class Labels(UiPathView):
    """Define labels of a group; others stay as they are."""

    needs = {"PUT": "voc"}

    def put(self, request, project, name, group):
        dataset = self.dataset(project, name)
        defs = defs_of(self.read(serializers.LabelDefs)["label_defs"])
        with transaction.atomic():
            update_dataset(dataset, by=request.user, labels=list(defs))
            define(dataset, group, defs)
        return ok()

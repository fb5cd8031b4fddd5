"""Datasets: create, describe, delete."""

import re

from django.db import transaction
from django.db.models import Q
from rest_framework.exceptions import PermissionDenied

from labelhub.accounts.models import new_uid
from labelhub.accounts.roles import Power
from labelhub.api.qianfan import serializers, shapes
from labelhub.api.qianfan.entities import of_dataset
from labelhub.api.qianfan.envelope import NoSuchThing, QianfanView, ok
from labelhub.api.qianfan.exporting import exports_of, newest_exports
from labelhub.api.qianfan.figures import holdings, with_sizes
from samples.datasets import create_dataset, create_source
from samples.errors import StillNeeded
from samples.models import Dataset
from samples.projects import create_project
from samples.removal import delete_dataset, delete_project, delete_tasks

TASK_TYPES = {2000: "TEXT_GENERATION", 2001: "PREFERENCE", 40200: "TEXT_GENERATION"}
SOURCE, VERSION = "qianfan", "v1"


class DatasetCreate(QianfanView):
    """A project of its own with one source and one dataset, of which the caller becomes the manager."""

    @transaction.atomic
    def post(self, request):
        if not request.user.has_perm("samples.add_project"):
            raise PermissionDenied("only staff may create datasets", "no_access")
        asked = self.read(serializers.DatasetCreate)
        slug = re.sub(r"[^A-Za-z0-9-_.]+", "-", asked["name"]).strip("-.")
        project = create_project(
            f"{slug or 'qianfan'}-{new_uid()[:8]}",  # names are unique in the whole hub, and say nothing of others' here
            task_type=TASK_TYPES[asked["templateType"]],
            by=request.user,
            title=asked["name"],
            locale="zh",
            validations_needed=1,
        )
        kept = {"template": asked["templateType"], "owns_project": True}
        if asked["storageType"] == "usrBos":
            kept |= {"bucket": asked["storageId"], "path": asked["rawStoragePath"]}
        row = create_dataset(
            project,
            VERSION,
            by=request.user,
            sources=[create_source(project, SOURCE, by=request.user)],
            title=asked["name"],
            properties={shapes.KEPT: kept},
        )
        return ok(shapes.created(row))


class DatasetInfo(QianfanView):
    def post(self, request):
        row = self.dataset(self.read(serializers.OfDataset)["datasetId"])
        held = with_sizes(holdings([row], user=request.user))[row.pk]
        exports = exports_of(row)
        return ok(shapes.info(row, held, exports.first(), exports.count()))


class DatasetStatusList(QianfanView):
    def post(self, request):
        asked = self.read(serializers.DatasetStatus)["datasetIds"]
        uids = [one[3:] for one in asked if isinstance(one, str)]
        numbers = [one for one in asked if isinstance(one, int)]
        rows = list(self.datasets().filter(Q(uid__in=uids) | Q(pk__in=numbers)))
        by_id = {shapes.version_id(row): row for row in rows} | {row.pk: row for row in rows}
        if missing := [one for one in asked if one not in by_id]:
            raise NoSuchThing(f"no such dataset: {missing[0]}")
        held = with_sizes(holdings(rows, user=request.user))
        newest = newest_exports(rows)
        return ok({str(one): shapes.status(held[by_id[one].pk], newest.get(by_id[one].pk)) for one in asked})


class DatasetDelete(QianfanView):
    """Without its items where it is a choice among a project's; one made in this room takes along what nobody needs."""

    @transaction.atomic
    def post(self, request):
        row = self.dataset(self.read(serializers.OfDataset)["datasetId"], Power.MANAGE)
        project = row.project
        if owns_all(row):
            delete_what_can_go(row, by=request.user)
        else:
            delete_dataset(row, by=request.user)
        return ok({"versionCount": Dataset.objects.filter(project=project.pk).count()})


def owns_all(row: Dataset) -> bool:
    """Whether its project was made for it, and holds nothing else since."""
    project = row.project
    kept = row.properties.get(shapes.KEPT, {})
    others = project.datasets.exclude(pk=row.pk).exists() or project.sources.exclude(datasets=row).exists()
    return bool(kept.get("owns_project")) and not others


def delete_what_can_go(row: Dataset, *, by) -> None:
    """The items, the dataset, the project: each unless an approved sample or a batch still needs it."""
    project = row.project
    try:
        delete_tasks(of_dataset(row), project=project, by=by)
    except StillNeeded:
        delete_dataset(row, by=by)
        return
    delete_dataset(row, by=by)
    try:
        delete_project(project, by=by, with_contents=True)
    except StillNeeded:  # the record of an export stays, and with it what it is of
        return

"""V2: one address, and the action named in the query."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rest_framework.exceptions import ValidationError

from labelhub.accounts.roles import Power
from labelhub.api.qianfan import serializers, shapes
from labelhub.api.qianfan.envelope import NoSuchThing, QianfanView, error_v2, ok_v2
from labelhub.api.qianfan.exporting import export, link_of, of_room
from labelhub.api.qianfan.figures import holdings, with_sizes

MARKER = re.compile(r"ds-([0-9a-z]{1,64})", re.ASCII)
TASK_ID = re.compile(r"task-([0-9a-f]{32})", re.ASCII)


class DatasetActions(QianfanView):
    """POST /v2/dataset?Action=…"""

    envelope = staticmethod(error_v2)
    actions: ClassVar[Mapping[str, Callable[["DatasetActions"], Any]]]

    def post(self, request):
        name = request.query_params.get("Action", "")
        if name not in self.actions:
            raise ValidationError({"Action": [f"{name[:80]!r} is not one of {', '.join(self.actions)}"]})
        return ok_v2(self.actions[name](self))

    def describe_datasets(self) -> dict[str, Any]:
        """The newest first, or from the other end with pageReverse; the marker is the last one's version id."""
        asked = self.read(serializers.DescribeDatasets)
        rows = self.datasets().select_related("project__created_by")
        last = None
        if marker := asked.get("marker"):
            found = MARKER.fullmatch(marker)
            last = self.datasets().filter(uid=found[1]).first() if found else None
            if last is None:
                raise ValidationError({"marker": ["not one that this server gave out"]})
        forward = asked["pageReverse"]
        if last is not None:
            rows = rows.filter(pk__gt=last.pk) if forward else rows.filter(pk__lt=last.pk)
        most = asked["maxKeys"]
        page = list(rows.order_by("pk" if forward else "-pk")[: most + 1])
        shown, is_truncated = page[:most], len(page) > most
        return {
            "datasetList": [shapes.listed(row) for row in shown],
            "pageInfo": {
                "marker": marker or "",
                "maxKeys": most,
                "isTruncated": is_truncated,
                "nextMarker": shapes.version_id(shown[-1]) if is_truncated else "",
            },
        }

    def describe_version(self) -> dict[str, Any]:
        row = self.dataset(self.read(serializers.OfVersion)["versionId"])
        return shapes.version(row, with_sizes(holdings([row], user=self.request.user))[row.pk])

    def create_export(self) -> str:
        asked = self.read(serializers.CreateExportTask)
        row = self.dataset(asked["versionId"], Power.EXPORT)
        batch = export(row, by=self.request.user, destination=asked.get("destination"), bucket=asked.get("bucket", ""))
        return shapes.task_id(batch)

    def describe_export(self) -> dict[str, Any]:
        task_id = self.read(serializers.OfTask)["taskId"]
        found = TASK_ID.fullmatch(task_id)
        batch = of_room().where(self.request.user, Power.EXPORT).filter(uuid=found[1]).first() if found else None
        if batch is None:
            raise NoSuchThing(f"no such task: {task_id}")
        return shapes.export_task(batch, link=link_of(batch, self.request))


DatasetActions.actions = {
    "DescribeDatasets": DatasetActions.describe_datasets,
    "DescribeDatasetVersion": DatasetActions.describe_version,
    "CreateExportTask": DatasetActions.create_export,
    "DescribeExportTask": DatasetActions.describe_export,
}

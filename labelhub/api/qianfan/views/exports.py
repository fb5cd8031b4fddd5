"""Exports: start one, list them."""

from labelhub.accounts.roles import Power
from labelhub.api.qianfan import serializers, shapes
from labelhub.api.qianfan.envelope import QianfanView, ok
from labelhub.api.qianfan.exporting import export, exports_of, link_of

MOST_RECORDS = 100
SOURCE_ONLY = 2  # exportType


class DatasetExport(QianfanView):
    def post(self, request):
        asked = self.read(serializers.DatasetExport)
        dataset = self.dataset(asked["datasetId"], Power.EXPORT)
        export(
            dataset,
            by=request.user,
            source_only=asked["exportType"] == SOURCE_ONLY,
            destination=asked.get("destination"),
            bucket=asked["storageId"] if "destination" in asked else "",
        )
        return ok(True)


class DatasetExportRecord(QianfanView):
    def post(self, request):
        dataset = self.dataset(self.read(serializers.OfDataset)["datasetId"], Power.EXPORT)
        batches = exports_of(dataset)[:MOST_RECORDS]
        return ok([shapes.record(batch, link=link_of(batch, request)) for batch in batches])

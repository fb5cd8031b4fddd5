"""What this room is told: each field of its own JSON type, each refusal with what is allowed. Unknown fields are ignored."""

import re
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from exports.destinations import bucket_names
from labelhub.api.wire import TextAsSent

DATASET_ID = re.compile(r"ds-[0-9a-z]{1,64}", re.ASCII)
LARGEST_ID = 2**63 - 1
MOST_NAME = 128
MOST_IDS = 1000
PAGE, LARGEST_PAGE = 20, 30


class Text(TextAsSent):
    def to_internal_value(self, data):
        if not isinstance(data, str):
            raise serializers.ValidationError(f"{data!r:.80} is not a string")
        if not data and not self.allow_blank:
            raise serializers.ValidationError("must not be empty")
        if self.max_length is not None and len(data) > self.max_length:
            raise serializers.ValidationError(f"has {len(data)} characters; at most {self.max_length} are allowed")
        return data


class Whole(serializers.Field):
    """A whole number, not a string of one; `values` are those allowed."""

    def __init__(self, *, least: int = -LARGEST_ID, most: int = LARGEST_ID, values: tuple[int, ...] = (), **options):
        super().__init__(**options)
        self.least, self.most, self.values = least, most, values

    def to_internal_value(self, data):
        if type(data) is not int:
            raise serializers.ValidationError(f"{data!r:.80} is not an integer")
        if self.values and data not in self.values:
            raise serializers.ValidationError(f"{data} is not one of {', '.join(map(str, self.values))}")
        if not self.least <= data <= self.most:
            raise serializers.ValidationError(f"{data} is not between {self.least} and {self.most}")
        return data


class Flag(serializers.Field):
    def to_internal_value(self, data):
        if data is not True and data is not False:
            raise serializers.ValidationError(f"{data!r:.80} is not true or false")
        return data


class OneOf(Text):
    """One of a few words."""

    def __init__(self, *words: str, **options):
        super().__init__(**options)
        self.words = words

    def to_internal_value(self, data):
        text = super().to_internal_value(data)
        if text not in self.words:
            raise serializers.ValidationError(f"{text[:80]!r} is not one of {', '.join(self.words)}")
        return text


class DatasetId(serializers.Field):
    """The id of a dataset version: `ds-…`, or the older number."""

    def to_internal_value(self, data):
        if type(data) is int and 0 < data <= LARGEST_ID:
            return data
        if isinstance(data, str) and DATASET_ID.fullmatch(data):
            return data
        raise serializers.ValidationError(f"{data!r:.80} is not a dataset version id: ds-… or an integer")


class Bucket(Text):
    """The name of a bucket that this hub has a destination for."""

    def to_internal_value(self, data):
        name = super().to_internal_value(data)
        known = bucket_names()
        if name not in known:
            allowed = ", ".join(known) or "none is set up here"
            raise serializers.ValidationError(f"{name[:80]!r} is not a bucket this hub may write to ({allowed})")
        return name


class BucketPath(Bucket):
    """`bos:/bucket/folder/`: the bucket counts, the hub names its files itself."""

    def to_internal_value(self, data):
        found = re.fullmatch(r"bos:/+([^/]+)(/.*)?", Text.to_internal_value(self, data))
        if found is None:
            raise serializers.ValidationError("a path is written bos:/bucket/folder/")
        return super().to_internal_value(found[1])


class Between(serializers.Field):
    """Two times in milliseconds, or nothing: [] is no filter."""

    def to_internal_value(self, data):
        if data == [] or data is None:
            return None
        if not isinstance(data, list) or len(data) != 2 or not all(type(end) is int for end in data):
            raise serializers.ValidationError("give two times in milliseconds, [from, to], or []")
        try:
            since, until = (datetime.fromtimestamp(end / 1000, UTC) for end in data)
        except (ValueError, OverflowError, OSError):
            raise serializers.ValidationError("a time is out of range") from None
        if since > until:
            raise serializers.ValidationError("the first time is after the second")
        return since, until


class LabelIds(Text):
    """`1,2`, or "": no filter."""

    def to_internal_value(self, data):
        text = super().to_internal_value(data)
        ids = [part.strip() for part in text.split(",")] if text.strip() else []
        if not all(re.fullmatch(r"\d{1,18}", part, re.ASCII) for part in ids):
            raise serializers.ValidationError("label ids are numbers with commas between them: 1,2")
        return [int(part) for part in ids]


class Body(serializers.Serializer):
    """A JSON object."""

    def to_internal_value(self, data):
        if not isinstance(data, dict):
            raise serializers.ValidationError({"non_field_errors": [f"the body is not an object: {data!r:.80}"]})
        return super().to_internal_value(data)


# V1 -------------------------------------------------------------------------------------------------------------------


class OfDataset(Body):
    datasetId = DatasetId()


class EntityList(OfDataset):
    offset = Whole(least=0, default=0)
    pageSize = Whole(default=PAGE)
    importTime = Between(required=False, allow_null=True)
    annoTime = Between(required=False, allow_null=True)
    tabType = Whole(values=(0, 1, 2), default=0)
    labelId = LabelIds(required=False)

    def validate_pageSize(self, size: int) -> int:
        """Clamped, never refused: the SDK asks for a slice of any length."""
        return min(max(size, 1), LARGEST_PAGE)


class Turn(Body):
    prompt = Text(allow_blank=False)
    response = serializers.ListField(child=serializers.ListField(child=Text()), required=False)


class AnnotationLabel(Body):
    name = Text(required=False, allow_blank=False, max_length=256)
    label_id = Text(required=False, allow_blank=False, max_length=40)

    def validate(self, told):
        if not told:
            raise serializers.ValidationError("name a label by its name or its label_id")
        return told


class EntityAnnotate(OfDataset):
    id = Text(allow_blank=False, max_length=200)
    content = serializers.ListField(child=Turn(), required=False)
    labels = serializers.ListField(child=AnnotationLabel(), required=False, max_length=1000)

    def validate(self, told):
        if bool(told.get("content")) == bool(told.get("labels")):
            raise serializers.ValidationError("give content or labels, one of them, not empty")
        return told


class EntityDelete(OfDataset):
    id = serializers.ListField(
        child=Text(allow_blank=False, max_length=200), min_length=1, max_length=MOST_IDS, allow_empty=False
    )


class DatasetStatus(Body):
    datasetIds = serializers.ListField(child=DatasetId(), min_length=1, max_length=100, allow_empty=False)


TEMPLATES = {2000: (20, 4), 2001: (20, 4), 40200: (402, 4)}  # template -> the project and data type that go with it


class DatasetCreate(Body):
    name = Text(allow_blank=False, max_length=MOST_NAME)
    versionId = Whole(values=(1,), default=1)
    projectType = Whole(values=(20, 402))
    templateType = Whole(values=tuple(TEMPLATES))
    dataType = Whole(values=(4,))
    storageType = OneOf("sysBos", "usrBos")
    storageId = Text(required=False, max_length=256)
    rawStoragePath = Text(required=False, max_length=1024)

    def validate_name(self, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise serializers.ValidationError("a name is text without control characters")
        return name.strip()

    def validate(self, told: dict[str, Any]) -> dict[str, Any]:
        project_type, _ = TEMPLATES[told["templateType"]]
        if told["projectType"] != project_type:
            raise serializers.ValidationError(
                {"projectType": [f"templateType {told['templateType']} belongs to projectType {project_type}"]}
            )
        if told["storageType"] == "usrBos":
            for name in ("storageId", "rawStoragePath"):
                if not told.get(name):
                    raise serializers.ValidationError({name: ["needed where storageType is usrBos"]})
            Bucket().run_validation(told["storageId"])
        return told


class DatasetExport(OfDataset):
    exportFormat = Whole(values=(0,))
    exportTo = Whole(values=(0, 1))
    exportType = Whole(values=(1, 2))
    storageId = Text(required=False, max_length=256)

    def validate(self, told: dict[str, Any]) -> dict[str, Any]:
        if told["exportTo"] == 1:
            try:
                Bucket(allow_blank=False).run_validation(told.get("storageId", ""))
                told["destination"] = bucket_names()[told["storageId"]]
            except serializers.ValidationError as refusal:
                raise serializers.ValidationError({"storageId": refusal.detail}) from None
        return told


# V2 -------------------------------------------------------------------------------------------------------------------

FORMATS = {2000: "PromptResponse", 2001: "PromptSortedresponses", 40200: "Prompt"}


class DescribeDatasets(Body):
    marker = Text(required=False, max_length=200)
    maxKeys = Whole(least=1, default=10)
    pageReverse = Flag(default=False)
    filter = serializers.DictField(required=False, allow_null=True)

    def validate_filter(self, asked):
        if asked:
            raise serializers.ValidationError("lists are not filtered here: leave it out")
        return asked

    def validate_maxKeys(self, most: int) -> int:
        return min(most, 100)


class OfVersion(Body):
    versionId = DatasetId()


class CreateExportTask(OfVersion):
    storageType = OneOf("BOS", "sysStorage")
    storagePath = Text(required=False, max_length=1024)

    def validate(self, told: dict[str, Any]) -> dict[str, Any]:
        if told["storageType"] == "BOS":
            try:
                told["bucket"] = BucketPath(allow_blank=False).run_validation(told.get("storagePath", ""))
                told["destination"] = bucket_names()[told["bucket"]]
            except serializers.ValidationError as refusal:
                raise serializers.ValidationError({"storagePath": refusal.detail}) from None
        return told


class OfTask(Body):
    taskId = Text(allow_blank=False, max_length=100)

"""What this room is told, checked field by field: unknown fields, wrong types and lengths are refused, nothing is guessed."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from labelhub.api.wire import TextAsSent

MODEL_FAMILIES = [
    "english",
    "english-dev",
    "german",
    "german-dev",
    "multilingual",
    "random",
    "transformer-english",
    "transformer-xlm",
]
SENTIMENTS = ["positive", "negative"]
# Words that the command line reads into closed lists: an answer with another one breaks every command that lists it.
SOURCE_KINDS = ["unknown", "call", "chat", "ixp_runtime", "ixp_design"]
DATASET_FLAGS = ["gpt4", "external_moon_llm", "qos", "zero_shot_labels", "ixp"]
MODEL_KINDS = ["cm", "doc_path_ixp", "gpt_ixp"]
COMMENT_ID = re.compile(r"[\w\x21-\x2e\x3a-\x40\x5b-\x60\x7b-\x7e]{1,1024}")
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII)


# Fields that take their own JSON type only ----------------------------------------------------------------------------


class Text(TextAsSent):
    def to_internal_value(self, data):
        if not isinstance(data, str):
            raise serializers.ValidationError(f"{data!r:.80} is not of type 'string'")
        if not data and not self.allow_blank:
            raise serializers.ValidationError("'' is too short")
        return data


class Whole(serializers.IntegerField):
    def to_internal_value(self, data):
        if type(data) is not int:
            raise serializers.ValidationError(f"{data!r:.80} is not of type 'integer'")
        return data


class Flag(serializers.BooleanField):
    def to_internal_value(self, data):
        if data is not True and data is not False:
            raise serializers.ValidationError(f"{data!r:.80} is not of type 'boolean'")
        return data


class OneOf(Text):
    """One of a few words."""

    def __init__(self, words, **options):
        super().__init__(**options)
        self.words = words

    def to_internal_value(self, data):
        text = super().to_internal_value(data)
        if text not in self.words:
            raise serializers.ValidationError(f"{text[:200]!r} is not one of {self.words}")
        return text


class Moment(Text):
    """An ISO 8601 time, as an aware datetime; one without an offset is taken for UTC, unless `with_offset` asks for it."""

    def __init__(self, *, with_offset=False, **options):
        super().__init__(**options)
        self.with_offset = with_offset

    def to_internal_value(self, data):
        text = super().to_internal_value(data)
        try:
            if not DATE_TIME.fullmatch(text):
                raise ValueError
            moment = datetime.fromisoformat(text.replace(",", "."))
            if moment.tzinfo is None and not self.with_offset:
                moment = moment.replace(tzinfo=UTC)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise serializers.ValidationError(f"{text[:80]!r} is not a 'date-time'")


class Name(Text):
    """A label's name: “Parent > Child”, or its parts in a list."""

    def to_internal_value(self, data):
        if isinstance(data, list) and data and all(isinstance(part, str) for part in data):
            data = " > ".join(data)
        return super().to_internal_value(data)


class Anything(serializers.JSONField):
    """Kept as it came."""


class Open(serializers.Serializer):
    """An object that goes back out as it came; the fields named are looked at, others let pass."""

    def to_internal_value(self, data):
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({"non_field_errors": [f"{data!r:.80} is not of type 'object'"]})
        super().to_internal_value(data)
        return data


class Strict(serializers.Serializer):
    """An object without surprises."""

    def to_internal_value(self, data):
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({"non_field_errors": [f"{data!r:.80} is not of type 'object'"]})
        for name in data:
            if name not in self.fields:
                raise serializers.ValidationError(
                    {"non_field_errors": [f"Additional properties are not allowed ({name[:80]!r} was unexpected)"]}
                )
        return super().to_internal_value(data)


def texts(most: int | None = None, **options) -> serializers.ListField:
    return serializers.ListField(child=Text(), max_length=most, **options)


def many(form: type[Open | Strict], most: int, **options) -> Any:
    return form(many=True, max_length=most, **options)  # type: ignore[call-arg]  # which becomes a ListSerializer's


# Projects and sources -------------------------------------------------------------------------------------------------


class ProjectFields(Strict):
    title = Text(max_length=128, required=False)
    description = Text(max_length=16384, required=False)
    user_auto_join = Flag(required=False)


class ProjectNew(Strict):
    project = ProjectFields()
    user_ids = texts(1024, required=False)


class ProjectUpdate(Strict):
    project = ProjectFields()


class SourceFields(Strict):
    title = Text(max_length=128, required=False)
    description = Text(max_length=16384, required=False)
    language = OneOf(["en", "de", "xlm"], required=False)
    should_translate = Flag(required=False)
    bucket_id = Text(max_length=64, required=False, allow_null=True)
    sensitive_properties = texts(1024, required=False)
    email_transform_tag = Text(max_length=256, required=False, allow_null=True)

    def get_fields(self):
        return super().get_fields() | {
            "_kind": OneOf(SOURCE_KINDS, required=False),
            "_email_transform_tag": Text(max_length=256, required=False, allow_null=True),
        }


class SourceBody(Strict):
    source = SourceFields()  # type: ignore[assignment]  # a Field has an attribute of that name, a form's body none


# Datasets -------------------------------------------------------------------------------------------------------------


class Pretrained(Open):
    id = Text(max_length=64)
    name = Text(max_length=256, required=False)


class FormField(Open):
    name = Text(max_length=256)
    kind = Text(max_length=64)


class LabelDef(Strict):
    name = Name(max_length=64, allow_blank=False)
    title = Text(max_length=128, required=False)
    instructions = Text(max_length=16384, required=False)
    description = Text(max_length=16384, required=False)
    external_id = Text(max_length=128, required=False)
    pretrained = Pretrained(required=False, allow_null=True)
    trainable = Flag(required=False)
    moon_form = many(FormField, 1024, required=False, allow_null=True)

    def get_fields(self):
        return super().get_fields() | {"_label_properties": Anything(required=False)}


class LabelGroup(Strict):
    name = Text(max_length=64, allow_blank=False)
    label_defs = many(LabelDef, 1024, required=False)
    label_collection_name = Text(max_length=256, required=False, allow_null=True)
    trainable = Flag(required=False)
    hidden = Flag(required=False)
    instructions = Text(max_length=16384, required=False)


class EntityDef(Strict):
    name = Text(max_length=64, allow_blank=False)
    title = Text(max_length=64)
    inherits_from = texts(1)
    trainable = Flag()
    instructions = Text(max_length=16384, required=False)

    def get_fields(self):
        return super().get_fields() | {"_entity_def_flags": texts(64, required=False)}


class GeneralField(Open):
    api_name = Text(max_length=256)


class ModelConfig(Open):
    kind = OneOf(MODEL_KINDS)


class PreferredLocales(Open):
    default = Text(max_length=64)
    preferences = serializers.ListField(child=Anything(), max_length=1024)


class DatasetUpdateFields(Strict):
    title = Text(max_length=128, required=False)
    description = Text(max_length=16384, required=False)
    source_ids = texts(1024, required=False)
    model_family = OneOf(MODEL_FAMILIES, required=False)
    entity_defs = many(EntityDef, 1024, required=False)
    entity_kinds = Anything(required=False)
    general_fields = many(GeneralField, 1024, required=False)
    debug_config_json = Anything(required=False)

    def get_fields(self):
        return super().get_fields() | {
            "_dataset_flags": serializers.ListField(child=OneOf(DATASET_FLAGS), max_length=64, required=False),
            "_model_config": ModelConfig(required=False),
            "_timezone": Text(max_length=64, required=False),
            "_preferred_locales": PreferredLocales(required=False),
            "_label_properties": many(Open, 1024, required=False),
            "_default_label_group_instructions": Text(max_length=16384, required=False),
        }


class DatasetNewFields(DatasetUpdateFields):
    has_sentiment = Flag(required=False)
    label_defs = many(LabelDef, 1024, required=False)
    label_groups = many(LabelGroup, 1024, required=False)
    copy_annotations_from = Text(max_length=64, required=False)
    experimental_async_fork_dataset = Flag(required=False)


class DatasetNew(Strict):
    dataset = DatasetNewFields()


class DatasetUpdate(Strict):
    dataset = DatasetUpdateFields()


class LabelDefs(Strict):
    label_defs = many(LabelDef, 1024)


# Comments -------------------------------------------------------------------------------------------------------------


class Content(Strict):
    text = Text(max_length=65536)
    translated_from = Text(max_length=65536, required=False)
    text_translated_from = Text(max_length=65536, required=False)
    markup = Anything(required=False)
    text_markup = Anything(required=False)
    translated_from_markup = Anything(required=False)


class Message(Strict):
    body = Content()
    subject = Content(required=False)
    signature = Content(required=False)
    to = serializers.ListField(child=Text(min_length=1, max_length=512), required=False)
    cc = serializers.ListField(child=Text(min_length=1, max_length=512), required=False)
    bcc = serializers.ListField(child=Text(min_length=1, max_length=512), required=False)
    sent_at = Moment(with_offset=True, required=False)
    language = Text(max_length=16, required=False)

    def get_fields(self):
        return super().get_fields() | {"from": Text(min_length=1, max_length=512, required=False)}


class CommentId(Text):
    def to_internal_value(self, data):
        text = super().to_internal_value(data)
        if not COMMENT_ID.fullmatch(text):
            raise serializers.ValidationError(f"{text[:80]!r} does not match '^{COMMENT_ID.pattern}$'")
        return text


class UserProperties(serializers.Field):
    """`string:…` → a text, `number:…` → a number; clients refuse other keys."""

    def to_internal_value(self, data):
        if not isinstance(data, Mapping):
            raise serializers.ValidationError(f"{data!r:.80} is not of type 'object'")
        for name, value in data.items():
            if name.startswith("string:"):
                fits = isinstance(value, str)
            elif name.startswith("number:"):
                fits = isinstance(value, (int, float)) and not isinstance(value, bool)
            else:
                raise serializers.ValidationError(f"{name[:80]!r} begins neither with 'string:' nor with 'number:'")
            if not fits:
                raise serializers.ValidationError(f"{value!r:.80} is not what {name[:80]!r} promises")
        return data


class CommentNew(Strict):
    id = CommentId()
    timestamp = Moment()
    messages = many(Message, 2048)
    user_properties = UserProperties(required=False)
    thread_id = Text(max_length=1024, required=False, allow_null=True)
    attachments = serializers.ListField(child=serializers.DictField(), max_length=128, required=False)
    text_format = OneOf(["plain", "markdown"], required=False)
    created_at = Moment(required=False)


class Comments(Strict):
    comments = many(CommentNew, 16384)


# Labellings -----------------------------------------------------------------------------------------------------------


class AssignedLabel(Strict):
    name = Name(max_length=256, allow_blank=False)
    sentiment = OneOf(SENTIMENTS, required=False)
    metadata = Anything(required=False)


class Labelling(Strict):
    group = Text(max_length=64, required=False)
    assigned = many(AssignedLabel, 1024, required=False)
    dismissed = many(AssignedLabel, 1024, required=False)


class FilledForm(Strict):
    label = AssignedLabel()  # type: ignore[assignment]  # a Field has an attribute of that name, a form none
    captures = Anything(required=False)


class FilledForms(Strict):
    group = Text(max_length=64, required=False)
    assigned = many(FilledForm, 1024, required=False)
    dismissed = many(FilledForm, 1024, required=False)


class Labellings(Strict):
    labelling = many(Labelling, 64, required=False)
    entities = Anything(required=False)
    moon_forms = many(FilledForms, 64, required=False)

    def to_internal_value(self, data):
        """Before there were groups, clients sent the one labelling itself."""
        if isinstance(data, Mapping) and isinstance(data.get("labelling"), Mapping):
            data = {**data, "labelling": [data["labelling"]]}
        return super().to_internal_value(data)


class SyncedLabel(Strict):
    name = Name(max_length=256, allow_blank=False, required=False)
    external_id = Text(max_length=128, required=False)
    sentiment = OneOf(SENTIMENTS, required=False)

    def validate(self, label):
        if ("name" in label) == ("external_id" in label):
            raise serializers.ValidationError("a label is given by its name or by its external_id")
        return label


class SyncedLabels(Strict):
    assigned = many(SyncedLabel, 1024)


class SyncedAnnotation(Strict):
    comment_uid = Text(max_length=1041)
    labels = SyncedLabels()


class Annotations(Strict):
    annotations = many(SyncedAnnotation, 1024)


# Asking for comments --------------------------------------------------------------------------------------------------


class ExportRequest(Strict):
    comment_uids = texts(256, required=False, allow_null=True)
    source_ids = texts(1024, required=False, allow_null=True)
    order_by = OneOf(["timestamp", "created_at"], default="timestamp")
    to = Moment(required=False, allow_null=True)
    continuation = Text(max_length=200, required=False, allow_null=True, allow_blank=False)
    limit = Whole(min_value=1, max_value=256, default=64)

    def get_fields(self):
        return super().get_fields() | {"from": Moment(required=False, allow_null=True)}

    def validate(self, asked):
        others = [name for name in ("source_ids", "from", "to") if asked.get(name) is not None]
        if asked.get("comment_uids") is not None and others:
            raise serializers.ValidationError(f"comment_uids cannot be combined with {', '.join(others)}")
        return asked


class TimeRange(Strict):
    minimum = Moment(required=False, allow_null=True)
    maximum = Moment(required=False, allow_null=True)


class CommentFilter(Strict):
    sources = texts(1024, required=False)
    timestamp = TimeRange(required=False, allow_null=True)
    reviewed = OneOf(["only_reviewed", "only_unreviewed"], required=False, allow_null=True)
    messages = Anything(required=False)
    user_properties = Anything(required=False)

    def validate(self, asked):
        for name in ("messages", "user_properties"):
            if asked.get(name):
                raise serializers.ValidationError({name: ["comments cannot be filtered by it here"]})
        return asked


class AttributeRule(Strict):
    kind = OneOf(["string_any_of"])
    any_of = texts(1024)


class AttributeFilter(Strict):
    attribute = OneOf(["labels"])
    filter = AttributeRule()


class Order(Strict):
    kind = OneOf(["recent"])


class StatisticsRequest(Strict):
    comment_filter = CommentFilter(required=False)
    attribute_filters = many(AttributeFilter, 64, required=False)
    label_property_timeseries = Flag(required=False)
    label_timeseries = Flag(required=False)
    time_resolution = Text(max_length=16, required=False)


class QueryRequest(Strict):
    filter = CommentFilter(required=False)
    attribute_filters = many(AttributeFilter, 64, required=False)
    order = Order(required=False)
    continuation = Text(max_length=200, required=False, allow_null=True, allow_blank=False)
    limit = Whole(min_value=1, max_value=1024, default=64)


class Paging(serializers.Serializer):
    """What stands behind the question mark; clients add words of their own there, so others are let pass."""

    limit = serializers.IntegerField(min_value=1, max_value=1024, default=64)
    after = serializers.CharField(max_length=200, required=False)
    from_timestamp = Moment(required=False)
    to_timestamp = Moment(required=False)


class LabellingsQuery(serializers.Serializer):
    limit = serializers.IntegerField(min_value=1, max_value=999, default=64)
    after = serializers.CharField(max_length=200, required=False)
    source_id = serializers.CharField(max_length=64, required=False)
    return_predictions = serializers.BooleanField(default=True)


def given(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of `names` that are in `data`."""
    return {name: data[name] for name in names if name in data}

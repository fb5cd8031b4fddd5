"""What this room tells of each noun, and what it understands of a body: unknown fields and wrong types are refused."""

import json
import math
from typing import Any

from django.db.models import Model
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from exports import batching, compression, formats, providers
from exports.models import Batch, FineTune, ModelVersion
from labelhub.jobs.models import Job
from samples import assigning, consensus, task_types
from samples.models import Annotation, Doubt, Label, Prediction, Project, Sample, Task, TaskOrder
from samples.models.datasets import name_rule

MOST_IDS = 10_000
MOST_TASKS = 1_000
LABELS_AS = ["verdict", "annotations"]
ON_ERROR = ["stop", "skip"]
LONGEST_LEAD_TIME_MS = 2_000_000_000


# Fields that take their own JSON type only ----------------------------------------------------------------------------


class Text(serializers.CharField):
    def __init__(self, **options):
        super().__init__(**({"trim_whitespace": False} | options))

    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    def to_internal_value(self, data):
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    def to_internal_value(self, data):
        if data is not True and data is not False:
            self.fail("invalid", input=data)
        return data


class Share(serializers.FloatField):
    def __init__(self, **options):
        super().__init__(**({"min_value": 0.0, "max_value": 1.0} | options))

    def to_internal_value(self, data):
        if type(data) not in (int, float) or not math.isfinite(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Word(serializers.ChoiceField):
    """One of a few words; `words` is a list, or a menu's own function for one. Who sends another is told which they are."""

    def __init__(self, words, **options):
        super().__init__(choices=words() if callable(words) else words, **options)
        self.error_messages["invalid_choice"] += f" Possible are: {', '.join(self.choices)}."

    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


@extend_schema_field(OpenApiTypes.OBJECT)
class Object(serializers.DictField):
    def to_internal_value(self, data):
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data


@extend_schema_field(OpenApiTypes.ANY)
class Anything(serializers.JSONField):
    """JSON as it is kept."""

    def to_internal_value(self, data):
        return data


class Form(serializers.Serializer):
    """A body: fields it does not know are refused, for a slip of the pen must not change what is done."""

    def to_internal_value(self, data):
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(self.fields)
            raise serializers.ValidationError({name: [f"unknown; known: {known}"] for name in unknown[:10]})
        return super().to_internal_value(data)


def uid(**options):
    return serializers.CharField(source=".".join([*options.pop("of", []), "uid"]), read_only=True, **options)


def named(source: str, **options):
    """The name of a related row, which may be missing."""
    return serializers.CharField(source=source, read_only=True, **options)


def person(source: str):
    return serializers.CharField(source=f"{source}.username", read_only=True, allow_null=True, default=None)


class Row(serializers.ModelSerializer):
    """A row as it is told; it is changed through the verbs alone, so every field is read-only."""

    class Meta:
        model: type[Model]
        fields: list[str]

    def get_fields(self):
        fields = super().get_fields()
        for field in fields.values():
            field.read_only = True
        return fields


# Projects and labels --------------------------------------------------------------------------------------------------


class ProjectRow(Row):
    id = uid()
    type = serializers.ChoiceField(source="task_type", choices=task_types.choices())
    consensus_rule = serializers.ChoiceField(choices=consensus.choices())
    labels: Any = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)
    prompts = Anything()
    role = serializers.SerializerMethodField(help_text="The caller's role in it; null for a superuser.")
    created_by = person("created_by")

    class Meta:
        model = Project
        fields = [
            "id", "name", "title", "description", "type", "locale", "guidelines", "validations_needed",
            "consensus_rule", "consensus_threshold", "task_order", "random_share", "shows_suggestions",
            "prefill_model", "prefill_threshold", "prompts", "labels", "role", "created_by", "created_at", "updated_at",
        ]  # fmt: skip

    def get_role(self, project) -> str | None:
        return next((membership.role for membership in project.mine), None)


class ProjectFields(Form):
    title = Text(max_length=128, allow_blank=True, required=False)
    description = Text(max_length=16384, allow_blank=True, required=False)
    locale = Text(max_length=16, required=False)
    guidelines = Text(max_length=100_000, allow_blank=True, required=False)
    validations_needed = Whole(min_value=1, max_value=1000, required=False)
    consensus_rule = Word(consensus.choices, required=False)
    consensus_threshold = Share(required=False)
    prompts = Object(required=False)
    task_order = Word(
        TaskOrder.choices, required=False, help_text="Which task is given next where nobody asks otherwise."
    )
    random_share = Share(required=False, help_text="Of the tasks given by margin, the share drawn at random.")
    shows_suggestions = Flag(required=False, help_text="Whether annotators see what a model guessed.")


class NewProject(ProjectFields):
    name = Text(max_length=1024, help_text="Its name in addresses: letters, digits, - _ and . only.")
    type = Word(task_types.choices)
    labels = serializers.ListField(child=Text(max_length=256), max_length=1000, required=False, default=list)


class LabelRow(Row):
    project = named("project.name")

    class Meta:
        model = Label
        fields = ["id", "project", "name", "colour", "position"]


class NewLabels(Form):
    project = Text()
    names = serializers.ListField(child=Text(max_length=256), min_length=1, max_length=1000)


class LabelChange(Form):
    name = Text(max_length=256, required=False)
    colour = serializers.RegexField(r"\A#[0-9A-Fa-f]{6}\Z", required=False)
    position = Whole(min_value=0, max_value=100_000, required=False)


class Upload(Form):
    """What a file of rows means; `file` in a multipart body, or `rows` in a JSON one."""

    file = serializers.FileField(required=False, help_text="CSV, TSV, JSONL, JSON or Parquet, by its ending.")
    rows = serializers.ListField(child=Object(), required=False, min_length=1, max_length=100_000)
    source = Text(max_length=256, validators=[name_rule], default="import")  # type: ignore[assignment]
    columns = Object(required=False, default=dict, help_text='Which column is what: {"content": "review_text"}.')
    labels_as = Word(LABELS_AS, default="verdict")
    annotator = Text(required=False, help_text="Whose answers the labels are: a member; the caller if nobody is named.")
    on_error = Word(ON_ERROR, default="stop")

    def to_internal_value(self, data):
        if hasattr(data, "getlist"):  # a form's fields are texts
            data = {name: data[name] for name in data}
            if isinstance(data.get("columns"), str):
                data["columns"] = json_object(data["columns"])
        return super().to_internal_value(data)

    def validate_columns(self, columns):
        known = [part for part in PARTS if part != "label_map"]
        for part, name in columns.items():
            if part not in known or not isinstance(name, str):
                raise serializers.ValidationError(f"{part!r:.40}: a column's name for one of {', '.join(known)}")
        return columns

    def validate(self, asked):
        if ("file" in asked) == ("rows" in asked):
            raise serializers.ValidationError("Send either a file or rows.")
        return asked


PARTS = ("content", "label", "id", "locale", "options", "metadata", "occurred_at")


def json_object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise serializers.ValidationError({"columns": [f"Not JSON: {error}."]}) from error


# Tasks, annotations, predictions --------------------------------------------------------------------------------------


class TaskRow(Row):
    id = uid()
    project = named("project.name")
    source = named("source.name")
    options = Anything()
    metadata = Anything()
    label = serializers.CharField(source="label_name", allow_null=True, help_text="The verdict as text.")  # type: ignore[assignment]
    labels = Anything(source="label_names", help_text="The list behind it where a type allows several.")
    answer = Anything(help_text="The verdict as its type writes answers.")
    vote_shares = Anything(help_text="Each answer's share of the votes.")
    decided_by = person("decided_by")

    class Meta:
        model = Task
        fields = [
            "id", "project", "source", "external_id", "type", "content", "options", "locale", "metadata",
            "occurred_at", "status", "label", "labels", "label_index", "answer", "vote_shares", "confidence",
            "validated_at", "decided_by", "created_at", "updated_at",
        ]  # fmt: skip


class NewTask(Form):
    content = Text(max_length=1_000_000, allow_blank=True)
    id = Text(max_length=1024, required=False, help_text="The item's id where it comes from.")
    options = serializers.ListField(
        child=Text(max_length=1000), required=False, min_length=2, max_length=100, help_text="Its own choices."
    )
    locale = Text(max_length=16, required=False)
    metadata = Object(required=False)
    occurred_at = serializers.DateTimeField(required=False)


class NewTasks(NewTask):
    """One task, its fields beside `project`; or several under `tasks`."""

    project = Text()
    source = Text(max_length=256, validators=[name_rule], default="api")  # type: ignore[assignment]
    content = Text(max_length=1_000_000, allow_blank=True, required=False)
    tasks = serializers.ListField(child=NewTask(), required=False, min_length=1, max_length=MOST_TASKS)

    def validate(self, asked):
        beside = sorted(set(asked) & set(NewTask().fields))
        if "tasks" in asked and beside:
            raise serializers.ValidationError(f"With tasks, {', '.join(beside)} belongs to each of them.")
        if "tasks" not in asked and "content" not in asked:
            raise serializers.ValidationError({"content": ["This field is required (or tasks, for several)."]})
        return asked


class CreatedTasks(serializers.Serializer):
    created = serializers.IntegerField(help_text="How many were new.")
    unchanged = serializers.IntegerField(help_text="How many were there already.")
    results = TaskRow(many=True)


class AskNext(Form):
    order = Word(list(assigning.ORDERS), required=False, help_text="Else the project's own order.")
    skip = serializers.ListField(
        child=Text(max_length=16), required=False, default=list, max_length=1000, help_text="Tasks passed over, by id."
    )


class GuessedLabel(serializers.Serializer):
    label: Any = serializers.CharField()  # a serializer has a `label` of its own
    probability = serializers.FloatField(allow_null=True, help_text="Null where the model does not tell.")


class SuggestionRow(serializers.Serializer):
    """What a model guessed about a task: to look at, not to copy unseen."""

    model = serializers.CharField()
    guesses = GuessedLabel(many=True)
    fills_in = serializers.BooleanField(help_text="Whether it is so sure that a form may begin with its answer.")


class AssignedTask(serializers.Serializer):
    """A task lent to the caller."""

    task = TaskRow()
    choices = serializers.ListField(child=serializers.CharField(), help_text="What an answer may be chosen from.")
    guidelines = serializers.CharField()
    suggestion = SuggestionRow(allow_null=True)
    until = serializers.DateTimeField(help_text="Until when it is kept for the caller.")


class AnnotationRow(Row):
    task = named("task.uid")
    project = named("task.project.name")
    annotator = named("annotator.username")
    answer = Anything()

    class Meta:
        model = Annotation
        fields = [
            "id", "task", "project", "annotator", "answer", "lead_time_ms", "prefilled_by", "created_at", "updated_at",
        ]  # fmt: skip


class AnswerFields(Form):
    answer = Anything(help_text='As the task\'s type writes answers: {"label": "…"}, {"labels": […]}, {"text": "…"}.')
    lead_time_ms = Whole(required=False, min_value=0, max_value=LONGEST_LEAD_TIME_MS)
    prefilled_by = Text(
        required=False, max_length=200, help_text="The model whose guess stood in the form before it was touched."
    )


class NewAnnotation(AnswerFields):
    task = Text(max_length=16)


class PredictionRow(Row):
    task = named("task.uid")
    project = named("task.project.name")
    label = named("label.name")

    class Meta:
        model = Prediction
        fields = ["id", "task", "project", "model", "label", "probability", "sentiment", "created_at"]


# Samples --------------------------------------------------------------------------------------------------------------


class SampleRow(Row):
    id = uid()
    project = named("project.name")
    label = serializers.CharField(source="label_name", allow_null=True)  # type: ignore[assignment]
    labels = Anything(source="label_names")
    answer = Anything()
    vote_shares = Anything()
    reviewed_by = person("reviewed_by")

    class Meta:
        model = Sample
        fields = [
            "id", "project", "type", "sample_type", "content", "locale", "status", "label", "labels", "label_index",
            "answer", "vote_shares", "confidence", "validated_at", "reviewed_by", "reviewed_at", "reason",
            "created_at", "updated_at",
        ]  # fmt: skip


class Revision(Form):
    answer = Anything()
    reason = Text(max_length=2000, allow_blank=True, default="")


class Reason(Form):
    reason = Text(max_length=2000)


class PerhapsReason(Form):
    reason = Text(max_length=2000, allow_blank=True, default="")


class SampleFilterBody(Form):
    """The list's own filters; those that take several values take a list."""

    project = Text()
    status = serializers.ListField(child=Word(Sample.Status.choices), required=False)
    label = Text(required=False)  # type: ignore[assignment]
    type = Word(task_types.choices, required=False)
    locale = Text(max_length=16, required=False)
    confidence_min = Share(required=False)
    confidence_max = Share(required=False)
    exported = Flag(required=False)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


class TaskFilterBody(Form):
    """The filters of the list of tasks; those that take several values take a list."""

    project = Text()
    status = serializers.ListField(child=Word(Task.Status.choices), required=False)
    source: Any = Text(max_length=256, required=False)
    dataset = Text(max_length=256, required=False)
    label: Any = Text(required=False)
    type = Word(task_types.choices, required=False)
    locale = Text(max_length=16, required=False)


class Selection(Form):
    """Which samples: by `ids`, or all that a `filter` finds."""

    ids = serializers.ListField(
        child=serializers.RegexField(r"\A[0-9a-f]{16}\Z"), required=False, min_length=1, max_length=MOST_IDS
    )
    filter = SampleFilterBody(required=False)

    def validate(self, asked):
        if ("ids" in asked) == ("filter" in asked):
            raise serializers.ValidationError("Say which samples: by ids, or by a filter.")
        return asked


class Reopening(Selection, PerhapsReason): ...


class Rejection(Selection, Reason): ...


class RefusedSample(serializers.Serializer):
    id = serializers.CharField()
    code = serializers.CharField(help_text="Why: wrong_state, own_work, not_allowed, not_settled, not_found.")


class ReviewedSamples(serializers.Serializer):
    done = serializers.IntegerField()
    refused = serializers.IntegerField()
    causes = serializers.DictField(child=serializers.IntegerField(), help_text="How many were refused, by code.")
    refused_samples = RefusedSample(many=True, help_text="Which; where they were asked for by ids.")


# Batches, fine-tunes, models, jobs ------------------------------------------------------------------------------------


class BatchRow(Row):
    id = serializers.UUIDField(source="uuid")
    project = serializers.CharField(source="project.name", allow_null=True, default=None)
    options = Anything()
    ratios = Anything()
    group_by = Anything(help_text="What no part of the split may share with another.")
    selection = Anything()
    label_map = Anything()
    warnings = Anything()
    progress = serializers.SerializerMethodField(help_text="Percent.")
    job = serializers.IntegerField(source="job_id", allow_null=True)
    created_by = person("created_by")

    class Meta:
        model = Batch
        fields = [
            "id", "project", "carries", "format", "shard_count", "compression", "options", "ratios", "seed",
            "is_stratified", "group_by", "split_name", "allows_reexport", "selection", "label_map", "destination", "path",
            "sample_count", "byte_count", "sha256", "warnings", "state", "progress", "error", "job", "created_by",
            "created_at", "started_at", "finished_at", "files_removed_at",
        ]  # fmt: skip

    def get_progress(self, batch) -> int:
        return 100 if batch.is_ready else batch.job.progress if batch.job else 0


class NewBatch(Selection):
    """What `batching.gather` takes; each field under the name it has there."""

    project = Text(required=False, help_text="Only samples of this project; a filter names its own.")
    format = Word(formats.choices)
    ratios = Anything(required=False, allow_null=True, help_text='"0.8/0.1/0.1", or three shares in a list.')
    shards = Whole(
        required=False, allow_null=True, min_value=1, max_value=batching.MOST_SHARDS, help_text="So many files a part."
    )
    compression = Word(compression.choices, default="none", help_text="Of one file and of shards; a ZIP has its own.")
    seed = Text(max_length=batching.SEED_LENGTH, default="0")
    stratify = Flag(default=False)
    group_by = serializers.ListField(
        child=Text(max_length=256),
        required=False,
        default=list,
        max_length=20,
        help_text='What no part of a split may share with another: "duplicates", "source", "metadata:KEY".',
    )
    split_name = Text(
        max_length=batching.SEED_LENGTH,
        allow_blank=True,
        default="",
        help_text="Keep the split under this name; where it is kept already, deal only what is new.",
    )
    since = serializers.UUIDField(required=False, help_text="Only what is new since this batch of the project.")
    destination = Text(max_length=40, required=False, help_text="Where the file goes; the usual place if empty.")
    options = Object(required=False, default=dict)
    allow_reexport = Flag(default=False)

    tasks = TaskFilterBody(required=False, help_text="Instead of approved samples: the tasks it finds, as they stand.")

    def validate(self, asked):
        if len({"ids", "filter", "tasks"} & set(asked)) > 1:
            raise serializers.ValidationError("Say which samples by ids or by a filter, or which tasks.")
        if not {"ids", "filter", "tasks", "project"} & set(asked):
            raise serializers.ValidationError("Say which samples: by ids, by a filter, or all of a project.")
        if {"ids", "since"} <= set(asked):
            raise serializers.ValidationError({"since": ["With ids it is said already which samples."]})
        if "tasks" in asked and asked["allow_reexport"]:
            raise serializers.ValidationError({"allow_reexport": ["A batch of tasks claims nothing."]})
        if isinstance(asked.get("ratios"), list):
            asked["ratios"] = [share if isinstance(share, str) else str(share) for share in asked["ratios"]]
        elif not isinstance(asked.get("ratios"), str | None):
            raise serializers.ValidationError({"ratios": ['Write it "0.8/0.1/0.1" or as a list of three shares.']})
        return asked


class FineTuneRow(Row):
    id = serializers.UUIDField(source="uuid")
    batch = serializers.UUIDField(source="batch.uuid")
    project = serializers.CharField(source="batch.project.name", allow_null=True, default=None)
    hyperparameters = Anything()
    metrics = Anything()
    events = Anything()
    account = serializers.CharField(
        source="account.name", allow_null=True, default=None, help_text="Through which account; null: the settings'."
    )
    model_version = serializers.IntegerField(
        source="model_version.pk", allow_null=True, default=None, help_text="The model it left, as /models calls it."
    )
    job = serializers.IntegerField(source="job_id", allow_null=True)
    created_by = person("created_by")

    class Meta:
        model = FineTune
        fields = [
            "id", "batch", "project", "provider", "account", "model", "hyperparameters", "provider_job_id",
            "provider_status", "status", "progress", "error", "trouble", "metrics", "events", "model_version", "job",
            "created_by", "created_at", "started_at", "heard_at", "finished_at",
        ]  # fmt: skip


class NewFineTune(Form):
    batch = serializers.UUIDField()
    provider = Word(providers.choices, default="local")
    account = Text(required=False, help_text="The provider account by its name, where there are several.")
    model = Text(max_length=200, allow_blank=True, default="")
    hyperparameters = Object(required=False, default=dict)
    again = Flag(default=False, help_text="Train once more, though this batch was trained on before.")


class ModelRow(Row):
    name = serializers.SerializerMethodField(help_text="What predictions call it: project@version.")
    project = named("project.name")
    dataset = serializers.CharField(source="dataset.name", allow_null=True, default=None)
    finetune = serializers.UUIDField(source="finetune.uuid")
    metrics = Anything()
    tags: Any = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)

    class Meta:
        model = ModelVersion
        fields = [
            "id", "name", "project", "version", "dataset", "finetune", "metrics", "provider_model", "tags",
            "created_at",
        ]  # fmt: skip

    def get_name(self, version) -> str:
        return str(version)


class TaskChoice(TaskFilterBody):
    """The same within one project."""

    project = None  # type: ignore[assignment]  # DRF's way to leave out a field of the base


class Predict(Form):
    """Which tasks of the model's project: some by id, all that a filter finds, or those that wait for answers."""

    ids = serializers.ListField(
        child=serializers.RegexField(r"\A[0-9a-f]{16}\Z"), required=False, min_length=1, max_length=MOST_IDS
    )
    filter = TaskChoice(required=False)

    def validate(self, asked):
        if {"ids", "filter"} <= set(asked):
            raise serializers.ValidationError("Say which tasks by ids or by a filter.")
        return asked


class Prefill(Form):
    precision = Share(help_text="How many of its guesses must be right, as measured on held-out texts.")


class Trusted(serializers.Serializer):
    """How sure the model must be, and what that came to on held-out texts."""

    threshold = serializers.FloatField()
    coverage = serializers.FloatField(help_text="The share of texts it is so sure about.")
    precision = serializers.FloatField(help_text="The share of these it was right about.")
    seen = serializers.IntegerField(help_text="So many texts say so.")
    low = serializers.FloatField(help_text="By chance the truth may lie between this …")
    high = serializers.FloatField(help_text="… and this (95 %).")


class DoubtRow(Row):
    task = named("task.uid")
    project = named("project.name")
    content = serializers.CharField(source="task.content")
    answer = Anything(help_text="What the model says, as the task's type writes answers.")
    looked_at_by = person("looked_at_by")

    class Meta:
        model = Doubt
        fields = [
            "id", "task", "project", "model", "content", "verdict", "suggestion", "answer", "confidence", "trust",
            "state", "looked_at_by", "looked_at", "created_at",
        ]  # fmt: skip


class LookForErrors(Form):
    model = Whole(
        required=False, min_value=1, help_text="A model's id; without it, models trained on four fifths judge the rest."
    )


class JobRow(Row):
    result = Anything()
    owner = person("owner")

    class Meta:
        model = Job
        fields = [
            "id", "kind", "state", "progress", "message", "result", "error", "attempt", "max_attempts", "owner",
            "cancel_requested_at", "created_at", "started_at", "finished_at",
        ]  # fmt: skip


class Cancelled(serializers.Serializer):
    cancelled = serializers.BooleanField(help_text="False: it had ended before.")


class ErrorBody(serializers.Serializer):
    """How everything is refused."""

    status = serializers.ChoiceField(choices=["error"])
    code = serializers.CharField(help_text="What went wrong, for programs.")
    message = serializers.CharField(help_text="What went wrong, for people.")
    details = serializers.DictField(child=Anything(), help_text="The fields, ids or words it is about.")

"""What lists can be asked for: a FilterSet for each noun. What a list does not know is refused, never passed over."""

from datetime import UTC
from typing import Any

import django_filters.rest_framework as filters
from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.datastructures import MultiValueDict
from django_filters.constants import EMPTY_VALUES
from django_filters.fields import IsoDateTimeField
from django_filters.utils import translate_validation
from rest_framework.exceptions import ValidationError

from exports import formats, providers
from exports.models import Batch, BatchItem, FineTune
from labelhub.jobs.models import Job
from samples import task_types
from samples.models import Doubt, Label, Project, Sample, Source, Task, TaskLabel

claims = BatchItem.objects.claims().filter(sample=OuterRef("pk"))


class Filters(filters.DjangoFilterBackend):
    """django-filter, strict: a parameter nobody knows is a 400, for a slip must not widen a list."""

    def filter_queryset(self, request, queryset, view):
        if view.action != "list":
            return queryset
        found = self.get_filterset(request, queryset, view)
        known = [*(found.filters if found else ()), *view.paginator.params]
        if unknown := sorted(set(request.query_params) - set(known)):
            raise ValidationError({name: [f"unknown; known: {', '.join(known)}"] for name in unknown[:10]})
        view.asked = {}
        if found is None:
            return queryset
        if not found.is_valid():
            raise translate_validation(found.errors)
        rows = found.qs
        view.asked = found.form.cleaned_data | {"project_id": getattr(found, "project_id", None)}
        return rows


class Moment(IsoDateTimeField):
    def clean(self, value):
        moment = super().clean(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError as error:  # the first or the last day of time, in another zone
            raise forms.ValidationError("This moment is out of range.") from error


class MomentFilter(filters.IsoDateTimeFilter):
    field_class = Moment


def since(field: str) -> MomentFilter:
    return MomentFilter(field_name=field, lookup_expr="gte", label="At this moment or later.")


def until(field: str) -> MomentFilter:
    return MomentFilter(field_name=field, lookup_expr="lt", label="Before this moment.")


def least(field: str) -> filters.NumberFilter:
    return filters.NumberFilter(field_name=field, lookup_expr="gte", min_value=0, max_value=1, label="At least.")


def most(field: str) -> filters.NumberFilter:
    return filters.NumberFilter(field_name=field, lookup_expr="lte", min_value=0, max_value=1, label="At most.")


def exact(field: str, label: str, **options: Any) -> filters.CharFilter:
    return filters.CharFilter(field_name=field, label=label, **options)


def possible(choices) -> dict[str, str]:
    """What a value that is none of `choices` is answered with: it names them."""
    names = ", ".join(str(value) for value, _ in choices)
    return {"invalid_choice": f"%(value)s is none of those possible: {names}."}


def one(choices, label: str, **options: Any) -> filters.ChoiceFilter:
    return filters.ChoiceFilter(choices=choices, label=label, error_messages=possible(choices), **options)


def several(choices, label: str, field: str = "status") -> filters.MultipleChoiceFilter:
    return filters.MultipleChoiceFilter(
        field_name=field, choices=choices, label=label, error_messages=possible(choices)
    )


class HubFilters(filters.FilterSet):
    """Filters of rows that belong to projects; `lookup` leads from a row to its project."""

    lookup = "project"
    project_id: int | None = None  # known once the rows are cut down to it, before any other filter is asked

    project = filters.CharFilter(method="of_project", label="The project's name.")

    def of_project(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        project = Project.objects.visible_to(self.request.user).filter(name=value).first()
        if project is None:
            raise ValidationError({name: [f"There is no project {value!r:.80}."]})
        self.project_id = project.pk
        return rows.filter(**{self.lookup: project.pk})

    def labels_called(self, name: str, value: str) -> list[Label]:
        """The labels called `value` in the projects in question; a 400 where there is none."""
        of = self.project_id
        labels = Label.objects.filter(name=value).select_related("project")
        labels = labels.filter(project=of) if of else labels.filter(project__in=self.visible())
        if not (found := list(labels)):
            raise ValidationError({name: [f"There is no label {value!r:.80}."]})
        return found

    def visible(self):
        return Project.objects.visible_to(self.request.user).values("pk")


class VerdictFilters(HubFilters):
    """What tasks and samples have in common; `task` leads from a row to its task."""

    task = "pk"

    type = one(task_types.choices(), "The task type.")
    locale = exact("locale", "The item's locale: en, fr, …")
    label = filters.CharFilter(method="of_label", label="A label of the verdict.")
    confidence_min = least("confidence")
    confidence_max = most("confidence")
    created_after = since("created_at")
    created_before = until("created_at")
    validated_after = since("validated_at")
    validated_before = until("validated_at")

    def of_label(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """A single label is looked up in the column's index; of several, the link rows know."""
        found = self.labels_called(name, value)
        several = [label.pk for label in found if label.project.kind.allows_several]
        one = [label.pk for label in found if label.pk not in several]
        links = TaskLabel.objects.filter(task=OuterRef(self.task), label__in=several)
        if not several:
            return rows.filter(label__in=one)
        return rows.filter(Q(label__in=one) | Exists(links) if one else Exists(links))


class TaskFilters(VerdictFilters):
    status = several(Task.Status.choices, "One or more states.")
    source = exact("source__name", "The source's name.")
    dataset = filters.CharFilter(method="of_dataset", label="The name of a dataset: its sources' tasks.")
    external_id = exact("external_id", "The item's id where it came from.")
    occurred_after = since("occurred_at")
    occurred_before = until("occurred_at")

    def of_dataset(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(source__in=Source.objects.filter(datasets__name=value))


class SampleFilters(VerdictFilters):
    task = "task"

    status = several(Sample.Status.choices, "One or more states.")
    exported = one([("true", "yes"), ("false", "no")], "Whether a batch carries it.", method="is_exported")
    reviewed_by = exact("reviewed_by__username", "The reviewer's log-in name.")
    reviewed_after = since("reviewed_at")
    reviewed_before = until("reviewed_at")

    def is_exported(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(Exists(claims) if value == "true" else ~Exists(claims))


class AnnotationFilters(HubFilters):
    lookup = "task__project"

    task = exact("task__uid", "The task's id.")
    annotator = exact("annotator__username", "The annotator's log-in name.")
    created_after = since("created_at")
    created_before = until("created_at")


class PredictionFilters(HubFilters):
    lookup = "task__project"

    task = exact("task__uid", "The task's id.")
    model = exact("model", "The model's name: project@version.")
    label = filters.CharFilter(method="of_label", label="The label guessed.")
    probability_min = least("probability")
    probability_max = most("probability")

    def of_label(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(label__in=[label.pk for label in self.labels_called(name, value)])


class DoubtFilters(HubFilters):
    task = exact("task__uid", "The task's id.")
    model = exact("model", "The model's name: project@version, or project@cross.")
    state = several(Doubt.State.choices, "One or more states.", field="state")
    trust_max = most("trust")


class LabelFilters(HubFilters):
    name = exact("name", "The label's name.")


class ProjectFilters(filters.FilterSet):
    type = one(task_types.choices(), "The task type.", field_name="task_type")
    created_after = since("created_at")
    created_before = until("created_at")


class BatchFilters(HubFilters):
    state = several(Batch.State.choices, "One or more states.", field="state")
    format = one(formats.choices(), "The file format.")
    created_by = exact("created_by__username", "Who asked for it.")
    created_after = since("created_at")
    created_before = until("created_at")


class FineTuneFilters(HubFilters):
    lookup = "batch__project"

    batch = filters.UUIDFilter(field_name="batch__uuid", label="The batch's id.")
    status = several(FineTune.Status.choices, "One or more states.")
    provider = one(providers.choices(), "The provider.")


class ModelFilters(HubFilters):
    tag = exact("tags__name", "A tag it carries.")
    finetune = filters.UUIDFilter(field_name="finetune__uuid", label="The fine-tune it came from.")


class JobFilters(filters.FilterSet):
    kind = exact("kind", "The kind of work.")
    state = several(Job.State.choices, "One or more states.", field="state")


def found_by(filterset: type[filters.FilterSet], asked: dict[str, Any], rows: QuerySet[Any], request) -> Any:
    """Those of `rows` that the filter in a body, already checked, finds."""
    data: MultiValueDict[str, Any] = MultiValueDict()
    for name, value in asked.items():
        if value not in EMPTY_VALUES:
            values = value if isinstance(value, list) else [value]
            data.setlist(name, [as_text(one) for one in values])
    found = filterset(data, queryset=rows, request=request)
    if not found.is_valid():
        raise translate_validation(found.errors)
    return found.qs


def as_text(value: Any) -> str:
    """`value` as an address would carry it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def as_plain(value: Any) -> Any:
    """`value` as JSON keeps it: moments as text."""
    return value.isoformat() if hasattr(value, "isoformat") else value

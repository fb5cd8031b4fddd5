"""Fine-tunes and what comes of them: models, and the names that move between models."""

import json

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.dataclasses import ActionDialog
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from exports import finetuning, providers
from exports.models import Batch, FineTune, ModelTag, ModelVersion
from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.admin import ReadOnly, ScopedAutocompleteFilter, badge, json_field, page, progress_bar, sentence
from labelhub.facts import Fact
from labelhub.jobs.admin import progress_of

from .batches import to_page
from .metrics import headline, metrics_table
from .scoped import ScopedAdmin


class FineTuneForm(forms.Form):
    """Where to train, and with what."""

    provider = forms.ChoiceField(choices=providers.choices, widget=UnfoldAdminSelectWidget)
    model = forms.CharField(
        label="Base model",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="For providers that continue a model of theirs; empty takes the provider's usual one.",
    )
    hyperparameters = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": '{"epochs": 3}'}),
        help_text="A JSON object; empty takes the provider's defaults.",
    )

    again = forms.BooleanField(
        required=False, label="Train once more if this batch was trained on before", widget=UnfoldBooleanSwitchWidget
    )

    def clean_hyperparameters(self):
        text = self.cleaned_data["hyperparameters"].strip()
        try:
            value = json.loads(text) if text else {}
        except json.JSONDecodeError as error:
            raise ValidationError(f"Not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValidationError("A JSON object is needed, in curly brackets.")
        return value


def start(request, pk):
    """The page that starts a fine-tune on a batch."""
    batch = Batch.objects.where(request.user, Power.FINETUNE).select_related("project").filter(pk=pk).first()
    if batch is None:
        raise Http404
    form = FineTuneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            finetune = finetuning.submit(batch, by=request.user, **form.cleaned_data)
        except Fact as fact:
            form.add_error(None, sentence(fact))
        else:
            messages.success(request, "The fine-tune is on its way.")
            return redirect("admin:exports_finetune_change", finetune.pk)
    return page(
        request,
        "hub/action.html",
        title="Start a fine-tune",
        form=form,
        button="Start",
        back=reverse("admin:exports_batch_change", args=[batch.pk]),
        note=f"On {batch} of {batch.project or 'several projects'}: {batch.sample_count} samples as {batch.format}.",
    )


@admin.register(FineTune)
class FineTuneAdmin(ReadOnly, ScopedAdmin):
    list_display = [
        "title",
        "batch_title",
        "provider",
        "status_badge",
        "progress_shown",
        "scores",
        "created_by",
        "created_at",
    ]
    list_select_related = ["batch__project", "created_by", "job"]
    list_filter = [
        ("batch__project", ScopedAutocompleteFilter),
        ("status", ChoicesDropdownFilter),
        ("provider", ChoicesDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    ]
    search_fields = ["uuid", "batch__uuid", "batch__project__name", "provider_job_id", "model"]
    date_hierarchy = "created_at"
    actions_detail = ["refresh", "cancel"]
    list_before_template = "hub/live.html"
    change_form_outer_before_template = "hub/live.html"
    fieldsets = [
        (None, {"fields": ["status_badge", "progress_shown", "error", "batch", "provider", "model"]}),
        ("Scores on the test part", {"fields": ["metrics_shown"]}),
        ("Record", {"fields": ["shown_hyperparameters", "provider_job_id", "artefact", "created_by", "dates"]}),
        ("Events", {"fields": ["shown_events"]}),
    ]
    readonly_fields = [
        "status_badge", "progress_shown", "metrics_shown", "shown_hyperparameters", "created_by", "dates",
        "shown_events",
    ]  # fmt: skip

    status_badge = badge("status")
    shown_hyperparameters = json_field("hyperparameters")
    shown_events = json_field("events")

    def get_fieldsets(self, request, obj=None):
        fieldsets = super().get_fieldsets(request, obj)
        if obj and not obj.error:
            fieldsets = [
                (title, {**options, "fields": [name for name in options["fields"] if name != "error"]})
                for title, options in fieldsets
            ]
        return [row for row in fieldsets if row[0] != "Events" or (obj and obj.events)]

    def has_cancel_permission(self, request, obj=None):
        return self.allows(request, "change", obj) and self.is_under_way(request, obj)

    def has_refresh_permission(self, request, obj=None):
        return self.has_cancel_permission(request, obj)

    def is_under_way(self, request, obj):
        finetune = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        ended = (FineTune.Status.SUCCESS, FineTune.Status.FAILED, FineTune.Status.CANCELLED)
        return finetune is not None and finetune.status not in ended

    @display(description="Fine-tune", ordering="id")
    def title(self, finetune):
        return f"#{finetune.pk}"

    @display(description="Batch", ordering="batch")
    def batch_title(self, finetune):
        return f"{finetune.batch.project or 'several projects'} · {finetune.batch.short_id}"

    @display(description="Progress", ordering="progress")
    def progress_shown(self, finetune):
        if finetune.job and not finetune.job.is_finished:
            return progress_of(finetune.job)
        return progress_bar(100 if finetune.status == FineTune.Status.SUCCESS else finetune.progress)

    @display(description="Scores")
    def scores(self, finetune):
        return headline(finetune.metrics)

    @display(description="Scores")
    def metrics_shown(self, finetune):
        return metrics_table(finetune.metrics)

    @display(description="When")
    def dates(self, finetune):
        moments = {"asked for": finetune.created_at, "begun": finetune.started_at, "ended": finetune.finished_at}
        return ", ".join(f"{name} {at:%Y-%m-%d %H:%M}" for name, at in moments.items() if at)

    @action(description="Ask the provider", permissions=["refresh"], icon="refresh")
    def refresh(self, request, object_id):
        finetune = self.row_or_404(request, object_id)
        try:
            finetuning.refresh(finetune)
        except Fact as fact:
            messages.error(request, f"No news: {fact.message}.")
        return redirect("admin:exports_finetune_change", finetune.pk)

    @action(
        description="Cancel",
        permissions=["cancel"],
        icon="cancel",
        dialog=ActionDialog(
            title="Cancel this fine-tune?",
            description="What was trained so far is lost.",
            form_submit_text="Cancel the fine-tune",
        ),
    )
    def cancel(self, request, form, object_id):
        finetune = self.row_or_404(request, object_id)
        if finetuning.cancel(finetune, by=request.user):
            messages.success(request, "Asked to stop.")
        else:
            messages.warning(request, "Too late: it has ended.")
        return to_page(finetune)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnly, ScopedAdmin):
    list_display = ["name", "project", "dataset", "scores", "tag_names", "created_at"]
    list_select_related = ["project", "dataset", "finetune__batch"]
    list_filter = [("project", ScopedAutocompleteFilter), ("created_at", RangeDateTimeFilter)]
    search_fields = ["project__name", "project__title", "=version", "provider_model"]
    fieldsets = [
        (None, {"fields": ["name", "project", "dataset", "tag_names", "finetune", "provider_model", "artefact"]}),
        ("Scores on the test part", {"fields": ["metrics_shown"]}),
        ("Record", {"fields": ["created_at"]}),
    ]
    readonly_fields = ["name", "tag_names", "metrics_shown", "created_at"]

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("tags")

    @display(description="Model", ordering="version")
    def name(self, version):
        return str(version)

    @display(description="Scores")
    def scores(self, version):
        return headline(version.metrics)

    @display(description="Tags", label=True)
    def tag_names(self, version):
        return [tag.name for tag in version.tags.all()] or None

    @display(description="Scores")
    def metrics_shown(self, version):
        return metrics_table(version.metrics)


class ModelTagForm(forms.ModelForm):
    def clean(self):
        cleaned = super().clean()
        project = self.instance.project if self.instance.pk else cleaned.get("project")
        version = cleaned.get("version")
        if project and version and version.project_id != project.pk:
            raise ValidationError({"version": f"This model is not of the project “{project}”."})
        return cleaned


@admin.register(ModelTag)
class ModelTagAdmin(ScopedAdmin):
    form = ModelTagForm
    list_display = ["name", "project", "version", "updated_at"]
    list_select_related = ["project", "version__project"]
    list_filter = [("project", ScopedAutocompleteFilter)]
    search_fields = ["name", "project__name"]
    autocomplete_fields = ["project", "version"]
    fields = ["project", "name", "version", "updated_at"]
    readonly_fields = ["updated_at"]

    @transaction.atomic
    def save_model(self, request, obj, form, change):
        """Moving a tag is a change of state: `prod` may be what customers talk to."""
        before = str(ModelVersion.objects.get(pk=form.initial["version"])) if change else ""
        super().save_model(request, obj, form, change)
        audit.record(obj, "tag", by=request.user, before=before, after=str(obj.version), reason=obj.name)

    @transaction.atomic
    def delete_model(self, request, obj):
        audit.record(obj, "untag", by=request.user, before=str(obj.version), reason=obj.name)
        super().delete_model(request, obj)

"""Models that came of fine-tunes, the names that move between them, and two of them side by side."""

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.dataclasses import ActionDialog
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from exports import comparing, predicting, versions
from exports.errors import NotAskedYet, Unsuitable
from exports.models import ModelTag, ModelVersion
from labelhub.admin import ReadOnly, ScopedAutocompleteFilter, page, sentence, state_badge
from labelhub.facts import Fact

from .batches import to_page
from .metrics import headline, labels_side_by_side, metrics_table, side_by_side
from .scoped import ScopedAdmin


class TagForm(BaseDialogForm):
    name = forms.CharField(max_length=64, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "prod"}))


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnly, ScopedAdmin):
    list_display = ["name", "project", "dataset", "provider", "scores", "tag_names", "created_at"]
    list_select_related = ["project", "dataset", "finetune__batch__project", "finetune__account"]
    actions = ["compare"]
    actions_detail = ["predict", "prefill", "find_errors", "tag", "untag"]
    list_filter = [("project", ScopedAutocompleteFilter), ("created_at", RangeDateTimeFilter)]
    search_fields = ["project__name", "project__title", "=version", "provider_model"]
    fieldsets = [
        (None, {"fields": ["name", "project", "dataset", "tags_shown", "finetune", "provider_model", "artefact"]}),
        ("Where it comes from", {"fields": ["lineage_shown"]}),
        ("Scores on the test part", {"fields": ["metrics_shown"]}),
        ("Record", {"fields": ["created_at"]}),
    ]
    readonly_fields = ["name", "tags_shown", "lineage_shown", "metrics_shown", "created_at"]

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("tags")

    @display(description="Model", ordering="version")
    def name(self, version):
        return str(version)

    @display(description="Scores")
    def scores(self, version):
        return headline(version.metrics)

    @display(description="Trained by", ordering="finetune__provider")
    def provider(self, version):
        return version.finetune.get_provider_display()

    @display(description="Tags")
    def tags_shown(self, version):
        return format_html_join(" ", "{}", ((state_badge("TAG", tag.name),) for tag in version.tags.all())) or None

    @display(description="Tags", label=True)
    def tag_names(self, version):
        return [tag.name for tag in version.tags.all()] or None

    @display(description="Scores")
    def metrics_shown(self, version):
        return metrics_table(version.metrics)

    @display(description="Made of")
    def lineage_shown(self, version):
        """The way back, from the model to the people who answered."""
        found = comparing.lineage(version)
        batch, finetune = found["batch"], version.finetune
        return format_html(
            '<p><a class="text-link" href="{}">{}</a> ← <a class="text-link" href="{}">{}</a> ({}) ← {} samples ← '
            '{} annotations by {} people</p><p class="hub-hint">sha256 {}</p>',
            reverse("admin:exports_finetune_change", args=[finetune.pk]), f"fine-tune {finetune.pk}",
            reverse("admin:exports_batch_change", args=[batch.pk]), batch, batch.format,
            found["samples"], found["annotations"], found["annotators"], found["sha256"],
        )  # fmt: skip

    def has_predict_permission(self, request, obj=None):
        version = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return version is not None and self.may(request, "exports.add_predictionrun", version)

    def has_find_errors_permission(self, request, obj=None):
        version = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return version is not None and self.may(request, "samples.review_doubt", version)

    @action(
        description="Predict over unlabelled tasks…",
        permissions=["predict"],
        icon="online_prediction",
        dialog=ActionDialog(
            title="Let this model guess?",
            description="About every task of the project that still waits for answers. Annotators see its guesses, and "
            "tasks can be given by what it is least sure about. A model at a provider is paid by the text.",
            form_submit_text="Predict",
        ),
    )
    def predict(self, request, form, object_id):
        version = self.row_or_404(request, object_id)
        try:
            tasks = predicting.unlabelled(version.project)
            run = predicting.ask(version, tasks, by=request.user, selection={"tasks": "unlabelled"})
        except Fact as fact:
            messages.error(request, f"Not done: {fact.message}.")
            return to_page(version)
        messages.success(request, f"On its way: {run}.")
        return to_page(run)

    @action(description="Fill in forms…", permissions=["predict"], icon="edit_note", url_path="prefill")
    def prefill(self, request, object_id):
        return redirect("prefill", self.row_or_404(request, object_id).pk)

    @action(description="Look for label errors…", permissions=["find_errors"], icon="troubleshoot", url_path="errors")
    def find_errors(self, request, object_id):
        return redirect("find_errors", self.row_or_404(request, object_id).project.name)

    def has_tag_permission(self, request, obj=None):
        version = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return version is not None and self.may(request, "exports.change_modeltag", version)

    def has_untag_permission(self, request, obj=None):
        version = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return self.has_tag_permission(request, version) and version.tags.exists()

    @action(
        description="Tag…",
        permissions=["tag"],
        icon="sell",
        dialog=ActionDialog(
            title="Tag this model",
            description="A name such as prod or staging; it moves here from the version that has it now.",
            form_class=TagForm,
            form_submit_text="Tag",
        ),
    )
    def tag(self, request, form, object_id):
        version = self.row_or_404(request, object_id)
        try:
            tag = versions.tag(version, form.cleaned_data["name"], by=request.user)
            messages.success(request, f"{tag.name} is {version} now.")
        except Fact as fact:
            messages.error(request, f"Not done: {fact.message}.")
        return to_page(version)

    @action(
        description="Take tag off…",
        permissions=["untag"],
        icon="label_off",
        dialog=ActionDialog(
            title="Take a tag off this model",
            description="Who asks for the model by that name finds none until it is given again.",
            form_class=TagForm,
            form_submit_text="Take it off",
        ),
    )
    def untag(self, request, form, object_id):
        version, name = self.row_or_404(request, object_id), form.cleaned_data["name"]
        if versions.untag(version, name, by=request.user):
            messages.success(request, f"{version} is {name} no more.")
        else:
            messages.warning(request, f"{version} is not called {name}.")
        return to_page(version)

    @admin.action(description="Compare two", permissions=["view"])
    def compare(self, request, queryset):
        chosen = list(queryset.select_related("project", "finetune__batch__project")[:3])
        try:
            if len(chosen) != 2:
                raise Unsuitable("choose two models to compare")
            found = comparing.compare(*chosen)
        except NotAskedYet as fact:
            return redirect("ask_about_test", fact.details["version"], fact.details["batch"])
        except Fact as fact:
            self.message_user(request, sentence(fact), messages.ERROR)
            return None
        return page(
            request,
            "hub/compare.html",
            title=f"Compare {found.versions[0]} and {found.versions[1]}",
            found=found,
            figures=side_by_side(found.metrics),
            labels=labels_side_by_side(found.metrics),
            back=reverse("admin:exports_modelversion_changelist"),
        )


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
        if change and form.initial["name"] != obj.name:  # a renamed tag is another tag
            versions.untag(ModelVersion.objects.get(pk=form.initial["version"]), form.initial["name"], by=request.user)
        obj.pk = versions.tag(obj.version, obj.name, by=request.user).pk

    @transaction.atomic
    def delete_model(self, request, obj):
        versions.untag(obj.version, obj.name, by=request.user)

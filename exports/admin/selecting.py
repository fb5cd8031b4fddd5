"""From chosen samples to a batch: the export form, and the ways to it from the lists of samples and projects."""

from decimal import Decimal

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef
from django.http import HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from exports import batching, compression, dealing, destinations, formats, predicting
from exports.formats.shape import GUARD, LICENSE, SYSTEM_PROMPT
from exports.models import Batch, BatchItem, ModelVersion
from labelhub.accounts.roles import Power
from labelhub.admin import action_page, page, sentence
from labelhub.facts import Fact
from samples.admin.projects import ProjectAdmin
from samples.admin.samples import SampleAdmin
from samples.admin.scoped import project_or_404
from samples.admin.tasks import TaskAdmin
from samples.models import Project, Sample, Task

from .guessing import WhichModelForm
from .scoped import ScopedAdmin

MOST_EARLIER = 50  # batches to choose from, the latest first
claims = BatchItem.objects.claims().filter(sample=OuterRef("pk"))


class ExportForm(forms.Form):
    """What a batch is to look like; the samples were chosen before."""

    format = forms.ChoiceField(choices=formats.choices, widget=UnfoldAdminSelectWidget(attrs={"x-model": "format"}))
    system_prompt = forms.CharField(
        required=False,
        strip=False,
        max_length=SYSTEM_PROMPT.most,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Said before every conversation; empty: none.",
    )
    guard_formulas = forms.BooleanField(
        required=False,
        label=GUARD.about,
        widget=UnfoldBooleanSwitchWidget,
    )
    bundle = forms.BooleanField(
        required=False,
        label="Bundle: a ZIP with a dataset card, croissant.json and the manifest",
        widget=UnfoldBooleanSwitchWidget(attrs={"x-model": "bundle"}),
    )
    license = forms.CharField(
        required=False,
        label="Licence",
        max_length=LICENSE.most,
        widget=UnfoldAdminTextInputWidget,
        help_text="For the card: cc-by-4.0, mit, …",
    )
    split = forms.BooleanField(
        required=False,
        label="Split into train, val and test",
        widget=UnfoldBooleanSwitchWidget(attrs={"x-model": "split"}),
    )
    train = forms.DecimalField(required=False, initial="0.8", widget=UnfoldAdminDecimalFieldWidget)
    val = forms.DecimalField(required=False, initial="0.1", widget=UnfoldAdminDecimalFieldWidget)
    test = forms.DecimalField(required=False, initial="0.1", widget=UnfoldAdminDecimalFieldWidget)
    stratify = forms.BooleanField(
        required=False,
        initial=True,
        label="Keep each label's share alike in every part",
        widget=UnfoldBooleanSwitchWidget,
    )
    seed = forms.CharField(
        initial="0",
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="The same seed deals the same samples in the same way.",
    )
    group_by = forms.MultipleChoiceField(
        required=False,
        choices=[("duplicates", "Near-duplicates"), ("source", "Rows of one source")],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label="Keep together in one part",
        help_text="So that nothing leaks from train into test.",
    )
    metadata_key = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        label="Keep together by this key of the metadata",
        help_text="thread_id, document, translation_of: rows with the same value go to the same part.",
    )
    split_name = forms.CharField(
        required=False,
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        label="Keep this split under a name",
        help_text="Later batches that name it deal only what is new: nobody changes side.",
    )
    shards = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=batching.MOST_SHARDS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="So many files a part, written by several workers at once. Empty: one file.",
    )
    compression = forms.ChoiceField(
        required=False, choices=compression.choices, initial="none", widget=UnfoldAdminSelectWidget
    )
    since = forms.ChoiceField(
        required=False,
        widget=UnfoldAdminSelectWidget,
        label="Only what is new since",
        help_text="Reviewed after this batch was gathered.",
    )
    destination = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    allow_reexport = forms.BooleanField(
        required=False,
        label="Take samples that another batch already carries",
        widget=UnfoldBooleanSwitchWidget,
    )

    def __init__(self, *args, user, project, **kwargs):
        super().__init__(*args, **kwargs)
        earlier = Batch.objects.where(user, Power.EXPORT).exclude(state=Batch.State.CANCELLED)
        self._earlier = earlier.filter(project=project) if project else earlier.none()
        shown = self._earlier.order_by("-id").values_list("uuid", "created_at", "format", "sample_count")[:MOST_EARLIER]
        self.fields["since"].choices = [("", "The beginning")] + [
            (uuid, f"{uuid.hex[:8]}, {created_at:%Y-%m-%d %H:%M}: {count} as {format}")
            for uuid, created_at, format, count in shown
        ]
        self.fields["destination"].choices = [(name, name) for name in destinations.names()]
        self.fields["destination"].initial = destinations.default()

    @property
    def shares(self):
        return [self[name] for name in ("train", "val", "test")]

    def clean(self):
        cleaned = super().clean()
        if cleaned.get("split"):
            ratios = [cleaned.get(name) for name in ("train", "val", "test")]
            if None in ratios or min(ratios) < 0:
                raise forms.ValidationError("A split needs three shares: train, val and test.")
            if sum(ratios) != Decimal(1):
                raise forms.ValidationError(f"The shares must add up to exactly 1; these add up to {sum(ratios)}.")
        if cleaned.get("compression") in ("", "none"):
            return cleaned
        if cleaned.get("split") and not cleaned.get("shards"):
            raise forms.ValidationError(
                "A split in one file is a ZIP, which is compressed already: choose shards, or None."
            )
        return cleaned

    def asked(self) -> dict:
        """The form's answers, in `gather`'s words."""
        data = self.cleaned_data
        return {
            "format": data["format"],
            "ratios": [data["train"], data["val"], data["test"]] if data["split"] else None,
            "seed": data["seed"],
            "stratify": bool(data["split"] and data["stratify"]),
            "group_by": self._together() if data["split"] else (),
            "split_name": data["split_name"] if data["split"] else "",
            "shards": data["shards"],
            "compression": data["compression"] or "none",
            "since": self._earlier.filter(uuid=data["since"]).first() if data["since"] else None,
            "destination": data["destination"],
            "allow_reexport": data.get("allow_reexport", False),
            "options": self.options(),
        }

    def options(self) -> dict:
        """What was chosen of the options that the format has; the page hides the others."""
        known = formats.get(self.cleaned_data["format"]).all_options
        chosen = {name: self.cleaned_data[name] for name in known if self.cleaned_data.get(name)}
        if not chosen.get("bundle"):
            chosen.pop("license", None)
        return chosen

    @property
    def chosen_format(self) -> str:
        """The format that the page shows at first; never what a stranger typed."""
        value = self["format"].value()
        return value if value in formats.names() else formats.names()[0]

    @property
    def formats_with(self) -> dict[str, list[str]]:
        """Option → the formats that have it, for the page."""
        return {
            option: [format.name for format in formats.MENU if option in format.options]
            for option in ("system_prompt", "guard_formulas")
        }

    def _together(self) -> list[str]:
        key = self.cleaned_data["metadata_key"].strip()
        return [*self.cleaned_data["group_by"], *([f"{dealing.METADATA}{key}"] if key else [])]


class TaskExportForm(ExportForm):
    """The same for tasks as they stand, which no batch claims."""

    allow_reexport = None  # type: ignore[assignment]  # Django's way to leave out a field of the base

    def asked(self) -> dict:
        asked = super().asked()
        del asked["allow_reexport"]
        return asked


def counted(samples) -> dict[str, int]:
    """Of the chosen samples, how many there are, how many are approved, and how many of these no batch carries."""
    approved = samples.approved()
    return {
        "selected": samples.count(),
        "approved": approved.count(),
        "free": approved.filter(~Exists(claims)).count(),
    }


def gathered(request, form, rows, *, project, selection, gather=batching.gather):
    """The new batch's page, or None with the reason among the form's errors."""
    try:
        batch = gather(rows, by=request.user, project=project, selection=selection, **form.asked())
    except Fact as fact:
        form.add_error(None, sentence(fact))
        return None
    messages.success(request, f"On its way: {batch}, {batch.sample_count} {batch.carries.lower()}.")
    return redirect("admin:exports_batch_change", batch.pk)


def export_project(request, name):
    """The export form for all that is approved in a project."""
    project = project_or_404(request, name, Power.EXPORT)
    samples = project.samples.where(request.user, Power.EXPORT)
    form = ExportForm(request.POST or None, user=request.user, project=project)
    if request.method == "POST" and form.is_valid():
        done = gathered(request, form, samples.approved(), project=project, selection={"project": project.name})
        if done:
            return done
    title = f"Export all approved samples of {project}"
    back = reverse("admin:samples_project_change", args=[project.pk])
    return page(request, "hub/export.html", title=title, form=form, counts=counted(samples), button="Export", back=back)


class ExportedFilter(DropdownFilter):
    title = "exported"
    parameter_name = "exported"

    def lookups(self, request, model_admin):
        return [("no", "Not yet"), ("yes", "In a batch")]

    def queryset(self, request, queryset):
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(Exists(claims) if self.value() == "yes" else ~Exists(claims))


admin.site.unregister(Sample)
admin.site.unregister(Task)
admin.site.unregister(Project)


@admin.register(Sample)
class ExportingSampleAdmin(ScopedAdmin, SampleAdmin):
    """The list of samples, with the door to exports that samples itself does not know of."""

    actions = [*SampleAdmin.actions, "export_selected"]
    list_filter = [*SampleAdmin.list_filter, ExportedFilter]

    def has_export_permission(self, request, obj=None):
        return self.may(request, "exports.add_batch", obj)

    @admin.action(description="Export selected…", permissions=["export"])
    def export_selected(self, request, queryset):
        samples = queryset.where(request.user, Power.EXPORT)
        return export_page(request, samples, title="Export samples", counts=counted)


def export_page(request, rows, *, title, counts, form_class=ExportForm, gather=batching.gather):
    """The export form for rows chosen in a list, or the page of the batch they have become."""
    projects = list(Project.objects.filter(pk__in=rows.order_by().values("project"))[:2])
    if len(projects) > 1 and not request.user.is_superuser:
        messages.warning(request, "A batch holds the rows of one project: filter by project first.")
        return HttpResponseRedirect(request.get_full_path())
    project = projects[0] if len(projects) == 1 else None
    form = form_class(request.POST if "apply" in request.POST else None, user=request.user, project=project)
    if form.is_valid():
        selection = selection_of(request)
        if done := gathered(request, form, rows, project=project, selection=selection, gather=gather):
            return done
    return action_page(
        request, template="hub/export.html", title=title, form=form, button="Export", counts=counts(rows)
    )


def selection_of(request) -> dict:
    """What was asked for, for the record: the ids that were ticked, or the list's filter and search."""
    if request.POST.get("select_across") == "1":
        return {"filter": {name: request.GET.getlist(name) for name in request.GET if name not in ("p", "o", "e")}}
    return {"ids": sorted(int(pk) for pk in request.POST.getlist("_selected_action") if pk.isdecimal())}


@admin.register(Task)
class ExportingTaskAdmin(ScopedAdmin, TaskAdmin):
    """The list of tasks, with the door to exports of tasks as they stand."""

    actions = [*TaskAdmin.actions, "export_as_they_stand", "predict"]

    def has_predict_permission(self, request, obj=None):
        return self.may(request, "exports.add_predictionrun", obj)

    @admin.action(description="Predict with a model…", permissions=["predict"])
    def predict(self, request, queryset):
        tasks = queryset.where(request.user, Power.FINETUNE)
        versions = ModelVersion.objects.filter(project__in=tasks.order_by().values("project"))
        form = WhichModelForm(request.POST if "apply" in request.POST else None, versions=versions)
        if not form.fields["version"].queryset.exists():
            self.message_user(request, "None of these tasks is of a project that has a model.", messages.WARNING)
            return None
        if form.is_valid():
            try:
                run = predicting.ask(
                    form.cleaned_data["version"], tasks, by=request.user, selection=selection_of(request)
                )
                messages.success(request, f"On its way: {run}.")
                return redirect("admin:exports_predictionrun_change", run.pk)
            except Fact as fact:
                form.add_error(None, sentence(fact))
        note = f"Selected: {tasks.count()}. A model guesses about those of its own project; people’s answers stay."
        return action_page(request, title="Predict with a model", form=form, button="Predict", note=note)

    def has_export_permission(self, request, obj=None):
        return self.may(request, "exports.add_batch", obj)

    @admin.action(description="Export as they stand…", permissions=["export"])
    def export_as_they_stand(self, request, queryset):
        return export_page(
            request,
            queryset.where(request.user, Power.EXPORT),
            title="Export tasks as they stand",
            counts=lambda tasks: {"selected": tasks.count(), "settled": tasks.completed().count()},
            form_class=TaskExportForm,
            gather=batching.gather_tasks,
        )


@admin.register(Project)
class ExportingProjectAdmin(ScopedAdmin, ProjectAdmin):
    """The project's page, with the door to exports."""

    actions_detail = [*ProjectAdmin.actions_detail, "export_approved", "find_errors"]

    def has_find_errors_permission(self, request, obj=None):
        return self._may_work(request, "samples.review_doubt", obj)

    @action(description="Look for label errors…", permissions=["find_errors"], icon="troubleshoot", url_path="errors")
    def find_errors(self, request, object_id):
        return redirect("find_errors", self.row_or_404(request, object_id).name)

    def has_export_permission(self, request, obj=None):
        return self._may_work(request, "exports.add_batch", obj)

    @action(description="Export all approved…", permissions=["export"], icon="inventory_2", url_path="export")
    def export_approved(self, request, object_id):
        return redirect("export_project", self.row_or_404(request, object_id).name)

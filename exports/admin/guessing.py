"""Models at work: runs of predictions, the form they may fill in, and the label errors they point at."""

from django import forms
from django.contrib import admin, messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.dataclasses import ActionDialog
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget

from exports import comparing, doubting, predicting, trusting
from exports.models import Batch, ModelVersion, PredictionRun
from exports.providers import Trainer, get
from labelhub.accounts.roles import Power
from labelhub.admin import ReadOnly, ScopedAutocompleteFilter, json_field, page, progress_bar, sentence, state_badge
from labelhub.facts import Fact
from labelhub.jobs.admin import state_url
from labelhub.jobs.models import Job
from samples.admin.scoped import project_or_404

from .batches import to_page
from .curves import chart
from .scoped import ScopedAdmin

MOST_VERSIONS = 20  # to choose from, the newest first


@admin.register(PredictionRun)
class PredictionRunAdmin(ReadOnly, ScopedAdmin):
    project_lookup = "version__project"
    list_display = [
        "title",
        "project_name",
        "state_shown",
        "progress",
        "task_count",
        "guessed_count",
        "refused_count",
        "created_by",
        "created_at",
    ]
    list_select_related = ["version__project", "job", "created_by"]
    list_filter = [("version__project", ScopedAutocompleteFilter), ("created_at", RangeDateTimeFilter)]
    search_fields = ["version__project__name", "=version__version"]
    actions_detail = ["see_predictions", "cancel"]
    list_before_template = "hub/live.html"
    change_form_outer_before_template = "hub/live.html"
    fieldsets = [
        (None, {"fields": ["version", "state_shown", "progress", "error"]}),
        (
            "What came of it",
            {"fields": ["task_count", "guessed_count", "refused_count", "skipped_count", "shown_refusals"]},
        ),
        ("What was asked for", {"fields": ["shown_selection", "created_by", "created_at"]}),
    ]
    readonly_fields = [
        "state_shown",
        "progress",
        "error",
        "shown_refusals",
        "shown_selection",
        "created_by",
        "created_at",
    ]

    shown_selection = json_field("selection", "Selection")
    shown_refusals = json_field("refusals", "What it said instead")

    def get_fieldsets(self, request, obj=None):
        """Without an error where there is none."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj and self.error(obj):
            return fieldsets
        (name, first), *others = fieldsets
        return [(name, {"fields": [field for field in first["fields"] if field != "error"]}), *others]

    def has_cancel_permission(self, request, obj=None):
        run = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return (
            self.allows(request, "change", obj) and run is not None and run.job is not None and not run.job.is_finished
        )

    @display(description="Run", ordering="id")
    def title(self, run):
        return f"#{run.pk} {run.version}"

    @display(description="Project", ordering="version__project__name")
    def project_name(self, run):
        return run.project

    @display(description="State")
    def state_shown(self, run):
        state = predicting.state_of(run)
        return state_badge(state, Job.State(state).label)

    @display(description="Progress")
    def progress(self, run):
        live = state_url(run.job.pk) if run.job and not run.job.is_finished else ""
        return progress_bar(100 * run.position // run.task_count if run.task_count else 100, live=live)

    @display(description="Error")
    def error(self, run):
        return (run.job and run.job.error) or None

    @action(description="See the predictions", permissions=["view"], icon="online_prediction", url_path="predictions")
    def see_predictions(self, request, object_id):
        run = self.row_or_404(request, object_id)
        return redirect(f"{reverse('admin:samples_prediction_changelist')}?model={run.version}")

    @action(
        description="Cancel",
        permissions=["cancel"],
        icon="cancel",
        dialog=ActionDialog(
            title="Cancel this run?",
            description="What is guessed by now stays.",
            form_submit_text="Cancel the run",
        ),
    )
    def cancel(self, request, form, object_id):
        run = self.row_or_404(request, object_id)
        if predicting.cancel(run, by=request.user):
            messages.success(request, "Asked to stop.")
        else:
            messages.warning(request, "Too late: it has ended.")
        return to_page(run)


class WhichModelForm(forms.Form):
    """One of a project's models."""

    version = forms.ModelChoiceField(
        ModelVersion.objects.none(), label="Model", empty_label=None, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *arguments, versions, **more):
        super().__init__(*arguments, **more)
        newest = list(versions.order_by("-pk").values_list("pk", flat=True)[:MOST_VERSIONS])
        field = self.fields["version"]
        field.queryset = versions.filter(pk__in=newest).select_related("project").order_by("-pk")  # type: ignore[attr-defined]


# To be compared -------------------------------------------------------------------------------------------------------


def ask_about_test(request, pk, batch):
    """Have a model at a provider asked about the texts by which it is to be judged."""
    version = (
        ModelVersion.objects.filter(pk=pk).select_related("project", "finetune__batch", "finetune__account").first()
    )
    if version is None or not request.user.has_perm("exports.add_predictionrun", version):
        raise Http404
    batch = get_object_or_404(Batch.objects.visible_to(request.user).filter(project=version.project), pk=batch)
    back = reverse("admin:exports_modelversion_changelist")
    try:
        if request.method == "POST":
            run = comparing.ask_about_test(version, batch, by=request.user)
            messages.success(request, f"On its way: {run}. When it is done, compare the two again.")
            return redirect("admin:exports_predictionrun_change", run.pk)
        texts = comparing.texts_of_test(batch)
    except Fact as fact:
        messages.error(request, sentence(fact))
        return redirect(back)
    return page(
        request,
        "hub/action.html",
        title=f"Ask {version} about the test part of {batch}",
        form=forms.Form(),
        button="Ask",
        back=back,
        note=f"{version} lives at {version.finetune.provider}, which is paid by the text. It is judged by what it says "
        f"about the {len(texts):,} texts of the test part; what it was asked before is not asked again.",
    )


# Filling in forms -----------------------------------------------------------------------------------------------------


class PrecisionForm(forms.Form):
    precision = forms.DecimalField(
        min_value=0,
        max_value=1,
        initial="0.95",
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="How many of the filled-in answers must be right: 0.95 is 19 of 20.",
    )


def prefill(request, pk):
    """How far a model may be trusted, and the choice of how far it is: from there on it fills in the form."""
    version = ModelVersion.objects.filter(pk=pk).select_related("project", "finetune__batch").first()
    if version is None or not request.user.has_perm("exports.change_finetune", version):
        raise Http404
    back = reverse("admin:exports_modelversion_change", args=[version.pk])
    form, trust = PrecisionForm(request.POST or None), None
    if "empty" in request.POST:
        trusting.leave_empty(version.project, by=request.user)
        messages.success(request, "Forms begin empty again.")
        return redirect(back)
    if request.method == "POST" and form.is_valid():
        precision = float(form.cleaned_data["precision"])
        try:
            if "apply" in request.POST:
                trust = trusting.fill_in(version, precision=precision, by=request.user)
                messages.success(request, f"{version} fills in what it is at least {trust.threshold:.0%} sure of.")
                return redirect(back)
            trust = trusting.trust_for(version, precision)
        except Fact as fact:
            form.add_error(None, sentence(fact))
    try:
        points, problem = trusting.curve_of(version), ""
    except Fact as fact:
        points, problem = [], sentence(fact)
    return page(
        request,
        "hub/prefill.html",
        title=f"Let {version} fill in forms",
        version=version,
        form=form,
        trust=trust,
        points=points,
        problem=problem,
        curve=chart(
            {
                "Right": [(point.threshold, point.precision) for point in points],
                "Covered": [(point.threshold, point.coverage) for point in points],
            },
            x_title="sureness asked for",
        ),
        back=back,
    )


# Label errors ---------------------------------------------------------------------------------------------------------


class JudgeForm(forms.Form):
    version = forms.ModelChoiceField(
        ModelVersion.objects.none(),
        required=False,
        label="Judged by",
        empty_label="Five models of its own, each trained on four fifths and judging the last",
        widget=UnfoldAdminSelectWidget,
        help_text="A model of the project judges only what it has not learnt from.",
    )

    def __init__(self, *arguments, project, **more):
        super().__init__(*arguments, **more)
        versions = ModelVersion.objects.filter(project=project).select_related("project", "finetune").order_by("-pk")
        here = [one.pk for one in versions[:MOST_VERSIONS] if isinstance(get(one.finetune.provider), Trainer)]
        self.fields["version"].queryset = versions.filter(pk__in=here)  # type: ignore[attr-defined]


def find_errors(request, name):
    """Start the search for label errors in a project."""
    project = project_or_404(request, name, Power.REVIEW)
    form = JudgeForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        try:
            job = doubting.look(project, by=request.user, version=form.cleaned_data["version"])
        except Fact as fact:
            form.add_error(None, sentence(fact))
        else:
            messages.success(request, "The verdicts are being judged. What is doubted will stand under “Label errors”.")
            return redirect("admin:jobs_job_change", job.pk)
    settled = project.tasks.completed().count()
    return page(
        request,
        "hub/action.html",
        title=f"Look for label errors – {project}",
        form=form,
        button="Look",
        back=reverse("admin:samples_project_change", args=[project.pk]),
        note=f"{settled} settled tasks. No verdict is changed: what a model doubts is put in a list for reviewers.",
    )

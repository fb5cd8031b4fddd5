"""Fine-tunes: started, watched, stopped and tried again."""

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, JsonResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
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
from exports.models import Batch, FineTune, ModelVersion, ProviderAccount
from labelhub.accounts.roles import Power
from labelhub.admin import (
    ReadOnly,
    ScopedAutocompleteFilter,
    badge,
    json_field,
    page,
    progress_bar,
    sentence,
    state_badge,
)
from labelhub.facts import Fact

from .batches import to_page
from .curves import chart
from .metrics import headline, metrics_table
from .scoped import ScopedAdmin

EVENTS_SHOWN = 50


class FineTuneForm(forms.Form):
    """Where to train, and with what."""

    provider = forms.ChoiceField(choices=providers.choices, widget=UnfoldAdminSelectWidget)
    account = forms.ModelChoiceField(
        ProviderAccount.objects.none(),
        required=False,
        empty_label="The project's own",
        widget=UnfoldAdminSelectWidget,
        help_text="At a provider elsewhere: through which account. Without a choice the project's own, or the settings'.",
    )
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

    def __init__(self, *arguments, project, **more):
        super().__init__(*arguments, **more)
        if project is not None:
            self.fields["account"].queryset = ProviderAccount.objects.usable_for(project)  # type: ignore[attr-defined]

    def clean_hyperparameters(self):
        text = self.cleaned_data["hyperparameters"].strip()
        try:
            value = json.loads(text) if text else {}
        except json.JSONDecodeError as error:
            raise ValidationError(f"Not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValidationError("A JSON object is needed, in curly brackets.")
        return value


def as_asked(finetune: FineTune) -> dict[str, Any]:
    """What a fine-tune was asked for, for a form that asks for another like it."""
    asked = finetune.hyperparameters
    return {
        "provider": finetune.provider,
        "account": finetune.account_id,
        "model": finetune.model,
        "hyperparameters": json.dumps(asked, ensure_ascii=False, indent=2) if asked else "",
        "again": True,
    }


def start(request, pk):
    """The page that starts a fine-tune on a batch."""
    batch = Batch.objects.where(request.user, Power.FINETUNE).select_related("project").filter(pk=pk).first()
    if batch is None:
        raise Http404
    like = (
        batch.finetunes.filter(pk=request.GET.get("like")).first() if request.GET.get("like", "").isdecimal() else None
    )
    form = FineTuneForm(request.POST or None, project=batch.project, initial=as_asked(like) if like else None)
    if request.method == "POST" and form.is_valid():
        try:
            finetune = finetuning.submit(batch, by=request.user, repeats=like, **form.cleaned_data)
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


# How one goes: what its page shows, at first and from then on -----------------------------------------------------------


def progress_of(finetune: FineTune) -> int:
    return 100 if finetune.status == FineTune.Status.SUCCESS else finetune.progress


def stage_of(finetune: FineTune) -> str:
    """What is being done just now, in the provider's words or the trainer's."""
    if not finetune.is_under_way:
        return ""
    if finetune.cancel_requested_at:
        return "stopping"
    said = finetune.provider_status or (finetune.job.message if finetune.job else "")
    return said.replace("_", " ") if said.upper() != finetune.status else ""


def status_of(finetune: FineTune) -> SafeString:
    trouble = finetune.trouble and format_html('<p class="hub-warn" role="alert">No news: {}</p>', finetune.trouble)
    shown = state_badge(finetune.status, finetune.get_status_display())
    return format_html('{} <span class="hub-hint">{}</span>{}', shown, stage_of(finetune), trouble)


def curve_of(finetune: FineTune) -> SafeString:
    """The losses over the steps, as far as the provider tells them; of a local model, what it may be trusted with."""
    names = {"loss": "Training loss", "valid_loss": "Validation loss"}
    told = [event for event in finetune.events if "step" in event]
    lines = {
        title: sorted((event["step"], event[key]) for event in told if key in event) for key, title in names.items()
    }
    drawn = chart(lines, x_title="steps")
    if not drawn and (coverage := (finetune.metrics or {}).get("coverage")):
        points = [(point["threshold"], point["accuracy"]) for point in coverage if point["accuracy"] is not None]
        covered = [(point["threshold"], point["coverage"]) for point in coverage]
        drawn = chart({"Right": points, "Covered": covered}, x_title="sureness asked for")
    return drawn or format_html('<p class="hub-hint">{}</p>', "Nothing measured yet.")


def events_of(finetune: FineTune) -> SafeString:
    """The latest events, the newest first."""
    shown = finetune.events[: -EVENTS_SHOWN - 1 : -1]
    if not shown:
        return format_html('<p class="hub-hint">{}</p>', "None yet.")
    rows = format_html_join(
        "",
        '<tr class="{}"><td>{}</td><td>{}</td></tr>',
        (
            (
                "hub-warn" if event.get("level", "info") not in ("info", "") else "",
                event.get("at", "").replace("T", " ").rstrip("Z") or f"{event.get('seconds', 0):g} s",
                event["message"],
            )
            for event in shown
        ),
    )
    more = len(finetune.events) - len(shown)
    note = format_html('<p class="hub-hint">{}</p>', f"and {more} before") if more else ""
    return format_html('<table class="hub-table hub-events"><tbody>{}</tbody></table>{}', rows, note)


PARTS = {"status": status_of, "curve": curve_of, "events": events_of}


def part(name: str, finetune: FineTune) -> SafeString:
    """A part of the page that is shown anew while the fine-tune is under way."""
    return format_html('<div data-part="{}">{}</div>', name, PARTS[name](finetune))


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
    list_select_related = ["batch__project", "created_by", "job", "account", "repeats__batch"]
    list_filter = [
        ("batch__project", ScopedAutocompleteFilter),
        ("status", ChoicesDropdownFilter),
        ("provider", ChoicesDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    ]
    search_fields = ["uuid", "batch__uuid", "batch__project__name", "provider_job_id", "model"]
    date_hierarchy = "created_at"
    actions_detail = ["refresh", "cancel", "retry", "clone"]
    list_before_template = "hub/live.html"
    change_form_outer_before_template = "hub/live.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "status_shown",
                    "progress_shown",
                    "error",
                    "model_made",
                    "batch",
                    "provider",
                    "account",
                    "model",
                ]
            },
        ),
        ("How it goes", {"fields": ["curve_shown", "events_shown"]}),
        ("Scores", {"fields": ["metrics_shown"]}),
        (
            "Record",
            {"fields": ["shown_hyperparameters", "provider_job_id", "artefact", "repeats", "created_by", "dates"]},
        ),
    ]
    readonly_fields = [
        "status_shown", "progress_shown", "model_made", "curve_shown", "events_shown", "metrics_shown",
        "shown_hyperparameters", "created_by", "dates",
    ]  # fmt: skip

    status_badge = badge("status")
    shown_hyperparameters = json_field("hyperparameters")

    def get_fieldsets(self, request, obj=None):
        """Without the rows that have nothing to say about this fine-tune."""
        empty = {
            name: not (obj and getattr(obj, name)) for name in ("error", "account", "model", "artefact", "repeats")
        }
        empty["model_made"] = not (obj and obj.status == FineTune.Status.SUCCESS)
        return [
            (title, {**options, "fields": [name for name in options["fields"] if not empty.get(name)]})
            for title, options in super().get_fieldsets(request, obj)
            if title != "Scores" or (obj and obj.metrics)
        ]

    def get_urls(self):
        state = path("<int:pk>/state/", self.admin_site.admin_view(self.state_view), name="exports_finetune_state")
        return [state, *super().get_urls()]

    def state_view(self, request, pk):
        """How the fine-tune stands, as JSON: for the bars of the list, and the parts of its own page."""
        finetune = self.row_or_404(request, pk)
        answer = {
            "status": finetune.status,
            "progress": progress_of(finetune),
            "message": stage_of(finetune),
            "finished": not finetune.is_under_way,
        }
        if "parts" in request.GET:
            answer["parts"] = {name: show(finetune) for name, show in PARTS.items()}
        return JsonResponse(answer, headers={"Cache-Control": "no-store"})

    def has_retry_permission(self, request, obj=None):
        finetune = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        ended = (FineTune.Status.FAILED, FineTune.Status.CANCELLED)
        return self.allows(request, "change", obj) and finetune is not None and finetune.status in ended

    def has_clone_permission(self, request, obj=None):
        return self.allows(request, "change", obj) and not self.is_under_way(request, obj)

    def has_cancel_permission(self, request, obj=None):
        return self.allows(request, "change", obj) and self.is_under_way(request, obj)

    def has_refresh_permission(self, request, obj=None):
        return self.has_cancel_permission(request, obj)

    def is_under_way(self, request, obj):
        finetune = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return finetune is not None and finetune.is_under_way

    @display(description="Fine-tune", ordering="id")
    def title(self, finetune):
        return f"#{finetune.pk}"

    @display(description="Batch", ordering="batch")
    def batch_title(self, finetune):
        return f"{finetune.batch.project or 'several projects'} · {finetune.batch.short_id}"

    @display(description="Progress", ordering="progress")
    def progress_shown(self, finetune):
        live = reverse("admin:exports_finetune_state", args=[finetune.pk]) if finetune.is_under_way else ""
        return progress_bar(progress_of(finetune), live=live)

    @display(description="Status")
    def status_shown(self, finetune):
        live = reverse("admin:exports_finetune_state", args=[finetune.pk]) + "?parts" if finetune.is_under_way else ""
        shown = part("status", finetune)
        return format_html('<div data-live="{}" data-status="{}">{}</div>', live, finetune.status, shown)

    @display(description="Learning")
    def curve_shown(self, finetune):
        return part("curve", finetune)

    @display(description="Events")
    def events_shown(self, finetune):
        return part("events", finetune)

    @display(description="Model")
    def model_made(self, finetune):
        version = ModelVersion.objects.select_related("project").filter(finetune=finetune).first()
        if version is None:
            return None
        address = reverse("admin:exports_modelversion_change", args=[version.pk])
        return format_html('<a class="text-link" href="{}">{}</a> {}', address, version, version.provider_model)

    @display(description="Scores")
    def scores(self, finetune):
        return headline(finetune.metrics)

    @display(description="Scores")
    def metrics_shown(self, finetune):
        return metrics_table(finetune.metrics)

    @display(description="When")
    def dates(self, finetune):
        moments = {
            "asked for": finetune.created_at,
            "begun": finetune.started_at,
            "last heard of": finetune.heard_at,
            "ended": finetune.finished_at,
        }
        return ", ".join(f"{name} {at:%Y-%m-%d %H:%M}" for name, at in moments.items() if at)

    @action(description="Ask the provider", permissions=["refresh"], icon="refresh")
    def refresh(self, request, object_id):
        finetune = self.row_or_404(request, object_id)
        try:
            finetuning.refresh(finetune)
            messages.success(request, f"It is {finetune.get_status_display().lower()}.")
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
        try:
            if finetuning.cancel(finetune, by=request.user):
                messages.success(request, "Asked to stop.")
            else:
                messages.warning(request, "Too late: it has ended.")
        except Fact as fact:
            messages.error(request, f"Not yet: {fact.message}. It is asked again until it hears.")
        return to_page(finetune)

    @action(
        description="Retry",
        permissions=["retry"],
        icon="replay",
        dialog=ActionDialog(
            title="Try this fine-tune again?",
            description="The same data and parameters as before, as a new fine-tune.",
            form_submit_text="Retry",
        ),
    )
    def retry(self, request, form, object_id):
        finetune = self.row_or_404(request, object_id)
        try:
            finetune = finetuning.retry(finetune, by=request.user)
            messages.success(request, "On its way once more.")
        except Fact as fact:
            messages.error(request, f"Not done: {fact.message}.")
        return to_page(finetune)

    @action(description="Clone…", permissions=["clone"], icon="content_copy")
    def clone(self, request, object_id):
        finetune = self.row_or_404(request, object_id)
        return redirect(f"{reverse('finetune', args=[finetune.batch_id])}?like={finetune.pk}")

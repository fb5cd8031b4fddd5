"""Doubts: verdicts that a model would not have given, to be kept, corrected or looked at by somebody else."""

from django.contrib import admin, messages
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter, FieldTextFilter, RangeNumericFilter
from unfold.decorators import display

from labelhub.admin import ReadOnly, ScopedAutocompleteFilter, badge, percent, shortened
from labelhub.facts import Fact
from samples import doubting
from samples.models import Doubt

from .review import CAUSES
from .scoped import ScopedAdmin


@admin.register(Doubt)
class DoubtAdmin(ReadOnly, ScopedAdmin):
    list_display = ["text", "project", "verdict_now", "suggested", "wrong", "model", "state_badge"]
    list_display_links = ["text"]
    list_select_related = ["task", "project"]
    list_filter = [
        ("project", ScopedAutocompleteFilter),
        ("model", FieldTextFilter),
        ("state", ChoicesDropdownFilter),
        ("trust", RangeNumericFilter),
    ]
    search_fields = ["task__content", "=verdict", "=suggestion"]
    ordering = ["trust", "pk"]
    actions = ["keep", "correct", "reopen"]
    change_form_outer_before_template = "hub/doubt.html"
    fieldsets = [
        (None, {"fields": ["content", "verdict_now", "suggested", "wrong", "state_badge", "project"]}),
        ("Record", {"fields": ["model", "looked_at_by", "looked_at", "created_at"]}),
    ]
    readonly_fields = ["content", "verdict_now", "suggested", "wrong", "state_badge", "created_at"]

    suggested = shortened("suggestion", "The model says", length=60)
    state_badge = badge("state")

    def has_look_permission(self, request, obj=None):
        doubt = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        if doubt is None:
            return obj is None and self.may(request, "samples.review_doubt")
        return doubt.is_open and self.may(request, "samples.review_doubt", doubt)

    @display(description="Item")
    def text(self, doubt):
        return str(doubt.task)

    @display(description="Item")
    def content(self, doubt):
        if doubt.task.media:
            return format_html('<img class="hub-picture" alt="" src="{}">', reverse("task_media", args=[doubt.task_id]))
        return format_html('<p class="hub-text" lang="{}" dir="auto">{}</p>', doubt.task.locale, doubt.task.content)

    @display(description="Verdict", ordering="verdict")
    def verdict_now(self, doubt):
        if not doubt.is_open or doubt.task.label_name == doubt.verdict:
            return doubt.verdict
        return format_html('{} <span class="hub-hint">was {}</span>', doubt.task.label_name or "none", doubt.verdict)

    @display(description="Likely wrong", ordering="trust")
    def wrong(self, doubt):
        return percent(1 - doubt.trust)

    # Many -------------------------------------------------------------------------------------------------------------

    @admin.action(description="Keep the verdict", permissions=["look"])
    def keep(self, request, queryset):
        self.take(request, queryset, doubting.keep, "Kept")

    @admin.action(description="Take the model’s label", permissions=["look"])
    def correct(self, request, queryset):
        self.take(request, queryset, doubting.correct, "Corrected, and waiting for approval")

    @admin.action(description="Reopen for review", permissions=["look"])
    def reopen(self, request, queryset):
        self.take(request, queryset, doubting.reopen, "Waiting for review")

    def take(self, request, queryset, step, done):
        looked_at = doubting.look_at_all(queryset, step, by=request.user)
        note = f"{done}: {looked_at.done}."
        if looked_at.refused:
            causes = ", ".join(f"{count} {CAUSES.get(code, code)}" for code, count in looked_at.causes.items())
            note += f" Left as they were: {looked_at.refused} ({causes})."
        self.message_user(request, note, messages.SUCCESS if looked_at.done else messages.WARNING)

    # One --------------------------------------------------------------------------------------------------------------

    def change_view(self, request, object_id, form_url="", extra_context=None):
        doubt = self.row_or_404(request, object_id)
        extra = {"doubt": doubt, "may_look": self.has_look_permission(request, doubt)}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})


STEPS = {
    "keep": (doubting.keep, "Kept."),
    "correct": (doubting.correct, "Corrected; it waits for approval."),
    "reopen": (doubting.reopen, "It waits for review."),
}


@require_POST
def look(request, pk):
    """Do with a doubt what the button said, and go on to the next of its project."""
    doubt = Doubt.objects.visible_to(request.user).select_related("project").filter(pk=pk).first()
    if doubt is None or request.POST.get("do") not in STEPS:
        raise Http404
    step, done = STEPS[request.POST["do"]]
    try:
        step(doubt, by=request.user)
        messages.success(request, done)
    except Fact as fact:
        messages.error(request, f"Not done: {fact.message}.")
    following = Doubt.objects.open().standing().filter(project=doubt.project, model=doubt.model)
    coming = following.order_by("trust", "pk").values_list("pk", flat=True).first()
    if coming is None:
        return redirect("admin:samples_doubt_changelist")
    return redirect("admin:samples_doubt_change", coming)

"""Samples: what was decided, who approved it, and the steps of review, one row or a hundred thousand at a time."""

from django import forms
from django.contrib import admin
from django.db.models import Prefetch
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    FieldTextFilter,
    RangeDateTimeFilter,
    RangeNumericFilter,
)
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from labelhub.admin import (
    ReadOnly,
    ScopedAutocompleteFilter,
    UsernameFilter,
    action_page,
    badge,
    json_field,
    percent,
    share_bars,
    shortened,
)
from samples import review
from samples.models import Annotation, Sample

from .answers import colours_of
from .review import card_of, tell
from .scoped import LongScopedAdmin


class ReasonForm(forms.Form):
    reason = forms.CharField(label="Reason", max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


class ReviewerFilter(UsernameFilter):
    title = "reviewer’s log-in name"
    parameter_name = "reviewer"
    path = "reviewed_by"


@admin.register(Sample)
class SampleAdmin(ReadOnly, LongScopedAdmin):
    list_display = ["text", "project", "verdict", "status_badge", "agreement", "reviewed_by", "reviewed_at"]
    list_display_links = ["text"]
    list_select_related = ["project", "reviewed_by"]
    list_filter = [
        ("project", ScopedAutocompleteFilter),
        ("status", ChoicesDropdownFilter),
        ("label", ScopedAutocompleteFilter),
        ("confidence", RangeNumericFilter),
        ("locale", FieldTextFilter),
        ReviewerFilter,
        ("reviewed_at", RangeDateTimeFilter),
    ]
    indexed = ["project", "status", "label", "reviewer"]
    states = Sample.Status.values
    search_fields = ["content"]
    search_help_text = "Words of the text, or the sample’s id."
    actions = ["approve", "reject", "reopen"]
    change_form_outer_before_template = "hub/sample_review.html"
    fieldsets = [
        (None, {"fields": ["content", "verdict", "status_badge", "project", "locale", "sample_type"]}),
        ("Votes", {"fields": ["agreement", "votes", "shown_answer", "validated_at"]}),
        ("Review", {"fields": ["reviewed_by", "reviewed_at", "reason"]}),
        ("Record", {"fields": ["task", "uid", "label_index", "created_at"]}),
    ]
    readonly_fields = ["verdict", "status_badge", "agreement", "votes", "shown_answer", "uid", "created_at"]

    text = shortened("content", "Item")
    verdict = shortened("label_name", "Label", length=60)
    status_badge = badge("status")
    shown_answer = json_field("answer", "Answer as exported")

    def named(self, rows, term):
        return rows.filter(uid=term) if Sample.objects.filter(uid=term).exists() else None

    def has_review_permission(self, request, obj=None):
        return self.allows(request, "review", obj)

    def change_view(self, request, object_id, form_url="", extra_context=None):
        sample = self.row_or_404(request, object_id)
        extra: dict = {"may_review": self.has_review_permission(request, sample)}
        if extra["may_review"]:
            votes = Annotation.objects.select_related("annotator").order_by("pk")
            shown = Sample.objects.select_related("task").prefetch_related(Prefetch("task__annotations", votes))
            row = shown.get(pk=sample.pk)
            extra |= {"card": card_of(row, colours_of(sample.project), back=request.get_full_path())}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    @display(description="Agreement", ordering="confidence")
    def agreement(self, sample):
        return percent(sample.confidence)

    @display(description="Votes")
    def votes(self, sample):
        return share_bars(sample.vote_shares)

    @admin.action(description="Approve", permissions=["review"])
    def approve(self, request, queryset):
        tell(request, "Approved", review.approve_all(queryset, by=request.user))

    @admin.action(description="Reject…", permissions=["review"])
    def reject(self, request, queryset):
        form = ReasonForm(request.POST if "apply" in request.POST else None)
        if form.is_valid():
            rejected = review.reject_all(queryset, by=request.user, reason=form.cleaned_data["reason"])
            return tell(request, "Rejected", rejected)
        return action_page(
            request,
            title="Reject samples",
            form=form,
            button="Reject",
            note=f"Selected: {queryset.count()}. They will not be exported; the reason is kept with each.",
        )

    @admin.action(description="Reopen", permissions=["review"])
    def reopen(self, request, queryset):
        tell(request, "Open again", review.reopen_all(queryset, by=request.user))

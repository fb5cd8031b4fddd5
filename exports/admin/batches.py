"""Batches: what left, in which file, and its way to the one who asked for it."""

from django.contrib import admin, messages
from django.db.models import Count
from django.http import FileResponse, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.dataclasses import ActionDialog
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from exports import batching, formats
from exports.models import Batch, BatchItem
from labelhub.admin import EMPTY, ReadOnly, ScopedAutocompleteFilter, badge, json_field, progress_bar
from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.jobs.admin import progress_of

from .scoped import ScopedAdmin


def file_name(batch: Batch) -> str:
    """What the file is called on the reader's disk: `reviews-1a2b3c4d-openai.jsonl`."""
    project = batch.project.name[:80] if batch.project else "samples"
    ending = "".join(batch.path[batch.path.rfind("/") + 1 :].partition(".")[1:])
    return f"{project}-{batch.short_id}-{batch.format}{ending}"


def download(request, batch: Batch):
    """The batch's file as a stream, or 304 to who has it already. Whether the visitor may have it, was asked before."""
    etag = f'"{batch.sha256}"'
    if unchanged := get_conditional_response(request, etag=etag):
        return unchanged
    file, size = batching.open_file(batch)
    response = FileResponse(file, as_attachment=True, filename=file_name(batch))
    response["Content-Length"] = size
    response["ETag"] = etag
    response["Content-Encoding"] = "identity"  # as it is: compressing it on the way would change length and ETag
    response["Cache-Control"] = "private, no-cache"
    return response


def sentence_of(warning: str) -> str:
    """With a capital and a full stop, as people read it."""
    return f"{warning[:1].upper()}{warning[1:].rstrip('.')}."


def parts_of(batch: Batch) -> dict[int, int]:
    """How many samples were dealt into each part."""
    return dict(batch.items.order_by().values_list("split").annotate(Count("pk")))


def to_page(row) -> HttpResponse:
    """Send the browser on from a dialog, to the row's own page."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return HttpResponse(headers={"HX-Redirect": reverse(name, args=[row.pk])})


@admin.register(Batch)
class BatchAdmin(ReadOnly, ScopedAdmin):
    list_display = [
        "title", "project", "format", "state_badge", "progress", "sample_count", "size", "created_by", "created_at",
    ]  # fmt: skip
    list_select_related = ["project", "created_by", "job"]
    list_filter = [
        ("project", ScopedAutocompleteFilter),
        ("state", ChoicesDropdownFilter),
        ("format", ChoicesDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    ]
    search_fields = ["uuid", "project__name", "project__title", "created_by__username"]
    search_help_text = "The batch's id, a project, or who made it."
    date_hierarchy = "created_at"
    actions_detail = ["download", "manifest", "finetune", "retry", "cancel"]
    list_before_template = "hub/live.html"
    change_form_outer_before_template = "hub/live.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "state_badge",
                    "progress",
                    "error",
                    "shown_warnings",
                    "format_title",
                    "project_shown",
                    "sample_count",
                    "parts",
                ]
            },
        ),
        ("File", {"fields": ["size", "sha256", "destination", "path"]}),
        (
            "What was asked for",
            {"fields": ["split", "seed", "is_stratified", "allows_reexport", "shown_options", "shown_selection"]},
        ),
        ("Record", {"fields": ["uuid", "created_by", "created_at", "started_at", "finished_at"]}),
    ]
    readonly_fields = [
        "state_badge", "progress", "format_title", "project_shown", "parts", "size", "shown_warnings", "split", "shown_options",
        "shown_selection", "uuid", "created_by", "created_at",
    ]  # fmt: skip

    state_badge = badge("state")
    shown_options = json_field("options")
    shown_selection = json_field("selection")

    @display(description="Warnings")
    def shown_warnings(self, batch):
        return format_html_join("", "<p>{}</p>", ((sentence_of(warning),) for warning in batch.warnings))

    def get_queryset(self, request):
        return super().get_queryset(request).defer("manifest")

    def get_fieldsets(self, request, obj=None):
        """Without the rows that have nothing to say about this batch."""
        empty = {"error": not (obj and obj.error), "shown_warnings": not (obj and obj.warnings)}
        empty["shown_options"] = not (obj and obj.options)
        return [
            (title, {**options, "fields": [name for name in options["fields"] if not empty.get(name)]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def state_of(self, request, obj):
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return batch.state if batch else ""

    def has_download_permission(self, request, obj=None):
        return self.allows(request, "download", obj) and self.state_of(request, obj) == Batch.State.READY

    def has_finetune_permission(self, request, obj=None):
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return batch is not None and batch.is_ready and self.may(request, "exports.add_finetune", batch)

    def has_cancel_permission(self, request, obj=None):
        may = self.allows(request, "change", obj)
        stoppable = (Batch.State.QUEUED, Batch.State.RUNNING, Batch.State.FAILED)
        return may and self.state_of(request, obj) in stoppable

    def has_retry_permission(self, request, obj=None):
        may = self.allows(request, "change", obj)
        return may and self.state_of(request, obj) == Batch.State.FAILED

    @display(description="Batch", ordering="id")
    def title(self, batch):
        return batch.short_id

    @display(description="Progress")
    def progress(self, batch):
        if batch.job and not batch.job.is_finished:
            return progress_of(batch.job)
        return progress_bar(100) if batch.is_ready else EMPTY

    @display(description="Project")
    def project_shown(self, batch):
        if batch.project is None:
            return "Several projects"
        address = reverse("admin:samples_project_change", args=[batch.project.pk])
        return format_html('<a class="text-link" href="{}">{}</a>', address, batch.project)

    @display(description="Format", ordering="format")
    def format_title(self, batch):
        return formats.get(batch.format).label

    @display(description="Size", ordering="byte_count")
    def size(self, batch):
        return filesizeformat(batch.byte_count) if batch.byte_count else EMPTY

    @display(description="Split")
    def split(self, batch):
        if not batch.ratios:
            return "One file, not split"
        return " / ".join(f"{name} {ratio}" for name, ratio in zip(("train", "val", "test"), batch.ratios, strict=True))

    @display(description="Samples in each part")
    def parts(self, batch):
        if not batch.ratios or not batch.is_ready:  # they are dealt while the file is written
            return EMPTY
        dealt = parts_of(batch)
        return ", ".join(f"{name} {dealt.get(value, 0)}" for value, name in BatchItem.Split.choices if value)

    @action(description="Download", permissions=["download"], icon="download", variant=ActionVariant.PRIMARY)
    def download(self, request, object_id):
        try:
            return download(request, self.row_or_404(request, object_id))
        except Fact as fact:
            messages.error(request, f"No file: {fact.message}.")
            return redirect("admin:exports_batch_change", object_id)

    @action(description="Manifest", permissions=["download"], icon="description")
    def manifest(self, request, object_id):
        batch = self.row_or_404(request, object_id)
        response = HttpResponse(dump_json(batch.manifest), content_type="application/json")
        response["Content-Disposition"] = f'attachment; filename="{file_name(batch).partition(".")[0]}.manifest.json"'
        return response

    @action(description="Start fine-tune…", permissions=["finetune"], icon="model_training")
    def finetune(self, request, object_id):
        return redirect("finetune", self.row_or_404(request, object_id).pk)

    @action(
        description="Cancel",
        permissions=["cancel"],
        icon="cancel",
        dialog=ActionDialog(
            title="Cancel this batch?",
            description="Its samples are free for another batch.",
            form_submit_text="Cancel the batch",
        ),
    )
    def cancel(self, request, form, object_id):
        batch = self.row_or_404(request, object_id)
        if batching.cancel(batch, by=request.user):
            messages.success(request, f"Asked to stop: {batch}.")
        else:
            messages.warning(request, f"Too late: {batch} has ended.")
        return to_page(batch)

    @action(
        description="Retry",
        permissions=["retry"],
        icon="replay",
        dialog=ActionDialog(
            title="Write this batch again?",
            description="The same samples, format and split as before.",
            form_submit_text="Retry",
        ),
    )
    def retry(self, request, form, object_id):
        batch = self.row_or_404(request, object_id)
        try:
            batch = batching.retry(batch, by=request.user)
            messages.success(request, f"Queued again: {batch}.")
        except Fact as fact:
            messages.error(request, f"Not done: {fact.message}.")
        return to_page(batch)


@admin.register(BatchItem)
class BatchItemAdmin(ReadOnly, ScopedAdmin):
    """Which sample went where."""

    project_lookup = "batch__project"
    list_display = ["sample", "batch", "split", "is_claim"]
    list_select_related = ["sample", "batch__project"]
    list_filter = [("batch", ScopedAutocompleteFilter), ("split", ChoicesDropdownFilter)]
    search_fields = ["=sample__uid", "sample__content"]
    fields = ["sample", "batch", "split", "is_claim"]

"""Batches: what left, in which file, and its way to the one who asked for it."""

from collections import Counter

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.dataclasses import ActionDialog
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from exports import batching, downloads, formats
from exports.models import Batch, BatchItem, KeptSplit, Shard
from labelhub.admin import EMPTY, ReadOnly, ScopedAutocompleteFilter, badge, json_field, progress_bar
from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.jobs.admin import progress_of
from samples.models import Sample

from .scoped import LongScopedAdmin, ScopedAdmin


def parts_of(batch: Batch) -> dict[str, int]:
    """How many rows were written into each part."""
    rows: Counter[str] = Counter()
    for part in (batch.manifest or {}).get("parts", []):
        rows[part["part"]] += part["rows"]
    return rows


def batch_state_url(batch: Batch) -> str:
    """Where a page asks how the shards of a batch are getting on."""
    return reverse("admin:exports_batch_state", args=[batch.pk])


def sentence_of(warning: str) -> str:
    """With a capital and a full stop, as people read it."""
    return f"{warning[:1].upper()}{warning[1:].rstrip('.')}."


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
    actions_detail = ["download", "manifest", "finetune", "write_again", "retry", "cancel"]
    list_before_template = "hub/live.html"
    change_form_outer_before_template = "hub/live.html"
    fieldsets = [
        (
            None,
            {
                "fields": (
                    [
                        "state_badge",
                        "progress",
                        "error",
                        "shown_warnings",
                        "carries",
                        "format_title",
                        "project_shown",
                        "sample_count",
                        "parts",
                    ]
                )
            },
        ),
        (
            "File",
            {
                "fields": (
                    [
                        "files_removed_at",
                        "size",
                        "compression",
                        "sha256",
                        "destination",
                        "path",
                        "files",
                    ]
                )
            },
        ),
        (
            "What was asked for",
            {
                "fields": (
                    [
                        "split",
                        "seed",
                        "is_stratified",
                        "kept_together",
                        "split_name",
                        "shard_count",
                        "allows_reexport",
                        "shown_options",
                        "shown_selection",
                    ]
                )
            },
        ),
        ("Record", {"fields": ["uuid", "created_by", "created_at", "started_at", "finished_at"]}),
    ]
    readonly_fields = [
        "state_badge", "progress", "carries", "files", "kept_together", "format_title", "project_shown", "parts", "size",
        "shown_warnings", "split", "shown_options", "shown_selection", "uuid", "created_by", "created_at",
    ]  # fmt: skip

    state_badge = badge("state")
    shown_options = json_field("options")
    shown_selection = json_field("selection")

    @display(description="Warnings")
    def shown_warnings(self, batch):
        return format_html_join("", "<p>{}</p>", ((sentence_of(warning),) for warning in batch.warnings))

    def get_queryset(self, request):
        shards = Shard.objects.filter(batch=OuterRef("pk")).order_by().values("batch")
        written = shards.exclude(written_at=None).annotate(count=Count("pk")).values("count")
        drawn = shards.annotate(count=Count("pk")).values("count")
        counted = {"shards_written": Coalesce(Subquery(written), 0), "shards_drawn": Coalesce(Subquery(drawn), 0)}
        return super().get_queryset(request).defer("manifest").annotate(**counted)

    def get_fieldsets(self, request, obj=None):
        """Without the rows that have nothing to say about this batch."""
        empty = {"error": not (obj and obj.error), "shown_warnings": not (obj and obj.warnings)}
        said_only_where_asked = {
            "shown_options": "options",
            "split_name": "split_name",
            "shard_count": "shard_count",
            "files": "shard_count",
            "files_removed_at": "files_removed_at",
            "kept_together": "group_by",
        }
        empty |= {field: not (obj and getattr(obj, source)) for field, source in said_only_where_asked.items()}
        return [
            (title, {**options, "fields": [name for name in options["fields"] if not empty.get(name)]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def state_of(self, request, obj):
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return batch.state if batch else ""

    def has_download_permission(self, request, obj=None):
        """The one file; those of a batch in shards are fetched one by one."""
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return batch is not None and not batch.is_sharded and self.has_manifest_permission(request, batch)

    def has_manifest_permission(self, request, obj=None):
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return batch is not None and batch.is_ready and self.allows(request, "download", batch)

    def has_write_again_permission(self, request, obj=None):
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        is_without_files = batch is not None and batch.state == Batch.State.READY and batch.files_removed_at is not None
        return is_without_files and self.allows(request, "change", obj)

    def has_finetune_permission(self, request, obj=None):
        batch = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return batch is not None and self.may_train_on(request, batch)

    def may_train_on(self, request, batch):
        return batch.is_ready and not batch.is_sharded and self.may(request, "exports.add_finetune", batch)

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
        if batch.state == Batch.State.RUNNING and batch.shards_drawn:
            return progress_bar(100 * batch.shards_written // batch.shards_drawn, live=batch_state_url(batch))
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

    @display(description="Kept together")
    def kept_together(self, batch):
        """By what, and how it came out."""
        by = ", ".join(batch.group_by) or EMPTY
        if "groups" not in batch.dealt:
            return by
        torn = batch.dealt["groups_on_several_sides"]
        note = f"; {torn} were on several sides before they were found to belong together" if torn else ""
        return f"{by}: {batch.dealt['groups']} groups, the largest of {batch.dealt['largest_group']}{note}"

    @display(description="Files")
    def files(self, batch):
        shards = batch.shards.select_related("job")
        return mark_safe(render_to_string("hub/shards.html", {"batch": batch, "shards": shards}))

    @display(description="Rows in each part")
    def parts(self, batch):
        if not batch.ratios or not batch.is_ready:  # they are dealt while the file is written
            return EMPTY
        dealt = parts_of(batch)
        return ", ".join(f"{name} {dealt.get(name, 0)}" for value, name in BatchItem.Split.choices if value)

    def get_urls(self):
        state = path("<int:batch_id>/state/", self.admin_site.admin_view(self.state_view), name="exports_batch_state")
        file = path(
            "<int:batch_id>/files/<str:name>", self.admin_site.admin_view(self.file_view), name="exports_batch_file"
        )
        return [state, file, *super().get_urls()]

    def file_view(self, request, batch_id, name):
        """One file of a batch in shards."""
        batch = self.row_or_404(request, batch_id)
        if not self.has_manifest_permission(request, batch):
            raise PermissionDenied
        return self.sent(request, batch, name)

    def sent(self, request, batch, name=None):
        try:
            return downloads.download(request, batch, name)
        except Fact as fact:
            messages.error(request, f"No file: {fact.message}.")
            return redirect("admin:exports_batch_change", batch.pk)

    def state_view(self, request, batch_id):
        """The state of a batch in shards as JSON, for the little script that moves the bars."""
        batch = self.row_or_404(request, batch_id)
        return JsonResponse(
            {
                "state": batch.state,
                "progress": 100 * batch.shards_written // max(1, batch.shards_drawn),
                "finished": batch.state not in (Batch.State.QUEUED, Batch.State.RUNNING),
            },
            headers={"Cache-Control": "no-store"},
        )

    @action(description="Download", permissions=["download"], icon="download", variant=ActionVariant.PRIMARY)
    def download(self, request, object_id):
        return self.sent(request, self.row_or_404(request, object_id))

    @action(description="Manifest", permissions=["manifest"], icon="description")
    def manifest(self, request, object_id):
        batch = self.row_or_404(request, object_id)
        response = HttpResponse(dump_json(batch.manifest), content_type="application/json")
        response["Content-Disposition"] = (
            f'attachment; filename="{batching.download_name(batch).partition(".")[0]}.manifest.json"'
        )
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
        description="Write again",
        permissions=["write_again"],
        icon="restore_page",
        dialog=ActionDialog(
            title="Write this batch's files again?",
            description="They were removed when their time was over. The same rows, in the same parts, as they are now.",
            form_submit_text="Write again",
        ),
    )
    def write_again(self, request, form, object_id):
        return self.queue_again(request, object_id, batching.write_again)

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
        return self.queue_again(request, object_id, batching.retry)

    def queue_again(self, request, object_id, step):
        """Have the batch written once more by `step`, and say whether it will be."""
        batch = self.row_or_404(request, object_id)
        try:
            batch = step(batch, by=request.user)
            messages.success(request, f"Queued again: {batch}.")
        except Fact as fact:
            messages.error(request, f"Not done: {fact.message}.")
        return to_page(batch)


@admin.register(BatchItem)
class BatchItemAdmin(ReadOnly, LongScopedAdmin):
    """Which sample went where."""

    project_lookup = "batch__project"
    list_display = ["sample", "batch", "split", "is_claim"]
    list_select_related = ["sample", "batch__project"]
    list_filter = [("batch", ScopedAutocompleteFilter), ("split", ChoicesDropdownFilter)]
    indexed = ["batch"]
    in_key_order = ()
    search_fields = ["sample__content"]
    search_help_text = "Words of the text, or the sample’s id."
    fields = ["sample", "batch", "split", "is_claim"]

    def named(self, rows, term):
        return rows.filter(sample__uid=term) if Sample.objects.filter(uid=term).exists() else None


@admin.register(KeptSplit)
class KeptSplitAdmin(ReadOnly, ScopedAdmin):
    """The splits that later batches follow."""

    list_display = ["name", "project", "seed", "shown_group_by", "created_at"]
    list_select_related = ["project"]
    list_filter = [("project", ScopedAutocompleteFilter)]
    search_fields = ["name", "project__name"]
    fields = ["name", "project", "seed", "shown_group_by", "sides", "created_at"]
    readonly_fields = ["shown_group_by", "sides"]

    @display(description="Keeps together")
    def shown_group_by(self, kept):
        return ", ".join(kept.group_by) or EMPTY

    @display(description="Rows or groups on each side")
    def sides(self, kept):
        counts = dict(kept.sides.order_by().values_list("split").annotate(Count("key")))
        return ", ".join(f"{name} {counts.get(value, 0)}" for value, name in BatchItem.Split.choices if value)

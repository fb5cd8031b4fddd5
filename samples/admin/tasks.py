"""Tasks, what people answered and what models guessed: to look at; the work itself has pages of its own."""

from django.contrib import admin
from django.db.models import Exists, OuterRef
from django.http import FileResponse, Http404
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    FieldTextFilter,
    RangeDateTimeFilter,
    RangeNumericFilter,
)
from unfold.decorators import action, display

from labelhub.accounts.roles import Power
from labelhub.admin import (
    ReadOnly,
    ScopedAutocompleteFilter,
    UsernameFilter,
    badge,
    json_field,
    percent,
    share_bars,
    shortened,
)
from labelhub.setwise import Ids
from samples import settling
from samples.models import Annotation, ClusterMember, Prediction, Source, Task, TextStatistics

from .scoped import LongScopedAdmin

IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}


class AnswerInline(ReadOnly, TabularInline):
    model = Annotation
    fields = ["annotator", "given", "lead_time", "updated_at"]
    readonly_fields = fields
    extra = 0
    hide_title = True
    tab = True
    verbose_name_plural = "answers"

    def has_view_permission(self, request, obj=None):
        return True  # whoever sees the task sees its answers

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("annotator", "task")

    @display(description="Answer")
    def given(self, annotation):
        return annotation.task.kind.label_name(annotation.answer)

    @display(description="Time taken")
    def lead_time(self, annotation):
        return seconds(annotation.lead_time_ms)


class PredictionInline(ReadOnly, TabularInline):
    model = Prediction
    fields = ["model", "label", "probability", "sentiment", "created_at"]
    readonly_fields = ["created_at"]
    extra = 0
    hide_title = True
    tab = True

    def has_view_permission(self, request, obj=None):
        return True

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("label")


def seconds(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1000:.1f} s"


class AlikeFilter(DropdownFilter):
    """Tasks whose texts have near-duplicates; a number names one cluster of them."""

    title = "near-duplicates"
    parameter_name = "alike"

    def lookups(self, request, model_admin):
        return [("yes", "Has near-duplicates"), ("no", "Like no other")]

    def queryset(self, request, queryset):
        wanted = self.value()
        cluster = ClusterMember.objects.filter(project=OuterRef("project"), cluster=OuterRef("cluster_member__cluster"))
        others = Exists(cluster.exclude(task=OuterRef("pk")))
        if wanted == "yes":
            return queryset.filter(others)
        if wanted == "no":
            return queryset.filter(~others, cluster_member__isnull=False)
        if wanted and wanted.isdecimal() and len(wanted) < 19:  # it has the name, and the project, of its first task
            here = Task.objects.filter(pk=int(wanted)).values("project")
            return queryset.filter(cluster_member__cluster=int(wanted), cluster_member__project__in=here)
        return queryset


def tasks_called(term: str) -> list[int]:
    """The tasks with this id, the hub's or their source's; looked up by index, whoever may see them."""
    found = set(Task.objects.filter(uid=term).values_list("pk", flat=True)) if len(term) == 16 else set()
    sources = Source.objects.values("pk")
    return [*found.union(Task.objects.filter(source__in=sources, external_id=term).values_list("pk", flat=True)[:100])]


@admin.register(Task)
class TaskAdmin(ReadOnly, LongScopedAdmin):
    list_display = ["text", "project", "status_badge", "verdict", "agreement", "locale", "created_at"]
    list_display_links = ["text"]
    list_select_related = ["project"]
    list_filter = [
        ("project", ScopedAutocompleteFilter),
        ("status", ChoicesDropdownFilter),
        ("label", ScopedAutocompleteFilter),
        ("source", ScopedAutocompleteFilter),
        ("locale", FieldTextFilter),
        ("confidence", RangeNumericFilter),
        AlikeFilter,
        ("statistics__language", FieldTextFilter),
        ("statistics__word_number", RangeNumericFilter),
        ("statistics__flagged_word_ratio", RangeNumericFilter),
        ("statistics__bits_per_byte", RangeNumericFilter),
        ("created_at", RangeDateTimeFilter),
    ]
    indexed = ["project", "status", "label", "source"]
    states = Task.Status.values
    search_fields = ["content"]
    search_help_text = "Words of the text, or an id: the item’s own or the hub’s."
    inlines = [AnswerInline, PredictionInline]
    actions = ["settle"]
    actions_list = ["import_file"]
    actions_detail = ["see_sample"]
    fieldsets = [
        (None, {"fields": ["content", "picture", "shown_options", "project", "source", "locale", "type_shown"]}),
        ("Verdict", {"fields": ["status_badge", "verdict", "agreement", "votes", "validated_at"]}),
        ("The text", {"fields": ["alike", "figures"]}),
        ("Where it came from", {"fields": ["external_id", "uid", "occurred_at", "created_at", "shown_metadata"]}),
    ]
    readonly_fields = [
        "type_shown", "picture", "shown_options", "status_badge", "verdict", "agreement", "votes", "shown_metadata", "uid",
        "alike", "figures",
    ]  # fmt: skip

    text = shortened("content", "Item")
    verdict = shortened("label_name", "Verdict", length=60)
    status_badge = badge("status")
    shown_options = json_field("options")
    shown_metadata = json_field("metadata")

    def get_fieldsets(self, request, obj=None):
        """Without the rows that have nothing to say about this task."""
        empty = {"picture": not (obj and obj.media), "shown_options": not (obj and obj.options)}
        return [
            (title, {**options, "fields": [name for name in options["fields"] if not empty.get(name)]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def named(self, rows, term):
        return rows.filter(pk__in=Ids(found)) if (found := tasks_called(term)) else None

    def has_import_permission(self, request, obj=None):
        return self.may(request, "samples.import_task", obj)

    def has_settle_permission(self, request, obj=None):
        return self.may(request, "samples.review_sample", obj)

    def has_sample_permission(self, request, obj=None):
        task = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return task is not None and hasattr(task, "sample")

    @display(description="Agreement", ordering="confidence")
    def agreement(self, task):
        return percent(task.confidence)

    @display(description="Task type")
    def type_shown(self, task):
        return task.kind.title

    @display(description="Votes")
    def votes(self, task):
        return share_bars(task.vote_shares)

    @display(description="Near-duplicates")
    def alike(self, task):
        member = ClusterMember.objects.filter(task=task).first()
        if member is None:
            return "not compared yet"
        others = ClusterMember.objects.filter(project=task.project, cluster=member.cluster).count() - 1
        if not others:
            return "none"
        page = f"{reverse('admin:samples_task_changelist')}?{urlencode({'alike': member.cluster})}"
        return format_html('<a href="{}">{} nearly the same</a>', page, f"{others} other{'s' * (others > 1)}")

    @display(description="In figures")
    def figures(self, task):
        told = TextStatistics.objects.filter(task=task).first()
        if told is None:
            return "not measured yet"
        shares = {
            "repeated": told.repetitive_char_ratio,
            "special characters": told.special_char_ratio,
            "flagged words": told.flagged_word_ratio,
        }
        parts = [f"{told.word_number} words", f"{told.character_number} characters"]
        parts += [f"{percent(share)} {what}" for what, share in shares.items()]
        if told.language:
            parts.append(f"language {told.language} ({percent(told.language_probability)})")
        if told.bits_per_byte is not None:
            parts.append(f"surprise {told.bits_per_byte:.2f} bits a byte (perplexity {told.perplexity:,.0f})")
        return ", ".join(parts)

    @display(description="Image")
    def picture(self, task):
        return format_html('<img class="hub-picture" alt="" src="{}">', reverse("task_media", args=[task.pk]))

    @admin.action(description="Count the answers again", permissions=["settle"])
    def settle(self, request, queryset):
        settled = settling.settle_all(queryset.where(request.user, Power.REVIEW).open())
        self.message_user(request, f"Settled: {settled.completed}. No clear answer: {settled.failed}.")

    @action(description="Import…", permissions=["import"], icon="upload_file", url_path="import")
    def import_file(self, request):
        return redirect("import_choose")

    @action(description="See the sample", permissions=["sample"], icon="verified", url_path="sample")
    def see_sample(self, request, object_id):
        return redirect("admin:samples_sample_change", self.row_or_404(request, object_id).sample.pk)


def task_media(request, pk):
    """The file of a task, for those who may see the task; anything but a picture is offered for download."""
    task = Task.objects.visible_to(request.user).filter(pk=pk).only("media").first()
    if task is None or not task.media or not task.media.storage.exists(task.media.name):
        raise Http404
    ending = task.media.name[task.media.name.rfind(".") :].lower()
    return FileResponse(
        task.media.open("rb"),
        content_type=IMAGES.get(ending, "application/octet-stream"),
        as_attachment=ending not in IMAGES,
        filename=task.media.name.rsplit("/", 1)[-1],
    )


class AnnotatorFilter(UsernameFilter):
    title = "annotator’s log-in name"
    parameter_name = "annotator"
    path = "annotator"


@admin.register(Annotation)
class AnnotationAdmin(ReadOnly, LongScopedAdmin):
    project_lookup = "task__project"
    list_display = ["item", "given", "annotator", "project", "time_taken", "updated_at"]
    list_select_related = ["task__project", "annotator"]
    list_filter = [
        ("task__project", ScopedAutocompleteFilter),
        ("label", ScopedAutocompleteFilter),
        AnnotatorFilter,
        ("updated_at", RangeDateTimeFilter),
    ]
    indexed = ["label", "annotator"]
    in_key_order = ()
    search_fields = ["task__content", "annotator__username"]
    search_help_text = "Words of the text, the id of its task, or who answered."
    fields = ["task", "annotator", "given", "shown_answer", "time_taken", "created_at", "updated_at"]
    readonly_fields = ["given", "shown_answer", "time_taken", "created_at", "updated_at"]

    shown_answer = json_field("answer", "Answer as kept")

    def named(self, rows, term):
        return rows.filter(task__in=Ids(found)) if (found := tasks_called(term)) else None

    @display(description="Item")
    def item(self, annotation):
        return str(annotation.task)

    @display(description="Answer")
    def given(self, annotation):
        return annotation.task.kind.label_name(annotation.answer)

    @display(description="Project", ordering="task__project__name")
    def project(self, annotation):
        return annotation.task.project

    @display(description="Time taken", ordering="lead_time_ms")
    def time_taken(self, annotation):
        return seconds(annotation.lead_time_ms)


@admin.register(Prediction)
class PredictionAdmin(ReadOnly, LongScopedAdmin):
    project_lookup = "task__project"
    list_display = ["item", "label", "likelihood", "model", "project", "created_at"]
    list_select_related = ["task__project", "label"]
    list_filter = [
        ("task__project", ScopedAutocompleteFilter),
        ("label", ScopedAutocompleteFilter),
        ("model", FieldTextFilter),
        ("probability", RangeNumericFilter),
    ]
    indexed = ["label"]
    search_fields = ["task__content", "model"]
    search_help_text = "Words of the text, the id of its task, or a model."
    fields = ["task", "model", "label", "probability", "sentiment", "created_at"]
    readonly_fields = ["created_at"]

    def named(self, rows, term):
        return rows.filter(task__in=Ids(found)) if (found := tasks_called(term)) else None

    @display(description="Item")
    def item(self, prediction):
        return str(prediction.task)

    @display(description="Probability", ordering="probability")
    def likelihood(self, prediction):
        return percent(prediction.probability)

    @display(description="Project", ordering="task__project__name")
    def project(self, prediction):
        return prediction.task.project

"""Background work as its owner sees it: how far it is, what it said, and a way to stop it."""

from django.contrib import admin, messages
from django.http import JsonResponse
from django.urls import path, reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.decorators import display

from labelhub.admin import HubAdmin, ReadOnly, badge, json_field, progress_bar
from labelhub.long_lists import LongList, key_in

from . import queue
from .models import Job


def state_url(job_id: int) -> str:
    """Where a page asks how the job is getting on."""
    return reverse("admin:jobs_job_state", args=[job_id])


def progress_of(job: Job):
    """The job's progress as a bar, one that moves by itself while the job is not finished."""
    return progress_bar(job.progress, live="" if job.is_finished else state_url(job.pk))


@admin.register(Job)
class JobAdmin(ReadOnly, LongList, HubAdmin):
    list_display = ["title", "state_badge", "progress_bar", "message", "owner", "attempts", "created_at", "finished_at"]
    list_select_related = ["owner"]
    list_filter = [("state", ChoicesDropdownFilter), ("created_at", RangeDateTimeFilter)]
    indexed = ["owner"]
    in_key_order = ["title", "created_at"]
    search_fields = ["kind", "owner__username"]
    search_help_text = "A kind of job, its number, or who asked for it."
    actions = ["cancel"]
    fieldsets = [
        (None, {"fields": ["kind", "state_badge", "progress_bar", "message", "error", "shown_result"]}),
        ("What was asked for", {"fields": ["shown_params", "owner", "created_at", "run_after"]}),
        ("How it went", {"fields": ["attempts", "started_at", "finished_at", "lease_until", "cancel_requested_at"]}),
    ]
    readonly_fields = ["state_badge", "progress_bar", "shown_result", "shown_params", "attempts"]
    change_form_outer_before_template = "hub/live.html"
    list_before_template = "hub/live.html"

    state_badge = badge("state")
    shown_params = json_field("params", "Parameters")
    shown_result = json_field("result")

    def may(self, request, permission, obj=None):
        return request.user.is_staff and (obj is None or request.user.is_superuser or obj.owner_id == request.user.pk)

    def has_cancel_permission(self, request, obj=None):
        return self.allows(request, "cancel", obj)

    def get_queryset(self, request):
        return super().get_queryset(request).visible_to(request.user)

    def named(self, rows, term):
        number = key_in(term)
        return None if number is None else rows.filter(pk=number)

    def get_urls(self):
        state = path("<int:job_id>/state/", self.admin_site.admin_view(self.state_view), name="jobs_job_state")
        return [state, *super().get_urls()]

    def state_view(self, request, job_id):
        """A job's state as JSON, for the little script that moves the bars."""
        job = self.row_or_404(request, job_id)
        return JsonResponse(
            {
                "state": job.state,
                "title": job.get_state_display(),
                "progress": job.progress,
                "message": job.message,
                "finished": job.is_finished,
            },
            headers={"Cache-Control": "no-store"},
        )

    @display(description="Job", ordering="id")
    def title(self, job):
        return f"{job.kind} #{job.pk}"

    @display(description="Progress", ordering="progress")
    def progress_bar(self, job):
        return progress_of(job)

    @display(description="Attempt")
    def attempts(self, job):
        return f"{job.attempt} of {job.max_attempts}"

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel(self, request, queryset):
        done = sum(queue.cancel(job) for job in queryset)
        left = len(queryset) - done
        note = f"Asked to stop: {done}." + (f" Already finished: {left}." if left else "")
        self.message_user(request, note, messages.SUCCESS if done else messages.WARNING)

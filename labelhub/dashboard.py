"""The admin's first page: how much waits at each stage of the flow, what happened last, and where to go on."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Exists, OuterRef
from django.urls import reverse

from exports.models import Batch, BatchItem
from labelhub.accounts.roles import Power
from labelhub.admin import COLOURS
from labelhub.jobs.models import Job
from samples.admin.projects import count_of
from samples.admin.scoped import powers_of
from samples.models import Project, Sample, StatusCount, Task

LATEST = 6
SLOW = 0.1  # seconds
KEPT_FOR_EACH_SECOND, KEPT_AT_MOST = 200, 600


def dashboard(request, context: dict) -> dict:
    """`context` and what templates/admin/index.html shows; the same number of queries whatever there is to count."""
    powers = powers_of(request)
    user = request.user
    context |= {
        "title": "Dashboard",
        "projects": latest_projects(user),
        "stages": stages(user, powers),
        "may_import": Power.IMPORT in powers,
        "may_annotate": Power.ANNOTATE in powers,
        "may_review": Power.REVIEW in powers,
        "may_export": Power.EXPORT in powers,
        "jobs": coloured(Job.objects.visible_to(user)[:LATEST]),
    }
    if Power.EXPORT in powers:
        context["batches"] = coloured(Batch.objects.visible_to(user).select_related("project")[:LATEST])
    return context


def latest_projects(user):
    """The newest projects, each with what is left to do there."""
    newest, counts = Project.objects.visible_to(user).order_by("-pk"), StatusCount.objects
    return newest.annotate(open_count=count_of(counts.open_tasks()), pending_count=count_of(counts.pending_samples()))[
        :LATEST
    ]


def coloured(rows) -> list:
    """The rows, each with the colour of its state's badge."""
    rows = list(rows)
    for row in rows:
        row.colour = COLOURS.get(row.state)
    return rows


def counts(rows, field):
    """How many of `rows` have each value of `field`."""
    return dict(rows.order_by().values_list(field).annotate(Count("pk")))


def remembered(user, name: str, figure: Callable[[], Any]) -> Any:
    """What `figure` comes to; one that takes long (a million rows) is kept for a while, the longer the longer it took."""
    key = f"dashboard:{user.pk}:{name}"
    found = cache.get(key)
    if found is None:
        began = perf_counter()
        found = figure()
        took = perf_counter() - began
        if took > SLOW:
            cache.set(key, found, min(KEPT_AT_MOST, KEPT_FOR_EACH_SECOND * took))
    return found


def stages(user, powers) -> list[dict]:
    """The cards across the top: what waits where, in the order of the flow."""
    cards = []
    if Power.VIEW in powers:
        counted = StatusCount.objects.visible_to(user)
        tasks, samples = counted.tasks().by_status(), counted.samples().by_status()
        open_tasks = sum(tasks.get(status, 0) for status in Task.OPEN)
        cards += [
            stage("Open tasks", open_tasks, "edit_note", "samples_task", status__in="PENDING,VALIDATING"),
            stage("Disagreements", tasks.get(Task.Status.FAILED, 0), "balance", "samples_task", status__exact="FAILED"),
            stage(
                "Waiting for review", samples.get(Sample.Status.PENDING, 0), "rate_review", "samples_sample",
                status__exact="PENDING",
            ),
        ]  # fmt: skip
    if Power.EXPORT in powers:
        carried = BatchItem.objects.claims().filter(sample=OuterRef("pk"))
        approved = Sample.objects.where(user, Power.EXPORT).approved()
        free = remembered(user, "free", lambda: approved.filter(~Exists(carried)).count())
        batches = counts(Batch.objects.visible_to(user), "state")
        cards += [
            stage(
                "Approved, not exported", free, "verified", "samples_sample", status__exact="APPROVED", exported="no"
            ),
            stage(
                "Batches ready", batches.get(Batch.State.READY, 0), "inventory_2", "exports_batch", state__exact="READY"
            ),
        ]
        failed = batches.get(Batch.State.FAILED, 0)
        cards[-1]["note"] = f"{failed} failed" if failed else ""
    jobs = counts(Job.objects.visible_to(user), "state")
    running = jobs.get(Job.State.QUEUED, 0) + jobs.get(Job.State.RUNNING, 0)
    failed_jobs = jobs.get(Job.State.FAILED, 0)
    cards.append(stage("Jobs under way", running, "schedule", "jobs_job"))
    cards[-1]["note"] = f"{failed_jobs} failed" if failed_jobs else ""
    return cards


def stage(title: str, count: int, icon: str, target: str, **filters: str) -> dict:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    address = reverse(f"admin:{target}_changelist")
    return {"title": title, "count": count, "icon": icon, "link": f"{address}?{query}" if query else address}

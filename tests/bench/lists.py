"""What a page of every list costs, of the admin and of the API, at the beginning of a table of a million rows and deep in it.

    python -m tests.bench.lists [ROWS] [RUNS] [PART]        on SQLite, or on DATABASE_URL (a database of its own: rows are added)

Milliseconds through the whole stack (middleware, log-in, query, page or JSON), without a socket; the first time each
address is asked is not counted. The admin is asked by a superuser, the API by a manager of one project. CPU is this
process's and, on PostgreSQL on the same machine, the server's: it tells more than the clock where others are at work.
"""

# ruff: noqa: E501  (addresses, one of each)
import io
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="labelhub-bench-"))
os.environ.setdefault("LOG_LEVEL", "WARNING")

import django  # noqa: E402

django.setup()

from django.contrib import admin  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import F, Value  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from exports import batching  # noqa: E402
from labelhub.accounts import audit  # noqa: E402
from labelhub.accounts.keys import create_key  # noqa: E402
from labelhub.accounts.models import AuditEntry, User, new_uid  # noqa: E402
from labelhub.accounts.roles import Role  # noqa: E402
from labelhub.api.native.pagination import cursor_of  # noqa: E402
from labelhub.jobs.models import Job  # noqa: E402
from labelhub.setwise import insert_select  # noqa: E402
from samples.models import Annotation, ClusterMember, Dataset, Membership, Prediction, Project, Sample, Task  # noqa: E402

API_BAR, ADMIN_BAR = 50, 150  # milliseconds of the 95th percentile
SHARE = 3  # of three tasks one is answered, guessed about, compared, and its sample carried
KEPT = "bench-lists"  # the project; a second run measures what the first one made


def made(rows: int) -> Project:
    """A project of so many samples, with answers, guesses, clusters, a batch and a trail."""
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    if not Project.objects.filter(name=KEPT).exists():
        call_command("generate_samples", str(rows), project=KEPT, stdout=io.StringIO())
    if not Dataset.objects.filter(project__name=KEPT).exists():  # it comes last
        surround(Project.objects.get(name=KEPT))
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    return Project.objects.get(name=KEPT)


def surround(project: Project) -> None:
    by = User.objects.get_or_create(username="bench-boss", defaults={"is_staff": True, "is_superuser": True})[0]
    now = timezone.now()
    tasks = Task.objects.filter(project=project).order_by("pk")
    tasks = tasks.filter(pk__gte=tasks.reverse()[tasks.count() // SHARE].pk)
    stamps = {"created_at": Value(now), "updated_at": Value(now)}
    with transaction.atomic():
        insert_select(
            Annotation,
            tasks,
            {"task": "pk", "annotator": Value(by.pk), "answer": "answer", "label": "label", "prefilled_by": Value("")}
            | stamps,
        )
        guess = {"task": "pk", "model": Value("bench@1"), "label": "label", "probability": Value(0.9)}
        insert_select(Prediction, tasks, guess | {"created_at": Value(now)})
        alike = {"task": "pk", "project": "project", "cluster": F("pk") / 2 * 2}
        insert_select(ClusterMember, tasks, alike)
        samples = Sample.objects.filter(task__in=tasks)
        audit.record_all(samples, "approve", by=by, before="PENDING", after="APPROVED", at=now)
        Sample.objects.filter(pk__in=samples.order_by("-pk").values("pk")[:20_000]).update(status="PENDING")
    batching.gather(samples, by=by, project=project, format="jsonl")
    Job.objects.bulk_create(Job(kind="bench", state="DONE", owner=by) for _ in range(20_000))
    Dataset.objects.create(project=project, name="bench").sources.set(project.sources.all())


def addresses_of_admin(project: Project) -> Iterator[tuple[str, str]]:
    """(what it is, its address): every list at its first page, at each end, searched, filtered and sorted."""
    label, some = project.labels.first(), Task.objects.filter(project=project).order_by("pk")[100]
    filters = {
        "task": [f"project__id__exact={project.pk}", "status__exact=COMPLETED", "status__exact=PENDING", f"label__id__exact={label.pk}",
                 "locale=fr", "locale=xx", "confidence_from=0.5", "alike=yes", "statistics__language=fr", f"q={some.uid}",
                 f"project__id__exact={project.pk}&status__exact=COMPLETED&q=parcel"],
        "sample": [f"project__id__exact={project.pk}", "status__exact=APPROVED", "status__exact=PENDING", f"label__id__exact={label.pk}",
                   "exported=no", "exported=yes", "reviewer=nobody", "locale=xx", f"q={some.uid}"],
        "annotation": [f"task__project__id__exact={project.pk}", f"label__id__exact={label.pk}", "annotator=bench-boss", f"q={some.uid}"],
        "prediction": [f"task__project__id__exact={project.pk}", f"label__id__exact={label.pk}", "model=bench@1", "probability_from=0.95"],
        "batchitem": [f"batch__id__exact={project.batches.first().pk}", "split__exact=0", f"q={some.uid}"],
        "auditentry": ["actor__id__exact=1", f"q={some.pk}", "q=approve"],
        "job": ["state__exact=DONE", "q=bench"],
        "batch": ["state__exact=QUEUED", "q=bench"],
    }  # fmt: skip
    for model, its in admin.site._registry.items():
        name = model._meta.model_name
        start = reverse(f"admin:{model._meta.app_label}_{name}_changelist")
        yield f"admin: {name}", start
        newest = model._default_manager.order_by("-pk").values_list("pk", flat=True).first()
        if isinstance(newest, int) and newest > 10_000:
            yield f"admin: {name}, deep", f"{start}?after={newest * 9 // 10}"
        for query in filters.get(str(name), []):
            yield f"admin: {name}, {query.replace(str(some.uid), 'UID')}", f"{start}?{query}"
        for query in ("q=xyzzy", *(f"o={n}" for n in range(1, len(its.list_display) + 1)), "o=-1"):
            yield f"admin: {name}, {query}", f"{start}?{query}"
    yield "admin: dashboard", reverse("admin:index")
    yield "admin: review, to choose a project", reverse("review_choose")
    yield "admin: review queue", reverse("review", args=[project.name])
    yield "admin: review queue, deep", reverse("review", args=[project.name]) + "?page=1500&show=pending"
    for row in (some, some.sample, project.batches.first(), project):
        name = row._meta.model_name
        yield f"admin: page of a {name}", reverse(f"admin:{row._meta.app_label}_{name}_change", args=[row.pk])
    yield "admin: export form", reverse("export_project", args=[project.name])


def addresses_of_api(project: Project) -> Iterator[tuple[str, str]]:
    label = project.labels.first()
    for noun, questions in {
        "samples": ["", f"project={project.name}", f"project={project.name}&status=APPROVED", "status=PENDING", f"label={label.name}",
                    f"exported=false&project={project.name}", "limit=200", "order=newest"],
        "tasks": ["", f"project={project.name}", f"project={project.name}&status=COMPLETED", "order=newest"],
        "annotations": [""], "predictions": [""], "batches": [""], "jobs": [""], "projects": [""], "labels": [""],
        "finetunes": [""], "models": [""],
    }.items():  # fmt: skip
        model = {"samples": Sample, "tasks": Task, "annotations": Annotation, "predictions": Prediction}.get(noun)
        for query in questions:
            yield f"{noun} {query}", f"/api/v1/{noun}?{query}"
            if model:
                ends = model.objects.order_by("pk").values_list("pk", flat=True)
                deep = ends[0] + (ends.reverse()[0] - ends[0]) * (1 if "newest" in query else 9) // 10
                yield f"{noun} {query}, deep", f"/api/v1/{noun}?{query}&cursor={cursor_of(deep)}"
    for page in (1, 5_000, 20_000):
        yield f"label_backend samples, page {page}", f"/api/training/samples?page={page}&pageSize=50"
    yield "label_backend list", "/api/export/list"
    yield "UiPath datasets", "/api/v1/datasets"
    yield "UiPath sources", "/api/v1/sources"
    source = project.sources.first()
    yield "UiPath comments", f"/api/v1/sources/{project.name}/{source.name}/comments?limit=50"
    yield "UiPath labellings", f"/api/v1/datasets/{project.name}/bench/labellings?limit=50"


def posts(client: Client, project: Project) -> Iterator[tuple[str, str, dict]]:
    """What the contracts ask by POST, at the first page and deep."""
    base = f"/api/v1/datasets/{project.name}/bench"
    tasks = Task.objects.filter(project=project).order_by("pk")
    deep = tasks.filter(pk__gte=tasks[0].pk + tasks.count() * 9 // 10)[0].created_at.isoformat()
    yield "UiPath export", f"{base}/export", {"limit": 50}
    yield "UiPath export, deep", f"{base}/export", {"limit": 50, "from": deep}
    yield "UiPath query", f"{base}/query", {"limit": 50}
    yield "UiPath query, deep", f"{base}/query", {"limit": 50, "filter": {"timestamp": {"maximum": deep}}}
    dataset = Dataset.objects.get(project=project, name="bench")
    for offset in (0, 900_000):
        for tab in (0, 1, 2):
            asked = {"datasetId": dataset.pk, "tabType": tab, "offset": offset, "pageSize": 50}
            yield f"Qianfan entity/list, tab {tab}, from {offset}", "/wenxinworkshop/entity/list", asked


def server_cpu() -> float:
    """Seconds that PostgreSQL's processes for this database have worked so far, as Linux counts them."""
    if connection.vendor != "postgresql":
        return 0.0
    ticks = 0
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().split()
            if title[:1] == [b"postgres:"] and str(connection.settings_dict["NAME"]).encode() in title:
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(ask, runs: int) -> tuple[float, float, float]:
    """(median, 95th percentile, median of CPU) in milliseconds, the first of them not counted."""
    wall, cpu, server = [], [], server_cpu()
    for _ in range(runs + 1):
        start, busy = time.perf_counter(), time.process_time()
        answer = ask()
        assert answer.status_code in (200, 302) and b'"success":false' not in answer.content[:300], answer.content[:300]
        wall.append((time.perf_counter() - start) * 1000)
        cpu.append((time.process_time() - busy) * 1000)
    own = statistics.median(cpu[1:]) + (server_cpu() - server) * 1000 / (runs + 1)
    return statistics.median(wall[1:]), statistics.quantiles(wall[1:], n=20)[-1], own


def show(what: str, ask, runs: int, bar: int, only: str) -> None:
    if only not in what:
        return
    try:
        median, p95, cpu = measured(ask, runs)
    except Exception as error:  # the table goes on: one list that breaks is a line of it
        print(f"| {what} | {type(error).__name__}: {str(error)[:200]} | | | |", flush=True)
        return
    print(f"| {what} | {median:.0f} | {p95:.0f} | {cpu:.0f} | {'over' if p95 > bar else ''} |", flush=True)


def main(rows=1_000_000, runs=20, only=""):
    project = made(rows)
    logging.disable(logging.CRITICAL)
    from labelhub import wsgi  # noqa: F401  (settles the memory, as it does for the web server)

    boss = User.objects.get(username="bench-boss")
    people = Client(SERVER_NAME="localhost")
    people.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    caller = User.objects.get_or_create(username="bench-caller")[0]
    Membership.objects.get_or_create(project=project, user=caller, defaults={"role": Role.MANAGER})
    key, secret = create_key(caller, name=new_uid())
    program = Client(headers={"authorization": f"Bearer {key.key_id}.{secret}"}, SERVER_NAME="localhost")
    counts = ", ".join(
        f"{model._meta.verbose_name_plural} {model.objects.count():,}"
        for model in (Task, Sample, Annotation, AuditEntry)
    )
    print(
        f"{connection.vendor}: {counts}; milliseconds, {runs} runs\n\n| | median | p95 | CPU | |\n|---|---:|---:|---:|---|"
    )
    for what, address in addresses_of_api(project):
        show(what, lambda address=address: program.get(address), runs, API_BAR, only)
    for what, address, body in posts(program, project):
        show(
            what,
            lambda address=address, body=body: program.post(address, body, "application/json"),
            runs,
            API_BAR,
            only,
        )
    for what, address in addresses_of_admin(project):
        show(what, lambda address=address: people.get(address), runs, ADMIN_BAR, only)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])

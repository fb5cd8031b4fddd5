"""What a page of the API's lists costs, at the beginning of a table and near its end.

    python -m tests.bench.lists [ROWS] [RUNS]        on SQLite, or on DATABASE_URL (a database of its own: rows are added)

Milliseconds through the whole stack (middleware, authentication, query, JSON), without a socket, as a manager of one
project sees them. CPU counts this process only: on PostgreSQL the server's work shows in the wall clock alone.
"""

import io
import logging
import os
import statistics
import sys
import tempfile
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="labelhub-bench-"))
os.environ.setdefault("LOG_LEVEL", "WARNING")

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from labelhub.accounts.keys import create_key  # noqa: E402
from labelhub.accounts.models import User, new_uid  # noqa: E402
from labelhub.accounts.roles import Role  # noqa: E402
from labelhub.api.native.pagination import cursor_of  # noqa: E402
from samples.models import Membership, Project, Sample  # noqa: E402

LISTS = [
    "samples?",
    "samples?project={project}",
    "samples?project={project}&status=APPROVED",
    "samples?status=PENDING",
    "samples?label={label}",
    "samples?exported=false&project={project}",
    "samples?limit=200",
    "tasks?",
    "tasks?project={project}",
    "tasks?project={project}&status=COMPLETED",
]


def caller(project: Project) -> Client:
    """A client that speaks for a manager of `project`."""
    user = User.objects.create(username=f"bench-{new_uid()}")
    Membership.objects.create(project=project, user=user, role=Role.MANAGER)
    key, secret = create_key(user)
    return Client(headers={"authorization": f"Bearer {key.key_id}.{secret}"}, SERVER_NAME="localhost")


def measured(client: Client, address: str, runs: int) -> tuple[float, float, float]:
    """(median, 95th percentile, median of CPU) in milliseconds, the first of them not counted."""
    wall, cpu = [], []
    for _ in range(runs + 1):
        start, busy = time.perf_counter(), time.process_time()
        answer = client.get(f"/api/v1/{address}")
        assert answer.status_code == 200, answer.content
        wall.append((time.perf_counter() - start) * 1000)
        cpu.append((time.process_time() - busy) * 1000)
    return statistics.median(wall[1:]), statistics.quantiles(wall[1:], n=20)[-1], statistics.median(cpu[1:])


def main(rows=1_000_000, runs=40):
    call_command("migrate", verbosity=0)
    name = f"bench-{new_uid()}"
    call_command("generate_samples", str(rows), project=name, stdout=io.StringIO())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    logging.disable(logging.CRITICAL)
    project = Project.objects.get(name=name)
    client, label = caller(project), project.labels.first()
    deep = cursor_of(
        Sample.objects.filter(project=project).order_by("pk").values_list("pk", flat=True)[0] + rows * 9 // 10
    )
    print(f"{rows:,} samples on {connection.vendor}; milliseconds, {runs} runs\n")
    print(f"{'':60}{'median':>8}{'p95':>8}{'CPU':>8}")
    for pattern in LISTS:
        address = pattern.format(project=name, label=label and label.name)
        for place, more in (("", ""), (" at depth", f"&cursor={deep}")):
            median, p95, cpu = measured(client, address + more, runs)
            print(f"{pattern.replace('{', '').replace('}', '') + place:60}{median:8.1f}{p95:8.1f}{cpu:8.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

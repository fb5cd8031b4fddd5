"""An installation of its own for every test that starts processes: a data folder, a database, and what runs on it."""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.db.utils import ConnectionHandler

from labelhub.jobs.models import Job

from . import kinds

ROOT = Path(__file__).resolve().parent.parent.parent
LEASE = 2.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def wait_until(condition, *, seconds=20.0, what="it"):
    """Return what `condition` returns as soon as that is true; fail after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def _state_and_parent(pid):
    state, parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    return state, int(parent)


def is_alive(pid):
    try:
        return _state_and_parent(pid)[0] != "Z"
    except OSError:
        return False


def processes_under(pid):
    """The living processes in the tree below `pid`, itself included."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = _state_and_parent(folder.name)[1]
    found, edge = set(), {pid}
    while edge:
        found |= edge
        edge = {number for number, parent in parents.items() if parent in edge}
    return {number for number in found if is_alive(number)}


def _end_with_the_tests():
    """In a child: be killed when the tests are, even by kill -9."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Installation:
    """One installation: `start` and `run` its commands as processes of their own; the ORM of the test speaks to it."""

    def __init__(self, folder, url, lease=LEASE):
        self.folder = folder
        self.journal = str(folder / "journal")
        self.started = []
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "JOB"))},
            "DATA_DIR": str(folder),
            "DATABASE_URL": url,
            "JOB_LEASE_SECONDS": str(lease),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments, **env):
        """Start a command; it inherits no file descriptor of the tests, and its output is in `.log`."""
        log = self.folder / f"{arguments[0]}-{len(self.started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.jobs.manage", *arguments],
                cwd=ROOT,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_the_tests if sys.platform == "linux" else None,
            )
        process.log = log
        self.started.append(process)
        return process

    def start_worker(self, *arguments):
        """A worker that is at work when this returns."""
        return self.wait_for_word(self.start("worker", *arguments), "Working on jobs")

    def wait_for_word(self, process, word):
        """Return `process` once it has said `word`; starting Python and Django takes a while on a busy machine."""
        wait_until(lambda: word in process.log.read_text() or process.poll() is not None, seconds=90, what=word)
        assert process.poll() is None, process.log.read_text()
        return process

    def run(self, *arguments, **env):
        """Run a command to its end."""
        process = self.start(*arguments, **env)
        process.wait(120)
        return process

    def notes(self):
        return kinds.notes(self.journal)

    def pid_of_job(self):
        """The process that does the test job begun last."""
        return int(Path(f"{self.journal}.pid").read_text())

    def state(self, job):
        return Job.objects.values_list("state", flat=True).get(pk=job.pk)

    def wait_for(self, job, state, *, seconds=20.0):
        wait_until(lambda: self.state(job) == state, seconds=seconds, what=f"{job} turning {state}")
        job.refresh_from_db()
        return job

    def end(self):
        for process in self.started:
            for pid in processes_under(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait(10)


@contextmanager
def _database(folder, template=None):
    """A database of its own, empty or a copy of `template`, dropped at the end: (its URL, its settings)."""
    options = {**settings.DATABASES["default"], "OPTIONS": {**settings.DATABASES["default"]["OPTIONS"]}}
    if options["ENGINE"].endswith("sqlite3"):
        file = folder / "hub.sqlite3"
        if template:
            shutil.copy(template["NAME"], file)
        yield f"sqlite:///{file}", {**options, "NAME": str(file)}
        return
    given = urlsplit(os.environ["DATABASE_URL"])
    name = f"labelhub_jobs_{secrets.token_hex(6)}"
    options["OPTIONS"].pop("pool", None)
    with psycopg.connect(urlunsplit(given._replace(path="/postgres", query="")), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template['NAME']}" if template else ""))
        try:
            yield urlunsplit(given._replace(path=f"/{name}")), {**options, "NAME": name}
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _orm_on(options):
    """Let this thread's ORM speak to the database of `options`."""
    before, connections["default"] = connections["default"], ConnectionHandler({"default": options})["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


@contextmanager
def _installation(folder, template=None):
    with _database(folder, template) as (url, options), _orm_on(options):
        installation = Installation(folder, url)
        try:
            yield installation
        finally:
            installation.end()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory, django_db_setup, django_db_blocker):
    """The settings of a database with every table, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    with _database(folder) as (url, options):
        migrate = Installation(folder, url).run("migrate", "-v0")
        assert migrate.returncode == 0, migrate.log.read_text()
        yield options


@pytest.fixture
def installation(tmp_path, migrated, django_db_blocker):
    """An installation ready for use, with a lease of two seconds."""
    with django_db_blocker.unblock(), _installation(tmp_path, migrated) as installation:
        yield installation


@pytest.fixture
def empty_installation(tmp_path, django_db_setup, django_db_blocker):
    """An installation whose database has no table yet."""
    with django_db_blocker.unblock(), _installation(tmp_path) as installation:
        yield installation

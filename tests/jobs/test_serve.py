"""`manage.py serve` as a new user meets it: one command from a fresh checkout, and nothing left when it ends."""

import json
import os
import re
import signal
import socket
import time
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from labelhub.jobs import queue

from .conftest import is_alive, processes_under, wait_until


def get(port, path):
    """(status, body) of a page; status 0 where nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except (URLError, OSError):
        return 0, ""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(installation, port, *arguments):
    server = installation.start("serve", "--port", str(port), *arguments)
    wait_until(lambda: get(port, "/healthz")[0] or server.poll() is not None, seconds=90, what="the first answer")
    assert server.poll() is None, server.log.read_text()
    return server


def test_one_command_serves_pages_files_and_jobs_and_leaves_nothing_behind(installation, port):
    server = start_server(installation, port)
    assert f"http://127.0.0.1:{port}/admin/" in server.log.read_text()
    assert get(port, "/healthz") == (200, '{"status": "ok"}')
    assert get(port, "/readyz") == (200, '{"status": "ok"}')

    status, page = get(port, "/admin/login/")
    assert status == 200
    styles = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert styles
    assert [get(port, style)[0] for style in styles] == [200] * len(styles)

    job = queue.submit("tests.count", {"journal": installation.journal})
    installation.wait_for(job, "DONE")

    running = processes_under(server.pid)
    assert len(running) >= 3
    server.terminate()
    assert server.wait(30) == 0
    wait_until(lambda: not any(map(is_alive, running)), seconds=15, what="the end of every process")


def test_ctrl_c_puts_a_running_job_back(installation, port):
    server = start_server(installation, port, "--workers", "1")
    job = queue.submit("tests.count", {"journal": installation.journal, "seconds": 60})
    wait_until(lambda: installation.notes() == ["begin"])
    os.killpg(server.pid, signal.SIGINT)  # as a terminal does it: to the whole group
    assert server.wait(30) == 0
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("QUEUED", 0)


def test_nothing_runs_on_after_kill_9(installation, port):
    server = start_server(installation, port)
    running = processes_under(server.pid)
    server.kill()
    wait_until(lambda: not any(map(is_alive, running)), seconds=15, what="the end of every process")


def test_a_web_process_that_dies_is_replaced(installation, port):
    server = start_server(installation, port, "--workers", "1")
    child = max(processes_under(server.pid))
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not is_alive(child))
    wait_until(lambda: get(port, "/readyz")[0] == 200, seconds=90, what="the replacement's first answer")
    assert server.poll() is None


def test_the_second_start_collects_no_static_files(installation, port):
    first = start_server(installation, port, "--workers", "1")
    assert "Collected the static files." in first.log.read_text()
    first.terminate()
    first.wait(30)
    second = start_server(installation, port, "--workers", "1")
    assert "Collected" not in second.log.read_text()


def test_it_can_leave_the_jobs_to_others(installation, port):
    server = start_server(installation, port, "--workers", "1", "--no-worker")
    assert "no background jobs here" in server.log.read_text()
    job = queue.submit("tests.count", {"journal": installation.journal})
    time.sleep(1)
    assert installation.state(job) == "QUEUED"


def test_it_refuses_a_database_without_tables_and_makes_them_when_told_to(empty_installation, port):
    refused = empty_installation.run("serve", "--port", str(port))
    assert refused.returncode == 1
    assert re.search(
        r"the database lacks \d+ migrations .*: run `manage\.py migrate`, or serve with --migrate",
        refused.log.read_text(),
    )
    start_server(empty_installation, port, "--workers", "1", "--migrate")
    assert json.loads(get(port, "/readyz")[1]) == {"status": "ok"}


def test_it_says_that_its_port_is_taken(installation, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        refused = installation.run("serve", "--port", str(port))
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in refused.log.read_text()

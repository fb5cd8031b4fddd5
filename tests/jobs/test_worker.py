"""Real worker processes on a real database, killed in every way there is."""

import signal
import time
from collections import Counter

from django.utils import timezone

from labelhub.jobs import queue

from .conftest import LEASE, is_alive, wait_until


def submit(installation, kind, **params):
    return queue.submit(kind, {"journal": installation.journal, **params})


def test_a_job_whose_worker_is_killed_is_done_by_the_next_within_a_lease_and_a_half(installation):
    workers = {worker.pid: worker for worker in (installation.start_worker(), installation.start_worker())}
    job = submit(installation, "tests.count", seconds=2)
    wait_until(lambda: installation.notes() == ["begin"])
    time.sleep(0.5)  # in the middle of it
    workers[installation.pid_of_job()].kill()
    killed = timezone.now()
    installation.wait_for(job, "DONE")
    assert (job.started_at - killed).total_seconds() <= 1.5 * LEASE  # when the second run began
    assert installation.notes() == ["begin", "begin", "end"]
    assert (job.attempt, job.progress, job.result) == (2, 100, {"steps": 100})


def test_a_killed_worker_s_job_waits_for_one_that_starts_later(installation):
    installation.start_worker()
    job = submit(installation, "tests.count", seconds=2)
    wait_until(lambda: installation.notes() == ["begin"])
    installation.started[-1].kill()
    installation.start_worker()
    installation.wait_for(job, "DONE")
    assert installation.notes() == ["begin", "begin", "end"]


def test_two_workers_never_do_the_same_job(installation):
    jobs = [submit(installation, "tests.count", name=str(number)) for number in range(200)]
    workers = [installation.start("worker", "--threads", "2", "--until-empty") for _ in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    assert {installation.state(job) for job in jobs} == {"DONE"}
    begun = Counter(word for word in installation.notes() if word.startswith("begin"))
    assert begun == Counter(f"begin{number}" for number in range(200))


def test_a_long_job_outlives_many_leases_while_its_worker_lives(installation):
    installation.start_worker()
    other = installation.start_worker()
    job = submit(installation, "tests.stubborn", seconds=2.5 * LEASE)
    installation.wait_for(job, "DONE")
    assert installation.notes() == ["begin", "end"]
    assert "job_abandoned" not in other.log.read_text()


def test_a_running_job_is_cancelled_from_outside(installation):
    installation.start_worker()
    job = submit(installation, "tests.count", seconds=60)
    wait_until(lambda: installation.notes() == ["begin"])
    assert queue.cancel(job)
    installation.wait_for(job, "CANCELLED")
    wait_until(lambda: installation.notes() == ["begin", "CANCELLED"])


def test_a_worker_told_to_end_puts_its_job_back_and_ends(installation):
    worker = installation.start_worker()
    job = submit(installation, "tests.count", seconds=60)
    wait_until(lambda: installation.notes() == ["begin"])
    worker.terminate()
    assert worker.wait(15) == 0
    job.refresh_from_db()
    assert (job.state, job.attempt, job.token) == ("QUEUED", 0, "")


def test_a_job_that_never_listens_does_not_keep_its_worker_from_ending(installation):
    worker = installation.start_worker()
    job = submit(installation, "tests.stubborn", seconds=60)
    wait_until(lambda: installation.notes() == ["begin"])
    worker.send_signal(signal.SIGINT)
    assert worker.wait(25) == 0
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("QUEUED", 0)


def test_a_second_signal_kills(installation):
    worker = installation.start_worker()
    job = submit(installation, "tests.stubborn", seconds=60)
    wait_until(lambda: installation.notes() == ["begin"])
    worker.terminate()
    time.sleep(0.5)
    assert is_alive(worker.pid)
    worker.terminate()
    assert worker.wait(5) == -signal.SIGTERM
    assert installation.state(job) == "RUNNING"  # until its lease has passed


def test_a_job_that_kills_every_worker_fails_with_a_clear_error(installation):
    job = submit(installation, "tests.kill")
    for _ in range(3):
        assert installation.run("worker").returncode == -signal.SIGKILL
    installation.start_worker()
    installation.wait_for(job, "FAILED")
    assert job.error == "its worker died in each of 3 tries; not tried again"
    assert installation.notes() == ["begin", "begin", "begin", "FAILED"]


def test_a_worker_says_one_line_and_ends_when_nothing_is_left(installation):
    worker = installation.run("worker", "--threads", "2", "--until-empty")
    assert worker.returncode == 0
    assert worker.log.read_text().splitlines()[-1] == "Working on jobs: 2 at a time, lease 2 s. Ctrl-C stops."


def test_a_worker_refuses_a_database_without_tables(empty_installation):
    worker = empty_installation.run("worker")
    assert worker.returncode == 1
    assert "run `manage.py migrate` first" in worker.log.read_text()


def test_a_worker_waits_for_a_job_that_is_submitted_later(installation):
    installation.start_worker()
    job = installation.wait_for(submit(installation, "tests.count"), "DONE")
    assert (job.started_at - job.created_at).total_seconds() < LEASE  # it looks four times a second

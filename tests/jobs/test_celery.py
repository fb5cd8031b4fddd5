"""Jobs over Celery and a real Redis: the same rows, the same lease."""

import os
import secrets
import signal
import time

import pytest

from labelhub.jobs.models import Job

from .conftest import processes_under, wait_until

REDIS_URL = os.environ.get("REDIS_URL")
needs_redis = pytest.mark.skipif(not REDIS_URL, reason="REDIS_URL names no Redis to carry Celery's messages")


@pytest.fixture
def on_celery(installation):
    """The installation with its messages in a Redis queue of its own."""
    name = f"labelhub-test-{secrets.token_hex(4)}"
    installation.env |= {"JOBS_BACKEND": "celery", "CELERY_BROKER_URL": REDIS_URL, "CELERY_QUEUE": name}
    yield installation
    import redis

    with redis.from_url(REDIS_URL) as broker:
        for key in broker.scan_iter(f"*{name}*"):
            broker.delete(key)


def start_celery(installation):
    worker = installation.start("celery", "worker", "--concurrency=2", "--without-gossip", "--without-mingle")
    return installation.wait_for_word(worker, " ready.")


def submit(installation, kind, **params):
    params = {"journal": installation.journal, **params}
    shell = installation.run(
        "shell", "-v0", "-c", f"from labelhub.jobs import queue; queue.submit({kind!r}, {params!r})"
    )
    assert shell.returncode == 0, shell.log.read_text()
    return Job.objects.first()


@needs_redis
def test_a_message_brings_the_job_to_a_celery_worker(on_celery):
    on_celery.env["JOB_LEASE_SECONDS"] = "60"  # so that the sweeper cannot be what brought it
    start_celery(on_celery)
    job = on_celery.wait_for(submit(on_celery, "tests.count"), "DONE")
    assert job.attempt == 1


@needs_redis
def test_a_failed_try_is_repeated_after_its_wait(on_celery):
    start_celery(on_celery)
    job = submit(on_celery, "tests.break")
    on_celery.wait_for(job, "FAILED", seconds=40)
    assert on_celery.notes() == ["begin", "begin", "begin", "FAILED"]


@needs_redis
def test_a_lost_message_is_sent_again(on_celery):
    start_celery(on_celery)
    job = Job.objects.create(kind="tests.count", params={"journal": on_celery.journal})  # and nobody is told
    on_celery.wait_for(job, "DONE")
    assert on_celery.notes() == ["begin", "end"]


@needs_redis
def test_a_message_that_comes_twice_is_worked_on_once(on_celery):
    job = submit(on_celery, "tests.count", seconds=1)
    again = on_celery.run("shell", "-v0", "-c", f"from labelhub.jobs import celery; celery.run.apply_async([{job.pk}])")
    assert again.returncode == 0, again.log.read_text()
    start_celery(on_celery)
    on_celery.wait_for(job, "DONE")
    time.sleep(0.5)
    assert on_celery.notes() == ["begin", "end"]


@needs_redis
def test_a_job_whose_celery_worker_is_killed_is_done_by_the_next(on_celery):
    first = start_celery(on_celery)
    job = submit(on_celery, "tests.count", seconds=10)  # longer than the submitting process takes to end
    wait_until(lambda: on_celery.notes() == ["begin"])
    for pid in processes_under(first.pid):
        os.kill(pid, signal.SIGKILL)
    start_celery(on_celery)
    on_celery.wait_for(job, "DONE", seconds=40)
    assert on_celery.notes() == ["begin", "begin", "end"]


def test_a_broker_that_is_away_delays_the_job_and_breaks_nothing(installation):
    pytest.importorskip("celery")
    installation.env |= {"JOBS_BACKEND": "celery", "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    job = submit(installation, "tests.count")
    assert installation.state(job) == "QUEUED"
    installation.start_worker()
    installation.wait_for(job, "DONE")

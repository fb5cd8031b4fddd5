"""The life of a job, step by step, in one process."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelhub.jobs import queue, worker
from labelhub.jobs.kinds import UnknownKind
from labelhub.jobs.models import Job

from .kinds import notes

pytestmark = pytest.mark.django_db


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "journal")


def work_off(rounds=1):
    """Do all there is to do `rounds` times, letting no job wait for its next try."""
    for _ in range(rounds):
        Job.objects.filter(state="QUEUED").update(run_after=queue.timezone.now())
        worker.work(threading.Event(), until_empty=True)


def let_the_lease_pass(job):
    Job.objects.filter(pk=job.pk).update(lease_until=queue.timezone.now() - queue.timedelta(seconds=1))


# Submitting and claiming ----------------------------------------------------------------------------------------------


def test_a_job_is_done_and_keeps_what_it_returned(journal):
    job = queue.submit("tests.return", {"journal": journal, "number": 2**70})
    work_off()
    job.refresh_from_db()
    assert (job.state, job.progress, job.attempt, job.token) == ("DONE", 100, 1, "")
    assert job.result == {"number": 2**70}
    assert job.started_at <= job.finished_at


def test_an_unknown_kind_is_refused_and_leaves_no_job():
    with pytest.raises(UnknownKind, match=r"no job kind 'tests\.cuont'; known: .*tests\.count"):
        queue.submit("tests.cuont", {})
    assert not Job.objects.exists()


def test_a_job_of_a_kind_that_is_gone_fails_for_good():
    job = Job.objects.create(kind="an.older.release")
    work_off()
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("FAILED", 1)
    assert "no job kind 'an.older.release'" in job.error


def test_jobs_are_taken_in_order_and_none_before_its_time(journal):
    later = queue.submit("tests.count", {"journal": journal}, run_after=queue.timezone.now() + queue.timedelta(hours=1))
    first, second = (queue.submit("tests.count", {"journal": journal}) for _ in range(2))
    assert [queue.claim(), queue.claim(), queue.claim()] == [first, second, None]
    assert queue.claim(later.pk) is None


def test_a_job_can_be_claimed_by_name_but_only_once(journal):
    first, second = (queue.submit("tests.count", {"journal": journal}) for _ in range(2))
    assert queue.claim(second.pk) == second
    assert queue.claim(second.pk) is None
    assert queue.claim() == first


# Going wrong ----------------------------------------------------------------------------------------------------------


def test_a_fact_fails_the_job_at_once_and_its_kind_hears_of_it_once(journal):
    job = queue.submit("tests.refuse", {"journal": journal})
    work_off(3)
    job.refresh_from_db()
    assert (job.state, job.error, job.attempt) == ("FAILED", "there is nothing to do here", 1)
    assert notes(journal) == ["begin", "FAILED"]


def test_any_other_exception_is_tried_again_and_then_fails_the_job(journal):
    job = queue.submit("tests.break", {"journal": journal})
    work_off()
    job.refresh_from_db()
    assert (job.state, job.error) == ("QUEUED", "RuntimeError: out of paper")
    assert job.run_after > queue.timezone.now()
    work_off(5)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.error) == ("FAILED", 3, "RuntimeError: out of paper")
    assert notes(journal) == ["begin", "begin", "begin", "FAILED"]


def test_a_library_that_calls_exit_does_not_take_the_worker_along(journal):
    queue.submit("tests.exit", {"journal": journal})
    after = queue.submit("tests.count", {"journal": journal})
    work_off()
    after.refresh_from_db()
    assert after.state == "DONE"


@pytest.mark.django_db(transaction=True)
def test_a_result_that_is_no_json_is_an_error_of_the_job(journal):
    job = queue.submit("tests.return", {"journal": journal, "odd": True})
    work_off()
    job.refresh_from_db()
    assert "not JSON serializable" in job.error


def test_a_kind_that_cannot_hear_of_the_end_does_not_keep_the_job_from_ending():
    job = queue.submit("tests.end_badly")
    work_off()
    job.refresh_from_db()
    assert job.state == "FAILED"
    assert job.error == "nothing to do\nwhen told of the end: LookupError: no such batch"


@given(attempt=st.integers(1, 32_000))
def test_the_wait_doubles_with_every_try_up_to_a_limit(attempt):
    whole = min(2.0 * 2 ** min(attempt - 1, 60), 600.0)
    assert whole / 2 <= queue.backoff(attempt) <= whole <= 600.0


# A run that lost its lease --------------------------------------------------------------------------------------------


@pytest.fixture
def overtaken(journal):
    """A run whose job was swept and taken by another."""
    job = queue.submit("tests.count", {"journal": journal})
    run = queue.claim()
    let_the_lease_pass(job)
    assert queue.sweep() == 1
    assert queue.claim() == job
    return run


@pytest.mark.parametrize(
    "write",
    [
        lambda run: queue.renew(run, progress=50),
        lambda run: queue.finish(run, {}),
        lambda run: queue.put_back(run),
        lambda run: queue.end(run, Job.State.FAILED, error="mine"),
        lambda run: queue.end(run, Job.State.CANCELLED),
        lambda run: queue.fail(run, "mine"),
        lambda run: queue.fail(run, "mine", permanent=True),
    ],
)
def test_a_run_that_lost_its_lease_writes_nothing(overtaken, write):
    before = Job.objects.values().get()
    assert write(overtaken) is False
    assert Job.objects.values().get() == before


def test_a_run_that_lost_its_lease_is_stopped_at_its_next_report(overtaken):
    with pytest.raises(worker.LeaseLost):
        worker.Progress(overtaken, threading.Event())(1, 2)


def test_a_run_that_lost_its_lease_while_it_worked_leaves_the_job_to_the_other(overtaken, journal):
    worker.run(overtaken)
    job = Job.objects.get()
    assert (job.state, job.attempt) == ("RUNNING", 2)
    assert notes(journal) == ["begin", "end"]


# The sweeper ----------------------------------------------------------------------------------------------------------


def test_the_sweeper_leaves_alone_whoever_is_heard_of(journal):
    queue.submit("tests.count", {"journal": journal})
    run = queue.claim()
    assert queue.sweep() == 0
    assert queue.renew(run)


def test_a_beat_between_the_sweeper_s_look_and_its_grasp_saves_the_run(journal):
    job = queue.submit("tests.count", {"journal": journal})
    run = queue.claim()
    let_the_lease_pass(job)
    seen = Job.objects.abandoned().get()
    queue.renew(run)
    assert queue._take_over(seen) is False
    assert queue.finish(run, None)


def test_of_two_sweepers_one_gets_the_job(journal):
    job = queue.submit("tests.count", {"journal": journal})
    queue.claim()
    let_the_lease_pass(job)
    first, second = Job.objects.abandoned().get(), Job.objects.abandoned().get()
    assert [queue._take_over(first), queue._take_over(second)] == [True, False]
    assert Job.objects.get().attempt == 1


def test_a_job_that_outlived_its_last_try_fails_with_a_reason(journal):
    job = queue.submit("tests.count", {"journal": journal})
    for _ in range(job.max_attempts):
        assert queue.claim() == job
        let_the_lease_pass(job)
        queue.sweep()
    job.refresh_from_db()
    assert (job.state, job.error) == ("FAILED", "its worker died in each of 3 tries; not tried again")
    assert notes(journal) == ["FAILED"]


def test_a_swept_job_that_was_to_be_cancelled_is_not_tried_again(journal):
    job = queue.submit("tests.count", {"journal": journal})
    queue.claim()
    assert queue.cancel(job)
    let_the_lease_pass(job)
    queue.sweep()
    assert notes(journal) == ["CANCELLED"]


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once(journal):
    job = queue.submit("tests.count", {"journal": journal})
    assert queue.cancel(job)
    work_off()
    assert notes(journal) == ["CANCELLED"]
    assert Job.objects.get().state == "CANCELLED"


def test_a_running_job_is_cancelled_at_its_next_report(journal):
    job = queue.submit("tests.count", {"journal": journal, "seconds": 0.1})
    run = queue.claim()
    assert queue.cancel(job)
    worker.run(run)
    job.refresh_from_db()
    assert (job.state, job.error) == ("CANCELLED", "")
    assert notes(journal) == ["begin", "CANCELLED"]


def test_a_job_that_breaks_down_after_it_was_cancelled_is_not_tried_again(journal):
    job = queue.submit("tests.break", {"journal": journal})
    run = queue.claim()
    queue.cancel(job)
    worker.run(run)
    assert notes(journal) == ["begin", "CANCELLED"]


def test_a_job_that_has_ended_cannot_be_cancelled(journal):
    job = queue.submit("tests.count", {"journal": journal})
    work_off()
    assert not queue.cancel(job)
    assert Job.objects.get().cancel_requested_at is None


def test_a_job_cancelled_twice_is_told_once(journal):
    job = queue.submit("tests.count", {"journal": journal})
    assert [queue.cancel(job), queue.cancel(job)] == [True, False]
    assert notes(journal) == ["CANCELLED"]


# Progress -------------------------------------------------------------------------------------------------------------


def test_progress_reaches_the_database_at_most_twice_a_second(journal, django_assert_num_queries):
    queue.submit("tests.count", {"journal": journal})
    progress = worker.Progress(queue.claim(), threading.Event())
    with django_assert_num_queries(2):
        for done in range(1000):
            progress(done, 5000, "counting")
    with django_assert_num_queries(2):
        progress(5000, 5000, "all counted")
    job = Job.objects.get()
    assert (job.progress, job.message) == (100, "all counted")


@pytest.mark.parametrize(
    ("done", "total", "percent"), [(1, 3, 33), (0, 0, 0), (7, 0, 0), (9, 3, 100), (-1, 3, 0), (10**30, 2 * 10**30, 50)]
)
def test_progress_is_a_percentage_whatever_is_counted(journal, done, total, percent):
    queue.submit("tests.count", {"journal": journal})
    worker.Progress(queue.claim(), threading.Event())(done, total, "é" * 1000)
    job = Job.objects.get()
    assert (job.progress, job.message) == (percent, "é" * 300)


def test_a_worker_told_to_stop_puts_its_job_back_without_counting_the_try(journal):
    job = queue.submit("tests.count", {"journal": journal, "seconds": 5})
    stop = threading.Event()
    stop.set()
    worker.run(queue.claim(), stop)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.error) == ("QUEUED", 0, "")
    assert notes(journal) == ["begin"]


# Not yet --------------------------------------------------------------------------------------------------------------


def test_what_passes_is_tried_again_and_told_as_it_was_said(journal, settings):
    settings.JOB_MAX_ATTEMPTS = 2
    job = queue.submit("tests.pass", {"journal": journal})
    work_off()
    job.refresh_from_db()
    assert (job.state, job.error, job.attempt) == ("QUEUED", "they are having lunch", 1)
    work_off()
    job.refresh_from_db()
    assert (job.state, job.error) == ("FAILED", "they are having lunch")


def test_a_job_that_looks_again_and_again_uses_up_no_attempts(journal, settings):
    settings.JOB_MAX_ATTEMPTS = 2
    job = queue.submit("tests.again", {"journal": journal, "times": 6})
    for _ in range(5):
        before = queue.timezone.now()
        work_off()
        job.refresh_from_db()
        assert (job.state, job.attempt, job.token) == ("QUEUED", 0, "")
        assert 9 < (job.run_after - before).total_seconds() < 60
    work_off()
    job.refresh_from_db()
    assert (job.state, notes(journal)) == ("DONE", ["look"] * 6)


def test_a_job_that_waits_to_look_again_is_cancelled_like_any_other(journal):
    job = queue.submit("tests.again", {"journal": journal, "times": 6})
    mine = queue.claim(job.pk)
    assert queue.cancel(job)
    worker.run(mine)
    job.refresh_from_db()
    assert (job.state, notes(journal)) == ("CANCELLED", ["look", "CANCELLED"])

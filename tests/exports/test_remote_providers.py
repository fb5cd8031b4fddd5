"""Fine-tunes at a provider: begun once whatever is lost on the way, followed to their end, and never guessed about.

The provider is a small server of ours that behaves as documented; it is spoken to by the real client.
"""

import json
import logging
from contextlib import suppress
from datetime import timedelta
from functools import partial
from io import StringIO
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from exports import finetuning, providers
from exports.errors import (
    AlreadyStarted,
    ProviderBusy,
    ProviderDown,
    ProviderRefused,
    ProviderTimeout,
    Unsuitable,
)
from exports.finetuning import cancel, refresh, refresh_all, retry, send, submit
from exports.models import FineTune, ModelVersion
from labelhub.accounts.models import AuditEntry
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from labelhub.logging import formatter
from tests.factories import make_superuser
from tests.providers.shop import KEY, Refusal, Shop, closed_port
from tests.together import at_once

from .training import batch_of, opinions

Status = FineTune.Status
CREATE = {"openai": "POST /fine_tuning/jobs", "glm": "POST /fine_tuning/jobs", "together": "POST /fine-tunes"}
LIST = {"openai": "GET /fine_tuning/jobs", "glm": "GET /fine_tuning/jobs", "together": "GET /fine-tunes"}
JOB = {dialect: f"{path}/" for dialect, path in LIST.items()}


@pytest.fixture(params=["openai", "glm", "together"])
def shop(request, settings):
    """A provider, and a hub that knows it. Waiting is short; what was lost is settled at once, unless a test says."""
    settings.JOB_LEASE_SECONDS = 600
    settings.PROVIDER_TIMEOUT = 5
    settings.FINETUNE_SETTLING_SECONDS = 0
    with Shop(request.param) as server:
        settings.FINETUNE_PROVIDERS = {request.param: server.settings()}
        yield server


def only(*dialects):
    return pytest.mark.parametrize("shop", dialects, indirect=True)


@pytest.fixture
def batch(db):
    return batch_of(opinions(), format="openai")


@pytest.fixture
def boss(batch):
    return batch.created_by


@pytest.fixture
def logged():
    """Everything that is logged, the client's own words as well, as the hub writes it."""
    stream, root = StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(as_json=True))
    root.addHandler(handler)
    before = root.level
    root.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.setLevel(before)
    root.removeHandler(handler)


def step(finetune):
    """A worker comes to the fine-tune's job, whether or not it is time for it."""
    finetune.refresh_from_db()
    Job.objects.filter(pk=finetune.job_id).update(run_after=timezone.now())
    job = queue.claim(finetune.job_id)
    assert job, f"the job is {finetune.job.state}"
    worker.run(job)
    finetune.refresh_from_db()
    return finetune


def sent(shop, batch, boss, **more):
    finetune = step(submit(batch, by=boss, provider=shop.dialect, **more))
    assert finetune.status == Status.RUNNING, finetune.error
    return finetune


def trail(finetune):
    entries = AuditEntry.objects.filter(subject="finetune", subject_id=finetune.pk).order_by("pk")
    return [(entry.action, entry.before, entry.after) for entry in entries]


# From the button to the model -----------------------------------------------------------------------------------------


def test_a_batch_becomes_a_model_at_the_provider(shop, batch, boss):
    finetune = submit(batch, by=boss, provider=shop.dialect)
    assert (finetune.status, finetune.model, shop.requests) == (Status.SUBMITTING, "base-model", [])
    step(finetune)
    job = shop.only_job()
    assert (finetune.status, finetune.provider_job_id) == (Status.RUNNING, job["id"])

    for number in (1, 2):
        shop.train(job, 10 * number, 40, loss=2.0 / number, valid_loss=2.5 / number)
        step(finetune)
        assert (finetune.status, finetune.progress) == (Status.RUNNING, 25 * number)
        assert finetune.job.state == Job.State.QUEUED
    shop.succeed(job, "ft:base-model:org::7")
    step(finetune)
    assert (finetune.status, finetune.progress, finetune.error, finetune.trouble) == (Status.SUCCESS, 100, "", "")
    assert [event["loss"] for event in finetune.events if "loss" in event] == [2.0, 1.0]
    assert finetune.events[-1]["message"] == "The job has successfully completed"
    assert "created" in finetune.events[0]["message"].lower()
    version = ModelVersion.objects.get()
    assert (version.finetune, version.provider_model, version.artefact) == (finetune, "ft:base-model:org::7", "")
    assert (version.metrics["last_loss"], version.metrics["trained_tokens"]) == (1.0, 1200)
    assert finetune.job.state == Job.State.DONE
    assert trail(finetune) == [
        ("submit", "NOT_STARTED", "SUBMITTING"),
        ("start", "SUBMITTING", "RUNNING"),
        ("succeed", "RUNNING", "SUCCESS"),
    ]


def test_what_is_sent_is_the_exported_file_and_the_test_part_stays_here(shop, batch, boss):
    from exports.providers.parts import part_file

    finetune = sent(shop, batch, boss)
    kept = {part: shop.files[id]["_content"] for part, id in finetune.provider_files.items()}
    assert sorted(kept) == ["train", "val"]
    for part, content in kept.items():
        with part_file(batch, part) as file:
            assert content == file.read()
    assert [len(content.splitlines()) for content in kept.values()] == [64, 8]
    assert len(shop.files) == 2


def test_a_file_in_one_piece_is_sent_whole(shop, db):
    batch = batch_of(opinions(30), format="openai", ratios=None)
    finetune = sent(shop, batch, batch.created_by)
    [content] = [file["_content"] for file in shop.files.values()]
    assert len(content.splitlines()) == 30
    assert list(finetune.provider_files) == ["train"]


@only("openai")
def test_openai_is_asked_in_its_own_words(shop, batch, boss):
    finetune = sent(shop, batch, boss, model="gpt-x", hyperparameters={"n_epochs": 3, "seed": 7, "batch_size": "auto"})
    [order] = shop.calls(CREATE["openai"])
    assert order == {
        "model": "gpt-x",
        "training_file": finetune.provider_files["train"],
        "validation_file": finetune.provider_files["val"],
        "seed": 7,
        "suffix": f"labelhub-{finetune.uuid.hex[:8]}",
        "metadata": {"labelhub_finetune": str(finetune.uuid), "labelhub_batch": str(batch.uuid)},
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}}},
    }
    shop.succeed(shop.only_job())
    assert [point["step"] for point in step(finetune).metrics["checkpoints"]] == [30, 60]


@only("glm")
def test_glm_is_asked_in_its_own_words(shop, batch, boss):
    finetune = sent(shop, batch, boss, hyperparameters={"n_epochs": 2})
    [order] = shop.calls(CREATE["glm"])
    assert order == {
        "model": "base-model",
        "training_file": finetune.provider_files["train"],
        "validation_file": finetune.provider_files["val"],
        "suffix": f"labelhub-{finetune.uuid.hex[:8]}",
        "hyperparameters": {"n_epochs": 2},
        "request_id": str(finetune.uuid),
    }


@only("together")
def test_together_is_asked_in_its_own_words_and_knows_a_file_again(shop, batch, boss):
    finetune = sent(shop, batch, boss, hyperparameters={"n_epochs": 2, "learning_rate": 2e-5})
    [order] = shop.calls(CREATE["together"])
    assert order == {
        "model": "base-model",
        "training_file": finetune.provider_files["train"],
        "validation_file": finetune.provider_files["val"],
        "n_evals": 5,
        "n_epochs": 2,
        "learning_rate": 2e-5,
        "training_method": {"method": "sft", "train_on_inputs": "auto"},
        "suffix": f"labelhub-{finetune.uuid.hex[:8]}",
    }
    cancel(finetune, by=boss)
    shop.only_job()["status"] = "cancelled"
    step(finetune)
    again = sent(shop, batch, boss)
    assert again.provider_files == finetune.provider_files
    assert len(shop.files) == 2


def test_it_waits_longer_and_longer_while_there_is_no_news(shop, batch, boss, settings):
    settings.FINETUNE_POLL_SECONDS, settings.FINETUNE_POLL_LIMIT_SECONDS = 10, 40
    finetune = sent(shop, batch, boss)
    waits = []
    for number in range(7):
        if number == 5:
            shop.train(shop.only_job(), 1, 2, loss=1.0)
        before = timezone.now()
        step(finetune)
        waits.append(round((finetune.job.run_after - before) / timedelta(seconds=1)))
    assert waits == [15, 23, 34, 40, 40, 10, 15]
    assert finetune.job.attempt == 0  # waiting is no failure


# One job at the provider ----------------------------------------------------------------------------------------------


def test_a_job_that_was_begun_before_the_answer_was_lost_is_found_again(shop, batch, boss, settings):
    settings.PROVIDER_TIMEOUT = 0.5
    shop.hang(CREATE[shop.dialect], done=True, seconds=1.5)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    assert finetune.status == Status.SUBMITTING
    assert "did not answer within 0.5 s; whether it began is looked up" in finetune.trouble
    settings.PROVIDER_TIMEOUT = 5
    step(finetune)
    assert (finetune.status, finetune.provider_job_id) == (Status.RUNNING, shop.only_job()["id"])
    assert len(shop.calls(CREATE[shop.dialect])) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_gateway_that_lost_the_answer_does_not_begin_it_twice(shop, batch, boss, status):
    shop.fail(CREATE[shop.dialect], status, done=True)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    assert finetune.status == Status.SUBMITTING
    step(finetune)
    assert (finetune.status, len(shop.jobs)) == (Status.RUNNING, 1)


def test_a_request_that_was_never_carried_out_is_made_again_once_that_is_sure(shop, batch, boss, settings):
    settings.FINETUNE_SETTLING_SECONDS = 60
    shop.fail(CREATE[shop.dialect], 500, done=False)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    step(finetune)
    assert (finetune.status, len(shop.calls(CREATE[shop.dialect]))) == (
        Status.SUBMITTING,
        1,
    )  # it may still come to pass
    FineTune.objects.update(asked_at=timezone.now() - timedelta(seconds=61))
    step(finetune)
    assert (finetune.status, len(shop.jobs)) == (Status.RUNNING, 1)
    assert len(shop.calls(CREATE[shop.dialect])) == 2


def test_a_worker_that_died_after_asking_does_not_begin_it_twice(shop, batch, boss):
    """The intention was written down, the answer was not."""
    finetune = submit(batch, by=boss, provider=shop.dialect)
    step(finetune)
    FineTune.objects.update(status=Status.SUBMITTING, provider_job_id="")
    step(finetune)
    assert (finetune.status, finetune.provider_job_id) == (Status.RUNNING, shop.only_job()["id"])


def test_it_is_found_among_many(shop, batch, boss):
    shop.page = 3
    shop.fail(CREATE[shop.dialect], 500, done=True)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    mine = shop.only_job()["id"]
    for _ in range(8):
        id = next(iter(shop.files))
        shop.begin({"model": "m", "training_file": id if shop.dialect == "together" else shop_file(shop)})
    step(finetune)
    assert finetune.provider_job_id == mine


def shop_file(shop):
    id = f"file-other-{len(shop.files)}"
    shop.files[id] = {"id": id, "_content": b"", "_checksum": id}
    return id


def test_where_jobs_are_not_listed_a_second_one_is_left_to_people(shop, batch, boss):
    shop.fail(CREATE[shop.dialect], 500, done=True)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    shop.fail(LIST[shop.dialect], 404)
    step(finetune)
    assert finetune.status == Status.FAILED
    assert "look there whether it has begun before you try again" in finetune.error
    assert len(shop.calls(CREATE[shop.dialect])) == 1


def test_while_nobody_knows_it_is_not_given_up(shop, batch, boss, settings):
    shop.fail(CREATE[shop.dialect], 500, done=True)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    shop.fail(LIST[shop.dialect], 503, times=9)
    for _ in range(8):
        step(finetune)
    assert finetune.status == Status.SUBMITTING
    assert "answered 503" in finetune.trouble
    with pytest.raises(AlreadyStarted):
        submit(batch, by=boss, provider=shop.dialect)


@only("openai")
def test_a_conflict_is_looked_into(shop, batch, boss):
    shop.fail(CREATE["openai"], 409, done=True)
    assert sent(shop, batch, boss).provider_job_id == shop.only_job()["id"]


@pytest.mark.django_db(transaction=True)
@only("openai")
def test_two_who_press_send_at_the_same_moment_begin_one_job(shop, batch, boss):
    from django.db import connection

    if connection.vendor == "sqlite":
        pytest.skip("threads do not share a database in memory; test_finetuning does this with a file")
    finetune = submit(batch, by=boss, provider="openai")
    named = at_once(4, lambda _: send(FineTune.objects.get(pk=finetune.pk)).provider_job_id)
    assert named == [shop.only_job()["id"]] * 4
    assert len(shop.jobs) == len(shop.calls(CREATE["openai"])) == 1


@pytest.fixture
def meanwhile(monkeypatch):
    """Lets something happen between two steps of a run: once, after the provider has been asked that."""

    def put(shop, verb, happen):
        provider = providers.get(shop.dialect)
        real, waiting = getattr(provider, verb), [happen]

        def ask(*arguments):
            answer = real(*arguments)
            if waiting:
                waiting.pop()()
            return answer

        monkeypatch.setattr(provider, verb, ask)

    return put


def another_run(finetune):
    """What a second worker does that holds the job, the first having lost it without noticing."""
    with suppress(worker.Again):
        finetuning.run(FineTune.objects.get(pk=finetune.pk), lambda *_: None)


def test_a_run_that_was_overtaken_does_not_begin_a_second_job(shop, batch, boss, meanwhile):
    shop.fail(CREATE[shop.dialect], 500, times=2)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    meanwhile(shop, "find", lambda: another_run(finetune))  # it asks anew, and its answer is lost
    step(finetune)
    assert len(shop.calls(CREATE[shop.dialect])) == 2
    assert (finetune.status, finetune.job.state) == (Status.SUBMITTING, Job.State.QUEUED)
    step(finetune)
    assert (finetune.status, len(shop.jobs)) == (Status.RUNNING, 1)


def test_a_run_that_was_overtaken_does_not_cancel_what_the_other_began(shop, batch, boss, meanwhile):
    shop.fail(CREATE[shop.dialect], 500)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    meanwhile(shop, "find", lambda: another_run(finetune))
    step(finetune)
    assert (finetune.status, finetune.provider_job_id) == (Status.RUNNING, shop.only_job()["id"])
    assert [action for action, _, _ in trail(finetune)] == ["submit", "start"]


def test_a_cancel_that_comes_after_the_other_run_has_asked_finds_its_job_to_stop(shop, batch, boss, meanwhile):
    shop.fail(CREATE[shop.dialect], 500)
    shop.fail(CREATE[shop.dialect], 500, done=True)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))

    def other_run_asks_and_somebody_cancels():
        another_run(finetune)
        cancel(FineTune.objects.get(), by=boss)

    meanwhile(shop, "find", other_run_asks_and_somebody_cancels)
    step(finetune)
    assert finetune.status == Status.SUBMITTING  # the job is there, and nobody knows yet
    step(finetune)
    assert shop.only_job()["status"] in ("cancelled", "cancel_requested")


def test_a_no_that_comes_late_does_not_undo_what_another_run_has_asked_for(shop, batch, boss, monkeypatch):
    provider = providers.get(shop.dialect)
    create, runs = provider.create, []

    def create_slowly(finetune):
        runs.append(finetune)
        if len(runs) == 1:
            another_run(finetune)
            shop.fail(CREATE[shop.dialect], 400)
        return create(finetune)

    monkeypatch.setattr(provider, "create", create_slowly)
    shop.fail(CREATE[shop.dialect], 500, done=True)
    finetune = submit(batch, by=boss, provider=shop.dialect)
    step(finetune)
    assert (finetune.status, finetune.asked_at is None, len(shop.jobs)) == (Status.SUBMITTING, False, 1)
    step(finetune)
    assert (finetune.status, finetune.provider_job_id) == (Status.RUNNING, shop.only_job()["id"])


@pytest.mark.django_db(transaction=True)
@only("openai")
def test_two_who_ask_at_the_same_moment_put_one_job_in_the_queue(shop, batch, boss):
    from django.db import connection

    if connection.vendor == "sqlite":
        pytest.skip("threads do not share a database in memory")
    finetune = sent(shop, batch, boss)
    finetune.job.delete()
    at_once(6, lambda _: refresh(FineTune.objects.get(pk=finetune.pk)))
    assert Job.objects.filter(kind="exports.finetune").count() == 1


# Sent at once ---------------------------------------------------------------------------------------------------------


def test_it_can_be_sent_at_once_for_a_door_that_names_the_job(shop, batch, boss):
    finetune = send(submit(batch, by=boss, provider=shop.dialect))
    assert (finetune.status, finetune.provider_job_id) == (Status.RUNNING, shop.only_job()["id"])
    shop.succeed(shop.only_job())
    assert step(finetune).status == Status.SUCCESS  # the worker follows it from there


@pytest.mark.parametrize(
    ("fault", "fact", "said"),
    [
        (
            {"status": 400, "body": {"error": {"message": "no such thing"}}},
            ProviderRefused,
            "answered 400: no such thing",
        ),
        ({"status": 401}, ProviderRefused, "answered 401: told to answer 401"),
        ({"status": 429, "times": 5}, ProviderBusy, "answered 429"),
        ({"status": 429, "body": {"error": {"code": "insufficient_quota", "message": "pay"}}}, ProviderRefused, "pay"),
    ],
)
@only("openai")
def test_a_provider_that_says_no_leaves_it_to_be_tried_again(shop, batch, boss, fault, fact, said):
    shop.fail(CREATE["openai"], **fault)
    finetune = submit(batch, by=boss, provider="openai")
    with pytest.raises(fact, match=said):
        send(finetune)
    finetune.refresh_from_db()
    assert (finetune.status, shop.jobs) == (Status.FAILED, {})
    assert said in finetune.error
    shop.faults.clear()
    again = send(retry(finetune, by=boss))
    assert (again.status, again.repeats, len(shop.jobs)) == (Status.RUNNING, finetune, 1)


@only("openai")
def test_an_answer_that_was_lost_is_said_and_the_worker_finds_out(shop, batch, boss, settings):
    settings.PROVIDER_TIMEOUT = 0.5
    shop.hang(CREATE["openai"], done=True, seconds=1.5)
    finetune = submit(batch, by=boss, provider="openai")
    with pytest.raises(ProviderTimeout):
        send(finetune)
    finetune.refresh_from_db()
    assert finetune.status == Status.SUBMITTING
    assert (step(finetune).status, len(shop.jobs)) == (Status.RUNNING, 1)


# What a provider says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["validating_files", "queued", "running", "paused", "pausing", "dreaming", "", None, 7]
)
def test_a_status_that_nobody_knows_is_on_its_way(shop, batch, boss, word):
    finetune = sent(shop, batch, boss)
    shop.only_job()["status"] = word
    step(finetune)
    assert finetune.status == Status.RUNNING
    assert finetune.provider_status == str(word or "")


@pytest.mark.parametrize("word", ["Succeeded", "COMPLETED", "Failed", "ERROR", "Cancelled"])
def test_a_status_is_understood_in_whatever_case_it_is_written(shop, batch, boss, word):
    if shop.dialect == "together":
        word = {"Succeeded": "Completed", "Failed": "User_Error"}.get(word, word)
    finetune = sent(shop, batch, boss)
    shop.only_job()["status"] = word
    step(finetune)
    ended = {"s": Status.SUCCESS, "c": Status.SUCCESS, "f": Status.FAILED, "e": Status.FAILED, "u": Status.FAILED}
    assert finetune.status == (Status.CANCELLED if word == "Cancelled" else ended[word[0].lower()])
    assert finetune.provider_status == word


def test_a_long_word_of_a_provider_is_cut(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.only_job()["status"] = "waiting_for_" + "x" * 100
    for _ in range(2):
        step(finetune)
    assert finetune.provider_status == "waiting_for_" + "x" * 48
    assert finetune.quiet_looks == 1  # the same word twice is no news


def test_a_job_that_breaks_off_half_way_says_why(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.train(shop.only_job(), 10, 40, loss=9.0)
    step(finetune)
    shop.break_off(shop.only_job(), "训练数据格式错误: Training diverged")
    step(finetune)
    assert (finetune.status, finetune.error) == (Status.FAILED, "训练数据格式错误: Training diverged")
    assert (finetune.progress, finetune.job.state) == (25, Job.State.DONE)
    assert not ModelVersion.objects.exists()
    assert retry(finetune, by=boss).pk != finetune.pk


def test_one_that_is_cancelled_over_there_is_cancelled_here(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.only_job()["status"] = "cancelled"
    assert step(finetune).status == Status.CANCELLED


def test_a_job_the_provider_does_not_know_any_more_has_failed(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.jobs.clear()
    step(finetune)
    assert finetune.status == Status.FAILED
    assert "does not know the job any more" in finetune.error


def test_thousands_of_events_are_read_once_and_the_newest_are_kept(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    for number in range(1, 251):
        shop.train(shop.only_job(), number, 500, loss=1 / number)
    step(finetune)
    assert (len(finetune.events), finetune.progress) == (251, 50)
    before = len([request for request, _ in shop.requests if request.endswith("/events")])
    shop.train(shop.only_job(), 251, 500, loss=0.1)
    step(finetune)
    assert len(finetune.events) == 252
    assert len([request for request, _ in shop.requests if request.endswith("/events")]) == before + 1
    assert [event["at"] for event in finetune.events] == sorted(event["at"] for event in finetune.events)


@only("openai", "glm")
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_server_that_lists_the_oldest_events_first_is_read_to_the_newest(shop, batch, boss, is_slow):
    shop.oldest_first, shop.page = True, 20
    if is_slow:
        shop.clock = count(1_790_000_000).__next__
    finetune = sent(shop, batch, boss)
    for look in range(3):
        for number in range(1 + 50 * look, 51 + 50 * look):
            shop.train(shop.only_job(), number, 200, loss=1 / number)
        if not is_slow:
            shop.clock = partial(int, 1_800_000_000 + look)
        step(finetune)
        assert (len(finetune.events), finetune.progress) == (51 + 50 * look, 25 * (look + 1))
        assert [event["step"] for event in finetune.events if "step" in event] == list(range(1, 51 + 50 * look))
    before = len(shop.requests)
    step(finetune)
    assert len(shop.requests) - before == 3  # the job, the first page, and what comes after the last that is known


@only("openai", "glm")
def test_the_newest_events_are_read_of_a_long_list_that_begins_with_the_oldest(shop, batch, boss):
    shop.oldest_first = True
    shop.clock = count(1_790_000_000).__next__
    finetune = sent(shop, batch, boss)
    for number in range(1, 1151):
        shop.train(shop.only_job(), number, 2000, loss=1.0)
    for _ in range(2):
        step(finetune)
    assert (len(finetune.events), finetune.events[-1]["step"]) == (1000, 1150)
    shop.train(shop.only_job(), 1151, 2000, loss=1.0)
    assert step(finetune).events[-1]["step"] == 1151


@pytest.mark.parametrize("oldest_first", [False, True])
def test_events_without_a_name_are_told_apart_by_their_steps(shop, batch, boss, oldest_first):
    shop.names_events, shop.oldest_first, shop.page = False, oldest_first, 3
    shop.clock = lambda: 1_790_000_000
    finetune = sent(shop, batch, boss)
    for number in (1, 2):
        shop.tell(shop.only_job(), "training", step=number, total_steps=40)
        step(finetune)
    assert [event.get("step") for event in finetune.events] == [None, 1, 2]
    shop.tell(shop.only_job(), "training", step=3, total_steps=40)  # now there is more than a page
    step(finetune)
    assert (finetune.status, finetune.trouble) == (Status.RUNNING, "")
    assert len({event["id"] for event in finetune.events}) == len(finetune.events)


@pytest.mark.parametrize(
    ("message", "data", "progress"),
    [
        ("Step 10/40: loss=1", {"step": 10}, 25),
        ("Step 10/40: loss=1", {}, 25),
        ("Step 10/40: loss=1", {"step": 10, "total_steps": 20}, 50),
        ("Step 10/40: loss=1", {"step": 3}, 0),  # of something else
        ("half way", {"step": 10}, 0),
    ],
)
def test_how_far_it_is_is_taken_from_the_figures_and_else_from_the_words(shop, batch, boss, message, data, progress):
    finetune = sent(shop, batch, boss)
    shop.tell(shop.only_job(), message, **data)
    assert step(finetune).progress == progress


@only("openai")
def test_a_server_without_events_and_checkpoints_will_do(shop, batch, boss):
    def nothing_there(rows, query):
        raise Refusal(404, "Invalid URL")

    shop.paged = nothing_there
    finetune = sent(shop, batch, boss)
    shop.succeed(shop.only_job())
    assert (step(finetune).status, finetune.events) == (Status.SUCCESS, [])


@pytest.mark.parametrize("what", ["events", "checkpoints"])
@pytest.mark.parametrize(
    "fault", [{"status": 403}, {"status": 429}, {"status": 503}, {"status": 200, "body": "<html>log in</html>"}]
)
def test_a_job_that_has_succeeded_is_a_model_whatever_else_is_not_told(shop, batch, boss, logged, what, fault):
    finetune = sent(shop, batch, boss)
    shop.train(shop.only_job(), 10, 40, loss=1.0)
    step(finetune)
    shop.succeed(shop.only_job())
    shop.fail(f"{JOB[shop.dialect]}{shop.only_job()['id']}/{what}", times=50, **fault)
    step(finetune)
    assert (finetune.status, finetune.trouble, finetune.metrics["trained_tokens"]) == (Status.SUCCESS, "", 1200)
    assert finetune.metrics["last_loss"] == 1.0
    if what == "events" and fault["status"] != 200:
        assert "finetune_half_told" in logged()


@only("openai")
def test_checkpoints_without_a_step_are_kept_too(shop, batch, boss, monkeypatch):
    from tests.providers import shop as shops

    finetune = sent(shop, batch, boss)
    shop.succeed(shop.only_job())
    whole = shops.checkpoint
    monkeypatch.setattr(shops, "checkpoint", lambda job, step: whole(job, step) | {"step_number": None, "metrics": {}})
    step(finetune)
    assert (finetune.status, len(finetune.metrics["checkpoints"])) == (Status.SUCCESS, 2)


@only("glm")
def test_a_server_that_shows_the_same_page_for_ever_is_read_once(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.paged = lambda rows, query: {"object": "list", "data": rows, "has_more": True}
    shop.train(shop.only_job(), 1, 2, loss=1.0)
    assert len(step(finetune).events) == 2


# Asked live -----------------------------------------------------------------------------------------------------------


def test_refresh_asks_the_provider_live(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.train(shop.only_job(), 30, 40, loss=1.0)
    assert refresh(finetune).progress == 75
    shop.succeed(shop.only_job())
    assert refresh(finetune).status == Status.SUCCESS
    assert step(finetune).job.state == Job.State.DONE  # the worker comes too late, and makes no second version
    assert ModelVersion.objects.count() == 1


def test_an_answer_that_arrives_late_sets_nothing_back(shop, batch, boss, meanwhile):
    finetune = sent(shop, batch, boss)
    shop.train(shop.only_job(), 10, 40, loss=1.0)

    def somebody_is_told_more():
        shop.train(shop.only_job(), 30, 40, loss=0.5)
        assert refresh(FineTune.objects.get()).progress == 75

    meanwhile(shop, "ask", somebody_is_told_more)
    refresh(finetune)
    assert (finetune.progress, [event["step"] for event in finetune.events if "step" in event]) == (75, [10, 30])


@pytest.mark.parametrize(
    ("fault", "fact", "said"),
    [
        ({"status": 500}, ProviderDown, "answered 500"),
        ({"status": 429}, ProviderDown, "answered 429"),
        ({"status": 401, "body": {"error": {"message": f"bad key {KEY}"}}}, ProviderRefused, "answered 401: bad key …"),
        ({"status": 200, "body": "<html>log in</html>"}, ProviderDown, "an answer that cannot be read"),
        ({"status": 502, "body": "<html>nginx</html>"}, ProviderDown, "answered 502: no reason given"),
        ({"status": 302, "headers": {"Location": "http://169.254.169.254/"}}, ProviderRefused, "answered 302"),
        ({"seconds": 1.0}, ProviderTimeout, "did not answer within 0.5 s"),
    ],
)
def test_a_provider_that_is_down_is_said_and_nothing_is_changed(shop, batch, boss, settings, fault, fact, said):
    finetune = sent(shop, batch, boss)
    shop.train(shop.only_job(), 10, 40, loss=1.0)
    step(finetune)
    settings.PROVIDER_TIMEOUT = 0.5
    shop.fail(JOB[shop.dialect], **fault)
    with pytest.raises(fact, match=said):
        refresh(finetune)
    finetune.refresh_from_db()
    assert (finetune.status, finetune.progress) == (Status.RUNNING, 25)
    assert said in finetune.trouble
    assert KEY not in finetune.trouble
    settings.PROVIDER_TIMEOUT = 5
    assert refresh(finetune).trouble == ""


def test_a_provider_that_is_away_for_days_does_not_fail_it(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.fail(JOB[shop.dialect], 503, times=50)
    for _ in range(10):
        step(finetune)
    assert (finetune.status, finetune.job.state) == (Status.RUNNING, Job.State.QUEUED)
    shop.faults.clear()
    shop.succeed(shop.only_job())
    assert step(finetune).status == Status.SUCCESS


@only("openai")
def test_a_provider_where_nobody_listens_is_said(shop, batch, boss, settings):
    with closed_port() as nowhere:
        settings.FINETUNE_PROVIDERS = {"openai": shop.settings(base_url=nowhere)}
        finetune = submit(batch, by=boss, provider="openai")
        with pytest.raises(ProviderDown, match="openai cannot be reached"):
            send(finetune)
    finetune.refresh_from_db()
    assert finetune.status == Status.FAILED
    assert "cannot be reached" in finetune.error


def test_an_upload_that_fails_is_tried_again_before_it_is_given_up(shop, batch, boss, settings):
    settings.JOB_MAX_ATTEMPTS = 3
    shop.fail("POST /files", 500, times=2)
    finetune = submit(batch, by=boss, provider=shop.dialect)
    for _ in range(2):
        assert step(finetune).status == Status.SUBMITTING
        assert "answered 500" in finetune.trouble
        assert refresh(finetune).trouble  # it cannot be asked yet
    assert (step(finetune).status, finetune.trouble, finetune.quiet_looks) == (Status.RUNNING, "", 0)


def test_refresh_finetunes_goes_on_where_one_provider_is_down(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    other = sent(shop, batch_of(opinions(40), format="openai", by=boss), boss)
    first, second = shop.jobs.values()
    shop.succeed(second)
    shop.fail(f"{JOB[shop.dialect]}{first['id']}", 503, times=3)
    assert refresh_all() == 1
    finetune.refresh_from_db()
    other.refresh_from_db()
    assert (finetune.status, other.status) == (Status.RUNNING, Status.SUCCESS)
    assert "503" in finetune.trouble


# Ending it ------------------------------------------------------------------------------------------------------------


def test_one_that_is_under_way_is_stopped_over_there(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    assert cancel(finetune, by=boss)
    if shop.dialect == "together":  # it takes its time
        assert (finetune.status, shop.only_job()["status"]) == (Status.RUNNING, "cancel_requested")
        shop.only_job()["status"] = "cancelled"
        step(finetune)
    assert finetune.status == Status.CANCELLED
    assert shop.only_job()["status"] == "cancelled"
    assert not cancel(finetune, by=boss)


def test_one_that_has_ended_over_there_is_not_cancelled(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.succeed(shop.only_job())
    assert not cancel(finetune, by=boss)
    assert finetune.status == Status.SUCCESS


def cancels(shop):
    return [request for request, _ in shop.requests if request.startswith("POST") and request.endswith("/cancel")]


def test_a_provider_that_does_not_hear_is_told_again(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    before = shop.only_job()["status"]
    shop.fail("POST", 503, times=2)
    with pytest.raises(ProviderDown):
        cancel(finetune, by=boss)
    for told in (1, 2):
        finetune.refresh_from_db()
        assert (finetune.status, shop.only_job()["status"], len(cancels(shop))) == (Status.RUNNING, before, told)
        assert "answered 503" in finetune.trouble
        step(finetune)
    assert len(cancels(shop)) == 3
    assert shop.only_job()["status"] in ("cancelled", "cancel_requested")
    assert finetune.trouble == ""


@pytest.mark.parametrize("status", [401, 403, 404])
def test_one_that_may_not_be_stopped_is_followed_to_its_end(shop, batch, boss, status):
    finetune = sent(shop, batch, boss)
    shop.fail(f"POST {JOB[shop.dialect].removeprefix('GET ')}", status, times=9)
    with pytest.raises(ProviderRefused, match=f"answered {status}"):
        cancel(finetune, by=boss)
    shop.train(shop.only_job(), 10, 40, loss=1.0)
    step(finetune)
    assert (finetune.status, finetune.progress) == (Status.RUNNING, 25)
    assert f"answered {status}" in finetune.trouble
    shop.succeed(shop.only_job())
    step(finetune)
    assert (finetune.status, finetune.trouble) == (Status.SUCCESS, "")
    assert ModelVersion.objects.count() == 1


def test_one_that_is_gone_over_there_when_it_is_to_be_stopped_has_failed(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    shop.jobs.clear()
    assert cancel(finetune, by=boss)
    assert finetune.status == Status.FAILED
    assert "does not know the job any more" in finetune.error


def test_one_that_was_not_sent_yet_never_is(shop, batch, boss):
    finetune = submit(batch, by=boss, provider=shop.dialect)
    assert cancel(finetune, by=boss)
    assert (finetune.status, shop.requests) == (Status.CANCELLED, [])


def test_one_that_is_cancelled_while_its_files_are_sent_is_not_begun(shop, batch, boss, monkeypatch):
    finetune = submit(batch, by=boss, provider=shop.dialect)
    provider = providers.get(shop.dialect)
    upload = provider.upload

    def upload_while_somebody_cancels(*arguments):
        files = upload(*arguments)
        cancel(FineTune.objects.get(), by=boss)
        return files

    monkeypatch.setattr(provider, "upload", upload_while_somebody_cancels)
    step(finetune)
    assert (finetune.status, shop.jobs) == (Status.CANCELLED, {})


def test_one_that_may_have_begun_is_stopped_once_it_is_found(shop, batch, boss):
    shop.fail(CREATE[shop.dialect], 500, done=True)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    assert cancel(finetune, by=boss)
    assert finetune.status == Status.SUBMITTING
    step(finetune)
    assert shop.only_job()["status"] in ("cancelled", "cancel_requested")


def test_one_that_was_never_begun_is_cancelled_once_that_is_sure(shop, batch, boss):
    shop.fail(CREATE[shop.dialect], 500, done=False)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    assert cancel(finetune, by=boss)
    step(finetune)
    assert (finetune.status, shop.jobs) == (Status.CANCELLED, {})


def test_who_stops_the_job_in_the_list_of_jobs_stops_it_over_there_too(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    assert queue.cancel(finetune.job)
    assert finetune.job.pk != FineTune.objects.get().job_id  # somebody stays to see to it
    step(finetune)
    assert shop.only_job()["status"] in ("cancelled", "cancel_requested")


def test_one_whose_job_is_gone_gets_another(shop, batch, boss):
    finetune = sent(shop, batch, boss)
    finetune.job.delete()
    assert refresh(finetune).status == Status.RUNNING
    shop.succeed(shop.only_job())
    assert step(finetune).status == Status.SUCCESS


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_file_in_another_format_is_refused_before_anything_is_sent(shop, db):
    batch = batch_of(opinions(), format="jsonl")
    with pytest.raises(Unsuitable, match=f"{shop.dialect} trains on files in the format openai.*, and .* is jsonl"):
        submit(batch, by=batch.created_by, provider=shop.dialect)
    assert (shop.requests, FineTune.objects.count()) == ([], 0)


@only("openai", "glm")
def test_too_few_examples_are_refused(shop, db):
    batch = batch_of(opinions(20), format="openai")
    batch.manifest["parts"][0]["rows"] = 9  # as a batch of an older hub may have
    batch.save()
    with pytest.raises(Unsuitable, match=r"wants 10 examples to train on, and .* has 9"):
        submit(batch, by=batch.created_by, provider=shop.dialect)


def test_a_file_that_is_too_large_is_refused(shop, batch, boss, monkeypatch):
    monkeypatch.setattr(type(providers.get(shop.dialect)), "most_bytes", 1000)
    with pytest.raises(Unsuitable, match="takes files up to 0 MB"):
        submit(batch, by=boss, provider=shop.dialect)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 3}, "has no hyperparameter 'epochs'; it has n_epochs, "),
        ({"n_epochs": 0}, "n_epochs is a whole number from 1 to "),
        ({"n_epochs": 2.5}, "n_epochs is a whole number from 1 to "),
        ({"n_epochs": True}, "n_epochs is a whole number from 1 to "),
        ({"batch_size": "much"}, "batch_size is a whole number"),
        ({"suffix": "x" * 65}, "suffix is a text of at most 64 characters"),
    ],
)
def test_hyperparameters_it_does_not_have_are_refused(shop, batch, boss, given, said):
    with pytest.raises(Unsuitable, match=said):
        submit(batch, by=boss, provider=shop.dialect, hyperparameters=given)


def test_without_an_account_or_a_model_it_says_what_is_missing(shop, batch, boss, settings):
    settings.FINETUNE_PROVIDERS = {}
    with pytest.raises(Unsuitable, match=f"there is no account at {shop.dialect}"):
        submit(batch, by=boss, provider=shop.dialect)
    settings.FINETUNE_PROVIDERS = {shop.dialect: shop.settings(model="")}
    with pytest.raises(Unsuitable, match="name the base model"):
        submit(batch, by=boss, provider=shop.dialect)


def test_only_what_failed_is_tried_again(shop, batch, boss):
    from exports.errors import WrongState

    finetune = sent(shop, batch, boss)
    with pytest.raises(WrongState, match="is running: only what failed is tried again"):
        retry(finetune, by=make_superuser())


def test_no_key_is_written_to_a_log(shop, batch, boss, logged):
    bad = {"error": {"message": f"your key {KEY} is bad"}}
    shop.fail(CREATE[shop.dialect], 400, body=bad)
    finetune = step(submit(batch, by=boss, provider=shop.dialect))
    assert finetuning.refresh(finetune).status == Status.FAILED
    assert "your key … is bad" in finetune.error
    shop.faults.clear()

    finetune = step(retry(finetune, by=boss))
    for request, status in [("GET", 401), ("GET", 503), ("POST", 400), ("POST", 403)]:
        shop.fail(f"{request} {JOB[shop.dialect].removeprefix('GET ')}", status, body=bad)
        with suppress(ProviderDown, ProviderRefused):
            (refresh if request == "GET" else partial(cancel, by=boss))(finetune)
        shop.only_job()["status"] = "running"
    step(finetune)
    written = logged()
    assert "your key … is bad" in written
    assert "finetune_cancel_refused" in written
    row = FineTune.objects.filter(pk=finetune.pk).values().get()
    assert KEY not in written + str(row) + json.dumps(finetune.job.result)


# Commands -------------------------------------------------------------------------------------------------------------


def told(*command):
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def test_the_command_waits_for_the_provider_and_names_the_model(shop, batch, settings, monkeypatch):
    settings.FINETUNE_POLL_SECONDS = settings.FINETUNE_POLL_LIMIT_SECONDS = 0.1
    begin = shop.begin

    def begin_and_be_done(body):
        answer = begin(body)
        shop.succeed(shop.jobs[answer["id"]], "ft:done")
        return answer

    monkeypatch.setattr(shop, "begin", begin_and_be_done)
    printed = told(
        "finetune", str(batch.pk), "--provider", shop.dialect, "--hyperparameters", '{"n_epochs": 2}', "--wait"
    )
    assert f"model {batch.project.name}@1 at {shop.dialect}: ft:done" in printed
    assert FineTune.objects.get().hyperparameters == {"n_epochs": 2}


def test_the_command_says_what_is_wrong_with_its_arguments(batch):
    for arguments, said in [
        (("--hyperparameters", "[1]"), "in curly brackets"),
        (("--hyperparameters", "{"), "is not JSON"),
        (("--account", "none"), "no open provider account 'none'"),
    ]:
        with pytest.raises(CommandError, match=said):
            told("finetune", str(batch.pk), *arguments)


def test_refresh_finetunes_says_that_a_provider_is_down(shop, batch, boss):
    sent(shop, batch, boss)
    shop.fail(JOB[shop.dialect], 503)
    assert f"no news: {shop.dialect} answered 503" in told("refresh_finetunes")

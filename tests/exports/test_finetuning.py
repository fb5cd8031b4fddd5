"""The life of a fine-tune: begun once however often it is asked for, ended once however its worker ends."""

import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports import destinations, finetuning
from exports.errors import AlreadyStarted, NotReady, UnknownProvider, Unsuitable
from exports.finetuning import cancel, refresh, refresh_all, submit
from exports.models import FineTune, ModelVersion
from exports.predicting import predict
from exports.providers import local
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.errors import NotAllowed
from samples.models import Prediction, Task
from tests.factories import make_batch, make_member, make_project, make_staff, make_superuser, make_task

from .test_processes import ROOT, answer, hub  # noqa: F401  (a fixture)
from .training import batch_of, opinions

Status = FineTune.Status


@pytest.fixture(autouse=True)
def patience(settings):
    """Loading scikit-learn may outlast a heartbeat, and that sees no job inside the transaction of a test."""
    settings.JOB_LEASE_SECONDS = 600


@pytest.fixture
def batch(db):
    return batch_of(opinions())


@pytest.fixture
def boss(batch):
    return batch.created_by


def done(finetune):
    worker.bring_to_end(finetune.job)
    finetune.refresh_from_db()
    return finetune


def trail(finetune):
    """What the audit trail says of it, oldest first."""
    entries = AuditEntry.objects.filter(subject="finetune", subject_id=finetune.pk).order_by("pk")
    return [(entry.action, entry.before, entry.after, entry.actor and entry.actor.username) for entry in entries]


# From the button to the model -----------------------------------------------------------------------------------------


def test_a_batch_becomes_a_model_version_with_its_scores(batch, boss):
    finetune = submit(batch, by=boss, hyperparameters={"seed": 3})
    assert (finetune.status, finetune.job.kind, finetune.job.params) == (
        Status.SUBMITTING,
        "exports.finetune",
        {"finetune": finetune.pk},
    )
    done(finetune)
    assert (finetune.status, finetune.progress, finetune.error) == (Status.SUCCESS, 100, "")
    assert finetune.metrics["accuracy"] >= 0.7
    assert finetune.metrics["seed"] == 3
    assert finetune.metrics["batch"] == {"uuid": str(batch.uuid), "sha256": batch.sha256}
    assert [event["message"] for event in finetune.events][-1] == "done"
    version = ModelVersion.objects.get()
    assert (version.project, version.version, version.finetune) == (batch.project, 1, finetune)
    assert (version.metrics, version.artefact) == (finetune.metrics, f"models/{finetune.uuid}")
    assert trail(finetune) == [
        ("submit", "NOT_STARTED", "SUBMITTING", boss.username),
        ("start", "SUBMITTING", "RUNNING", None),
        ("succeed", "RUNNING", "SUCCESS", None),
    ]


def test_what_has_happened_so_far_is_shown_while_it_trains(batch, boss):
    finetune, shown = submit(batch, by=boss), []

    def progress(done, total, message=""):
        shown.append([event["message"] for event in FineTune.objects.get().events])

    finetuning.run(finetune, progress)
    assert shown[0] == ["reading the batch’s file"]
    assert max(len(messages) for messages in shown) == len(finetune.events) == 5


def test_what_had_happened_stays_on_one_that_is_stopped(batch, boss):
    finetune = submit(batch, by=boss)

    def stop(done, total, message=""):
        if "scoring" in message:
            raise worker.Stop

    with pytest.raises(worker.Stop):
        finetuning.run(finetune, stop)
    assert FineTune.objects.get().events[-1]["message"] == "trained; scoring on the test part"


def test_the_versions_of_a_project_are_numbered_on(batch, boss):
    done(submit(batch, by=boss))
    done(submit(batch, by=boss, again=True))
    other = batch_of(opinions())
    done(submit(other, by=boss))
    assert list(ModelVersion.objects.order_by("pk").values_list("project", "version")) == [
        (batch.project_id, 1),
        (batch.project_id, 2),
        (other.project_id, 1),
    ]


# What is refused ------------------------------------------------------------------------------------------------------


def test_while_one_is_under_way_there_is_no_second(batch, boss):
    submit(batch, by=boss)
    for again in (False, True):
        with pytest.raises(AlreadyStarted, match="is under way"):
            submit(batch, by=boss, again=again)
    assert FineTune.objects.count() == Job.objects.filter(kind="exports.finetune").count() == 1


def test_after_a_success_it_takes_the_word_again(batch, boss):
    done(submit(batch, by=boss))
    with pytest.raises(AlreadyStarted, match="has been fine-tuned already"):
        submit(batch, by=boss)
    assert done(submit(batch, by=boss, again=True)).status == Status.SUCCESS


def test_after_a_failure_or_a_cancel_it_may_be_started_anew(batch, boss):
    assert cancel(submit(batch, by=boss), by=boss)
    assert done(submit(batch, by=boss)).status == Status.SUCCESS


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "FAILED", "CANCELLED"])
def test_a_batch_without_a_file_is_refused(db, state):
    with pytest.raises(NotReady, match=f"is {state.lower()}: it has no file to train on"):
        submit(make_batch(make_project(), state=state), by=make_superuser())


def test_a_batch_of_several_projects_is_refused(db):
    with pytest.raises(Unsuitable, match="mixes several projects; a model belongs to one"):
        submit(make_batch(project=None, state="QUEUED"), by=make_superuser())


def test_an_unknown_provider_is_refused(batch, boss):
    with pytest.raises(UnknownProvider, match="'lokal'; known: .*local"):
        submit(batch, by=boss, provider="lokal")


def test_what_the_provider_cannot_do_is_refused_and_leaves_nothing(batch, boss):
    with pytest.raises(Unsuitable):
        submit(batch, by=boss, hyperparameters={"epochs": 3})
    assert not FineTune.objects.exists()


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER, Role.BUYER])
def test_who_may_not_fine_tune_is_refused(batch, role):
    member = make_member(batch.project, role)
    with pytest.raises(NotAllowed):
        submit(batch, by=member)
    with pytest.raises(NotAllowed):
        submit(batch, by=make_staff())
    assert not FineTune.objects.exists()


def test_a_manager_may(batch):
    assert submit(batch, by=make_member(batch.project, Role.MANAGER)).pk


# Ending otherwise -----------------------------------------------------------------------------------------------------


def test_one_that_waits_is_cancelled_at_once(batch, boss):
    finetune = submit(batch, by=boss)
    assert cancel(finetune, by=boss)
    assert finetune.status == Status.CANCELLED
    assert not cancel(finetune, by=boss)
    assert trail(finetune)[1:] == [
        ("ask to cancel", "SUBMITTING", "SUBMITTING", boss.username),
        ("cancelled", "SUBMITTING", "CANCELLED", None),
    ]


def test_one_that_runs_stops_at_its_next_report(batch, boss):
    finetune = submit(batch, by=boss)
    run = queue.claim(finetune.job.pk)
    assert cancel(finetune, by=boss)
    worker.run(run)
    finetune.refresh_from_db()
    assert (finetune.status, finetune.job.state) == (Status.CANCELLED, Job.State.CANCELLED)
    assert not ModelVersion.objects.exists()


def test_who_may_not_start_one_may_not_stop_one(batch, boss):
    finetune = submit(batch, by=boss)
    with pytest.raises(NotAllowed):
        cancel(finetune, by=make_member(batch.project, Role.REVIEWER))
    assert refresh(finetune).status == Status.SUBMITTING


@pytest.mark.django_db(transaction=True)  # a failed job closes its connection
def test_a_file_that_is_gone_fails_it_and_the_reason_is_told(batch, boss):
    destinations.storage_of(batch.destination).delete(batch.path)
    finetune = done(submit(batch, by=boss))
    assert finetune.status == Status.FAILED
    assert "is gone from destination 'local'" in finetune.error
    assert trail(finetune)[-1] == ("failed", "RUNNING", "FAILED", None)


def test_a_run_that_died_after_its_success_changes_nothing_when_it_is_repeated(batch, boss):
    finetune = done(submit(batch, by=boss))
    finetuning.run(finetune, lambda *_: None)
    assert ModelVersion.objects.count() == 1
    assert len(trail(finetune)) == 3


def test_one_whose_job_is_gone_does_not_stay_running_for_ever(batch, boss):
    finetune = submit(batch, by=boss)
    assert refresh_all() == 0
    finetune.job.delete()
    assert refresh_all() == 1
    finetune.refresh_from_db()
    assert (finetune.status, finetune.error) == (Status.FAILED, "its job is gone")


# Real processes -------------------------------------------------------------------------------------------------------


def start(hub, verb, *arguments):  # noqa: F811
    command = [sys.executable, "-m", "tests.exports.trainers", verb, *map(str, arguments)]
    return subprocess.Popen(command, env=hub.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_ten_who_start_it_at_the_same_moment_one_does(hub):  # noqa: F811
    answer(start(hub, "prepare", 40, 2))
    assert answer(start(hub, "submit_together", 10)) == {
        "answers": {"started": 1, "already_started": 9},
        "finetunes": 1,
        "jobs": 1,
    }


def test_one_whose_worker_is_killed_starts_over_and_leaves_one_model(hub):  # noqa: F811
    answer(start(hub, "prepare", 2_000, 30))
    first = start(hub, "train")
    line = first.stdout.readline()
    first.kill()
    first.communicate()
    assert line == "on its way\n"
    assert not (hub.folder / "media").exists(), "it was not killed in the middle"

    ended = answer(start(hub, "train"))
    assert (ended["status"], ended["attempts"], ended["versions"]) == ("SUCCESS", 2, 1), ended["error"]
    folders = list((hub.folder / "media" / "models").iterdir())
    assert [sorted(file.name for file in folder.iterdir()) for folder in folders] == [
        ["metrics.json", "model.json", "model.safetensors"]
    ]


# Commands -------------------------------------------------------------------------------------------------------------


def told(*command, **options):
    out = StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("name", ["pk", "uuid", "short_id", "hex"])
def test_the_command_knows_a_batch_by_any_of_its_names(batch, name):
    batch_name = batch.uuid.hex if name == "hex" else str(getattr(batch, name))
    assert told("finetune", batch_name).startswith("fine-tune ")
    assert FineTune.objects.get().batch == batch


def test_the_command_waits_and_prints_the_scores(batch):
    printed = told("finetune", str(batch.pk), "--wait")
    finetune = FineTune.objects.get()
    assert f"model {batch.project.name}@1 in models/{finetune.uuid}" in printed
    assert f"accuracy {finetune.metrics['accuracy']:.3f}" in printed
    assert "learnt from 64 texts, judged by 8 (the batch’s test part)" in printed
    with pytest.raises(CommandError, match="has been fine-tuned already"):
        told("finetune", str(batch.pk), "--wait")
    assert f"model {batch.project.name}@2" in told("finetune", str(batch.pk), "--wait", "--again")


def test_the_command_names_what_it_does_not_find(batch):
    for name in ("0", "99999999", "zzz", "deadbeef", "dead"):
        with pytest.raises(CommandError, match=f"no batch '{name}'"):
            told("finetune", name)


@pytest.mark.django_db(transaction=True)  # a failed job closes its connection
def test_the_command_fails_when_the_training_does(batch):
    destinations.storage_of(batch.destination).delete(batch.path)
    with pytest.raises(CommandError, match="failed: the file of .* is gone"):
        told("finetune", str(batch.pk), "--wait")


def test_refresh_finetunes_says_how_each_stands(batch, boss):
    finetune = submit(batch, by=boss)
    assert told("refresh_finetunes") == f"{finetune}: submitting, 0 %\n0 changed\n"


# Predictions ----------------------------------------------------------------------------------------------------------


def test_a_version_guesses_and_guessing_again_replaces_its_guesses(batch, boss):
    version = done(submit(batch, by=boss)).model_version
    tasks = [make_task(batch.project, text) for text in ("kettle: broken on arrival", "hotel: great and lovely")]
    elsewhere = make_task(make_project(), "café: terrible")
    asked = Task.objects.filter(pk__in=[*(task.pk for task in tasks), elsewhere.pk])
    for _ in range(2):
        assert predict(version, asked) == 2
    guesses = Prediction.objects.select_related("label").order_by("task")
    assert [(guess.task_id, guess.label.name, guess.model) for guess in guesses] == [
        (tasks[0].pk, "Bad", f"{batch.project.name}@1"),
        (tasks[1].pk, "Good", f"{batch.project.name}@1"),
    ]
    model = local.load(version.artefact)
    assert [guess.probability for guess in guesses] == [
        pytest.approx(row.max()) for row in model.predict_proba([task.content for task in tasks])
    ]


def test_thirty_tasks_are_guessed_with_the_queries_of_one(batch, boss, django_assert_num_queries):
    done(submit(batch, by=boss))
    for number in range(30):
        make_task(batch.project, f"tent {number}: love it, works perfectly")
    first = Task.objects.pending().order_by("pk").first()
    with CaptureQueriesContext(connection) as one:
        assert predict(ModelVersion.objects.get(), Task.objects.filter(pk=first.pk)) == 1
    with django_assert_num_queries(len(one)):
        assert predict(ModelVersion.objects.get(), Task.objects.pending()) == 30

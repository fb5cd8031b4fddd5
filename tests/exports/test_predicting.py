"""A model guesses about tasks: a job that goes on after a death, changes nothing when run twice, and touches no answer."""

import os
import signal
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from exports import predicting
from exports.errors import NothingToAsk, UnknownModel, Unsuitable
from exports.finetuning import submit
from exports.models import ModelVersion, PredictionRun
from exports.predicting import ask, unlabelled, version_named
from exports.providers import local
from exports.providers.scores import margins
from exports.versions import tag
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.errors import NotAllowed
from samples.models import Annotation, Prediction, Task
from tests.factories import make_annotation, make_member, make_project, make_settled_task, make_superuser, make_task

from .training import batch_of, opinions

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patience(settings):
    settings.JOB_LEASE_SECONDS = 600


@pytest.fixture
def version(db):
    """A model that tells good opinions from bad."""
    return trained(batch_of(opinions()))


def trained(batch, **more):
    finetune = submit(batch, by=batch.created_by, **more)
    worker.bring_to_end(finetune.job)
    return ModelVersion.objects.select_related("project", "finetune__batch__project").get(finetune=finetune)


def wait_for_answers(version, count=6):
    return [
        make_task(version.project, f"{thing} {number}: {words}")
        for number in range(count)
        for thing, words in [("kettle", "broken on arrival") if number % 2 else ("hotel", "great and lovely")]
    ]


def done(run):
    worker.bring_to_end(run.job)
    run.refresh_from_db()
    assert run.job.state == Job.State.DONE, run.job.error
    return run


def kept():
    return list(Prediction.objects.order_by("pk").values_list("pk", "task", "label__name", "probability", "created_at"))


def told(*args):
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


# The run --------------------------------------------------------------------------------------------------------------


def test_a_run_guesses_about_the_tasks_that_wait_for_answers_and_about_no_others(version):
    tasks = wait_for_answers(version)
    settled, elsewhere = make_settled_task(version.project, "a settled one", label="Good"), make_task(make_project())
    boss = version.finetune.created_by
    run = ask(version, unlabelled(version.project), by=boss)
    assert (run.task_count, run.position, run.job.kind) == (6, 0, "exports.predict")
    done(run)
    guesses = Prediction.objects.select_related("label").order_by("task")
    assert [(guess.task_id, guess.label.name) for guess in guesses] == [
        (task.pk, "Bad" if number % 2 else "Good") for number, task in enumerate(tasks)
    ]
    assert {guess.model for guess in guesses} == {str(version)}
    assert (run.guessed_count, run.position) == (6, 6)
    assert run.job.result["guessed"] == 6
    assert not Prediction.objects.filter(task__in=[settled, elsewhere]).exists()
    entry = AuditEntry.objects.get(action="predict")
    assert (entry.actor, entry.subject_id, entry.after) == (boss, version.pk, "6 tasks")


def test_its_margin_stands_on_the_task(version):
    tasks = wait_for_answers(version)
    done(ask(version, unlabelled(version.project), by=None))
    chances = local.load(version.artefact).predict_proba([task.content for task in tasks])
    for task, row in zip(tasks, chances, strict=True):
        task.refresh_from_db()
        assert task.margin == pytest.approx(max(row) - min(row))


def test_a_margin_is_the_lead_of_the_first_over_the_second_or_how_far_any_label_is_from_a_half():
    chances = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.9, 0.05, 0.05]])
    assert margins(chances) == pytest.approx([0.2, 0.0, 0.85])
    several = np.array([[0.9, 0.4], [0.99, 0.98], [0.2, 0.3]])
    assert margins(several, several=True) == pytest.approx([0.2, 0.96, 0.0])
    assert list(margins(np.ones((2, 1)))) == [1.0, 1.0]


def test_run_twice_it_changes_nothing(version):
    wait_for_answers(version)
    done(ask(version, unlabelled(version.project), by=None))
    before, stamps = kept(), list(Task.objects.order_by("pk").values_list("margin", "updated_at"))
    run = done(ask(version, unlabelled(version.project), by=None))
    assert run.guessed_count == 6
    assert kept() == before
    assert list(Task.objects.order_by("pk").values_list("margin", "updated_at")) == stamps


def test_what_a_task_says_by_now_is_guessed_anew(version):
    task = wait_for_answers(version, 1)[0]
    done(ask(version, unlabelled(version.project), by=None))
    Task.objects.filter(pk=task.pk).update(content="kettle: broken on arrival, terrible")
    done(ask(version, unlabelled(version.project), by=None))
    assert Prediction.objects.get().label.name == "Bad"


def test_a_run_that_was_cut_off_goes_on_where_its_guesses_end(version, monkeypatch):
    monkeypatch.setattr(local.LocalGuesser, "at_once", 2)
    wait_for_answers(version)
    run = ask(version, unlabelled(version.project), by=None)
    asked = []

    class Dies(Exception):
        pass

    class Mortal:
        """What a job speaks through; it dies after the second block."""

        def __call__(self, done, total, message=""):
            asked.append(done)
            if done == 4:
                raise Dies

    with pytest.raises(Dies):
        predicting.run(PredictionRun.objects.get(), Mortal())
    before = kept()
    assert (len(before), PredictionRun.objects.get().position) == (4, 4)
    done(run)
    assert kept()[:4] == before
    assert (run.guessed_count, Prediction.objects.count()) == (6, 6)


def test_a_run_that_was_overtaken_writes_nothing_more(version, monkeypatch):
    monkeypatch.setattr(local.LocalGuesser, "at_once", 2)
    wait_for_answers(version)
    ask(version, unlabelled(version.project), by=None)
    slow, fast = PredictionRun.objects.get(), PredictionRun.objects.get()
    predicting.run(fast, lambda *_: None)
    with pytest.raises(worker.LeaseLost):
        predicting.run(slow, lambda *_: None)
    assert PredictionRun.objects.get().guessed_count == Prediction.objects.count() == 6


def test_a_run_is_cancelled_and_what_is_guessed_stays(version, monkeypatch):
    monkeypatch.setattr(local.LocalGuesser, "at_once", 2)
    wait_for_answers(version)
    run = ask(version, unlabelled(version.project), by=None)
    assert predicting.cancel(run, by=version.finetune.created_by)
    run.job.refresh_from_db()
    assert run.job.state == Job.State.CANCELLED
    assert not predicting.cancel(run, by=version.finetune.created_by)
    assert predicting.state_of(run) == "CANCELLED"


def test_answers_and_verdicts_of_people_stay_as_they_are(version):
    task = wait_for_answers(version, 1)[0]
    answer = make_annotation(task, label="Bad")
    settled = make_settled_task(version.project, "hotel: great and lovely", label="Bad")
    done(ask(version, Task.objects.filter(pk__in=[task.pk, settled.pk]), by=None))
    settled.refresh_from_db()
    assert (settled.label_name, settled.status, settled.confidence) == ("Bad", "COMPLETED", 1.0)
    assert Annotation.objects.get() == answer and answer.answer == {"label": "Bad"}
    assert set(Prediction.objects.values_list("label__name", flat=True)) == {"Good"}


def test_items_with_choices_of_their_own_are_left_out_and_counted(version):
    wait_for_answers(version, 2)
    make_task(version.project, "which one?", options=["this", "that"])
    run = done(ask(version, unlabelled(version.project), by=None))
    assert (run.task_count, run.guessed_count, run.skipped_count) == (3, 2, 1)


def test_a_task_that_is_gone_by_then_is_counted(version):
    tasks = wait_for_answers(version, 3)
    run = ask(version, unlabelled(version.project), by=None)
    tasks[1].delete()
    assert (done(run).guessed_count, run.skipped_count) == (2, 1)


def test_a_label_that_the_project_has_no_more_is_no_guess_and_is_told(version):
    wait_for_answers(version, 2)
    version.project.labels.filter(name="Bad").update(name="Awful")
    run = done(ask(version, unlabelled(version.project), by=None))
    assert (run.guessed_count, run.refused_count, run.refusals) == (1, 1, {"Bad": 1})


def test_who_may_not_train_models_may_not_let_them_guess(version):
    wait_for_answers(version)
    for role in (Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER, Role.BUYER):
        with pytest.raises(NotAllowed):
            ask(version, unlabelled(version.project), by=make_member(version.project, role))
    assert ask(version, unlabelled(version.project), by=make_member(version.project, Role.MANAGER))


def test_nothing_to_guess_is_said(version):
    with pytest.raises(NothingToAsk, match="none of the chosen tasks"):
        ask(version, unlabelled(version.project), by=None)
    version.artefact = ""
    with pytest.raises(Unsuitable, match="has no files"):
        ask(version, unlabelled(version.project), by=None)


def test_a_model_is_named_by_number_or_tag(version):
    name = version.project.name
    tag(version, "prod", by=make_superuser())
    assert version_named(f"{name}@1") == version_named(f"{name}@prod") == version
    for wrong in (name, f"{name}@2", f"{name}@staging", "nowhere@1", f"{name}@99999999999999999999"):
        with pytest.raises(UnknownModel, match="write it project@3"):
            version_named(wrong)


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_guesses_and_says_what_came_of_it(version):
    tasks = wait_for_answers(version)
    printed = told("predict", str(version), "--wait")
    assert f"{version} is asked about 6 tasks" in printed
    assert "6 guessed, 0 without a label, 0 left out" in printed
    assert "asked about 1 tasks" in told("predict", str(version), "--id", tasks[0].uid)
    with pytest.raises(CommandError, match="none of the chosen tasks"):
        told("predict", str(version), "--status", "COMPLETED", "--source", "nowhere")
    with pytest.raises(CommandError, match="no model 'x@1'"):
        told("predict", "x@1")


# Killed -----------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="another process cannot see a SQLite database in memory")
def test_a_worker_killed_in_the_middle_is_followed_by_another(version, settings, tmp_path):
    wait_for_answers(version, 1200)
    run = ask(version, unlabelled(version.project), by=None)
    name = connection.settings_dict["NAME"]
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        f"settings.STORAGES['default']['OPTIONS'] = {{'location': {settings.STORAGES['default']['OPTIONS']['location']!r}}}\n"
        "from exports.providers import local\n"
        "local.LocalGuesser.at_once = 5\n"
        "from labelhub.jobs import queue, worker\n"
        f"worker.run(queue.claim({run.job.pk}))\n"
    )
    at = settings.DATABASES["default"]
    url = f"postgres://{at['USER']}:{at.get('PASSWORD') or ''}@{at['HOST']}:{at['PORT'] or 5432}/{name}"
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "labelhub.settings"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until = time.monotonic() + 60
    while time.monotonic() < until and not 20 <= PredictionRun.objects.get().position < 1200:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run.refresh_from_db()
    assert 20 <= run.position < 1200
    before = kept()
    assert len(before) == run.position == run.guessed_count
    Job.objects.update(lease_until="2020-01-01T00:00:00Z")
    queue.sweep()
    Job.objects.update(run_after="2020-01-01T00:00:00Z")
    done(run)
    assert kept()[: len(before)] == before
    assert run.guessed_count == Prediction.objects.count() == 1200

"""Models at work over the API: they guess, fill in forms, set the order of work, and point at label errors."""

import pytest
from django.urls import resolve

from exports.models import FineTune, ModelVersion, PredictionRun
from labelhub.accounts.roles import Role
from labelhub.api.native.envelope import NativeViews
from labelhub.jobs import worker
from labelhub.jobs.models import Job
from samples import suggesting
from samples.models import Annotation, Doubt, Prediction
from tests.exports.test_predicting import trained
from tests.exports.test_trusting import CURVE
from tests.exports.training import batch_of, opinions, project_of
from tests.factories import make_batch, make_member, make_project, make_sample, make_settled_task, make_task
from tests.samples.test_doubting import raised

from .conftest import Caller, refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(settings):
    settings.JOB_LEASE_SECONDS = 600
    return trained(batch_of(opinions()))


@pytest.fixture
def trainer(version):
    return Caller(make_member(version.project, Role.MANAGER))


def result_of(caller, answer):
    """What came of the job that `answer` names."""
    told = answer.json()
    assert (answer.status_code, answer["Location"]) == (202, f"/api/v1/jobs/{told['id']}")
    worker.bring_to_end(Job.objects.get(pk=told["id"]))
    done = caller.get(f"jobs/{told['id']}").json()
    assert done["state"] == "DONE", done["error"]
    return done["result"]


# Predictions ----------------------------------------------------------------------------------------------------------


def test_a_model_guesses_about_what_waits_about_those_named_or_those_a_filter_finds(trainer, version):
    tasks = [
        make_task(version.project, f"hotel {n}: great and lovely", locale="enfr"[n % 2 * 2 :][:2]) for n in range(4)
    ]
    settled = make_settled_task(version.project, label="Good")
    path = f"models/{version.pk}/predict"
    assert result_of(trainer, trainer.post(path))["guessed"] == 4
    assert result_of(trainer, trainer.post(path, {"ids": [settled.uid]}))["guessed"] == 1
    assert result_of(trainer, trainer.post(path, {"filter": {"locale": "fr"}}))["guessed"] == 2
    told = trainer.all(f"predictions?task={tasks[0].uid}")
    assert [(row["label"], row["model"]) for row in told] == [("Good", str(version))]
    selections = list(PredictionRun.objects.order_by("pk").values_list("selection", flat=True))
    assert selections == [{}, {"ids": [settled.uid]}, {"filter": {"locale": "fr"}}]


def test_the_same_request_twice_is_one_run(trainer, version):
    make_task(version.project)
    first, second = (trainer.post(f"models/{version.pk}/predict", Idempotency_Key="once") for _ in range(2))
    assert first.json()["id"] == second.json()["id"] and second["Idempotency-Replayed"] == "true"
    assert PredictionRun.objects.count() == 1


def test_a_choice_that_cannot_be_is_refused(trainer, version):
    task, elsewhere = make_task(version.project), make_task(make_project())
    path = f"models/{version.pk}/predict"
    assert refused(trainer.post(path, {"ids": [task.uid, elsewhere.uid]}), 400, "unknown_tasks")
    assert refused(trainer.post(path, {"ids": [task.uid], "filter": {}}), 400, "invalid")
    assert refused(trainer.post(path, {"filter": {"project": "other"}}), 400, "invalid")
    assert refused(trainer.post(path, {"filter": {"status": ["FAILED"]}}), 400, "nothing_to_ask")
    assert not PredictionRun.objects.exists()


def test_who_may_not_train_may_not_let_guess(version):
    make_task(version.project)
    path = f"models/{version.pk}/predict"
    for role in (Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER):
        assert refused(Caller(make_member(version.project, role)).post(path), 403, "not_allowed")
    assert refused(Caller(make_member(make_project(), Role.MANAGER)).post(path), 404, "not_found")


# The next task --------------------------------------------------------------------------------------------------------


def test_the_next_task_comes_in_the_project_s_order_or_the_one_asked_for(manager, annotator, project):
    old, torn = make_task(project, margin=0.9), make_task(project, margin=0.1)
    told = manager.patch("projects/reviews", {"task_order": "margin", "random_share": 0}).json()
    assert (told["task_order"], told["random_share"], told["shows_suggestions"]) == ("margin", 0.0, True)
    path = "projects/reviews/tasks/next"
    assert annotator.post(path, expect=200).json()["task"]["id"] == torn.uid
    annotator.post(f"tasks/{torn.uid}/release")
    assert annotator.post(path, {"order": "age"}, 200).json()["task"]["id"] == old.uid
    assert refused(annotator.post(path, {"order": "oldest"}), 400, "invalid")
    assert refused(manager.ask("PATCH", "projects/reviews", {"task_order": "mood"}), 400, "invalid")
    assert refused(manager.ask("PATCH", "projects/reviews", {"random_share": 2}), 400, "invalid")


def test_what_a_model_guessed_comes_with_the_task(annotator, project, boss):
    task = make_task(project)
    path = "projects/reviews/tasks/next"
    assert annotator.post(path, expect=200).json()["suggestion"] is None
    Prediction.objects.create(task=task, model="m@1", label=project.labels.get(name="Positif"), probability=0.75)
    guesses = [{"label": "Positif", "probability": 0.75}]
    told = annotator.post(path, expect=200).json()["suggestion"]
    assert told == {"model": "m@1", "guesses": guesses, "fills_in": False}
    suggesting.fill_in(project, model="m@1", threshold=0.7, by=boss.user)
    assert annotator.post(path, expect=200).json()["suggestion"]["fills_in"] is True
    body = {"answer": {"label": "Positif"}, "prefilled_by": "m@1"}
    assert annotator.post(f"tasks/{task.uid}/annotations", body, 201).json()["prefilled_by"] == "m@1"
    assert Annotation.objects.get().prefilled_by == "m@1"


def test_a_model_fills_in_forms_from_a_precision_on_and_stops(manager, reviewer, project):
    finetune = FineTune.objects.create(batch=make_batch(project), status="SUCCESS")
    version = ModelVersion.objects.create(
        project=project, version=1, finetune=finetune, metrics={"coverage": CURVE, "n_test": 200}
    )
    path = f"models/{version.pk}/prefill"
    told = manager.ask("PUT", path, {"precision": 0.95}, expect=200).json()
    assert (told["threshold"], told["coverage"], told["precision"], told["seen"]) == (0.8, 0.5, 0.96, 100)
    shown = manager.get("projects/reviews").json()
    assert (shown["prefill_model"], shown["prefill_threshold"]) == ("reviews@1", 0.8)
    assert refused(manager.ask("PUT", path, {"precision": 0.99}), 409, "out_of_reach")
    assert refused(manager.ask("PUT", path, {"precision": "all"}), 400, "invalid")
    assert refused(reviewer.ask("PUT", path, {"precision": 0.9}), 403, "not_allowed")
    manager.delete(path)
    assert manager.get("projects/reviews").json()["prefill_model"] == ""
    version.metrics = {}
    version.save()
    assert refused(manager.ask("PUT", path, {"precision": 0.9}), 409, "no_curve")


# Doubts ---------------------------------------------------------------------------------------------------------------


def test_label_errors_are_looked_for_listed_and_looked_at(settings):
    settings.JOB_LEASE_SECONDS = 600
    rows = list(opinions(80))
    rows[4] = (rows[4][0], "Bad")
    project = project_of(rows)
    reviewer = Caller(make_member(project, Role.REVIEWER))
    told = result_of(reviewer, reviewer.post(f"projects/{project.name}/doubts"))
    assert (told["judged"], told["model"]) == (80, f"{project.name}@cross")
    doubts = reviewer.all(f"doubts?project={project.name}&state=OPEN")
    assert len(doubts) == told["doubts"]
    first = doubts[0]
    assert (first["content"], first["verdict"], first["suggestion"]) == (rows[4][0], "Bad", "Good")
    assert first["trust"] < 0.5 < first["confidence"]
    done = reviewer.post(f"doubts/{first['id']}/correct", expect=200).json()
    assert (done["state"], done["looked_at_by"]) == ("CORRECTED", reviewer.user.username)
    (sample,) = reviewer.all(f"samples?project={project.name}&status=PENDING")
    assert (sample["id"], sample["label"]) == (first["task"], "Good")
    assert refused(reviewer.post(f"doubts/{first['id']}/keep"), 409, "wrong_state")
    annotator = Caller(make_member(project))
    assert annotator.all("doubts") == []
    assert refused(annotator.post(f"doubts/{first['id']}/keep"), 404, "not_found")
    assert refused(annotator.post(f"projects/{project.name}/doubts"), 403, "not_allowed")


def test_a_verdict_is_kept_or_reopened(reviewer, project):
    kept, opened = raised(make_sample(project), make_sample(project))
    assert reviewer.post(f"doubts/{kept.pk}/keep", expect=200).json()["state"] == "KEPT"
    assert reviewer.post(f"doubts/{opened.pk}/reopen", expect=200).json()["state"] == "REOPENED"
    assert [row["id"] for row in reviewer.all("doubts?state=KEPT&state=REOPENED&trust_max=0.5")] == [kept.pk, opened.pk]
    assert Doubt.objects.open().count() == 0


def test_a_model_of_another_project_judges_nothing(version):
    project = project_of(opinions(40))
    boss = Caller(make_member(project, Role.MANAGER))
    assert refused(boss.post(f"projects/{project.name}/doubts", {"model": version.pk}), 404, "not_found")


def test_the_addresses_are_ours():
    for path in ("models/1/predict", "models/1/prefill", "doubts", "doubts/1/keep", "projects/x/doubts"):
        assert issubclass(resolve(f"/api/v1/{path}").func.cls, NativeViews)

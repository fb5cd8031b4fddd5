"""From the admin a model is let guess: about what waits, or about tasks chosen in their list; and its run is watched."""

import pytest

from exports.models import PredictionRun
from labelhub.accounts.roles import Role
from labelhub.jobs.models import Job
from samples.models import Prediction
from tests.factories import make_member, make_project, make_settled_task, make_superuser, make_task

from .test_admin import run_jobs, said, text_of
from .test_predicting import trained
from .training import batch_of, opinions

pytestmark = pytest.mark.django_db
TASKS = "/admin/samples/task/"


@pytest.fixture
def version(settings):
    settings.JOB_LEASE_SECONDS = 600
    return trained(batch_of(opinions()))


def page_of(version, button="change"):
    return f"/admin/exports/modelversion/{version.pk}/{button}/"


def test_the_button_on_a_model_s_page_starts_a_run_over_unlabelled_tasks(client, version):
    make_task(version.project, "kettle: broken on arrival")
    make_settled_task(version.project, label="Good")
    boss = make_member(version.project, Role.MANAGER)
    client.force_login(boss)
    assert "Predict over unlabelled tasks…" in text_of(client.get(page_of(version)))
    answer = client.post(page_of(version, "predict"), {"_form_submitted": "True"})
    run = PredictionRun.objects.get()
    assert answer["HX-Redirect"] == f"/admin/exports/predictionrun/{run.pk}/change/"
    assert (run.task_count, run.created_by) == (1, boss)
    assert "Queued" in text_of(client.get(answer["HX-Redirect"]))
    run_jobs()
    shown = text_of(client.get(answer["HX-Redirect"]))
    assert "Done" in shown and "100%" in shown
    assert Prediction.objects.get().label.name == "Bad"
    shown = text_of(client.get(f"/admin/samples/prediction/?model={version}"))
    assert "kettle: broken on arrival" in shown


def test_a_model_with_nothing_to_guess_says_so(client, version):
    client.force_login(make_superuser())
    client.post(page_of(version, "predict"), {"_form_submitted": "True"})
    assert not PredictionRun.objects.exists()
    assert "there is nothing to guess" in text_of(client.get(page_of(version)))


def test_chosen_tasks_are_guessed_by_a_chosen_model(client, version):
    tasks = [make_task(version.project, f"hotel {n}: great and lovely") for n in range(3)]
    client.force_login(make_member(version.project, Role.MANAGER))
    data = {"action": "predict", "_selected_action": [tasks[0].pk, tasks[2].pk]}
    asked = client.post(TASKS, data)
    assert "Selected: 2." in text_of(asked) and str(version) in text_of(asked)
    client.post(TASKS, data | {"apply": "1", "version": version.pk})
    run_jobs()
    assert list(Prediction.objects.order_by("task").values_list("task", flat=True)) == [tasks[0].pk, tasks[2].pk]
    assert PredictionRun.objects.get().selection == {"ids": [tasks[0].pk, tasks[2].pk]}


def test_all_that_the_list_s_filter_finds_are_guessed(client, version):
    tasks = [make_task(version.project, f"zeppelin {n}: great and lovely") for n in range(3)]
    make_task(version.project, "kettle: broken")
    client.force_login(make_member(version.project, Role.MANAGER))
    data = {"action": "predict", "_selected_action": [tasks[0].pk], "select_across": "1", "apply": "1"}
    client.post(f"{TASKS}?q=zeppelin", data | {"version": version.pk})
    assert PredictionRun.objects.get().task_count == 3


def test_only_models_of_projects_in_which_one_may_train_are_offered(client, version):
    task = make_task(version.project)
    reviewer = make_member(version.project, Role.REVIEWER)
    make_member(make_project(), Role.MANAGER, user=reviewer)
    client.force_login(reviewer)
    answer = client.post(TASKS, {"action": "predict", "_selected_action": [task.pk]}, follow=True)
    assert "None of these tasks is of a project that has a model." in said(answer)
    assert "Predict over unlabelled" not in text_of(client.get(page_of(version)))
    assert client.post(page_of(version, "predict"), {"_form_submitted": "True"}).status_code in (302, 403)
    assert not PredictionRun.objects.exists()


def test_a_run_is_cancelled_from_its_page(client, version):
    make_task(version.project)
    boss = make_member(version.project, Role.MANAGER)
    client.force_login(boss)
    client.post(page_of(version, "predict"), {"_form_submitted": "True"})
    run = PredictionRun.objects.get()
    client.post(f"/admin/exports/predictionrun/{run.pk}/cancel/", {"_form_submitted": "True"})
    assert Job.objects.get(pk=run.job_id).state == "CANCELLED"
    assert "Cancelled" in text_of(client.get(f"/admin/exports/predictionrun/{run.pk}/change/"))


def test_strangers_find_no_runs(client, version):
    make_task(version.project)
    client.force_login(make_superuser())
    client.post(page_of(version, "predict"), {"_form_submitted": "True"})
    run = PredictionRun.objects.get()
    for person in (make_member(version.project, Role.REVIEWER), make_member(make_project(), Role.MANAGER)):
        client.force_login(person)
        assert client.get(f"/admin/exports/predictionrun/{run.pk}/change/").status_code == 404

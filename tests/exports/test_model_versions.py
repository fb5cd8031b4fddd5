"""Models after their training: where they come from, what they are called, and which of two is better."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports import batching, comparing, retention
from exports.errors import NotAskedYet, Unsuitable
from exports.finetuning import submit
from exports.models import FineTune, ModelTag, ModelVersion, PredictionRun
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import worker
from samples.models import Sample, Task
from tests.factories import (
    make_annotation,
    make_batch,
    make_member,
    make_project,
    make_settled_task,
    make_staff,
    make_superuser,
)
from tests.providers.shop import Shop

from .test_remote_providers import step
from .training import batch_of, opinions, project_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patience(settings):
    settings.JOB_LEASE_SECONDS = 600


def trained(batch, **more):
    finetune = submit(batch, by=batch.created_by, again=True, **more)
    worker.bring_to_end(finetune.job)
    finetune.refresh_from_db()
    assert finetune.status == "SUCCESS", finetune.error
    return finetune.model_version


def untrained(project, number):
    batch = make_batch(project)
    return ModelVersion.objects.create(project=project, version=number, finetune=FineTune.objects.create(batch=batch))


def page_of(version):
    return f"/admin/exports/modelversion/{version.pk}/change/"


def press(client, version, button, name):
    place = f"/admin/exports/modelversion/{version.pk}/{button}/"
    return client.post(place, {"name": name, "_form_submitted": "True"})


def test_a_tag_is_given_moved_and_taken_off_in_the_admin(client):
    project = make_project()
    first, second = untrained(project, 1), untrained(project, 2)
    client.force_login(make_member(project, Role.MANAGER))
    press(client, first, "tag", "prod")
    press(client, second, "tag", "prod")
    assert ModelTag.objects.get().version == second
    assert "prod" in client.get(page_of(second)).content.decode()
    press(client, second, "untag", "prod")
    assert not ModelTag.objects.exists()
    noted = AuditEntry.objects.filter(subject="modeltag").order_by("pk").values_list("action", "before", "after")
    assert list(noted) == [
        ("tag", "", str(first)),
        ("tag", str(first), str(second)),
        ("untag", str(second), ""),
    ]


def test_who_only_sees_the_project_moves_no_tag(client):
    project = make_project()
    version = untrained(project, 1)
    client.force_login(make_member(project, Role.VIEWER))
    assert press(client, version, "tag", "prod").status_code == 403
    client.force_login(make_member(make_project(), Role.MANAGER))
    assert press(client, version, "tag", "prod").status_code == 404
    assert not ModelTag.objects.exists()


def test_a_model_names_the_batch_the_samples_and_the_answers_it_is_made_of(client):
    batch = batch_of(opinions(40))
    for sample in Sample.objects.filter(project=batch.project)[:6]:
        make_annotation(sample.task, label=sample.label_name)
    version = trained(batch)
    found = comparing.lineage(version)
    assert (found["samples"], found["annotations"], found["annotators"]) == (40, 6, 6)
    client.force_login(batch.created_by)
    told = client.get(page_of(version)).content.decode()
    assert f"batch {batch.short_id}" in told and "6 annotations by 6 people" in told and batch.sha256 in told


def test_a_model_of_tasks_as_they_stand_names_their_answers_too():
    project = make_project()
    tasks = [make_settled_task(project) for _ in range(4)]
    for task in [*tasks, tasks[0]]:  # the first has two answers, the last is not in the batch
        make_annotation(task)
    batch = batching.gather_tasks(
        Task.objects.filter(pk__in=[task.pk for task in tasks[:3]]), by=make_superuser(), format="jsonl"
    )
    finetune = FineTune.objects.create(batch=batch)
    found = comparing.lineage(ModelVersion.objects.create(project=project, version=1, finetune=finetune))
    assert (found["samples"], found["annotations"], found["annotators"]) == (3, 4, 4)


def test_two_models_are_judged_by_the_same_texts(client):
    project = project_of(opinions(30))
    before = trained(batch_of([], project=project, ratios="0.8/0/0.2"))
    grown = project_of(opinions(120))
    batch = batch_of([], project=grown)
    first, second = trained(batch, hyperparameters={"C": 0.001}), trained(batch)
    found = comparing.compare(second, first)  # in whichever order they were chosen
    assert found.versions == (first, second)
    assert sum(found.agreement.values()) == second.metrics["n_test"]
    assert found.metrics[1]["accuracy"] == second.metrics["accuracy"]
    assert found.metrics[0]["accuracy"] == first.metrics["accuracy"]
    assert found.metrics[0]["log_loss"] == first.metrics["log_loss"]
    assert found.seen == (0, 0)
    with pytest.raises(Unsuitable, match="questions of different projects"):
        comparing.compare(before, first)

    client.force_login(batch.created_by)
    chosen = {"action": "compare", "_selected_action": [first.pk, second.pk]}
    told = client.post("/admin/exports/modelversion/", chosen).content.decode()
    assert "Both judged by the test part of" in told and "both right" in told and "Calibration error" in told
    alone = client.post("/admin/exports/modelversion/", chosen | {"_selected_action": [first.pk]}, follow=True)
    assert "Choose two models to compare." in alone.content.decode()


def test_a_model_that_has_seen_the_test_is_found_out():
    rows = list(opinions(60))
    project = project_of(rows)
    first = trained(batch_of([], project=project, ratios="0.9/0/0.1"))
    second = trained(batch_of([], project=project, ratios="0.5/0/0.5", seed="other", allow_reexport=True))
    found = comparing.compare(first, second)
    assert found.seen[0] > 20
    assert found.seen[1] == 0


@pytest.fixture
def pair(settings):
    """Two models of one project, the first of this machine, the later at a provider, which knows only "Good"; and that."""
    settings.PROVIDER_TIMEOUT = 5
    with Shop("openai") as shop:
        settings.FINETUNE_PROVIDERS = {"openai": shop.settings()}
        shop.says = lambda text: "Good"
        project = project_of(opinions(80))
        here = trained(batch_of([], project=project))
        batch = batch_of([], project=project, format="openai", allow_reexport=True)
        finetune = step(submit(batch, by=batch.created_by, provider="openai"))
        shop.succeed(shop.only_job(), "ft:base:org::7")
        step(finetune)
        yield here, ModelVersion.objects.get(finetune=finetune), shop


def test_a_model_at_a_provider_is_judged_by_what_it_says_about_the_test_part(pair):
    here, there, shop = pair
    with pytest.raises(NotAskedYet, match="lives at openai and was not asked about the test part") as refusal:
        comparing.compare(here, there)
    assert refusal.value.details == {"version": there.pk, "batch": there.finetune.batch_id, "texts": 8}
    run = comparing.ask_about_test(there, there.finetune.batch, by=there.finetune.created_by)
    worker.bring_to_end(run.job)
    asked = shop.calls("POST /chat/completions")
    assert len(asked) == 8
    found = comparing.compare(there, here)
    assert found.versions == (here, there)
    assert (found.metrics[1]["accuracy"], found.metrics[1]["macro_f1"]) == (0.5, pytest.approx(1 / 3, abs=1e-4))
    assert found.metrics[1]["per_label"]["Good"]["recall"] == 1.0
    assert found.metrics[1]["confusion"]["rows"] == [[4, 0], [4, 0]]
    assert "log_loss" in found.metrics[0] and "log_loss" not in found.metrics[1]
    assert found.agreement == {"both": 4, "first": 4, "second": 0, "neither": 0}


def test_a_second_click_pays_for_nothing(client, pair):
    here, there, shop = pair
    client.force_login(there.finetune.created_by)
    place = f"/admin/ask-about-test/{there.pk}/{there.finetune.batch_id}/"
    first, second = (client.post(place, {"apply": "1"})["Location"] for _ in range(2))
    assert first == second and PredictionRun.objects.count() == 1
    worker.bring_to_end(PredictionRun.objects.get().job)
    client.post(place, {"apply": "1"})  # all is said: another run, which asks nothing
    worker.bring_to_end(PredictionRun.objects.last().job)
    assert (PredictionRun.objects.count(), len(shop.calls("POST /chat/completions"))) == (2, 8)


def test_an_answer_that_is_no_label_is_a_wrong_one(pair):
    here, there, shop = pair
    shop.says = lambda text: "I cannot say"
    worker.bring_to_end(comparing.ask_about_test(there, there.finetune.batch, by=there.finetune.created_by).job)
    assert comparing.compare(here, there).metrics[1]["accuracy"] == 0


def test_who_compares_is_led_to_ask_first(client, pair):
    here, there, shop = pair
    client.force_login(there.finetune.created_by)
    chosen = {"action": "compare", "_selected_action": [here.pk, there.pk]}
    asking = client.post("/admin/exports/modelversion/", chosen)
    assert asking["Location"] == f"/admin/ask-about-test/{there.pk}/{there.finetune.batch_id}/"
    assert "about the 8 texts of the test part" in client.get(asking["Location"]).content.decode()
    assert shop.calls("POST /chat/completions") == []
    shown = client.post(asking["Location"], {"apply": "1"}, follow=True).content.decode()
    assert "When it is done, compare the two again." in shown
    worker.bring_to_end(PredictionRun.objects.get().job)
    told = client.post("/admin/exports/modelversion/", chosen).content.decode()
    assert "Both judged by the test part of" in told and "Calibration error" not in told


def test_where_the_file_is_gone_nobody_can_be_asked(client, pair):
    here, there, shop = pair
    assert retention.remove_files(there.finetune.batch)
    client.force_login(there.finetune.created_by)
    place = f"/admin/ask-about-test/{there.pk}/{there.finetune.batch_id}/"
    assert "were removed on" in client.get(place, follow=True).content.decode()


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER, Role.BUYER, None])
def test_only_who_may_fine_tune_may_ask(client, pair, role):
    here, there, shop = pair
    client.force_login(make_member(there.project, role) if role else make_staff())
    place = f"/admin/ask-about-test/{there.pk}/{there.finetune.batch_id}/"
    assert {client.get(place).status_code, client.post(place, {"apply": "1"}).status_code} <= {403, 404}
    assert not PredictionRun.objects.exists()


def test_the_list_of_models_costs_the_same_for_one_and_for_many(client):
    project = make_project()
    untrained(project, 1)
    client.force_login(make_member(project, Role.MANAGER))
    client.get("/admin/exports/modelversion/")
    with CaptureQueriesContext(connection) as one:
        client.get("/admin/exports/modelversion/")
    for number in range(2, 12):
        untrained(project, number)
    with CaptureQueriesContext(connection) as many:
        client.get("/admin/exports/modelversion/")
    assert len(many) == len(one)


def test_the_list_of_fine_tunes_costs_the_same_for_one_and_for_many(client):
    project = make_project()
    client.force_login(make_member(project, Role.MANAGER))

    def more(count):
        for _ in range(count):
            FineTune.objects.create(batch=make_batch(project), status="RUNNING", events=[{"message": "x"}] * 50)

    more(1)
    client.get("/admin/exports/finetune/")
    with CaptureQueriesContext(connection) as one:
        client.get("/admin/exports/finetune/")
    more(10)
    with CaptureQueriesContext(connection) as many:
        client.get("/admin/exports/finetune/")
    assert len(many) == len(one)

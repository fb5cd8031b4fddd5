"""A fine-tune at a provider as its owner watches it: nobody presses reload."""

import os

import pytest
from django.utils import timezone

from exports.finetuning import submit
from exports.models import FineTune
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from tests.exports.training import batch_of, opinions
from tests.providers.shop import Shop

from .test_flow import log_in

pytestmark = pytest.mark.django_db(transaction=True)


def look_again():
    Job.objects.filter(kind="exports.finetune").update(run_after=timezone.now())
    worker.run(queue.claim(FineTune.objects.order_by("-pk").first().job_id))


def picture(page, name):
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_its_page_moves_by_itself_says_when_the_provider_is_down_and_offers_to_try_again(page, settings, complaints):
    settings.JOB_LEASE_SECONDS = 600
    with Shop() as shop:
        settings.FINETUNE_PROVIDERS = {"openai": shop.settings(model="gpt-4.1-mini")}
        batch = batch_of(opinions(), format="openai")
        log_in(page, batch.created_by)
        page.goto(f"/admin/finetune/{batch.pk}/")
        page.select_option("select[name=provider]", "openai")
        page.fill("textarea[name=hyperparameters]", '{"n_epochs": 3}')
        picture(page, "start")
        page.get_by_role("button", name="Start").click()
        page.get_by_text("None yet.").wait_for()

        # A server that is being restarted says so once; the page goes on asking.
        with page.expect_response(lambda answer: answer.status == 503):
            page.route("**/state/**", lambda route: route.fulfill(status=503), times=1)
        look_again()
        page.get_by_text("Created fine-tuning job").wait_for()
        assert ["503" in complaint for complaint in complaints] == [True]
        complaints.clear()
        for step in range(1, 9):
            shop.train(shop.only_job(), 10 * step, 100, loss=2.4 / step, valid_loss=2.9 / (step + 0.3))
        look_again()
        page.get_by_text("80%").wait_for()
        page.locator("[data-part=curve] polyline").nth(1).wait_for()
        page.get_by_text("Step 80/100").wait_for()

        shop.fail("GET /fine_tuning/jobs/", 503)
        look_again()
        page.get_by_text("No news: openai answered 503").wait_for()
        picture(page, "running")
        shop.break_off(shop.only_job(), "<b>Training diverged</b>")
        look_again()
        page.get_by_text("<b>Training diverged</b>").first.wait_for()  # as text, never as a part of the page
        picture(page, "failed")

        page.get_by_role("link", name="Clone…").click()
        assert '"n_epochs": 3' in page.input_value("textarea[name=hyperparameters]")
        assert page.input_value("input[name=model]") == "gpt-4.1-mini"
        page.get_by_role("button", name="Start").click()
        page.get_by_text("None yet.").wait_for()
        look_again()
        again = FineTune.objects.first()
        assert (again.repeats_id, again.status) == (FineTune.objects.last().pk, "RUNNING")
        job = shop.jobs[again.provider_job_id]
        shop.train(job, 100, 100, loss=0.2)
        shop.succeed(job, "ft:gpt-4.1-mini:org::9")
        look_again()
        page.get_by_text("ft:gpt-4.1-mini:org::9").first.wait_for()
        picture(page, "succeeded")
        page.goto("/admin/exports/finetune/")
        picture(page, "list")


def test_a_retry_is_one_click(page, settings):
    settings.JOB_LEASE_SECONDS = 600
    with Shop() as shop:
        settings.FINETUNE_PROVIDERS = {"openai": shop.settings()}
        batch = batch_of(opinions(), format="openai")
        shop.fail("POST /fine_tuning/jobs", 400, body={"error": {"message": "the model is full"}})
        finetune = submit(batch, by=batch.created_by, provider="openai")
        look_again()
        log_in(page, batch.created_by)
        page.goto(f"/admin/exports/finetune/{finetune.pk}/change/")
        page.get_by_text("the model is full").wait_for()
        page.get_by_role("link", name="Retry").click()
        page.get_by_role("button", name="Retry").click()
        page.get_by_text("On its way once more.").wait_for()
        look_again()
        assert FineTune.objects.first().status == "RUNNING"
        assert len(shop.jobs) == 1


def test_two_models_stand_side_by_side_and_one_is_tagged(page, settings):
    settings.JOB_LEASE_SECONDS = 600
    batch = batch_of(opinions(120), format="openai")
    log_in(page, batch.created_by)
    for c in (0.0001, 0.5):
        submit(batch, by=batch.created_by, hyperparameters={"C": c}, again=True)
        look_again()
    page.goto("/admin/exports/finetune/")
    page.goto(f"/admin/exports/finetune/{FineTune.objects.first().pk}/change/")
    page.get_by_text("sureness asked for").wait_for()
    picture(page, "local")
    page.goto("/admin/exports/modelversion/")
    page.locator("#action-toggle").check()
    page.select_option("select[name=action]", "compare")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Both judged by").wait_for()
    picture(page, "compare")
    version = FineTune.objects.first().model_version
    page.goto(f"/admin/exports/modelversion/{version.pk}/change/")
    page.get_by_role("link", name="Tag…").click()
    page.get_by_placeholder("prod").fill("prod")
    picture(page, "tagging")
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_text(f"prod is {version} now.").wait_for()
    picture(page, "version")
    page.goto("/admin/exports/provideraccount/add/")
    picture(page, "account")

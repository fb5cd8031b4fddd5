"""The main job as a new user does it, by mouse and keyboard."""

import json
import threading
import zipfile

import pytest

from labelhub.accounts.roles import Role
from labelhub.jobs.worker import work
from samples.models import Annotation, Membership, Project
from tests.factories import make_member, make_project, make_sample, make_staff, make_superuser, make_task

pytestmark = pytest.mark.django_db(transaction=True)


def log_in(page, user):
    page.goto("/admin/")
    page.fill("input[name=username]", user.username)
    page.fill("input[name=password]", "secret")
    page.press("input[name=password]", "Enter")
    page.wait_for_url("**/admin/")


def test_from_an_empty_hub_to_a_downloaded_training_file(page, reviews, tmp_path):
    log_in(page, make_staff("amelie"))
    page.get_by_role("link", name="Create a project").click()
    page.fill("input[name=name]", "reviews")
    page.select_option("select[name=task_type]", "SENTIMENT_ANALYSIS")
    page.fill("input[name=validations_needed]", "1")
    page.get_by_role("button", name="Save", exact=True).click()
    project = Project.objects.get(name="reviews")
    assert list(project.labels.values_list("name", flat=True)) == ["Positive", "Negative"]

    page.get_by_role("link", name="Import…").click()
    page.set_input_files("input[type=file]", reviews)
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Review number 1: lovely").wait_for()
    page.select_option("select[name=column_content]", "text")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("New tasks").wait_for()
    assert project.tasks.count() == 8

    page.goto("/admin/annotate/reviews/")
    for left in range(8, 0, -1):
        page.get_by_text(f"{left} left for you").wait_for()
        page.keyboard.press("1" if "lovely" in page.inner_text(".hub-text") else "2")
        page.keyboard.press("Enter")
    page.get_by_text("Nothing left for you here").wait_for()
    given = Annotation.objects.filter(task__project=project)
    assert {(a.task.content.split()[-1], a.answer["label"]) for a in given} == {
        ("lovely", "Positive"),
        ("dreadful", "Negative"),
    }
    assert all(annotation.lead_time_ms > 0 for annotation in given)

    # Nobody approves what only they answered: a colleague does.
    reviewer = make_member(project, Role.MANAGER, user=make_staff("brandon"))
    page.context.clear_cookies()
    log_in(page, reviewer)
    page.goto("/admin/samples/sample/")
    page.locator("#action-toggle, .action-toggle, thead input[type=checkbox]").first.check()
    page.select_option("select[name=action]", "approve")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Approved: 8.").wait_for()

    page.locator("#action-toggle, .action-toggle, thead input[type=checkbox]").first.check()
    page.select_option("select[name=action]", "export_selected")
    page.get_by_role("button", name="Run").click()
    page.select_option("select[name=format]", "openai")
    page.locator("textarea[name=system_prompt]").wait_for(state="visible")
    page.select_option("select[name=format]", "huggingface")
    page.locator("textarea[name=system_prompt]").wait_for(state="hidden")
    assert not page.locator("input[name=license]").is_visible()
    assert not page.locator("input[name=train]").is_visible()
    page.check("input[name=split]")
    for name, share in (("train", "0.5"), ("val", "0.25"), ("test", "0.25")):
        page.fill(f"input[name={name}]", share)
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("QUEUED", exact=False).first.wait_for()
    work(threading.Event(), until_empty=True)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name.startswith("reviews-") and file.suffix == ".zip"
    with zipfile.ZipFile(file) as archive:
        lines = {name: archive.read(name).decode().splitlines() for name in archive.namelist() if "jsonl" in name}
    assert {name: len(rows) for name, rows in lines.items()} == {"train.jsonl": 4, "val.jsonl": 2, "test.jsonl": 2}
    assert set(json.loads(lines["train.jsonl"][0])) == {"text", "label", "label_id"}


def test_a_batch_is_cancelled_in_a_dialog(page):
    project = make_project()
    make_sample(project)
    boss = make_superuser()
    log_in(page, boss)
    page.goto(f"/admin/export/{project.name}/")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel the batch").click()
    page.get_by_text("Asked to stop").wait_for()
    assert project.batches.get().state == "CANCELLED"


def test_every_list_and_page_keeps_to_the_content_security_policy(page):
    from django.contrib import admin
    from django.urls import reverse

    project = make_project(guidelines="Read it twice.")
    make_task(project), make_sample(project, status="PENDING")
    boss = make_superuser()
    Membership.objects.create(project=project, user=boss, role=Role.MANAGER)
    log_in(page, boss)
    own = [reverse(name, args=[project.name]) for name in ("annotate", "review", "import_tasks", "export_project")]
    lists = [reverse(f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist") for m in admin.site._registry]
    forms = [reverse("admin:samples_project_change", args=[project.pk]), "/admin/accounts/accesskey/add/"]
    for address in [*own, *forms, *lists]:
        assert page.goto(address).status == 200, address


def test_reviewing_by_mouse(page):
    project = make_project()
    log_in(page, make_member(project, Role.REVIEWER))
    sample = make_sample(project, "Pas mal", status="PENDING")
    page.goto(f"/admin/review/{project.name}/")
    page.get_by_text("Reject…").click()
    page.fill("input[name=reason]:visible", "off topic")
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_text("Rejected.").wait_for()
    sample.refresh_from_db()
    assert (sample.status, sample.reason) == ("REJECTED", "off topic")

"""The page that describes the API: from this server alone, and nothing that the content security policy forbids."""

import os

import pytest

from tests.factories import make_superuser

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_docs_list_the_nouns_and_try_a_request_out(page, live_server):
    make_superuser("boss")
    page.goto("/admin/login/?next=/api/docs")
    page.fill("input[name=username]", "boss")
    page.fill("input[name=password]", "secret")
    page.click("button[type=submit]")
    page.wait_for_selector("#operations-tasks-tasks_list")
    tags = page.locator("h3.opblock-tag").evaluate_all("tags => tags.map(tag => tag.dataset.tag)")
    nouns = {
        "projects",
        "labels",
        "tasks",
        "annotations",
        "predictions",
        "doubts",
        "samples",
        "batches",
        "finetunes",
        "models",
        "jobs",
    }
    assert nouns | {"authentication"} == set(tags)
    operation = page.locator("#operations-projects-projects_list")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/docs.png")
        page.locator("#operations-tasks-tasks_list").scroll_into_view_if_needed()
        page.screenshot(path=f"{folder}/docs-tasks.png")

"""The way of a model through the admin, with no account anywhere: from approved samples to suggestions beside the next task."""

import pytest

from exports.models import FineTune, ModelVersion, PredictionRun
from labelhub.accounts.roles import Role
from labelhub.jobs.worker import WorkerThreads
from samples.models import Annotation, Doubt, Prediction
from tests.exports.test_doubting import with_errors
from tests.exports.training import opinions, project_of
from tests.factories import make_member, make_task

from .test_finetune import picture
from .test_flow import log_in

pytestmark = pytest.mark.django_db(transaction=True)


def test_from_approved_samples_to_annotating_with_suggestions(page, settings):
    settings.JOB_LEASE_SECONDS = 600
    page.set_default_timeout(60_000)  # models are trained meanwhile
    rows, turned = with_errors(opinions(240), 0.05)
    project = project_of(rows)
    for number in range(6):
        make_task(project, f"umbrella {number}: {'broken on arrival' if number % 2 else 'great and lovely'}")
    boss = make_member(project, Role.MANAGER)
    log_in(page, boss)
    with WorkerThreads(1):
        # Pick approved samples, and export them.
        page.goto("/admin/samples/sample/?status__exact=APPROVED")
        page.locator("#action-toggle").check()
        page.get_by_text("Select all 240").click()
        page.select_option("select[name=action]", "export_selected")
        page.get_by_role("button", name="Run").click()
        page.select_option("select[name=format]", "jsonl")
        page.locator("label", has_text="Split into train, val and test").first.click()
        page.fill("input[name=train]", "0.6")
        page.fill("input[name=val]", "0")
        page.fill("input[name=test]", "0.4")
        page.get_by_role("button", name="Export").click()
        page.get_by_text("Ready", exact=True).wait_for()

        # Start a fine-tune with local, and watch it to its scores.
        page.get_by_role("link", name="Fine-tune…").click()
        page.select_option("select[name=provider]", "local")
        page.get_by_role("button", name="Start").click()
        page.get_by_text("trained; scoring on the test part").wait_for()
        page.get_by_text("True label (rows), guessed as (columns)").wait_for()
        picture(page, "work-scores")
        version = ModelVersion.objects.get(finetune=FineTune.objects.get())

        # Tag it prod.
        page.goto(f"/admin/exports/modelversion/{version.pk}/change/")
        page.get_by_role("link", name="Tag…").click()
        page.get_by_placeholder("prod").fill("prod")
        page.get_by_role("button", name="Tag", exact=True).click()
        page.get_by_text(f"prod is {version} now.").wait_for()
        picture(page, "work-version")

        # Predict over the unlabelled tasks.
        page.get_by_role("link", name="Predict over unlabelled tasks…").click()
        picture(page, "work-predict")
        page.get_by_role("button", name="Predict", exact=True).click()
        page.get_by_text("Done", exact=True).wait_for()
        picture(page, "work-run")
        assert PredictionRun.objects.get().guessed_count == 6
        page.get_by_role("link", name="See the predictions").click()
        page.get_by_text("umbrella 5").wait_for()
        picture(page, "work-predictions")

        # How far it may be trusted.
        page.goto(f"/admin/prefill/{version.pk}/")
        page.fill("input[name=precision]", "0.9")
        page.get_by_role("button", name="Show what that means").click()
        page.get_by_text("of the forms would be filled in").wait_for()
        picture(page, "work-prefill")

        # Annotate with suggestions, the least sure first.
        page.goto(f"/admin/samples/project/{project.pk}/change/")
        page.select_option("select[name=task_order]", "margin")
        picture(page, "work-project")
        page.get_by_role("button", name="Save", exact=True).click()
        page.goto(f"/admin/annotate/{project.name}/")
        page.get_by_text(f"what {version} guesses").wait_for()
        picture(page, "work-annotate")
        page.keyboard.press("a")
        assert page.locator("input[name=choice]:checked").count() == 1
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('input[name=choice]:checked') === null")
        answer = Annotation.objects.get(annotator=boss)
        assert answer.answer["label"] == Prediction.objects.get(task=answer.task).label.name

        # Let it fill in what it is sure of.
        page.goto(f"/admin/prefill/{version.pk}/")
        page.fill("input[name=precision]", "0.9")
        page.get_by_role("button", name="Fill in from there on").click()
        page.get_by_text("fills in what it is at least").wait_for()
        page.goto(f"/admin/annotate/{project.name}/")
        page.get_by_text(f"Filled in by {version}").wait_for()
        picture(page, "work-filled")
        page.keyboard.press("Enter")
        page.wait_for_function("document.body.innerText.includes('2 of 6 done')")
        assert Annotation.objects.filter(annotator=boss, prefilled_by=str(version)).count() == 1

        # Look for label errors, and work through the first.
        page.goto(f"/admin/label-errors/{project.name}/")
        picture(page, "work-look")
        page.get_by_role("button", name="Look").click()
        page.get_by_text("Done", exact=True).wait_for()
        page.goto("/admin/samples/doubt/")
        picture(page, "work-doubts")
        first = Doubt.objects.order_by("trust", "pk").first()
        assert first.task.content in turned
        page.get_by_role("link", name=first.task.content).click()
        picture(page, "work-doubt")
        page.get_by_role("button", name=f"Take “{first.suggestion}”").click()
        page.get_by_text("Corrected; it waits for approval.").wait_for()
        first.refresh_from_db()
        assert first.state == "CORRECTED"

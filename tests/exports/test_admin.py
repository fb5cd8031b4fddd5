"""The admin of what leaves: from chosen samples to a file on the reader's disk, and to a model."""

import hashlib
import io
import json
import threading
import zipfile

import pytest
from django.urls import reverse
from django.utils import timezone

from exports import retention
from exports.models import Batch, FineTune, ModelTag, ModelVersion
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs.models import Job
from labelhub.jobs.worker import work
from samples.models import Membership, Sample
from tests.factories import make_batch, make_member, make_project, make_sample, make_samples, make_superuser

SAMPLES = "/admin/samples/sample/"


def text_of(answer):
    return answer.content.decode()


def said(answer):
    return [str(message) for message in answer.context["messages"]]


def export_form(**fields):
    return {
        "format": "jsonl",
        "destination": "local",
        "seed": "7",
        "train": "0.8",
        "val": "0.1",
        "test": "0.1",
        **fields,
    }


def log_in(client, project, role=Role.BUYER):
    user = make_member(project, role)
    client.force_login(user)
    return user


def run_jobs():
    work(threading.Event(), until_empty=True)


def page_of(batch, button="change"):
    return f"/admin/exports/batch/{batch.pk}/{button}/"


@pytest.mark.django_db
def test_the_form_counts_what_was_chosen(client):
    project = make_samples(4)
    log_in(client, project)
    make_sample(project, status="PENDING")
    carried = project.samples.approved().first()
    make_batch(project).items.create(sample=carried)
    chosen = list(project.samples.values_list("pk", flat=True))
    asked = client.post(SAMPLES, {"action": "export_selected", "_selected_action": chosen})
    assert asked.context["counts"] == {"selected": 5, "approved": 4, "free": 3}


@pytest.mark.django_db
def test_ticked_samples_become_a_batch_that_remembers_them(client):
    project = make_samples(10)
    user = log_in(client, project)
    chosen = sorted(project.samples.values_list("pk", flat=True)[:6])
    data = {
        "action": "export_selected",
        "_selected_action": chosen,
        "apply": "1",
        **export_form(split="on", stratify="on"),
    }
    answer = client.post(SAMPLES, data)
    batch = Batch.objects.get()
    assert answer["Location"] == page_of(batch)
    assert sorted(batch.items.values_list("sample", flat=True)) == chosen
    assert (batch.created_by, batch.project, batch.selection) == (user, project, {"ids": chosen})
    assert (batch.ratios, batch.seed, batch.is_stratified) == (["0.8", "0.1", "0.1"], "7", True)


@pytest.mark.django_db
def test_all_that_match_the_filter_become_a_batch_that_remembers_the_filter(client):
    project, other = make_samples(8), make_samples(2)
    client.force_login(make_superuser())
    one = project.samples.first()
    where = f"{SAMPLES}?project__id__exact={project.pk}&q=Texte"
    data = {"action": "export_selected", "_selected_action": [one.pk], "select_across": "1"}
    asked = client.post(where, data)
    assert asked.context["counts"]["selected"] == 8
    kept = dict(asked.context["kept"])
    client.post(where, kept | {"apply": "1", **export_form()})
    batch = Batch.objects.get()
    assert batch.items.count() == 8
    assert batch.selection == {"filter": {"project__id__exact": [str(project.pk)], "q": ["Texte"]}}
    assert not Batch.objects.filter(items__sample__project=other).exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"split": "on", "test": "0.2"}, "add up to exactly 1; these add up to 1.1"),
        ({"split": "on", "val": ""}, "A split needs three shares"),
        ({"format": "docx"}, "Select a valid choice"),
        ({"destination": "moon"}, "Select a valid choice"),
    ],
)
def test_a_form_that_asks_for_nonsense_says_so(client, fields, why):
    project = make_samples(3)
    log_in(client, project)
    answer = client.post(reverse("export_project", args=[project.name]), export_form(**fields))
    assert why in text_of(answer)
    assert not Batch.objects.exists()


@pytest.mark.django_db
def test_nothing_left_to_export_is_said_on_the_form(client):
    project = make_project()
    log_in(client, project)
    make_sample(project, status="PENDING")
    answer = client.post(reverse("export_project", args=[project.name]), export_form())
    assert "Nothing to export" in text_of(answer)


@pytest.mark.django_db
def test_a_batch_over_several_projects_is_a_superuser_s(client):
    project, other = make_samples(2), make_samples(2)
    user = log_in(client, project)
    Membership.objects.create(project=other, user=user, role=Role.BUYER)
    chosen = list(Sample.objects.values_list("pk", flat=True))
    answer = client.post(SAMPLES, {"action": "export_selected", "_selected_action": chosen}, follow=True)
    assert "filter by project first" in said(answer)[0]
    client.force_login(make_superuser())
    client.post(SAMPLES, {"action": "export_selected", "_selected_action": chosen, "apply": "1", **export_form()})
    assert Batch.objects.get().project is None


@pytest.mark.django_db
def test_samples_are_filtered_by_whether_a_batch_carries_them(client):
    project = make_samples(3)
    log_in(client, project)
    make_batch(project).items.create(sample=project.samples.first())
    for value, found in (("yes", 1), ("no", 2)):
        assert client.get(f"{SAMPLES}?exported={value}").context["cl"].result_count == found


@pytest.mark.django_db(transaction=True)
def test_a_written_batch_is_downloaded_whole_and_only_once(client):
    project = make_samples(20, project=make_project("reviews"))
    log_in(client, project)
    client.post(reverse("export_project", args=[project.name]), export_form(split="on"))
    run_jobs()
    batch = Batch.objects.get()
    page = client.get(page_of(batch))
    assert "train 16, val 2, test 2" in text_of(page) and "READY" in text_of(page).upper()
    file = client.get(page_of(batch, "download"))
    content = file.getvalue()
    assert hashlib.sha256(content).hexdigest() == batch.sha256
    assert file["ETag"] == f'"{batch.sha256}"' and file["Content-Length"] == str(len(content))
    assert file["Content-Disposition"] == f'attachment; filename="reviews-{batch.short_id}-jsonl.zip"'
    assert zipfile.ZipFile(io.BytesIO(content)).namelist()[:3] == ["train.jsonl", "val.jsonl", "test.jsonl"]
    zipped = client.get(page_of(batch, "download"), HTTP_ACCEPT_ENCODING="gzip")
    assert zipped.getvalue() == content, "not compressed a second time on the way"
    assert client.get(page_of(batch, "download"), HTTP_IF_NONE_MATCH=file["ETag"]).status_code == 304
    manifest = json.loads(client.get(page_of(batch, "manifest")).content)
    assert manifest["file"]["sha256"] == batch.sha256


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER])
def test_a_file_is_not_there_for_members_who_may_not_export(client, role):
    project = make_samples(3)
    log_in(client, project)
    client.post(reverse("export_project", args=[project.name]), export_form())
    run_jobs()
    log_in(client, project, role)
    batch = Batch.objects.get()
    for button in ("change", "download", "manifest"):
        assert client.get(page_of(batch, button)).status_code == 404
    assert client.get(reverse("export_project", args=[project.name])).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_cancelled_and_its_samples_are_free_again(client):
    project = make_samples(3)
    log_in(client, project)
    client.post(reverse("export_project", args=[project.name]), export_form())
    batch = Batch.objects.get()
    page = text_of(client.get(page_of(batch)))
    assert "data-poll" in page and "download/" not in page
    assert "Cancel this batch?" in text_of(client.get(page_of(batch, "cancel")))
    assert Batch.objects.get().state == "QUEUED", "looking at the question changes nothing"
    answer = client.post(page_of(batch, "cancel"), {"_form_submitted": "True"})
    assert answer["HX-Redirect"] == page_of(batch)
    assert Batch.objects.get().state == "CANCELLED"
    assert client.get(reverse("export_project", args=[project.name])).context["counts"]["free"] == 3


@pytest.mark.django_db(transaction=True)
def test_a_failed_batch_is_tried_again(client, settings):
    project = make_samples(3)
    log_in(client, project)
    client.post(reverse("export_project", args=[project.name]), export_form())
    batch = Batch.objects.get()
    Batch.objects.update(state="FAILED", error="the disk was full")
    assert "the disk was full" in text_of(client.get(page_of(batch)))
    client.post(page_of(batch, "retry"), {"_form_submitted": "True"})
    run_jobs()
    assert Batch.objects.get().state == "READY"


@pytest.mark.django_db(transaction=True)
def test_a_fine_tune_is_started_from_its_batch_and_shows_its_scores(client):
    project = make_samples(60)
    log_in(client, project, Role.MANAGER)
    client.post(reverse("export_project", args=[project.name]), export_form(split="on", stratify="on"))
    run_jobs()
    batch = Batch.objects.get()
    start = reverse("finetune", args=[batch.pk])
    assert "A JSON object" in text_of(client.post(start, {"provider": "local", "hyperparameters": "[1]"}))
    answer = client.post(start, {"provider": "local", "hyperparameters": ""})
    finetune = FineTune.objects.get()
    assert answer["Location"] == f"/admin/exports/finetune/{finetune.pk}/change/"
    assert "under way" in text_of(client.post(start, {"provider": "local"}))
    run_jobs()
    page = text_of(client.get(answer["Location"]))
    assert "Macro-F1" in page and "hub-confusion" in page
    assert "Accuracy" in text_of(client.get("/admin/exports/modelversion/"))
    log_in(client, project, Role.BUYER)
    assert client.get(start).status_code == 404
    assert client.get(answer["Location"]).status_code == 404


@pytest.mark.django_db
def test_moving_a_tag_is_noted_and_stays_within_the_project(client):
    project, other = make_project(), make_project()
    log_in(client, project, Role.MANAGER)

    def version(of, number):
        batch = make_batch(of)
        return ModelVersion.objects.create(project=of, version=number, finetune=FineTune.objects.create(batch=batch))

    first, second, strange = version(project, 1), version(project, 2), version(other, 1)
    add = "/admin/exports/modeltag/add/"
    assert client.post(add, {"project": project.pk, "name": "prod", "version": strange.pk}).status_code == 200
    client.post(add, {"project": project.pk, "name": "prod", "version": first.pk})
    tag = ModelTag.objects.get()
    client.post(f"/admin/exports/modeltag/{tag.pk}/change/", {"name": "prod", "version": second.pk})
    moves = AuditEntry.objects.filter(subject="modeltag").order_by("pk").values_list("before", "after")
    assert list(moves) == [("", str(first)), (str(first), str(second))]


@pytest.mark.django_db(transaction=True)
def test_the_options_of_the_format_reach_the_batch_and_those_of_others_do_not(client):
    project = make_samples(20)
    log_in(client, project)
    asked = {
        "format": "openai",
        "system_prompt": "Sois bref.",
        "guard_formulas": "on",
        "bundle": "on",
        "license": "mit",
    }
    client.post(reverse("export_project", args=[project.name]), export_form(**asked))
    batch = Batch.objects.get()
    assert batch.options == {"system_prompt": "Sois bref.", "bundle": True, "license": "mit"}
    run_jobs()
    file = client.get(page_of(batch, "download"))
    assert file["Content-Disposition"].endswith('-openai.zip"')
    with zipfile.ZipFile(io.BytesIO(file.getvalue())) as archive:
        assert b"Sois bref." in archive.read("data.jsonl")
        assert b'license: "mit"' in archive.read("README.md")


@pytest.mark.django_db(transaction=True)
def test_the_page_of_a_batch_says_what_is_worth_knowing_and_why_it_was_refused(client):
    project = make_samples(4)
    log_in(client, project)
    make_sample(project, "encore", label="Positif")
    for format in ("sharegpt", "openai"):
        client.post(reverse("export_project", args=[project.name]), export_form(format=format, allow_reexport="on"))
    run_jobs()
    refused, written = Batch.objects.all()
    assert refused.state == "FAILED"
    assert "OpenAI takes at least 10 examples to train on; there are 5" in text_of(client.get(page_of(refused)))
    Batch.objects.filter(pk=written.pk).update(warnings=["a <b>single</b> example"])
    assert "A &lt;b&gt;single&lt;/b&gt; example." in text_of(client.get(page_of(written)))


@pytest.mark.django_db
def test_a_format_that_holds_nothing_of_what_was_chosen_says_what_it_holds(client):
    project = make_samples(3)
    log_in(client, project)
    answer = client.post(reverse("export_project", args=[project.name]), export_form(format="kto"))
    assert "The format kto holds PREFERENCE; none of what was selected is" in text_of(answer)


@pytest.mark.django_db(transaction=True)
def test_a_batch_in_shards_that_keeps_its_split_is_asked_for_and_fetched_file_by_file(client):
    project = make_samples(40)
    log_in(client, project)
    asked = export_form(
        split="on",
        stratify="on",
        group_by=["source"],
        metadata_key="thread",
        split_name="main",
        shards="2",
        compression="gzip",
    )
    client.post(reverse("export_project", args=[project.name]), asked)
    batch = Batch.objects.get()
    assert (batch.group_by, batch.split_name) == (["source", "metadata:thread"], "main")
    assert (batch.shard_count, batch.compression) == (2, "gzip")
    waiting = client.get(f"/admin/exports/batch/{batch.pk}/state/").json()
    assert waiting == {"state": "QUEUED", "progress": 0, "finished": False}
    run_jobs()
    page = text_of(client.get(page_of(batch)))
    for shard in batch.shards.all():
        address = f"/admin/exports/batch/{batch.pk}/files/{shard.name}"
        assert address in page
        assert client.get(address)["ETag"] == f'"{shard.sha256}"'
    assert "/download" not in page and "/finetune" not in page
    answer = client.get(f"/admin/exports/batch/{batch.pk}/files/settings.py", follow=True)
    assert "has no file 'settings.py'" in said(answer)[0]
    log_in(client, project, Role.REVIEWER)
    assert client.get(address).status_code == 404
    log_in(client, project)
    assert client.get(f"/admin/exports/batch/{batch.pk}/state/").json()["finished"]


@pytest.mark.django_db
def test_only_what_is_new_since_a_batch_of_the_same_project_is_offered_and_taken(client):
    project = make_samples(5)
    log_in(client, project)
    foreign = make_batch(make_project())
    client.post(reverse("export_project", args=[project.name]), export_form())
    first = Batch.objects.get(project=project)
    form = client.get(reverse("export_project", args=[project.name])).context["form"]
    assert [uuid for uuid, _ in form.fields["since"].choices] == ["", first.uuid]
    stolen = client.post(reverse("export_project", args=[project.name]), export_form(since=str(foreign.uuid)))
    assert "Select a valid choice" in text_of(stolen)
    new = make_sample(project)
    client.post(reverse("export_project", args=[project.name]), export_form(since=str(first.uuid)))
    second = Batch.objects.filter(project=project).first()
    assert [item.sample for item in second.items.all()] == [new]
    assert second.selection["since"] == str(first.uuid)


@pytest.mark.django_db
def test_ticked_tasks_become_a_batch_of_tasks_as_they_stand(client):
    project = make_samples(4)
    log_in(client, project)
    chosen = sorted(project.tasks.values_list("pk", flat=True)[:3])
    data = {"action": "export_as_they_stand", "_selected_action": chosen}
    asked = client.post("/admin/samples/task/", data)
    assert asked.context["counts"] == {"selected": 3, "settled": 3}
    assert "allow_reexport" not in asked.context["form"].fields
    client.post("/admin/samples/task/", data | {"apply": "1", **export_form()})
    batch = Batch.objects.get()
    assert (batch.carries, batch.sample_count, batch.selection) == ("TASKS", 3, {"ids": chosen})


@pytest.mark.django_db(transaction=True)
def test_files_that_were_removed_are_said_to_be_and_written_again(client):
    project = make_samples(4)
    log_in(client, project)
    client.post(reverse("export_project", args=[project.name]), export_form())
    run_jobs()
    retention.remove_expired(1e-9)
    batch = Batch.objects.get()
    page = text_of(client.get(page_of(batch)))
    assert "Write again" in page and "/download" not in page
    assert client.get(page_of(batch, "download")).status_code == 403
    client.post(page_of(batch, "write_again"), {"_form_submitted": "True"})
    run_jobs()
    assert Batch.objects.get().is_ready


@pytest.mark.django_db
def test_a_failed_batch_whose_shards_were_removed_is_tried_again_not_written_again(client):
    project = make_samples(4)
    log_in(client, project)
    batch = make_batch(project, state="FAILED", shard_count=2, files_removed_at=timezone.now())
    page = text_of(client.get(page_of(batch)))
    assert "Retry" in page and "Write again" not in page
    assert client.post(page_of(batch, "write_again"), {"_form_submitted": "True"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"shards": "0"}, "greater than or equal to 1"),
        ({"shards": "4"}, "4 shards are more than the 3 rows"),
        ({"compression": "rar"}, "Select a valid choice"),
        ({"split": "on", "compression": "gzip"}, "compressed already"),
    ],
)
def test_a_form_that_asks_for_impossible_files_says_so(client, fields, why):
    project = make_samples(3)
    log_in(client, project)
    answer = client.post(reverse("export_project", args=[project.name]), export_form(**fields))
    assert why in text_of(answer)
    assert not Batch.objects.exists()


# Fine-tunes -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("who", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER, Role.BUYER, None])
@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_the_pages_and_buttons_of_a_fine_tune_are_for_managers_alone(client, who, status):
    project = make_project()
    batch = make_batch(project)
    finetune = FineTune.objects.create(batch=batch, status=status)
    page = f"/admin/exports/finetune/{finetune.pk}"
    asked = [("get", f"{page}/change/"), ("get", f"{page}/state/"), ("get", f"{page}/state/?parts")]
    asked += [("post", f"{page}/change/"), ("get", reverse("finetune", args=[batch.pk]))]
    asked += [("post", reverse("finetune", args=[batch.pk]))]
    for button in ("refresh", "clone", "retry", "cancel"):
        asked += [("get", f"{page}/{button}/"), ("post", f"{page}/{button}/")]
    client.force_login(make_member(project if who else make_project(), who or Role.MANAGER))
    before = FineTune.objects.values().get()
    for method, address in asked:
        answer = getattr(client, method)(address, {"provider": "local", "_form_submitted": "True"})
        assert answer.status_code in (403, 404), (method, address)
    assert FineTune.objects.values().get() == before
    assert not Job.objects.exists() and not AuditEntry.objects.filter(subject="finetune").exists()
    client.force_login(make_member(project, Role.MANAGER))
    assert client.get(f"{page}/state/").json()["status"] == status

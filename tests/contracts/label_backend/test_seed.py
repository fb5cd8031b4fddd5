"""The five endpoints, as export.md shows them: the examples to the byte, ids and times aside."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports import batching, finetuning
from exports.models import Batch, BatchItem, FineTune, ModelVersion
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import worker
from labelhub.jobs.models import Job
from samples.models import Sample
from tests.exports.training import batch_of, opinions
from tests.factories import make_batch, make_member, make_project, make_sample, make_samples, make_superuser
from tests.providers.shop import Shop

from .conftest import Admin, written

SAMPLES, BATCH, LIST = "/api/training/samples", "/api/export/batch", "/api/export/list"
GOLDEN = Path(__file__).parent / "golden"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


def example(name, own):
    """The contract's example of an answer, without its line breaks, and with our `own` ids and times in their places."""
    told = json.loads((GOLDEN / f"{name}.json").read_text())
    for place in (told["data"], *told["data"].get("items", ())):
        place.update({field: value for field, value in own.items() if field in place})
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


# GET /api/training/samples --------------------------------------------------------------------------------------------


def test_the_page_of_samples_is_the_example_to_the_byte(admin, project):
    sample = make_sample(project)
    Sample.objects.filter(pk=sample.pk).update(created_at=datetime(2026, 4, 9, 12, tzinfo=UTC))
    expected = example("samples", {"id": sample.pk, "sourceId": sample.task.source_id, "total": 1})
    assert admin.get(SAMPLES).raw == expected


def test_only_approved_samples_are_there(admin, project):
    approved = make_sample(project)
    for status in ("PENDING", "REJECTED"):
        make_sample(project, status=status)
    assert [item["id"] for item in admin.get(SAMPLES).data["items"]] == [approved.pk]


def test_samples_can_be_chosen_by_their_type(admin, project):
    text, image, frame = (make_sample(project) for _ in range(3))
    Sample.objects.filter(pk=image.pk).update(sample_type="IMAGE")
    Sample.objects.filter(pk=frame.pk).update(sample_type="VIDEO_FRAME")
    for kind, sample in {"TEXT": text, "IMAGE": image, "VIDEO_FRAME": frame}.items():
        assert [item["id"] for item in admin.get(SAMPLES, sampleType=kind).data["items"]] == [sample.pk]


def test_a_sample_is_exported_when_a_batch_carries_it(admin, samples):
    batch = admin.batch(*samples[:2]).data["id"]
    carried, free = admin.get(SAMPLES, exported="true").data, admin.get(SAMPLES, exported="false").data
    assert [(item["id"], item["exportBatchId"]) for item in carried["items"]] == [(s.pk, batch) for s in samples[:2]]
    assert [(item["id"], item["exportBatchId"]) for item in free["items"]] == [(samples[2].pk, None)]
    assert (carried["total"], free["total"]) == (2, 1)
    batching.cancel(Batch.objects.get(pk=batch), by=admin.user)
    assert admin.get(SAMPLES, exported="true").data["total"] == 0


def test_a_sample_names_the_batch_that_claimed_it_before_one_that_carried_it_again(admin, samples):
    first = admin.batch(samples[0]).data["id"]
    again = admin.batch(samples[0], allowReexport=True).data["id"]
    assert again > first
    assert admin.get(SAMPLES, exported="true").data["items"][0]["exportBatchId"] == first


def test_pages_follow_each_other_and_hold_every_sample_once(admin, project):
    made = make_samples(45, project)
    pages = [admin.get(SAMPLES, page=str(page)).data for page in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in pages] == [20, 20, 5, 0]
    assert {(page["total"], page["pageSize"]) for page in pages} == {(45, 20)}
    ids = [item["id"] for page in pages for item in page["items"]]
    assert ids == sorted(Sample.objects.filter(project=made).values_list("pk", flat=True))
    assert admin.get(SAMPLES, page="2", pageSize="7").data["items"][0]["id"] == ids[7]


def test_more_than_a_hundred_a_page_are_a_hundred(admin, project):
    make_samples(120, project)
    page = admin.get(SAMPLES, pageSize="1000").data
    assert (page["pageSize"], len(page["items"]), page["total"]) == (100, 100, 120)


def test_a_page_far_behind_the_end_is_empty(admin, samples):
    assert admin.get(SAMPLES, page=str(10**12)).data == {"items": [], "total": 3, "page": 10**12, "pageSize": 20}


# POST /api/export/batch -----------------------------------------------------------------------------------------------


def test_a_new_batch_is_answered_as_the_example_to_the_byte(admin, samples):
    answer = admin.batch(*samples)
    batch = Batch.objects.get()
    uuid = str(batch.uuid)
    own = {"id": batch.pk, "batchUuid": uuid, "datasetFilePath": f"export/{uuid[:8]}.jsonl"}
    assert (answer.status, answer.raw) == (201, example("batch", own))
    assert set(batch.items.values_list("sample", flat=True)) == {sample.pk for sample in samples}


def test_the_file_is_written_where_the_answer_said(admin, samples):
    told = admin.batch(*samples).data
    batch = written(told["id"])
    assert batch.path == told["datasetFilePath"]
    file, size = batching.open_file(batch)
    with file:
        rows = [json.loads(line) for line in file.read().splitlines()]
    assert [row["content"] for row in rows] == [sample.content for sample in samples]
    assert AuditEntry.objects.filter(subject="batch", subject_id=batch.pk, action="gather", actor=admin.user).exists()


def test_a_provider_that_is_not_ours_is_given_chats(admin, samples, settings):
    settings.FINETUNE_PROVIDER = "openai"
    admin.batch(*samples)
    assert Batch.objects.get().format == "openai"


@pytest.fixture
def unchanged(samples):
    """After the test no batch may have come to be."""
    yield samples
    assert not Batch.objects.exists() and not BatchItem.objects.exists() and not Job.objects.exists()


@pytest.mark.parametrize("body", [{}, {"sampleIds": []}, {"sampleIds": None}])
def test_no_samples_are_empty_samples(admin, unchanged, body):
    answer = admin.post(BATCH, body)
    assert (answer.status, answer.code) == (400, "EMPTY_SAMPLES")


@pytest.mark.parametrize("status", ["PENDING", "REJECTED"])
def test_one_sample_that_is_not_approved_and_none_is_exported(admin, project, unchanged, status):
    other = make_sample(project, status=status)
    answer = admin.batch(*unchanged, other)
    assert (answer.status, answer.code) == (400, "INVALID_SAMPLES")
    assert str(other.pk) in answer.message


def test_unknown_and_doubled_samples_and_another_s_are_invalid(admin, unchanged):
    ids = [sample.pk for sample in unchanged]
    stranger = make_sample(make_project())
    for wrong in (999_999, 0, -1, 2**63, 10**40, stranger.pk, ids[0]):
        answer = admin.post(BATCH, {"sampleIds": [*ids, wrong]})
        assert (answer.status, answer.code) == (400, "INVALID_SAMPLES"), wrong
        assert len(answer.message) < 400


def test_what_a_batch_carries_is_invalid_unless_asked_for_again(admin, samples):
    assert admin.batch(*samples).status == 201
    answer = admin.batch(*samples)
    assert (answer.status, answer.code) == (400, "INVALID_SAMPLES")
    assert Batch.objects.count() == 1
    again = admin.batch(*samples, allowReexport=True)
    assert (again.status, again.data["sampleCount"]) == (201, 3)


@pytest.mark.parametrize(
    "body",
    [
        {"sampleIds": "1,2"},
        {"sampleIds": {"a": 1}},
        {"sampleIds": 5},
        {"sampleIds": True},
        {"sampleIds": ["1"]},
        {"sampleIds": [1.0]},
        {"sampleIds": [True]},
        {"sampleIds": [None]},
        {"sampleIds": [[1]]},
        {"sampleIds": ["x" * 10_000]},
        {"sampleIds": [1], "allowReexport": "yes"},
        {"sampleIds": [1], "allowReexport": None},
        [],
        [1, 2],
        "x",
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_body_of_another_shape_is_refused(admin, unchanged, body):
    answer = admin.post(BATCH, body)
    assert answer.status == 400
    assert answer.code == "INVALID_PARAMETER"
    assert len(answer.message) < 300


def test_a_batch_of_several_projects_is_refused_to_who_could_not_see_it(admin, unchanged):
    second = make_project()
    make_member(second, Role.MANAGER, user=admin.user)
    answer = admin.batch(*unchanged, make_sample(second))
    assert (answer.status, answer.code) == (400, "INVALID_SAMPLES")


def test_a_superuser_may_mix_projects(samples):
    boss = Admin(make_superuser())
    made = boss.batch(*samples, make_sample(make_project()))
    assert (made.status, made.data["sampleCount"]) == (201, 4)
    assert [item["id"] for item in boss.get(LIST).data["items"]] == [made.data["id"]]


# POST /api/export/{id}/finetune and GET /api/export/{id}/status -------------------------------------------------------


@pytest.fixture
def ready(admin, settings):
    """A READY batch of eighty texts that the local trainer can learn from; `admin` manages its project."""
    settings.JOB_LEASE_SECONDS = 600
    batch = batch_of(opinions(), ratios=None, stratify=False)
    make_member(batch.project, Role.MANAGER, user=admin.user)
    return batch


def path(batch, verb):
    return f"/api/export/{batch.pk}/{verb}"


def test_a_fine_tune_is_started_as_in_the_example_to_the_byte(admin, ready):
    answer = admin.post(path(ready, "finetune"))
    own = {"glmJobId": f"local-{FineTune.objects.get().uuid}"}
    assert (answer.status, answer.raw) == (200, example("finetune", own))


def test_the_status_is_the_example_to_the_byte(admin, ready):
    admin.post(path(ready, "finetune"))
    FineTune.objects.update(status="RUNNING", progress=45, provider_job_id="glm-finetune-abc123")
    assert admin.get(path(ready, "status")).raw == example("status", {"batchId": ready.pk})


def test_a_second_start_is_a_conflict_and_starts_nothing(admin, ready):
    admin.post(path(ready, "finetune"))
    answer = admin.post(path(ready, "finetune"))
    assert (answer.status, answer.code) == (409, "FINETUNE_ALREADY_STARTED")
    assert FineTune.objects.count() == Job.objects.filter(kind="exports.finetune").count() == 1


def test_from_start_to_success(admin, ready):
    def told():
        data = admin.get(path(ready, "status")).data
        return data["finetuneStatus"], data["progress"], data["errorMessage"]

    assert told() == ("NOT_STARTED", 0, None)
    admin.post(path(ready, "finetune"))
    assert told() == ("RUNNING", 0, None)
    worker.bring_to_end(FineTune.objects.get().job)
    assert told() == ("SUCCESS", 100, None)
    assert ModelVersion.objects.count() == 1
    answer = admin.post(path(ready, "finetune"))
    assert (answer.status, answer.code) == (409, "FINETUNE_ALREADY_STARTED")


def test_a_failure_is_told_and_can_be_tried_again(admin, ready):
    admin.post(path(ready, "finetune"))
    FineTune.objects.update(status="FAILED", error="the provider said no")
    data = admin.get(path(ready, "status")).data
    assert (data["finetuneStatus"], data["errorMessage"]) == ("FAILED", "the provider said no")
    first = data["glmJobId"]
    again = admin.post(path(ready, "finetune"))
    assert again.status == 200 and again.data["glmJobId"] != first
    assert admin.get(path(ready, "status")).data["finetuneStatus"] == "RUNNING"


def test_a_fine_tune_whose_job_was_cancelled_says_so(admin, ready):
    admin.post(path(ready, "finetune"))
    finetuning.cancel(FineTune.objects.get(), by=admin.user)
    assert admin.get(path(ready, "status")).data["finetuneStatus"] == "CANCELLED"


def test_the_provider_s_own_job_id_is_shown(admin, ready):
    admin.post(path(ready, "finetune"))
    FineTune.objects.update(provider_job_id="glm-finetune-abc123", status="RUNNING")
    assert admin.get(path(ready, "status")).data["glmJobId"] == "glm-finetune-abc123"


def test_before_the_file_is_there_a_fine_tune_waits_and_then_says_why_not(admin, samples, monkeypatch):
    monkeypatch.setattr("labelhub.api.label_backend.views.WAIT_SECONDS", 0.3)
    batch = Batch.objects.get(pk=admin.batch(*samples).data["id"])
    answer = admin.post(path(batch, "finetune"))
    assert (answer.status, answer.code) == (409, "BATCH_NOT_READY")
    assert not FineTune.objects.exists()


def test_a_batch_too_small_to_learn_from_says_so(admin, samples):
    batch = written(admin.batch(*samples).data["id"])
    answer = admin.post(path(batch, "finetune"))
    assert (answer.status, answer.code) == (409, "BATCH_UNSUITABLE")
    assert "10" in answer.message


# The same where a provider trains ----------------------------------------------------------------------------------------


@pytest.fixture
def shop(settings):
    """A provider that speaks as GLM does, and is the one this room uses."""
    settings.PROVIDER_TIMEOUT, settings.FINETUNE_SETTLING_SECONDS, settings.JOB_LEASE_SECONDS = 5, 0, 600
    with Shop("glm") as server:
        settings.FINETUNE_PROVIDERS, settings.FINETUNE_PROVIDER = {"glm": server.settings()}, "glm"
        yield server


@pytest.fixture
def chats(admin):
    """A READY batch of chats; `admin` manages its project."""
    batch = batch_of(opinions(20), format="openai", ratios=None, stratify=False)
    make_member(batch.project, Role.MANAGER, user=admin.user)
    return batch


def test_the_answer_names_the_provider_s_job(admin, chats, shop):
    answer = admin.post(path(chats, "finetune"))
    own = {"glmJobId": shop.only_job()["id"]}
    assert (answer.status, answer.raw) == (200, example("finetune", own))
    assert admin.post(path(chats, "finetune")).code == "FINETUNE_ALREADY_STARTED"
    assert len(shop.calls("POST /fine_tuning/jobs")) == 1


def test_the_status_is_what_the_provider_says_now(admin, chats, shop):
    admin.post(path(chats, "finetune"))
    job = shop.only_job()
    shop.train(job, 9, 20, loss=1.0)
    own = {"batchId": chats.pk, "glmJobId": job["id"]}
    assert admin.get(path(chats, "status")).raw == example("status", own)
    shop.break_off(job, "Training diverged")
    told = admin.get(path(chats, "status")).data
    assert (told["finetuneStatus"], "Training diverged" in told["errorMessage"]) == ("FAILED", True)
    assert admin.post(path(chats, "finetune")).status == 200
    shop.succeed(max(shop.jobs.values(), key=lambda job: job["id"]))
    told = admin.get(path(chats, "status")).data
    assert (told["finetuneStatus"], told["progress"], told["errorMessage"]) == ("SUCCESS", 100, None)


def test_why_the_provider_has_not_begun_yet_is_told(admin, chats, shop):
    shop.fail("POST /fine_tuning/jobs", 503, done=True)
    assert admin.post(path(chats, "finetune")).code == "PROVIDER_DOWN"
    told = admin.get(path(chats, "status")).data
    assert (told["finetuneStatus"], "answered 503" in told["errorMessage"]) == ("RUNNING", True)


def test_a_provider_that_does_not_answer_is_no_status(admin, chats, shop, settings):
    admin.post(path(chats, "finetune"))
    shop.fail("GET /fine_tuning/jobs", 500, times=20)
    answer = admin.get(path(chats, "status"))
    assert (answer.status, answer.code) == (502, "PROVIDER_DOWN")
    shop.faults.clear()
    settings.PROVIDER_TIMEOUT = 0.3
    shop.hang("GET /fine_tuning/jobs", seconds=1)
    answer = admin.get(path(chats, "status"))
    assert (answer.status, answer.code) == (504, "PROVIDER_TIMEOUT")
    settings.PROVIDER_TIMEOUT = 5
    assert admin.get(path(chats, "status")).data["finetuneStatus"] == "RUNNING"
    assert admin.get(LIST).data["items"][0]["finetuneStatus"] == "RUNNING"


def test_a_provider_that_says_no_leaves_a_batch_that_can_be_tried_again(admin, chats, shop):
    shop.fail("POST /fine_tuning/jobs", 400)
    answer = admin.post(path(chats, "finetune"))
    assert (answer.status, answer.code) == (502, "PROVIDER_REFUSED")
    assert admin.get(path(chats, "status")).data["finetuneStatus"] == "FAILED"
    assert admin.post(path(chats, "finetune")).status == 200
    assert len(shop.jobs) == 1


def test_an_answer_that_is_lost_begins_nothing_twice(admin, chats, shop, settings):
    settings.PROVIDER_TIMEOUT = 0.5
    shop.hang("POST /fine_tuning/jobs", done=True, seconds=1.5)
    answer = admin.post(path(chats, "finetune"))
    assert (answer.status, answer.code) == (504, "PROVIDER_TIMEOUT")
    assert admin.post(path(chats, "finetune")).code == "FINETUNE_ALREADY_STARTED"
    assert len(shop.jobs) == 1


# GET /api/export/list -------------------------------------------------------------------------------------------------


def test_the_list_tells_of_each_batch_and_its_last_fine_tune_the_newest_first(admin, samples, ready):
    small = admin.batch(*samples).data
    admin.post(path(ready, "finetune"))
    page = admin.get(LIST).data
    assert list(page) == ["items", "total", "page", "pageSize"]
    assert (page["total"], page["page"], page["pageSize"]) == (2, 1, 20)
    newest, oldest = page["items"]
    assert list(newest) == [
        "id", "batchUuid", "sampleCount", "datasetFilePath", "glmJobId", "finetuneStatus", "createdAt",
    ]  # fmt: skip
    assert re.fullmatch(MOMENT, newest["createdAt"])
    assert {name: newest[name] for name in small} == small
    assert (newest["glmJobId"], newest["finetuneStatus"]) == (None, "NOT_STARTED")
    assert oldest["id"] == ready.pk
    assert (oldest["glmJobId"], oldest["finetuneStatus"]) == (f"local-{FineTune.objects.get().uuid}", "RUNNING")


def test_lists_take_the_same_queries_for_five_rows_and_for_fifty(admin, project):
    def costs():
        counts = []
        for path in (SAMPLES, LIST):
            with CaptureQueriesContext(connection) as captured:
                assert admin.get(path, pageSize="100").status == 200
            counts.append(len(captured))
        return counts

    def grow(rows):
        for sample in [make_sample(project) for _ in range(rows)]:
            batch = make_batch(project, path="export/x.jsonl")
            batch.items.create(sample=sample)
            for status in ("FAILED", "SUCCESS"):
                FineTune.objects.create(batch=batch, status=status)

    costs()  # the first request of a key notes that it was used
    grow(5)
    five = costs()
    grow(45)
    assert costs() == five
    assert max(five) <= 8

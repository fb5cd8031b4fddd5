"""Batches, their files, fine-tunes, models and jobs over the API."""

import json
from hashlib import sha256
from uuid import uuid4

import pytest

from exports import batching, retention
from exports.finetuning import refresh_all, send
from exports.models import Batch, FineTune, KeptSplit, ModelTag, ModelVersion
from exports.provider_accounts import create_account
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import queue
from labelhub.jobs.models import Job
from labelhub.jobs.worker import bring_to_end
from tests.exports.test_since import an_hour_ago
from tests.exports.training import batch_of, opinions
from tests.factories import (
    make_batch,
    make_member,
    make_project,
    make_sample,
    make_samples,
    make_superuser,
    make_task,
)
from tests.providers.shop import KEY, Shop

from .conftest import Caller, refused

pytestmark = pytest.mark.django_db


def ready(caller, **asked):
    """A batch of the project `reviews`, written."""
    told = caller.post("batches", {"project": "reviews", "format": "jsonl"} | asked, 202).json()
    bring_to_end(Job.objects.get(pk=told["job"]))
    return caller.get(f"batches/{told['id']}").json()


def test_a_batch_is_gathered_written_and_downloaded(manager, project):
    make_samples(5, project)
    told = ready(manager)
    assert (told["state"], told["sample_count"], told["progress"], told["project"]) == ("READY", 5, 100, "reviews")
    answer = manager.get(f"batches/{told['id']}/file")
    data = b"".join(answer.streaming_content)
    assert len(data.splitlines()) == 5 and sha256(data).hexdigest() == told["sha256"]
    assert answer["ETag"] == f'"{told["sha256"]}"' and "attachment" in answer["Content-Disposition"]
    assert manager.get(f"batches/{told['id']}/file", 304, if_none_match=answer["ETag"])
    part = manager.get(f"batches/{told['id']}/file", 206, range="bytes=10-19")
    assert b"".join(part.streaming_content) == data[10:20] and part["Content-Range"].endswith(f"/{len(data)}")
    assert refused(manager.ask("GET", f"batches/{told['id']}/file", range="bytes=99999-"), 416, "range_not_satisfiable")
    manifest = manager.get(f"batches/{told['id']}/manifest").json()
    assert (manifest["samples"], manifest["file"]["sha256"]) == (5, told["sha256"])


def test_a_batch_in_shards_gives_each_of_its_files(manager, project):
    make_samples(6, project)
    told = manager.post("batches", {"project": "reviews", "format": "jsonl", "shards": 2}, 202).json()
    while job := Job.objects.unfinished().order_by("pk").first():
        bring_to_end(job)
    names = [part["name"] for part in manager.get(f"batches/{told['id']}/manifest").json()["parts"]]
    address = f"batches/{told['id']}/file?name="
    lines = [line for name in names for line in b"".join(manager.get(address + name).streaming_content).splitlines()]
    assert len(names) == 2 and len(set(lines)) == 6
    assert refused(manager.ask("GET", address + "other"), 400, "in_shards")
    assert refused(manager.ask("GET", address + "%00"), 400, "invalid")


def test_a_batch_may_carry_tasks_as_they_stand(manager, viewer, project):
    make_samples(3, project)
    make_task(project, "Open")
    body = {"tasks": {"project": "reviews", "status": ["PENDING", "COMPLETED"]}, "format": "json"}
    told = ready(manager, **body)
    assert (told["carries"], told["sample_count"], told["selection"]) == ("TASKS", 4, {"tasks": body["tasks"]})
    assert refused(viewer.post("batches", body), 403, "not_allowed")
    assert refused(manager.post("batches", body | {"allow_reexport": True}), 400, "invalid")
    assert refused(manager.post("batches", body | {"ids": ["0" * 16]}), 400, "invalid")
    assert refused(manager.post("batches", body | {"tasks": {"project": "moon"}}), 404, "not_found")


def test_ids_are_the_samples_own_and_all_or_none(manager, project):
    first, second, waiting = make_sample(project), make_sample(project), make_sample(project, status="PENDING")
    foreign = make_sample(make_project())
    for stranger, code in ((waiting.uid, "not_approved"), (foreign.uid, "not_approved"), ("0" * 16, "not_approved")):
        answer = manager.post("batches", {"ids": [first.uid, stranger], "format": "csv"})
        assert refused(answer, 409, code)
        assert answer.json()["details"]["ids"] == [stranger] and stranger in answer.json()["message"]
    assert not Batch.objects.exists()
    told = manager.post("batches", {"ids": [first.uid], "format": "csv"}, 202).json()
    assert (told["project"], told["sample_count"], told["selection"]) == ("reviews", 1, {"ids": [first.uid]})
    answer = manager.post("batches", {"ids": [first.uid, second.uid], "format": "csv"})
    assert refused(answer, 409, "already_exported") and answer.json()["details"]["ids"] == [first.uid]
    manager.post("batches", {"ids": [first.uid], "format": "csv", "allow_reexport": True}, 202)


def test_a_filter_and_a_split(manager, project):
    make_samples(20, project)
    body = {"filter": {"project": "reviews", "label": "Positif"}, "format": "openai", "ratios": [0.8, "0.1", 0.1]}
    told = manager.post("batches", body | {"seed": "7", "stratify": True}, 202).json()
    assert (told["sample_count"], told["ratios"], told["seed"]) == (10, ["0.8", "0.1", "0.1"], "7")
    assert told["selection"] == {"filter": {"project": "reviews", "label": "Positif"}}
    assert told["path"].endswith(".zip")


def test_a_split_keeps_rows_together_under_a_name_and_shards_are_compressed(manager, project):
    make_samples(40, project)
    body = {"ratios": "0.8/0.1/0.1", "group_by": ["source", "metadata:thread"], "split_name": "gold"}
    told = manager.post(
        "batches", {"project": "reviews", "format": "jsonl", "shards": 2, "compression": "gzip"} | body, 202
    ).json()
    assert (told["group_by"], told["split_name"], told["compression"]) == (body["group_by"], "gold", "gzip")
    assert KeptSplit.objects.get(project=project).name == "gold"
    other = {"project": "reviews", "format": "jsonl", "allow_reexport": True} | body
    answer = manager.post("batches", other | {"group_by": ["source"]})
    assert refused(answer, 400, "bad_split") and "keeps together by source, metadata:thread" in answer.json()["message"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ratios": "0.8/0.1/0.1", "group_by": ["colour"]}, "by duplicates, source or metadata:KEY they can"),
        ({"group_by": ["source"]}, "only a split keeps rows together"),
        ({"split_name": "gold"}, "only a split keeps rows together or is kept"),
        ({"ratios": "0.8/0.1/0.1", "group_by": "source"}, "Expected a list of items"),
        ({"ratios": "0.8/0.1/0.1", "split_name": "x" * 65}, "no more than 64 characters"),
        ({"compression": "brotli"}, "none, gzip, zstd"),
        ({"ratios": "0.8/0.1/0.1", "compression": "gzip"}, "a ZIP, which is compressed already"),
        ({"shards": batching.MOST_SHARDS + 1}, "less than or equal to 1000"),
        ({"since": "yesterday"}, "Must be a valid UUID"),
    ],
    ids=str,
)
def test_what_a_batch_cannot_be_is_said_with_what_it_can(manager, project, change, named):
    make_samples(2, project)
    answer = manager.post("batches", {"project": "reviews", "format": "jsonl"} | change)
    assert answer.status_code == 400 and named in answer.json()["message"]
    assert not Batch.objects.exists() and not KeptSplit.objects.exists()


@pytest.mark.parametrize("which", [{"project": "reviews"}, {"filter": {"project": "reviews"}}], ids=str)
def test_since_a_batch_only_what_is_new(manager, project, which):
    make_samples(3, project)
    first = an_hour_ago(Batch.objects.get(uuid=ready(manager)["id"]))
    new = make_sample(project)
    told = manager.post("batches", {"format": "jsonl", "since": str(first.uuid)} | which, 202).json()
    assert (told["sample_count"], told["selection"]) == (1, which | {"since": str(first.uuid)})
    assert Batch.objects.get(uuid=told["id"]).items.get().sample == new
    answer = manager.post("batches", {"format": "jsonl", "since": str(first.uuid)} | which)
    assert refused(answer, 400, "empty_batch"), "the new one was taken"


def test_of_tasks_too_only_what_is_new_since_a_batch(manager, project):
    make_task(project, "Old")
    body = {"tasks": {"project": "reviews"}, "format": "json"}
    first = an_hour_ago(Batch.objects.get(uuid=ready(manager, **body)["id"]))
    make_task(project, "New")
    told = manager.post("batches", body | {"since": str(first.uuid)}, 202).json()
    assert (told["carries"], told["sample_count"]) == ("TASKS", 1)


def test_since_a_batch_that_is_not_there_is_said_alike_whose_ever_it_is(manager, stranger, project):
    """A batch of a project that the caller cannot see, one of another of his own, and none at all."""
    sample = make_sample(project)
    foreign, other = make_batch(make_project("moon")), make_project("mine")
    make_member(other, Role.MANAGER, user=manager.user)
    for uuid in (foreign.uuid, make_batch(other).uuid, uuid4()):
        answer = manager.post("batches", {"project": "reviews", "format": "jsonl", "since": str(uuid)})
        assert refused(answer, 400, "invalid")
        assert answer.json()["details"] == {"since": [f"There is no batch {uuid} of reviews."]}
    cancelled = make_batch(project, state="CANCELLED")
    body = {"project": "reviews", "format": "jsonl", "since": str(cancelled.uuid)}
    assert refused(manager.post("batches", body), 409, "wrong_state")
    assert refused(
        manager.post("batches", {"format": "jsonl", "ids": [sample.uid], "since": str(uuid)}), 400, "invalid"
    )
    assert refused(stranger.post("batches", body), 404, "not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"format": "xml"}, "invalid"),
        ({"format": None}, "invalid"),
        ({"ratios": "0.5/0.5/0.5"}, "bad_split"),
        ({"ratios": 5}, "invalid"),
        ({"ratios": ["a", "b", "c"]}, "bad_split"),
        ({"destination": "moon"}, "unknown_destination"),
        ({"options": {"loud": True}}, "bad_options"),
        ({"seed": "x" * 65}, "invalid"),
        ({"seed": 5}, "invalid"),
        ({"stratify": "yes"}, "invalid"),
        ({"shard": 3}, "invalid"),
        ({"filter": {"project": "elsewhere"}}, "invalid"),
        ({"ids": ["0" * 16], "filter": {"project": "reviews"}}, "invalid"),
    ],
    ids=str,
)
def test_a_batch_that_cannot_be_is_refused_and_takes_nothing(manager, project, change, code):
    make_samples(2, project)
    assert refused(manager.post("batches", {"project": "reviews", "format": "jsonl"} | change), 400, code)
    assert not Batch.objects.exists() and not Job.objects.exists()


def test_nothing_to_export_and_nothing_said(manager):
    assert refused(manager.post("batches", {"format": "jsonl"}), 400, "invalid")
    assert refused(manager.post("batches", {"project": "reviews", "format": "jsonl"}), 400, "empty_batch")


def test_the_same_request_twice_is_one_batch(manager, project):
    make_samples(2, project)
    body = {"project": "reviews", "format": "jsonl"}
    first = manager.post("batches", body, 202, idempotency_key="nightly-1")
    again = manager.post("batches", body, 202, idempotency_key="nightly-1")
    assert first.json() == again.json() and first["Location"] == again["Location"]
    assert again["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first
    assert Batch.objects.count() == 1
    other = manager.post("batches", body | {"seed": "1"}, idempotency_key="nightly-1")
    assert refused(other, 422, "idempotency_key_reused")


def test_a_batch_is_cancelled_and_its_samples_are_free(manager, project):
    make_samples(2, project)
    body = {"project": "reviews", "format": "jsonl"}
    address = f"batches/{manager.post('batches', body, 202).json()['id']}"
    assert refused(manager.ask("GET", f"{address}/file"), 409, "not_ready")
    assert refused(manager.ask("GET", f"{address}/manifest"), 409, "not_ready")
    assert refused(manager.post(f"{address}/retry"), 409, "wrong_state")
    assert manager.post(f"{address}/cancel", expect=200).json() == {"cancelled": True}
    assert manager.post(f"{address}/cancel", expect=200).json() == {"cancelled": False}
    assert manager.get(address).json()["state"] == "CANCELLED"
    manager.post("batches", body, 202)


def test_a_failed_batch_is_tried_again(manager, project):
    batch = make_batch(project, state="FAILED", error="the disk was full", created_by=manager.user)
    told = manager.post(f"batches/{batch.uuid}/retry", expect=202).json()
    assert (told["state"], told["error"]) == ("QUEUED", "")


def test_a_batch_whose_files_were_removed_is_written_again(manager, viewer, stranger, project):
    make_samples(3, project)
    first = ready(manager)
    again = f"batches/{first['id']}/write-again"
    assert first["files_removed_at"] is None
    assert refused(manager.post(again), 409, "wrong_state"), "it has its files"
    retention.remove_files(Batch.objects.get())
    told = manager.get(f"batches/{first['id']}").json()
    assert (told["state"], told["files_removed_at"] is None) == ("READY", False)
    assert refused(manager.ask("GET", f"batches/{first['id']}/file"), 409, "not_ready")
    for caller in (viewer, stranger):
        assert refused(caller.post(again), 404, "not_found")
    queued = manager.post(again, expect=202, idempotency_key="again").json()
    assert (queued["state"], queued["files_removed_at"]) == ("QUEUED", None)
    assert manager.post(again, expect=202, idempotency_key="again").json() == queued
    assert refused(manager.post(again), 409, "wrong_state"), "it is on its way"
    bring_to_end(Job.objects.get(pk=queued["job"]))
    told = manager.get(f"batches/{first['id']}").json()
    assert (told["state"], told["sha256"]) == ("READY", first["sha256"])


def test_who_may_not_export_sees_no_batch(viewer, reviewer, stranger, project):
    make_samples(2, project)
    batch = make_batch(project)
    for caller in (viewer, reviewer, stranger):
        assert caller.all("batches") == []
        for address in (f"batches/{batch.uuid}", f"batches/{batch.uuid}/file", f"batches/{batch.uuid}/manifest"):
            assert refused(caller.ask("GET", address), 404, "not_found")
        assert refused(caller.post(f"batches/{batch.uuid}/cancel"), 404, "not_found")
    ids = [sample.uid for sample in project.samples.all()]
    for body in ({"project": "reviews"}, {"ids": ids}, {"filter": {"project": "reviews"}}):
        assert refused(viewer.post("batches", body | {"format": "jsonl"}), 403, "not_allowed")
    assert refused(stranger.post("batches", {"project": "reviews", "format": "jsonl"}), 404, "not_found")
    assert refused(stranger.post("batches", {"ids": ids, "format": "jsonl"}), 409, "not_approved")
    assert Batch.objects.count() == 1


def test_a_batch_over_projects_is_for_those_who_see_all(boss, project):
    both = Caller(make_member(project, Role.MANAGER))
    other = make_project()
    make_member(other, Role.MANAGER, user=both.user)
    ids = [make_sample(project).uid, make_sample(other).uid]
    assert refused(both.post("batches", {"ids": ids, "format": "jsonl"}), 400, "invalid")
    assert boss.post("batches", {"ids": ids, "format": "jsonl"}, 202).json()["project"] is None


def test_lists_are_filtered_and_cost_the_same(manager, project, django_assert_num_queries):
    from tests.world import fill

    fill(project, 10, owner=manager.user)
    lists = ["batches", "finetunes", "models", "jobs"]

    def costs():
        found = []
        for noun in lists:
            with django_assert_num_queries(6, exact=False) as queries:
                manager.get(f"{noun}?limit=200")
            found.append(len(queries))
        return found

    manager.get("jobs")
    at_ten = costs()
    fill(project, 40, owner=manager.user)
    assert costs() == at_ten
    assert len(manager.all("batches?state=READY&format=jsonl&limit=7&project=reviews")) == 50
    assert len(manager.all("finetunes?status=SUCCESS&provider=local&limit=20")) == 50
    tag = ModelTag.objects.first()
    assert [row["tags"] for row in manager.all(f"models?tag={tag.name}")] == [[tag.name]]
    batch = Batch.objects.first()
    assert len(manager.all(f"finetunes?batch={batch.uuid}")) == 1
    assert refused(manager.ask("GET", "finetunes?batch=x"), 400, "invalid")


# Fine-tunes and models ------------------------------------------------------------------------------------------------


def test_a_batch_trains_a_model_that_can_be_tagged(boss):
    batch = batch_of(opinions(), by=boss.user)
    told = boss.post("finetunes", {"batch": str(batch.uuid)}, 202, idempotency_key="train").json()
    assert (told["status"], told["provider"], told["batch"]) == ("SUBMITTING", "local", str(batch.uuid))
    assert boss.post("finetunes", {"batch": str(batch.uuid)}, 202, idempotency_key="train").json() == told
    assert refused(boss.post("finetunes", {"batch": str(batch.uuid)}), 409, "already_started")
    bring_to_end(Job.objects.get(pk=told["job"]))
    done = boss.post(f"finetunes/{told['id']}/refresh", expect=200).json()
    assert (done["status"], done["progress"]) == ("SUCCESS", 100) and done["metrics"]["accuracy"] > 0.5
    (model,) = boss.all(f"models?finetune={told['id']}")
    assert model["name"] == f"{batch.project.name}@1" and model["tags"] == []
    assert boss.put(f"models/{model['id']}/tags/prod").json()["tags"] == ["prod"]
    assert boss.post(f"finetunes/{told['id']}/cancel", expect=200).json() == {"cancelled": False}


def test_a_tag_moves_and_every_move_is_noted(manager, viewer, stranger, project):
    versions = []
    for number in (1, 2):
        finetune = FineTune.objects.create(batch=make_batch(project), status="SUCCESS")
        versions.append(ModelVersion.objects.create(project=project, version=number, finetune=finetune))
    first, second = (f"models/{version.pk}" for version in versions)
    assert refused(viewer.ask("PUT", f"{first}/tags/prod"), 403, "not_allowed")
    assert refused(stranger.ask("PUT", f"{first}/tags/prod"), 404, "not_found")
    manager.put(f"{first}/tags/prod")
    manager.put(f"{first}/tags/prod")
    assert manager.put(f"{second}/tags/prod").json()["tags"] == ["prod"]
    assert manager.get(first).json()["tags"] == []
    manager.delete(f"{first}/tags/prod")  # it does not carry it: nothing to do
    manager.delete(f"{second}/tags/prod")
    assert not ModelTag.objects.exists()
    trail = AuditEntry.objects.filter(subject="modeltag").order_by("pk").values_list("action", "before", "after")
    assert list(trail) == [
        ("tag", "", "reviews@1"),
        ("tag", "reviews@1", "reviews@2"),
        ("untag", "reviews@2", ""),
    ]
    assert refused(manager.ask("PUT", f"{first}/tags/{'x' * 65}"), 404, "not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"batch": "x"}, "invalid"),
        ({"provider": "moon"}, "invalid"),
        ({"hyperparameters": []}, "invalid"),
        ({"hyperparameters": {"loudness": 11}}, "unsuitable"),
        ({"model": "x" * 201}, "invalid"),
        ({"again": 1}, "invalid"),
    ],
    ids=str,
)
def test_a_fine_tune_that_cannot_be_is_refused(boss, change, code):
    batch = batch_of(opinions(), by=boss.user)
    assert refused(boss.post("finetunes", {"batch": str(batch.uuid)} | change), 400, code)
    assert not FineTune.objects.exists()


def test_a_fine_tune_goes_through_the_account_that_is_named_and_tells_how_it_goes(boss, settings):
    with Shop() as shop:
        settings.PROVIDER_HOSTS = [f"127.0.0.1:{shop.port}"]
        batch = batch_of(opinions(20), format="openai", ratios=None, by=boss.user)
        more = {"provider": "openai", "key": KEY, "base_url": shop.base_url, "model": "m", "by": boss.user}
        for name in ("ours", "theirs"):
            create_account(name=name, project=batch.project, **more)
        create_account(name="strange", project=make_project(), **more)
        asked = {"batch": str(batch.uuid), "provider": "openai"}
        assert refused(boss.post("finetunes", asked), 400, "unsuitable")  # which of the two?
        for name in ("strange", "none"):
            assert refused(boss.post("finetunes", asked | {"account": name}), 404, "not_found")
        told = boss.post("finetunes", asked | {"account": "theirs"}, 202).json()
        assert (told["account"], told["trouble"], told["heard_at"], told["model_version"]) == ("theirs", "", None, None)
        finetune = send(FineTune.objects.get())
        shop.fail("GET /fine_tuning/jobs", 503)
        assert refresh_all() == 0
        told = boss.get(f"finetunes/{told['id']}").json()
        assert "answered 503" in told["trouble"] and told["provider_status"] == "validating_files"
        shop.succeed(shop.only_job())
        told = boss.post(f"finetunes/{told['id']}/refresh", expect=200).json()
        assert (told["status"], told["provider_status"], told["trouble"]) == ("SUCCESS", "succeeded", "")
        assert told["heard_at"] and told["model_version"] == finetune.model_version.pk
        assert boss.get(f"models/{told['model_version']}").json()["finetune"] == told["id"]


def test_who_may_not_fine_tune_is_not_told_which_accounts_there_are(project):
    create_account(name="ours", provider="openai", key="k", project=project, by=make_superuser())
    buyer = Caller(make_member(project, Role.BUYER))
    for name in ("ours", "none"):
        asked = {"batch": str(make_batch(project).uuid), "provider": "openai", "account": name}
        assert refused(buyer.post("finetunes", asked), 403, "not_allowed")


def test_fine_tunes_need_a_file_and_the_power(manager, viewer, project):
    batch = make_batch(project)
    assert refused(manager.post("finetunes", {"batch": str(batch.uuid)}), 409, "not_ready")
    buyer = Caller(make_member(project, Role.BUYER))
    assert refused(buyer.post("finetunes", {"batch": str(batch.uuid)}), 403, "not_allowed")
    assert refused(viewer.post("finetunes", {"batch": str(batch.uuid)}), 404, "not_found")


# Jobs -----------------------------------------------------------------------------------------------------------------


def test_jobs_are_one_s_own_and_can_be_stopped(manager, viewer, boss, project):
    make_samples(2, project)
    manager.post("batches", {"project": "reviews", "format": "jsonl"}, 202)
    (job,) = manager.all("jobs?state=QUEUED&kind=exports.write_batch")
    assert (job["owner"], job["progress"]) == (manager.user.username, 0) and "params" not in job
    assert viewer.all("jobs") == [] and [row["id"] for row in boss.all("jobs")] == [job["id"]]
    assert refused(viewer.ask("GET", f"jobs/{job['id']}"), 404, "not_found")
    assert refused(viewer.post(f"jobs/{job['id']}/cancel"), 404, "not_found")
    assert manager.post(f"jobs/{job['id']}/cancel", expect=200).json() == {"cancelled": True}
    assert manager.get(f"jobs/{job['id']}").json()["state"] == "CANCELLED"
    assert Batch.objects.get().state == "CANCELLED", "the batch has heard of it"
    claimed = queue.submit("exports.write_batch", {"batch": 0}, by=manager.user)
    queue.claim(claimed.pk)
    queue.renew(Job.objects.get(pk=claimed.pk), progress=40, message="writing")
    told = manager.get(f"jobs/{claimed.pk}").json()
    assert (told["state"], told["progress"], told["message"]) == ("RUNNING", 40, "writing")
    assert json.dumps(told)

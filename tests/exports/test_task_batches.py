"""Batches that carry tasks as they stand: nothing is claimed, nobody's approval is asked."""

import io
import json
from zipfile import ZipFile

import pytest
from django.core.files.storage import storages

from exports import batching
from exports.errors import BadOptions, BadSplit, EmptyBatch, UnknownDestination, UnknownFormat, UnknownTasks
from exports.models import Batch, BatchItem, BatchTasks
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Sample, Task
from tests.factories import (
    make_annotation,
    make_member,
    make_project,
    make_sample,
    make_samples,
    make_settled_task,
    make_superuser,
    make_task,
    make_user,
)

pytestmark = pytest.mark.django_db(transaction=True)

SPLIT = "0.8/0.1/0.1"


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def buyer(project):
    return make_member(project, Role.BUYER)


@pytest.fixture
def gather(buyer):
    def gather(tasks=None, **asked):
        chosen = Task.objects.all() if tasks is None else tasks
        return batching.gather_tasks(chosen, by=buyer, **{"format": "jsonl"} | asked)

    return gather


def run(batch):
    job = queue.claim(batch.job_id)
    assert job
    worker.run(job)
    batch.refresh_from_db()
    assert batch.state == Batch.State.READY, batch.error
    return batch


def content(batch):
    with batching.open_file(batch)[0] as file:
        return file.read()


def records(batch):
    return [json.loads(line) for line in content(batch).splitlines()]


def test_tasks_leave_as_they_stand_settled_or_not(project, gather):
    waiting = make_task(project, "Bof")
    settled = make_settled_task(project, "Super", label="Positif")
    approved = make_sample(project, "Nul", label="Négatif").task
    batch = run(gather())
    assert [(row["id"], row["content"], row["label"]) for row in records(batch)] == [
        (waiting.uid, "Bof", None),
        (settled.uid, "Super", "Positif"),
        (approved.uid, "Nul", "Négatif"),
    ]
    assert (batch.carries, batch.sample_count, batch.project) == ("TASKS", 3, project)
    assert batch.selection == {"tasks": "every task"}
    assert (batch.manifest["carries"], batch.manifest["samples"], batch.manifest["withdrawn"]) == ("tasks", 3, 0)
    assert batch.manifest["parts"][0]["labels"] == {"Négatif": 1, "Positif": 1}
    assert json.loads(storages["local"].open(batching.manifest_path(batch)).read()) == batch.manifest


def test_it_claims_nothing_so_the_samples_are_free_and_it_can_be_asked_again(project, gather, buyer):
    make_sample(project)
    first, again = run(gather()), run(gather())
    assert content(first) == content(again)
    assert not BatchItem.objects.exists()
    assert batching.gather(Sample.objects.all(), by=buyer, format="jsonl").sample_count == 1


def test_which_tasks_is_settled_when_it_is_gathered_and_what_they_say_when_it_is_written(project, gather):
    task = make_task(project, "Bof")
    batch = gather(Task.objects.pending())
    later = make_task(project, "Plus tard")
    Task.objects.filter(pk=task.pk).update(content="Bof !", status="VALIDATING")
    assert [row["content"] for row in records(run(batch))] == ["Bof !"]
    assert later.uid not in content(batch).decode()


def test_a_task_deleted_meanwhile_is_left_out_and_counted(project, gather):
    kept, gone = make_task(project), make_task(project)
    batch = gather()
    gone.delete()
    run(batch)
    assert [row["id"] for row in records(batch)] == [kept.uid]
    assert (batch.sample_count, batch.manifest["withdrawn"]) == (1, 1)


@pytest.mark.parametrize("ratios", [None, SPLIT])
def test_a_batch_whose_tasks_are_all_unsettled_fails_where_only_settled_ones_are_written(gather, project, ratios):
    make_settled_task(project)
    batch = gather(format="huggingface", ratios=ratios)
    Task.objects.update(status="PENDING", label=None, label_name=None, label_index=None, answer=None)
    worker.run(queue.claim(batch.job_id))
    batch.refresh_from_db()
    assert (batch.state, batch.error) == (
        "FAILED",
        "none of the 1 tasks of the batch is of use to huggingface any more",
    )


def test_a_batch_whose_tasks_are_all_gone_fails_and_says_so(project, gather):
    make_task(project)
    batch = gather()
    Task.objects.all().delete()
    worker.run(queue.claim(batch.job_id))
    batch.refresh_from_db()
    assert (batch.state, batch.error) == ("FAILED", "none of the 1 tasks of the batch is there any more")


def test_explicit_ids_are_taken_exactly_or_named(project, gather):
    first, second = make_task(project), make_task(project)
    other = make_task()
    assert [row["id"] for row in records(run(gather(ids=[second.pk])))] == [second.uid]
    with pytest.raises(UnknownTasks) as refused:
        gather(ids=[first.pk, other.pk, 0, 10**30])
    assert refused.value.details["ids"] == [0, other.pk, 10**30]
    assert Batch.objects.count() == Job.objects.count() == BatchTasks.objects.count() == 1


def test_a_format_that_teaches_takes_the_settled_tasks_only(project, gather):
    make_task(project, "Bof")
    make_settled_task(project, "Super")
    undone = make_settled_task(project, "Repris")
    batch = gather(format="huggingface")
    assert batch.sample_count == 2
    Task.objects.filter(pk=undone.pk).update(
        status="PENDING", label=None, label_name=None, label_index=None, answer=None
    )
    assert [row["text"] for row in records(run(batch))] == ["Super"]


@pytest.mark.parametrize("stratify", [False, True])
def test_tasks_are_dealt_exactly_and_as_their_samples_would_be(buyer, project, gather, stratify):
    make_samples(50, project)
    asked = {"ratios": SPLIT, "seed": "7", "stratify": stratify}
    batch = run(gather(**asked))
    assert [part["rows"] for part in batch.manifest["parts"]] == [40, 5, 5]
    samples = run(batching.gather(Sample.objects.all(), by=buyer, format="jsonl", **asked))
    assert batch.manifest["parts"] == samples.manifest["parts"]
    with ZipFile(io.BytesIO(content(batch))) as ours, ZipFile(io.BytesIO(content(samples))) as theirs:
        for name in ("train.jsonl", "val.jsonl", "test.jsonl"):
            assert ours.read(name) == theirs.read(name)


def test_who_may_not_export_finds_no_tasks(project):
    task = make_task(project)
    for user in (make_member(project, Role.ANNOTATOR), make_user()):
        with pytest.raises(EmptyBatch, match="no task was selected"):
            batching.gather_tasks(Task.objects.all(), by=user, format="jsonl")
        with pytest.raises(UnknownTasks):
            batching.gather_tasks(Task.objects.all(), by=user, format="jsonl", ids=[task.pk])


def test_a_superuser_s_batch_may_span_projects(project):
    make_task(project), make_settled_task(make_project(labels=["Sport"]), label="Sport")
    batch = batching.gather_tasks(Task.objects.all(), by=make_superuser(), format="huggingface")
    assert (batch.project, batch.sample_count) == (batch.project, 1)
    assert run(batch).manifest["parts"][0]["labels"] == {"Sport": 1}
    assert run(batching.gather_tasks(Task.objects.all(), by=make_superuser(), format="alpaca")).sample_count == 1


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        ({"format": "xml"}, UnknownFormat),
        ({"ratios": "0.8/0.1/0.2"}, BadSplit),
        ({"destination": "moon"}, UnknownDestination),
        ({"options": {"colour": True}}, BadOptions),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(project, gather, asked, fact):
    make_task(project)
    with pytest.raises(fact):
        gather(**asked)
    assert not Batch.objects.exists()


def test_cancelling_and_failing_leave_nothing(project, gather, buyer):
    make_task(project)
    batch = gather()
    assert batching.cancel(batch, by=buyer)
    assert batch.state == Batch.State.CANCELLED
    assert not BatchTasks.objects.exists()
    actions = AuditEntry.objects.filter(subject="batch", subject_id=batch.pk).order_by("id")
    assert list(actions.values_list("action", flat=True)) == ["gather", "ask to cancel", "cancel"]


def test_its_cost_does_not_grow_with_the_tasks(django_assert_max_num_queries):
    counts = []
    for size in (10, 1000):
        project = make_samples(size)
        user = make_member(project, Role.MANAGER)
        with django_assert_max_num_queries(20) as queries:
            batch = batching.gather_tasks(project.tasks.all(), by=user, format="openai", ratios=SPLIT)
        counts.append(len(queries))
        assert BatchTasks.objects.filter(batch=batch).count() == 1
    assert counts[0] == counts[1]


def test_a_bundle_of_tasks_tells_of_them_and_of_what_was_kept_together(gather, project):
    for number in range(10):
        make_annotation(make_settled_task(project, f"Bof {number}", metadata={"thread": number // 2}))
    make_task(project, "Qui sait ?")
    batch = run(
        gather(format="huggingface", ratios="0.6/0.2/0.2", group_by="metadata:thread", options={"bundle": True})
    )
    with ZipFile(io.BytesIO(storages["local"].open(batch.path).read())) as archive:
        card = archive.read("README.md").decode()
        manifest = json.loads(archive.read("manifest.json"))
    assert f"# {project}\n" in card
    assert "Answers behind the labels: 10. Annotators: 10." in card
    assert "Tasks as they stood when they were written; no review was asked for." in card
    assert "Reviewers" not in card and "projects" not in card
    assert manifest["split"] == batch.manifest["split"]
    assert manifest["split"]["groups"] == 5

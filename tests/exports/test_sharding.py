"""Batches in shards: every row once, the same rows whoever writes, and READY only when all of it is there."""

import json
import threading
from hashlib import sha256

import pytest
from django.core.files.storage import storages

from exports import batching, finetuning, retention, sharding
from exports.errors import BadShards, InShards, NotReady, Unsuitable, WrongState
from exports.models import Batch, KeptSide, Shard
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Project, Sample, Task
from tests.factories import make_member, make_project, make_sample, make_samples

pytestmark = pytest.mark.django_db(transaction=True)

SPLIT = "0.8/0.1/0.1"


@pytest.fixture
def project():
    return make_samples(50)


@pytest.fixture
def buyer(project):
    return make_member(project, Role.BUYER)


@pytest.fixture
def gather(buyer):
    def gather(**asked):
        return batching.gather(Sample.objects.all(), by=buyer, **{"format": "jsonl", "shards": 3} | asked)

    return gather


def run_all(batch):
    worker.work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    return batch


def planned(batch):
    """The batch with its shards drawn, and none written."""
    worker.run(queue.claim(batch.job_id))
    batch.refresh_from_db()
    return batch


def run(shard):
    Job.objects.filter(pk=shard.job_id).update(run_after=shard.batch.created_at)
    worker.run(queue.claim(shard.job_id))
    shard.refresh_from_db()
    shard.batch.refresh_from_db()
    return shard


def files(batch):
    folder = batch.path.rpartition("/")[0]
    try:
        return sorted(storages["local"].listdir(folder)[1])
    except FileNotFoundError:
        return []


def content(batch, name):
    file, size = batching.open_file(batch, name)
    with file:
        data = file.read()
    assert len(data) == size
    return data


def ids(batch, names):
    return [json.loads(line)["id"] for name in names for line in content(batch, name).splitlines()]


def test_a_batch_becomes_so_many_files_and_a_manifest_and_every_row_is_in_one(gather):
    batch = run_all(gather())
    names = [f"data-0000{number}-of-00003.jsonl" for number in range(3)]
    assert batch.state == Batch.State.READY, batch.error
    assert batch.path == f"export/{batch.short_id}/manifest.json"
    assert files(batch) == [*names, "manifest.json"]
    assert ids(batch, names) == list(Sample.objects.values_list("uid", flat=True))
    assert [shard.row_count for shard in batch.shards.all()] == [16, 17, 17]


def test_the_manifest_names_every_file_with_its_rows_bytes_hash_and_labels(gather):
    batch = run_all(gather(ratios=SPLIT, stratify=True, shards=2))
    assert [part["name"] for part in batch.manifest["parts"]] == [
        "train-00000-of-00002.jsonl",
        "train-00001-of-00002.jsonl",
        "val-00000-of-00002.jsonl",
        "val-00001-of-00002.jsonl",
        "test-00000-of-00002.jsonl",
        "test-00001-of-00002.jsonl",
    ]
    for part in batch.manifest["parts"]:
        data = content(batch, part["name"])
        assert (part["bytes"], part["sha256"]) == (len(data), sha256(data).hexdigest())
        labels = [json.loads(line)["label"] for line in data.splitlines()]
        assert part["rows"] == len(labels)
        assert part["labels"] == {label: labels.count(label) for label in part["labels"]}
    assert [part["rows"] for part in batch.manifest["parts"]] == [20, 20, 2, 3, 2, 3]
    assert batch.manifest == json.loads(storages["local"].open(batch.path).read())
    assert batch.manifest["file"] == {
        "name": "manifest.json",
        "destination": "local",
        "shards": 2,
        "bytes": batch.byte_count,
        "sha256": batch.sha256,
    }
    lines = "".join(f"{part['sha256']}  {part['name']}\n" for part in batch.manifest["parts"])
    assert batch.sha256 == sha256(lines.encode()).hexdigest()


def test_the_shards_joined_are_the_file_a_batch_in_one_piece_would_be(gather):
    whole = run_all(gather(shards=None, allow_reexport=True))
    shards = run_all(gather(shards=7, allow_reexport=True))
    joined = b"".join(content(shards, part["name"]) for part in shards.manifest["parts"])
    assert joined == content(whole, None)


@pytest.mark.parametrize("format", ["json", "csv", "openai", "huggingface", "alpaca"])
def test_every_format_can_be_in_shards(gather, format):
    batch = run_all(gather(format=format, shards=2))
    assert (batch.state, len(batch.manifest["parts"])) == ("READY", 2), batch.error


def test_tasks_can_be_in_shards_too_split_or_not(buyer):
    plain = run_all(batching.gather_tasks(Task.objects.all(), by=buyer, format="jsonl", shards=3))
    names = [part["name"] for part in plain.manifest["parts"]]
    assert ids(plain, names) == list(Task.objects.values_list("uid", flat=True))
    split = run_all(batching.gather_tasks(Task.objects.all(), by=buyer, format="jsonl", shards=2, ratios=SPLIT))
    names = [part["name"] for part in split.manifest["parts"]]
    assert sorted(ids(split, names)) == sorted(Task.objects.values_list("uid", flat=True))
    assert [part["rows"] for part in split.manifest["parts"]] == [20, 20, 2, 3, 2, 3]


def test_a_part_has_no_more_shards_than_rows(gather):
    batch = run_all(gather(shards=8, ratios="0.9/0.1/0"))
    assert [part["name"] for part in batch.manifest["parts"]][-6:] == [
        *(f"val-0000{number}-of-00005.jsonl" for number in range(5)),
        "test-00000-of-00001.jsonl",
    ]
    assert batch.manifest["parts"][-1]["rows"] == 0


@pytest.mark.parametrize(
    ("shards", "said"),
    [
        (0, "from 1 to 1000, not 0"),
        (-1, "from 1 to 1000"),
        (1001, "from 1 to 1000"),
        ("3", "not '3'"),
        (2.5, "not 2.5"),
        (True, "not True"),
        (51, "51 shards are more than the 50 rows"),
    ],
)
def test_a_number_of_shards_that_cannot_be_is_refused_before_anything_is_written(gather, shards, said):
    with pytest.raises(BadShards, match=said):
        gather(shards=shards)
    assert not Batch.objects.exists()
    assert not Job.objects.exists()


def test_it_is_ready_only_with_the_last_shard_in_whatever_order(gather):
    batch = planned(gather())
    first, second, third = batch.shards.all()
    for shard in (third, first):
        assert run(shard).written_at
        assert (shard.batch.state, "manifest.json" in files(batch)) == ("RUNNING", False)
        with pytest.raises(NotReady):
            batching.open_file(shard.batch, shard.name)
    assert run(second).batch.state == "READY"
    assert "manifest.json" in files(batch)


def test_a_file_of_it_is_asked_for_by_name(gather):
    batch = run_all(gather())
    with pytest.raises(InShards, match="is in shards; its files: data-00000-of-00003.jsonl, data-0000"):
        batching.open_file(batch)
    with pytest.raises(InShards, match="has no file '../secret'"):
        batching.open_file(batch, "../secret")
    plain = run_all(gather(shards=None, allow_reexport=True))
    with pytest.raises(InShards, match="has no file 'train': it has one file"):
        batching.open_file(plain, "train")


def test_a_shard_whose_worker_died_is_written_by_the_next_and_the_others_stay_as_they_are(gather):
    batch = planned(gather())
    first, second, _ = batch.shards.all()
    run(first)
    dead = queue.claim(second.job_id)
    sharding._begin(Shard.objects.select_related("batch").get(pk=second.pk), storages["local"])
    Job.objects.filter(pk=dead.pk).update(lease_until=batch.created_at)
    queue.sweep()
    Job.objects.filter(pk=dead.pk).update(run_after=batch.created_at)
    run_all(batch)
    assert batch.state == "READY"
    assert Shard.objects.get(pk=first.pk).written_at == first.written_at
    assert Shard.objects.get(pk=second.pk).job.attempt == 2


def test_a_worker_that_dies_between_the_last_shard_and_the_manifest_leaves_it_to_the_next(gather, monkeypatch):
    batch = planned(gather(shards=1))
    shard = batch.shards.get()
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "complete", lambda batch: None)
        assert sharding.write(batch.pk, shard.pk, lambda *_: None).written_at
    batch.refresh_from_db()
    assert (batch.state, files(batch)) == ("RUNNING", ["data-00000-of-00001.jsonl"])
    written = Shard.objects.get().written_at
    assert run_all(batch).state == "READY"
    assert Shard.objects.get().written_at == written


def test_a_run_that_lost_its_shard_may_not_publish(gather):
    batch = planned(gather(shards=1))
    shard = batch.shards.get()

    def overtaken(*_):
        nonlocal overtaken
        overtaken = lambda *_: None  # noqa: E731
        sharding.write(batch.pk, shard.pk, lambda *_: None)

    with pytest.raises(WrongState, match="given to another worker"):
        sharding.write(batch.pk, shard.pk, lambda *said: overtaken(*said))
    batch.refresh_from_db()
    assert (batch.state, len(files(batch))) == ("READY", 2)


def test_planning_twice_draws_the_same_shards_and_gives_none_out_twice(gather):
    batch = planned(gather())
    before = list(batch.shards.values())
    assert sharding.plan(batch, lambda *_: None) == 0
    assert list(batch.shards.values()) == before
    assert Job.objects.filter(kind="exports.write_shard").count() == 3


def test_a_plan_that_was_given_up_draws_nothing_any_more(gather):
    batch = gather(ratios=SPLIT)
    reports = iter([None, lambda: sharding.plan(Batch.objects.get(pk=batch.pk), lambda *_: None)])

    def overtaken(*_):
        if act := next(reports, None):
            act()

    with pytest.raises(WrongState):
        sharding.plan(batch, overtaken)
    assert Job.objects.filter(kind="exports.write_shard").count() == batch.shards.count() == 9
    assert run_all(batch).state == "READY"


def test_shards_are_drawn_with_the_words_around_their_rows_or_not_at_all(gather, buyer):
    batch = gather(format="openai", shards=2)
    Project.objects.update(prompts={"fr": {"chat": "Alors ?"}})  # which has no place for the text
    assert run_all(batch).state == "FAILED"
    assert not batch.shards.exists()
    words = {"fr": {"chat": "Alors ? {content}"}}
    Project.objects.update(prompts=words)
    batch = planned(batching.retry(batch, by=buyer))
    Project.objects.update(prompts={})
    run_all(batch)
    assert (batch.state, batch.manifest["prompts"]) == ("READY", {str(batch.project_id): words})


def test_cancelling_stops_the_shards_frees_the_samples_and_leaves_no_file(gather, buyer):
    batch = planned(gather())
    first, second, _ = batch.shards.all()
    run(first)
    running = queue.claim(second.job_id)
    assert batching.cancel(batch, by=buyer)
    worker.run(running)
    assert (batch.state, files(batch), batch.items.count(), batch.shards.count()) == ("CANCELLED", [], 0, 0)
    assert not Job.objects.unfinished().exists()
    assert gather().sample_count == 50


def test_cancelling_the_job_of_one_shard_cancels_the_batch(gather):
    batch = planned(gather())
    assert queue.cancel(batch.shards.first().job)
    batch.refresh_from_db()
    assert (batch.state, files(batch)) == ("CANCELLED", [])
    assert not Job.objects.unfinished().exists()


def test_a_shard_that_fails_fails_the_batch_and_retry_writes_only_what_is_missing(gather, buyer, settings):
    batch = planned(gather())
    first, second, third = batch.shards.all()
    run(first)
    storages["local"].save(f"{second.path}/in-the-way", storages["local"].open(first.path))  # a folder of its name
    for _ in range(settings.JOB_MAX_ATTEMPTS):
        run(second)
    batch.refresh_from_db()
    assert batch.state == "FAILED"
    assert batch.error.startswith(f"{second.name}: ")
    assert Job.objects.get(pk=third.job_id).state == "CANCELLED"
    assert first.name in files(batch)
    assert batch.items.count() == 50
    storages["local"].delete(f"{second.path}/in-the-way")
    storages["local"].delete(second.path)
    batching.retry(batch, by=buyer)
    run_all(batch)
    assert batch.state == "READY", batch.error
    assert Shard.objects.get(pk=first.pk).written_at == first.written_at


def test_a_shard_whose_file_was_lost_since_is_written_again_on_retry(gather, buyer):
    batch = planned(gather())
    first = run(batch.shards.first())
    batching.fail(batch, "for the test")
    storages["local"].delete(first.path)
    batching.retry(batch, by=buyer)
    run_all(batch)
    assert batch.state == "READY"
    assert Shard.objects.get(pk=first.pk).written_at > first.written_at


def test_a_sample_that_lost_its_approval_before_its_shard_was_written_is_let_go_and_counted(gather):
    batch = planned(gather())
    run(batch.shards.first())
    early, late = Sample.objects.first(), Sample.objects.last()
    Sample.objects.filter(pk__in=[early.pk, late.pk]).update(status="PENDING")
    run_all(batch)
    assert [part["rows"] for part in batch.manifest["parts"]] == [16, 17, 16]
    assert (batch.sample_count, batch.manifest["samples"], batch.manifest["withdrawn"]) == (49, 49, 1)


def test_a_sample_that_is_approved_again_while_its_shards_are_planned_is_let_go_or_dealt(gather):
    batch = gather(ratios="0.4/0.2/0.4", shards=2, group_by="duplicates", split_name="main")
    shy = batch.items.first().sample_id
    states = iter(["APPROVED", "PENDING", "APPROVED"])  # at the beginning, before the rows are read, and when they are

    def progress(*_):
        if status := next(states, None):
            Sample.objects.filter(pk=shy).update(status=status)

    sharding.plan(batch, progress)
    batch = run_all(batch)
    assert batch.state == "READY", batch.error
    assert batch.dealt["rows_that_had_a_side"] == 0
    assert KeptSide.objects.count() == batch.items.count() == batch.sample_count == 50


def test_a_batch_whose_samples_all_lost_their_approval_fails(gather):
    batch = planned(gather(shards=2))
    Sample.objects.update(status="REJECTED")
    run_all(batch)
    assert batch.state == "FAILED"
    assert "may leave any more" in batch.error


def test_labels_that_nobody_foresaw_get_the_same_index_in_every_shard(buyer):
    project = make_project()
    user = make_member(project, Role.MANAGER)
    for _ in range(4):
        make_sample(project)
    tasks = Task.objects.filter(project=project)
    batch = planned(batching.gather_tasks(tasks, by=user, format="huggingface", shards=2))
    first, *_, last = tasks.order_by("pk")
    for task, name in ((first, "Zut"), (last, "Bof")):
        Task.objects.filter(pk=task.pk).update(label=None, label_name=name, label_index=None)
    run_all(batch)
    assert batch.label_map == batch.manifest["label_map"] == {"Positif": 0, "Négatif": 1, "Zut": 2, "Bof": 3}
    written = [
        json.loads(line) for part in batch.manifest["parts"] for line in content(batch, part["name"]).splitlines()
    ]
    assert [row["label_id"] for row in written] == [2, 0, 0, 3]


def test_the_words_around_the_rows_are_the_same_in_every_shard(gather):
    Project.objects.update(prompts={"fr": {"chat": "Alors ? {content}"}})
    batch = planned(gather(format="openai", shards=2))
    run(batch.shards.first())
    Project.objects.update(prompts={})
    run_all(batch)
    for part in batch.manifest["parts"]:
        assert content(batch, part["name"]).count(b"Alors ? ") == part["rows"]


def test_a_batch_without_a_row_left_fails_before_a_shard_is_drawn(gather):
    batch = gather()
    Sample.objects.update(status="REJECTED")
    run_all(batch)
    assert (batch.state, batch.error) == ("FAILED", "none of the 50 samples of the batch is approved any more")
    assert not Shard.objects.exists()


@pytest.mark.parametrize("asked", [{"shards": 2}, {"shards": None, "compression": "gzip"}])
def test_a_model_is_not_trained_on_what_no_provider_reads(gather, asked):
    batch = run_all(gather(**asked))
    with pytest.raises(Unsuitable, match="in shards or compressed"):
        finetuning.submit(batch, by=None)


@pytest.mark.parametrize("shards", [None, 1])
def test_tasks_are_checked_part_by_part_in_one_file_and_in_shards(buyer, project, shards):
    tasks = Task.objects.filter(pk__in=Task.objects.values("pk")[:12])
    batch = run_all(
        batching.gather_tasks(tasks, by=buyer, format="openai", ratios="0.5/0.25/0.25", shards=shards),
    )
    assert batch.state == "FAILED"
    assert "OpenAI takes at least 10 examples to train on; there are 6 in train" in batch.error


def test_what_the_shards_hold_is_checked_again_when_all_are_written(buyer):
    ten = list(Sample.objects.values_list("pk", flat=True)[:10])
    batch = planned(batching.gather(Sample.objects.all(), by=buyer, format="openai", shards=2, ids=ten))
    run(batch.shards.first())
    Sample.objects.filter(pk=ten[-1]).update(status="PENDING")
    run_all(batch)
    assert batch.state == "FAILED"
    assert "OpenAI takes at least 10 examples to train on; there are 9" in batch.error


def test_tasks_that_are_not_settled_any_more_are_not_counted_where_only_settled_ones_are_written(buyer):
    tasks = Task.objects.filter(pk__in=Task.objects.values("pk")[:10])
    batch = batching.gather_tasks(tasks, by=buyer, format="openai", shards=1)
    unsettled = {"status": "PENDING", "label": None, "label_name": None, "label_index": None, "answer": None}
    Task.objects.filter(pk=Task.objects.first().pk).update(**unsettled)
    run_all(batch)
    assert batch.state == "FAILED"
    assert "there are 9" in batch.error


@pytest.mark.parametrize("shards", [None, 2])
def test_the_warnings_of_a_file_that_is_written_again_are_its_own_and_the_selection_s(buyer, shards):
    project = make_project()
    for number in range(3):
        make_sample(project, f"Bof {number}")
    user, picture = make_member(project, Role.MANAGER), make_sample(project, "a.png")
    Sample.objects.filter(pk=picture.pk).update(type="IMAGE_CLASSIFICATION")
    Sample.objects.filter(project=project, content="Bof 1").update(content=" ")
    batch = run_all(
        batching.gather(Sample.objects.filter(project=project), by=user, format="label-studio", shards=shards)
    )
    assert batch.state == "READY", batch.error
    assert [said for said in batch.warnings if "without any text" in said]
    left_out = [said for said in batch.warnings if said.startswith("left out: 1 sample")]
    Sample.objects.filter(project=project, content=" ").update(content="Bof 1")
    retention.remove_files(batch)
    batching.write_again(batch, by=user)
    run_all(batch)
    assert batch.state == "READY", batch.error
    assert left_out and batch.warnings == batch.manifest["warnings"]
    assert [said for said in batch.warnings if said in left_out] == left_out
    assert not [said for said in batch.warnings if "without any text" in said]

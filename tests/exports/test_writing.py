"""Writing a batch: one file and its manifest, or nothing; and every way a batch can end."""

import csv
import io
import json
import os
import threading
from collections import Counter
from hashlib import sha256
from zipfile import ZipFile

import pytest
from django.core.files.storage import storages
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports import batching, destinations, formats
from exports.errors import AlreadyExported, EmptyBatch, NotReady, UnknownDestination, WrongState
from exports.models import Batch, BatchItem, KeptSide
from labelhub import __version__
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Sample
from tests.factories import make_batch, make_member, make_project, make_sample, make_samples

pytestmark = pytest.mark.django_db(transaction=True)

SPLIT = "0.8/0.1/0.1"


def quietly(done, total, message=""):
    """Progress that nobody watches."""


@pytest.fixture
def project():
    return make_samples(50)


@pytest.fixture
def buyer(project):
    return make_member(project, Role.BUYER)


@pytest.fixture
def gather(buyer):
    def gather(**asked):
        return batching.gather(Sample.objects.all(), by=buyer, **{"format": "jsonl"} | asked)

    return gather


def run(batch):
    """Let a worker run the batch's job once, now."""
    Job.objects.filter(pk=batch.job_id).update(run_after=batch.created_at)
    job = queue.claim(batch.job_id)
    assert job
    worker.run(job)
    batch.refresh_from_db()
    return batch


def files():
    """What lies at the local destination, unfinished files too."""
    folder = storages["local"].path("export")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def content(batch):
    file, size = batching.open_file(batch)
    with file:
        data = file.read()
    assert len(data) == size
    return data


def test_a_batch_becomes_ready_with_one_file_and_its_manifest(gather):
    batch = run(gather())
    assert batch.state == Batch.State.READY, batch.error
    data = content(batch)
    assert [json.loads(line)["id"] for line in data.splitlines()] == list(Sample.objects.values_list("uid", flat=True))
    assert (batch.byte_count, batch.sha256) == (len(data), sha256(data).hexdigest())
    assert files() == [f"{batch.short_id}.jsonl", f"{batch.short_id}.manifest.json"]
    assert batch.job.state == Job.State.DONE
    assert batch.job.result == {"batch": str(batch.uuid), "path": batch.path, "sha256": batch.sha256}
    assert [entry.action for entry in AuditEntry.objects.filter(subject="batch").order_by("id")] == ["gather", "write"]


def test_the_manifest_explains_the_file(gather, project, buyer):
    batch = run(gather(format="csv", ratios=SPLIT, stratify=True, seed="7", options={"guard_formulas": True}))
    with ZipFile(io.BytesIO(content(batch))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = batch.manifest
    assert manifest == json.loads(storages["local"].open(f"export/{batch.short_id}.manifest.json").read())
    assert [part["name"] for part in manifest["parts"]] == list(members) == ["train.csv", "val.csv", "test.csv"]
    for part in manifest["parts"]:
        member = members[part["name"]]
        rows = list(csv.DictReader(io.StringIO(member.decode())))
        assert (part["rows"], part["bytes"], part["sha256"]) == (len(rows), len(member), sha256(member).hexdigest())
        assert part["labels"] == {label: sum(row["label"] == label for row in rows) for label in ("Positif", "Négatif")}
    assert [part["rows"] for part in manifest["parts"]] == [40, 5, 5]
    assert manifest["parts"][0]["labels"] == {"Négatif": 20, "Positif": 20}
    assert {name: value for name, value in manifest.items() if name not in ("parts", "created_at", "finished_at")} == {
        "batch": str(batch.uuid),
        "project": project.name,
        "carries": "samples",
        "selection": {"approved": "every sample no batch carries"},
        "allows_reexport": False,
        "samples": 50,
        "withdrawn": 0,
        "warnings": [],
        "format": "csv",
        "options": {"guard_formulas": True},
        "compression": "none",
        "split": {"ratios": {"train": "0.8", "val": "0.1", "test": "0.1"}, "seed": "7", "stratified": True},
        "label_map": {"Positif": 0, "Négatif": 1},
        "prompts": {},
        "file": {
            "name": f"{batch.short_id}.zip",
            "destination": "local",
            "bytes": batch.byte_count,
            "sha256": batch.sha256,
        },
        "software": {"name": "LabelHub", "version": __version__},
        "created_by": buyer.username,
    }


@pytest.mark.parametrize("asked", [{}, {"shards": 2}])
def test_the_manifest_counts_samples_where_the_file_has_two_rows_of_each(asked):
    project = make_project(task_type="PREFERENCE", labels=["x"])
    for number in range(12):
        make_sample(project, f"Prompt {number}", label="x")
    Sample.objects.update(label=None, label_name="A", answer={"chosen": "A", "rejected": "B"})
    user = make_member(project, Role.MANAGER)
    batch = batching.gather(Sample.objects.all(), by=user, format="kto", **asked)
    worker.work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    assert batch.state == "READY", batch.error
    assert (batch.sample_count, batch.manifest["samples"]) == (12, 12)
    assert sum(part["rows"] for part in batch.manifest["parts"]) == 24


def test_the_split_is_kept_with_the_items(gather):
    batch = run(gather(ratios=SPLIT))
    with ZipFile(io.BytesIO(content(batch))) as archive:
        written = {
            part: {json.loads(line)["id"] for line in archive.read(f"{part}.jsonl").splitlines()}
            for part in ("train", "val", "test")
        }
    for split in (BatchItem.Split.TRAIN, BatchItem.Split.VAL, BatchItem.Split.TEST):
        assert written[split.label] == set(batch.items.filter(split=split).values_list("sample__uid", flat=True))


def test_the_same_samples_and_seed_give_the_same_bytes(gather):
    first, again, other = (run(gather(ratios=SPLIT, seed=seed, allow_reexport=True)) for seed in ("1", "1", "2"))
    assert content(first) == content(again) != content(other)


OF_LABELLED_TEXTS = [
    name
    for name in formats.names()
    if formats.get(name).takes is None or "SENTIMENT_ANALYSIS" in formats.get(name).takes
]


@pytest.mark.parametrize("format", OF_LABELLED_TEXTS)
def test_every_format_can_be_written_plain_and_split(gather, format):
    plain = run(gather(format=format, allow_reexport=True))
    split = run(gather(format=format, ratios=SPLIT, allow_reexport=True))
    assert (plain.state, split.state) == ("READY", "READY"), (plain.error, split.error)
    assert (plain.manifest["parts"][0]["rows"], len(split.manifest["parts"])) == (50, 3)


def test_a_sample_that_lost_its_approval_is_let_go_and_counted(gather, buyer):
    batch = gather(ratios=SPLIT)
    gone = list(Sample.objects.values_list("pk", flat=True)[:5])
    Sample.objects.filter(pk__in=gone).update(status="PENDING")
    run(batch)
    assert (batch.state, batch.sample_count, batch.items.count()) == ("READY", 45, 45)
    assert (batch.manifest["samples"], batch.manifest["withdrawn"]) == (45, 5)
    Sample.objects.filter(pk__in=gone).update(status="APPROVED")
    assert gather(ids=gone).sample_count == 5


def test_a_batch_of_which_nothing_is_approved_any_more_fails_and_says_so(gather):
    batch = gather()
    Sample.objects.update(status="REJECTED")
    run(batch)
    assert batch.state == Batch.State.FAILED
    assert batch.error == "none of the 50 samples of the batch is approved any more"
    assert batch.job.state == Job.State.FAILED
    assert files() == []


def reopen_the_last(*_):
    Sample.objects.filter(pk=Sample.objects.approved().last().pk).update(status="PENDING")


def test_a_sample_that_loses_its_approval_while_the_file_is_written_is_not_in_it(gather):
    batch = gather(ratios=SPLIT)
    batching.write(batch, _after(2, reopen_the_last))
    assert (batch.state, batch.manifest["withdrawn"], batch.sample_count) == ("READY", 1, 49)
    assert batch.items.count() == 49


def test_a_selection_that_keeps_moving_makes_the_run_start_over(gather):
    batch = gather(ratios=SPLIT)
    with pytest.raises(batching.SelectionMoved):
        batching.write(batch, reopen_the_last)
    batch.refresh_from_db()
    assert (batch.state, files()) == (Batch.State.QUEUED, [])
    batching.write(batch, quietly)
    assert batch.state == "READY"
    assert batch.sample_count == Sample.objects.approved().count() == 50 - batch.manifest["withdrawn"] < 50


def _after(calls, act):
    """Progress that acts once, at its `calls`-th report."""
    counter = iter(range(1, 10**6))

    def progress(done, total, message=""):
        if next(counter) == calls:
            act(done, total, message)

    return progress


def reopened_until(message, sample):
    """Take a sample's approval back; the progress that gives it again when it is first told `message`."""
    Sample.objects.filter(pk=sample).update(status="PENDING")

    def progress(done, total, said=""):
        if said == message:
            Sample.objects.filter(pk=sample).update(status="APPROVED")

    return progress


def test_a_sample_that_is_approved_again_while_the_split_is_dealt_is_dealt_with_the_others(gather):
    first = run(gather(ratios="0.4/0.2/0.4", split_name="main"))
    sides = dict(first.items.values_list("sample_id", "split"))
    tested = next(sample for sample, side in sides.items() if side == BatchItem.Split.TEST)
    batch = gather(ratios="0.4/0.2/0.4", split_name="main", allow_reexport=True)
    batching.write(batch, reopened_until("dealing the split", tested))
    assert dict(batch.items.values_list("sample_id", "split")) == sides
    assert [part["rows"] for part in batch.manifest["parts"]] == [20, 10, 20]


def test_every_sample_of_a_new_split_is_kept_also_one_that_was_approved_again_meanwhile(gather):
    batch = gather(ratios=SPLIT, split_name="main")
    batching.write(batch, reopened_until("dealing the split", batch.items.first().sample_id))
    assert [part["rows"] for part in batch.manifest["parts"]] == [40, 5, 5]
    assert KeptSide.objects.count() == 50


@pytest.mark.parametrize("group_by", ["", "source", "duplicates"])
def test_the_manifest_tells_what_had_a_side_before_the_batch_however_often_it_was_dealt(gather, group_by):
    batch = gather(ratios=SPLIT, split_name="main", group_by=group_by)
    with pytest.raises(Stop):
        batching.write(batch, _at("storing the file", stop))
    Sample.objects.filter(pk=batch.items.first().sample_id).update(status="PENDING")
    batching.write(batch, quietly)
    assert (batch.sample_count, batch.manifest["split"]["rows_that_had_a_side"]) == (49, 0)
    Sample.objects.update(status="APPROVED")
    make_samples(10, batch.project)
    later = gather(ratios=SPLIT, split_name="main", group_by=group_by, allow_reexport=True)
    with pytest.raises(Stop):
        batching.write(later, _at("storing the file", stop))
    batching.write(later, quietly)
    assert later.manifest["split"]["rows_that_had_a_side"] == (60 if group_by else 50)


def test_a_run_after_one_that_let_samples_go_and_failed_reads_the_rest_once(gather):
    batch = gather()
    Sample.objects.filter(pk=batch.items.first().sample_id).update(status="PENDING")
    with pytest.raises(Stop):
        batching.write(batch, _at("storing the file", stop))
    assert batch.items.count() == 49
    reports = []
    batching.write(batch, lambda *said: reports.append(said))
    assert [message for *_, message in reports].count("writing whole") == 1
    assert (batch.sample_count, batch.manifest["withdrawn"]) == (49, 1)


def test_progress_is_reported_and_reaches_the_end(gather):
    reports = []
    batching.write(gather(ratios=SPLIT), lambda *said: reports.append(said))
    assert {message for *_, message in reports} == {
        "reading the selection",
        "dealing the split",
        "writing train",
        "writing val",
        "writing test",
        "storing the file",
    }
    done = [done for done, *_ in reports]
    assert done == sorted(done)
    assert reports[-1][:2] == (50, 50)


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


def _at(what, act):
    """Progress that acts whenever it is told `what`."""
    return lambda done, total, message="": act() if message == what else None


@pytest.mark.parametrize("at", range(1, 9))
def test_a_run_that_is_stopped_at_any_report_leaves_no_file_and_the_next_one_finishes(gather, at):
    batch = gather(ratios=SPLIT)
    with pytest.raises(Stop):
        batching.write(batch, _after(at, stop))
    batch.refresh_from_db()
    assert (batch.state, files()) == (Batch.State.QUEUED, [])
    run(batch)
    assert batch.state == Batch.State.READY
    assert len(files()) == 2


def test_the_leftovers_of_a_dead_run_are_cleared_away(gather):
    batch = gather()
    dead = destinations.draft(storages["local"], batch.path)
    dead.write(b"half a fi")
    dead._file.flush()
    assert len(files()) == 1
    run(batch)
    assert files() == [f"{batch.short_id}.jsonl", f"{batch.short_id}.manifest.json"]


def test_a_run_that_was_given_up_may_not_publish(gather):
    """Its worker slept through the lease, and another has begun: only the latest run may write."""
    batch = gather()

    def overtaken(*_):
        batching.write(Batch.objects.get(pk=batch.pk), quietly)
        Sample.objects.filter(pk=Sample.objects.first().pk).update(content="changed since")

    with pytest.raises(WrongState):
        batching.write(batch, _after(3, overtaken))
    batch.refresh_from_db()
    assert batch.state == Batch.State.READY
    assert sha256(content(batch)).hexdigest() == batch.sha256
    assert b"changed since" not in content(batch)
    assert len(files()) == 2


def test_a_run_that_was_given_up_deals_nothing_any_more(gather):
    """It wakes with the rows read, when its successor has dealt and written them, and dies before it has dealt them all."""
    batch = gather(ratios=SPLIT)
    reports = iter([quietly, lambda *_: batching.write(Batch.objects.get(pk=batch.pk), quietly), stop])
    with pytest.raises(WrongState):
        batching.write(batch, lambda *said: next(reports)(*said))
    batch.refresh_from_db()
    assert batch.state == Batch.State.READY
    assert Counter(batch.items.values_list("split", flat=True)) == {1: 40, 2: 5, 3: 5}


def test_a_run_that_was_given_up_lets_nothing_go_any_more(gather):
    batch = gather()

    def overtaken(*_):
        batching.write(Batch.objects.get(pk=batch.pk), quietly)
        reopen_the_last()

    with pytest.raises(WrongState):
        batching.write(batch, _after(1, overtaken))
    assert Batch.objects.get().sample_count == batch.items.count() == 50


def test_writing_a_ready_batch_again_changes_nothing(gather):
    batch = run(gather())
    before = Batch.objects.filter(pk=batch.pk).values().get()
    batching.write(batch, quietly)
    assert Batch.objects.filter(pk=batch.pk).values().get() == before


def test_a_file_of_another_hub_under_the_same_name_is_not_overwritten(gather):
    batch = gather()
    storages["local"].save(batch.path, io.BytesIO(b"theirs"))
    run(batch)
    assert batch.path == f"export/{batch.uuid.hex}.jsonl"
    assert storages["local"].open(f"export/{batch.short_id}.jsonl").read() == b"theirs"
    assert content(batch)


def test_a_failing_destination_is_reported_on_the_batch_and_retry_finishes_it(gather, buyer, settings, tmp_path):
    batch = gather()
    (tmp_path / "exports").write_text("a file where the folder should be")
    for _ in range(settings.JOB_MAX_ATTEMPTS):
        run(batch)
    assert batch.state == Batch.State.FAILED
    assert "exports" in batch.error
    with pytest.raises(AlreadyExported):
        gather(ids=[Sample.objects.first().pk])
    (tmp_path / "exports").unlink()
    batching.retry(batch, by=buyer)
    assert (batch.state, batch.error) == (Batch.State.QUEUED, "")
    run(batch)
    assert batch.state == Batch.State.READY
    actions = AuditEntry.objects.filter(subject="batch").order_by("id").values_list("action", "after")
    assert list(actions) == [("gather", "QUEUED"), ("fail", "FAILED"), ("retry", "QUEUED"), ("write", "READY")]


def test_a_destination_that_was_taken_away_fails_the_batch_with_its_name(gather, settings):
    batch = gather()
    Batch.objects.update(destination="gone")
    run(batch)
    assert (batch.state, batch.error) == (Batch.State.FAILED, "unknown destination 'gone'; known: local")
    Batch.objects.update(state="READY", path="export/a.jsonl", sha256="0")
    with pytest.raises(UnknownDestination):
        batching.open_file(Batch.objects.get())


def test_only_a_failed_batch_is_tried_again(gather, buyer):
    batch = run(gather())
    with pytest.raises(WrongState, match="only a failed batch"):
        batching.retry(batch, by=buyer)


def test_cancelling_a_waiting_batch_frees_its_samples(gather, buyer):
    batch = gather()
    assert batching.cancel(batch, by=buyer)
    assert (batch.state, batch.job.state) == (Batch.State.CANCELLED, Job.State.CANCELLED)
    assert not batch.items.exists()
    assert gather().sample_count == 50
    entries = AuditEntry.objects.filter(subject="batch", subject_id=batch.pk).order_by("id")
    assert list(entries.values_list("action", "actor", "after")) == [
        ("gather", buyer.pk, "QUEUED"),
        ("ask to cancel", buyer.pk, "QUEUED"),
        ("cancel", None, "CANCELLED"),
    ]


def test_cancelling_a_running_batch_stops_it_at_its_next_report_and_leaves_no_file(gather, buyer):
    batch = gather()
    job = queue.claim(batch.job_id)
    assert batching.cancel(batch, by=buyer)
    worker.run(job)
    batch.refresh_from_db()
    assert (batch.state, files()) == (Batch.State.CANCELLED, [])
    assert not batch.items.exists()


def test_cancelling_a_failed_batch_frees_its_samples(gather, buyer):
    batch = gather()
    Batch.objects.update(destination="gone")
    run(batch)
    Batch.objects.update(destination="local")
    assert batching.cancel(batch, by=buyer)
    assert batch.state == Batch.State.CANCELLED
    assert gather().sample_count == 50


def test_a_ready_batch_cannot_be_cancelled(gather, buyer):
    batch = run(gather())
    assert not batching.cancel(batch, by=buyer)
    assert batch.items.count() == 50
    assert content(batch)


def test_a_batch_that_killed_every_worker_fails_and_leaves_no_file(gather, settings):
    batch = gather()
    for _ in range(settings.JOB_MAX_ATTEMPTS):
        Job.objects.update(run_after=batch.created_at)
        assert queue.claim(batch.job_id)
        batching.begin(Batch.objects.get(pk=batch.pk), storages["local"])
        dead = destinations.draft(storages["local"], batch.path)
        Job.objects.update(lease_until=batch.created_at)
        queue.sweep()
    dead._file.close()
    batch.refresh_from_db()
    assert batch.state == Batch.State.FAILED
    assert "worker died" in batch.error
    assert files() == []


def test_there_is_nothing_to_open_before_a_batch_is_ready_or_when_its_file_is_gone(gather):
    batch = gather()
    with pytest.raises(NotReady, match="is queued: it has no file"):
        batching.open_file(batch)
    run(batch)
    storages["local"].delete(batch.path)
    with pytest.raises(NotReady, match=f"{batch.path}, is gone from destination 'local'"):
        batching.open_file(batch)


def test_a_batch_without_items_is_empty():
    batch = make_batch(make_project(), path="export/none.jsonl")
    with pytest.raises(EmptyBatch):
        batching.write(batch, quietly)


def test_the_prompts_of_the_project_are_used_and_noted(buyer):
    project = make_project(prompts={"fr": {"chat": "Alors ? {content}"}})
    for number in range(10):
        make_sample(project, f"Bof {number}")
    user = make_member(project, Role.MANAGER)
    batch = batching.gather(Sample.objects.filter(project=project), by=user, format="openai")
    run(batch)
    assert b'"content":"Alors ? Bof 7"' in content(batch)
    assert batch.manifest["prompts"] == {str(project.pk): {"fr": {"chat": "Alors ? {content}"}}}


def test_the_queries_of_a_run_do_not_grow_with_its_rows(gather):
    small, large = gather(ids=list(Sample.objects.values_list("pk", flat=True)[:10])), gather()
    counted = []
    for batch in (small, large):
        with CaptureQueriesContext(connection) as queries:
            batching.write(batch, quietly)
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 14


def test_a_batch_is_written_to_an_object_store(gather, s3, settings):
    settings.STORAGES = settings.STORAGES | {
        "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": s3.options()}
    }
    settings.EXPORT_DESTINATIONS = ["local", "s3"]
    batch = run(gather(destination="s3", ratios=SPLIT))
    assert batch.state == Batch.State.READY, batch.error
    assert s3.keys() == [f"export/{batch.short_id}.manifest.json", f"export/{batch.short_id}.zip"]
    assert s3.uploads() == []
    assert sha256(content(batch)).hexdigest() == batch.sha256
    assert files() == []

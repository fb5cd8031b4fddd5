"""Files that were kept long enough are removed; the batch says when, and can be written again."""

import threading
from datetime import timedelta

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from exports import batching, retention
from exports.errors import AlreadyExported, NotReady, WrongState
from exports.models import Batch, FineTune
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Sample
from tests.factories import make_member, make_samples

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def buyer():
    return make_member(make_samples(40), Role.BUYER)


def run(batch):
    worker.work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    return batch


@pytest.fixture
def old(buyer):
    """Makes a batch, written so many days ago."""

    def old(days=31, **asked):
        batch = run(batching.gather(Sample.objects.all(), by=buyer, **{"format": "jsonl"} | asked))
        assert batch.state == Batch.State.READY, batch.error
        Batch.objects.filter(pk=batch.pk).update(finished_at=timezone.now() - timedelta(days=days))
        batch.refresh_from_db()
        return batch

    return old


def there(batch):
    return [path for path in batching.paths_of(batch) if storages["local"].exists(path)]


@pytest.mark.parametrize("asked", [{}, {"ratios": "0.8/0.1/0.1"}, {"shards": 3}])
def test_after_its_days_the_files_go_and_the_record_stays(old, settings, asked):
    settings.EXPORT_RETENTION_DAYS = 30
    batch = old(**asked)
    assert there(batch) == batching.paths_of(batch)
    assert retention.remove_expired() == 1
    batch.refresh_from_db()
    assert there(batch) == []
    assert (batch.state, batch.is_ready, batch.items.count()) == ("READY", False, 40)
    entry = AuditEntry.objects.filter(subject="batch").latest("id")
    assert (entry.action, entry.actor, entry.reason) == ("remove files", None, "kept for 30 days")
    with pytest.raises(NotReady, match=f"were removed on {timezone.now():%Y-%m-%d}: write it again"):
        batching.open_file(batch)
    with pytest.raises(NotReady, match="were removed on"):
        batching.link_to(batch)
    assert retention.remove_expired() == 0


def test_younger_ones_stay_and_so_does_everything_where_nobody_set_a_time(old, settings):
    batch = old(29)
    settings.EXPORT_RETENTION_DAYS = 30
    assert retention.remove_expired() == 0
    settings.EXPORT_RETENTION_DAYS = 0
    Batch.objects.update(finished_at=timezone.now() - timedelta(days=4000))
    assert retention.remove_expired() == 0
    assert there(batch)


def test_what_a_fine_tune_is_reading_stays(old):
    batch = old()
    finetune = FineTune.objects.create(batch=batch, status=FineTune.Status.RUNNING)
    assert retention.remove_expired(30) == 0
    FineTune.objects.filter(pk=finetune.pk).update(status=FineTune.Status.SUCCESS)
    assert retention.remove_expired(30) == 1


def test_a_destination_that_is_away_does_not_keep_the_others_files(old):
    away, batch = old(40), old(allow_reexport=True)
    Batch.objects.filter(pk=away.pk).update(destination="gone")
    assert retention.remove_expired(30) == 1
    away.refresh_from_db()
    assert away.files_removed_at is None
    assert there(batch) == []


@pytest.mark.parametrize(
    "asked", [{}, {"ratios": "0.8/0.1/0.1", "stratify": True}, {"shards": 3}, {"compression": "zstd"}]
)
def test_written_again_it_is_the_same_file(old, buyer, asked):
    batch = old(**asked)
    sides = list(batch.items.order_by("sample").values_list("sample", "split"))
    sha256, parts = batch.sha256, batch.manifest["parts"]
    retention.remove_expired(30)
    run(batching.write_again(Batch.objects.get(pk=batch.pk), by=buyer))
    batch.refresh_from_db()
    assert (batch.is_ready, batch.sha256, batch.manifest["parts"]) == (True, sha256, parts)
    assert there(batch) == batching.paths_of(batch)
    assert list(batch.items.order_by("sample").values_list("sample", "split")) == sides
    audit = AuditEntry.objects.filter(subject="batch", subject_id=batch.pk).order_by("id")
    assert [*audit.values_list("action", "reason")][-1] == ("write", "")


def test_written_again_after_a_change_the_trail_says_that_it_is_another_file(old, buyer):
    batch = old()
    before = batch.sha256
    retention.remove_expired(30)
    Sample.objects.filter(pk=Sample.objects.first().pk).update(status="REJECTED")
    run(batching.write_again(Batch.objects.get(pk=batch.pk), by=buyer))
    batch.refresh_from_db()
    assert (batch.sample_count, batch.manifest["withdrawn"]) == (39, 1)
    assert f"sha256 was {before}" in AuditEntry.objects.filter(subject="batch", action="write").latest("id").reason


def test_only_a_batch_without_its_files_is_written_again(old, buyer):
    with pytest.raises(WrongState, match="has its files: only a batch whose files were removed"):
        batching.write_again(old(), by=buyer)


@pytest.mark.parametrize("asked", [{}, {"shards": 2}])
def test_who_cancels_the_second_writing_does_not_free_what_has_left(old, buyer, asked):
    batch = old(**asked)
    retention.remove_expired(30)
    again = batching.write_again(Batch.objects.get(pk=batch.pk), by=buyer)
    if asked:
        worker.run(queue.claim(again.job_id))
    assert batching.cancel(again, by=buyer)
    again.refresh_from_db()
    assert (again.state, again.is_ready, again.items.count(), there(again)) == ("READY", False, 40, [])
    with pytest.raises(AlreadyExported):
        batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[Sample.objects.first().pk])
    run(batching.write_again(again, by=buyer))
    again.refresh_from_db()
    assert again.is_ready


@pytest.fixture
def half_written(buyer):
    """A batch in three shards that failed so many days ago, when two of them were whole."""

    def half_written(days=31):
        batch = batching.gather(Sample.objects.all(), by=buyer, format="jsonl", shards=3)
        worker.run(queue.claim(batch.job_id))
        for shard in batch.shards.all()[:2]:
            worker.run(queue.claim(shard.job_id))
        batching.fail(batch, "the store was full")
        Batch.objects.filter(pk=batch.pk).update(finished_at=timezone.now() - timedelta(days=days))
        batch.refresh_from_db()
        assert len(there(batch)) == 2
        return batch

    return half_written


def test_whole_shards_of_a_batch_that_failed_go_too_and_retry_writes_them_again(half_written, buyer):
    batch = half_written()
    assert retention.remove_expired(30) == 1
    batch.refresh_from_db()
    assert (there(batch), batch.shards.unwritten().count()) == ([], 3)
    assert (batch.state, batch.files_removed_at is None, batch.items.count()) == ("FAILED", False, 40)
    entry = AuditEntry.objects.filter(subject="batch").latest("id")
    assert (entry.action, entry.before, entry.after, entry.reason) == (
        "remove files", "FAILED", "FAILED", "kept for 30 days",
    )  # fmt: skip
    assert retention.remove_expired(30) == 0
    with pytest.raises(NotReady, match="is failed: it has no file"):
        batching.open_file(batch)
    with pytest.raises(WrongState, match="is failed: only a batch whose files were removed"):
        batching.write_again(batch, by=buyer)
    run(batching.retry(batch, by=buyer))
    assert (batch.is_ready, batch.files_removed_at) == (True, None)
    assert there(batch) == batching.paths_of(batch)


def test_whole_shards_stay_while_they_are_young_and_while_somebody_tries_again(half_written, buyer):
    batch = half_written(29)
    assert retention.remove_expired(30) == 0
    Batch.objects.update(finished_at=timezone.now() - timedelta(days=31))
    batching.retry(Batch.objects.get(pk=batch.pk), by=buyer)
    assert retention.remove_expired(30) == 0
    assert not retention.remove_whole_shards(batch), "it has not heard of the retry"
    assert len(there(batch)) == 2
    run(batch)
    assert batch.is_ready


def test_whole_shards_stay_where_their_store_is_away(half_written):
    batch = half_written()
    Batch.objects.filter(pk=batch.pk).update(destination="gone")
    assert retention.remove_expired(30) == 0
    batch.refresh_from_db()
    assert (batch.files_removed_at, batch.shards.unwritten().count()) == (None, 1)


def test_the_workers_look_by_themselves_once_in_a_while(old, settings):
    batch = old()
    worker.work(threading.Event(), until_empty=True)
    assert not Job.objects.filter(kind="exports.remove_expired_files").exists()
    settings.EXPORT_RETENTION_DAYS = 30
    for _ in range(3):
        queue.sweep()
    run(batch)
    queue.sweep()
    job = Job.objects.get(kind="exports.remove_expired_files")
    assert (job.state, job.result) == ("DONE", {"batches": 1})
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - retention.LOOK_EVERY)
    queue.sweep()
    assert Job.objects.filter(kind="exports.remove_expired_files").count() == 2


def test_the_command_does_it_now(old, capsys):
    old()
    with pytest.raises(CommandError, match="kept for ever"):
        call_command("remove_expired_files")
    with pytest.raises(CommandError, match="more than 0"):
        call_command("remove_expired_files", days=-1.0)
    call_command("remove_expired_files", days=30.0)
    assert capsys.readouterr().out == "files removed of 1 batches\n"

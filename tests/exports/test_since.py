"""Only what is new since a batch."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from exports import batching
from exports.errors import EmptyBatch, WrongState
from exports.models import Batch
from labelhub.accounts.roles import Role
from samples.models import Sample, Task
from tests.factories import make_member, make_project, make_sample, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def gather(project):
    user = make_member(project, Role.BUYER)
    return lambda **asked: batching.gather(Sample.objects.all(), by=user, **{"format": "jsonl"} | asked)


def carried(batch):
    return list(batch.items.order_by("sample").values_list("sample_id", flat=True))


def an_hour_ago(batch):
    """As if the batch had been gathered an hour ago, of what was there."""
    before = timezone.now() - timedelta(hours=1)
    Batch.objects.filter(pk=batch.pk).update(created_at=before)
    Sample.objects.update(reviewed_at=before - timedelta(hours=1))
    Task.objects.update(created_at=before - timedelta(hours=1))
    batch.refresh_from_db()
    return batch


def test_what_was_approved_since_comes_and_what_was_passed_over_then_does_not(project, gather):
    taken, passed_over, waiting = make_sample(project), make_sample(project), make_sample(project, status="PENDING")
    first = an_hour_ago(gather(ids=[taken.pk]))
    Sample.objects.filter(pk=waiting.pk).update(status="APPROVED", reviewed_at=timezone.now())
    new = make_sample(project)
    second = gather(since=first)
    assert carried(second) == [waiting.pk, new.pk]
    assert second.selection == {"approved": "every sample no batch carries", "since": str(first.uuid)}
    assert passed_over.pk not in carried(second)


def test_what_another_batch_took_since_comes_only_when_asked_for_again(project, gather):
    make_sample(project)
    first = an_hour_ago(gather())
    elsewhere, free = make_sample(project), make_sample(project)
    gather(ids=[elsewhere.pk])
    assert carried(gather(since=first, allow_reexport=True)) == [elsewhere.pk, free.pk]
    assert carried(gather(since=first)) == [free.pk]


def test_a_sample_it_carries_is_not_new_though_it_was_approved_again(project, gather):
    sample = make_sample(project)
    first = an_hour_ago(gather())
    Sample.objects.filter(pk=sample.pk).update(reviewed_at=timezone.now())
    with pytest.raises(EmptyBatch):
        gather(since=first, allow_reexport=True)


def test_a_verdict_that_was_committed_a_moment_after_the_batch_is_not_lost(project, gather):
    make_sample(project)
    first = an_hour_ago(gather())
    late = make_sample(project)
    Sample.objects.filter(pk=late.pk).update(reviewed_at=first.created_at - timedelta(seconds=30))
    assert carried(gather(since=first)) == [late.pk]


def test_nothing_is_new_since_a_cancelled_batch(project, gather):
    make_sample(project)
    batch = gather()
    batching.cancel(batch, by=None)
    with pytest.raises(WrongState, match="was cancelled"):
        gather(since=batch)


def test_new_tasks_since_a_batch_of_tasks(project):
    old = make_task(project)
    user = make_member(project, Role.BUYER)
    asked = {"by": user, "format": "jsonl"}
    first = an_hour_ago(batching.gather_tasks(Task.objects.all(), **asked))
    new = make_task(project)
    second = batching.gather_tasks(Task.objects.all(), since=first, **asked)
    assert (second.sample_count, list(second.tasks.get().keys) != list(first.tasks.get().keys)) == (1, True)
    assert batching.carried_by(second).rows().get() == new != old


def test_the_command_exports_what_is_new(project, gather, tmp_path):
    make_sample(project)
    first = an_hour_ago(gather())
    new = make_sample(project)
    output = tmp_path / "new.jsonl"
    call_command("export_samples", project=project.name, format="jsonl", since=first.short_id, output=output)
    assert [new.uid] == [line.split('"')[3] for line in output.read_text().splitlines()]

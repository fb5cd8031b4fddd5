"""Gathering: which samples come along, and what is refused before anything is written."""

import uuid

import pytest

from exports import batching
from exports.errors import (
    AlreadyExported,
    BadOptions,
    BadPrompts,
    BadSplit,
    EmptyBatch,
    NotApproved,
    UnknownDestination,
    UnknownFormat,
)
from exports.models import Batch, BatchItem
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from labelhub.jobs.models import Job
from samples.models import Project, Sample
from tests.factories import make_member, make_project, make_sample, make_samples, make_superuser, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def buyer(project):
    return make_member(project, Role.BUYER)


def carried(batch):
    return list(batch.items.order_by("sample_id").values_list("sample_id", flat=True))


def test_every_approved_sample_that_is_free_comes_along(project, buyer):
    first = make_sample(project)
    made = batching.gather(Sample.objects.all(), by=buyer, format="jsonl")
    assert carried(made) == [first.pk]
    second = make_sample(project)
    for status in ("PENDING", "REJECTED"):
        make_sample(project, status=status)
    batch = batching.gather(Sample.objects.all(), by=buyer, format="csv")
    assert carried(batch) == [second.pk]
    assert batch.sample_count == 1
    assert batch.state == Batch.State.QUEUED
    assert batch.project == project
    assert batch.created_by == buyer


def test_the_batch_is_written_by_a_job_and_its_file_already_has_a_name(project, buyer):
    make_sample(project)
    batch = batching.gather(Sample.objects.all(), by=buyer, format="huggingface")
    assert batch.path == f"export/{batch.uuid.hex[:8]}.jsonl"
    assert (batch.job.kind, batch.job.params, batch.job.owner) == ("exports.write_batch", {"batch": batch.pk}, buyer)
    batch.refresh_from_db()
    assert batch.label_map == {"Positif": 0, "Négatif": 1}


def test_it_leaves_an_audit_entry(project, buyer):
    make_sample(project)
    batch = batching.gather(Sample.objects.all(), by=buyer, format="jsonl")
    entry = AuditEntry.objects.get(subject="batch", subject_id=batch.pk)
    assert (entry.action, entry.actor, entry.before, entry.after) == ("gather", buyer, "", "QUEUED")


def test_explicit_ids_are_taken_exactly(project, buyer):
    samples = [make_sample(project) for _ in range(4)]
    wanted = [samples[2].pk, samples[0].pk]
    batch = batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[*wanted, wanted[0]])
    assert carried(batch) == sorted(wanted)
    assert batch.selection == {"ids": sorted(wanted)}


def test_many_ids_are_remembered_as_a_range_for_the_items_hold_them():
    project = make_samples(1001)
    ids = list(Sample.objects.values_list("pk", flat=True))
    batch = batching.gather(Sample.objects.all(), by=make_member(project, Role.MANAGER), format="jsonl", ids=ids)
    assert batch.selection == {"ids": {"count": 1001, "from": ids[0], "to": ids[-1]}}
    assert carried(batch) == ids


@pytest.mark.parametrize("unknown", [0, -1, 10**12, 2**64])
def test_ids_that_nobody_knows_are_named_and_nothing_changes(project, buyer, unknown):
    sample, pending = make_sample(project), make_sample(project, status="PENDING")
    with pytest.raises(NotApproved) as refused:
        batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[sample.pk, pending.pk, unknown])
    assert refused.value.details["ids"] == sorted([pending.pk, unknown])
    assert not Batch.objects.exists()
    assert not BatchItem.objects.exists()
    assert not Job.objects.exists()


def test_ids_that_another_batch_carries_are_named_and_nothing_changes(project, buyer):
    first, second = make_sample(project), make_sample(project)
    batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[first.pk])
    with pytest.raises(AlreadyExported) as refused:
        batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[first.pk, second.pk])
    assert refused.value.details["ids"] == [first.pk]
    assert Batch.objects.count() == BatchItem.objects.count() == Job.objects.count() == 1


def test_asked_to_it_takes_again_what_another_batch_carries_without_claiming_it(project, buyer):
    sample = make_sample(project)
    first = batching.gather(Sample.objects.all(), by=buyer, format="jsonl")
    again = batching.gather(Sample.objects.all(), by=buyer, format="csv", allow_reexport=True)
    third = batching.gather(Sample.objects.all(), by=buyer, format="csv", ids=[sample.pk], allow_reexport=True)
    assert carried(first) == carried(again) == carried(third)
    assert list(BatchItem.objects.claims()) == [first.items.get()]


def test_nothing_left_is_an_empty_batch(project, buyer):
    make_sample(project)
    batching.gather(Sample.objects.all(), by=buyer, format="jsonl")
    with pytest.raises(EmptyBatch):
        batching.gather(Sample.objects.all(), by=buyer, format="jsonl")
    with pytest.raises(EmptyBatch):
        batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[])
    assert Batch.objects.count() == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER, None])
def test_who_may_not_export_finds_no_samples(project, role):
    sample = make_sample(project)
    user = make_member(project, role) if role else make_user()
    with pytest.raises(EmptyBatch):
        batching.gather(Sample.objects.all(), by=user, format="jsonl")
    with pytest.raises(NotApproved):
        batching.gather(Sample.objects.all(), by=user, format="jsonl", ids=[sample.pk])


def test_samples_of_projects_out_of_reach_stay_behind(project, buyer):
    mine, other = make_sample(project), make_sample()
    assert carried(batching.gather(Sample.objects.all(), by=buyer, format="jsonl")) == [mine.pk]
    with pytest.raises(NotApproved) as refused:
        batching.gather(Sample.objects.all(), by=buyer, format="jsonl", ids=[other.pk])
    assert refused.value.details["ids"] == [other.pk]


def test_a_batch_across_projects_has_no_project_and_one_label_map():
    sentiment = make_sample(make_project(labels=["Positif", "Négatif"]))
    topic = make_sample(make_project(labels=["Sport", "Négatif"]), label="Sport")
    boss = make_superuser()
    batch = batching.gather(Sample.objects.all(), by=boss, format="huggingface")
    assert batch.project is None
    assert batch.label_map == {"Positif": 0, "Négatif": 1, "Sport": 2}
    assert carried(batch) == [sentiment.pk, topic.pk]
    narrowed = batching.gather(
        Sample.objects.all(), by=boss, format="jsonl", project=topic.project, allow_reexport=True
    )
    assert (narrowed.project, carried(narrowed)) == (topic.project, [topic.pk])


def test_labels_outside_the_list_follow_by_first_appearance(project, buyer):
    for label in ("Zut", "Bof", "Zut"):
        sample = make_sample(project)
        Sample.objects.filter(pk=sample.pk).update(label=None, label_name=label)
    several = make_sample(project)
    Sample.objects.filter(pk=several.pk).update(
        label=None, label_name="Ah, Bof", label_names=["Ah", "Bof"], type="MULTI_LABEL"
    )
    free_text = make_sample(project)
    Sample.objects.filter(pk=free_text.pk).update(label=None, label_name="Une réponse.", type="TEXT_GENERATION")
    batch = batching.gather(Sample.objects.all(), by=buyer, format="huggingface")
    assert batch.label_map == {"Positif": 0, "Négatif": 1, "Zut": 2, "Bof": 3, "Ah": 4}


@pytest.mark.parametrize(
    ("asked", "fact", "said"),
    [
        ({"format": "xml"}, UnknownFormat, "known: json, jsonl"),
        ({"ratios": "0.8/0.1/0.2"}, BadSplit, "not to exactly 1"),
        ({"ratios": "0.8/0.1/0.1", "seed": "x" * 65}, BadSplit, "at most 64 characters"),
        ({"destination": "moon"}, UnknownDestination, "known: local"),
        ({"destination": "default"}, UnknownDestination, "known: local"),
        ({"options": {"colour": True}}, BadOptions, "has no option 'colour'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(project, buyer, asked, fact, said):
    make_sample(project)
    with pytest.raises(fact) as refused:
        batching.gather(Sample.objects.all(), by=buyer, **{"format": "jsonl"} | asked)
    assert said in refused.value.message
    assert not Batch.objects.exists()
    assert not Job.objects.exists()


def test_prompts_that_no_export_could_use_are_refused_where_they_are_needed(project, buyer):
    make_sample(project)
    Project.objects.update(prompts={"fr": {"chat": "Sentiment ?"}})
    with pytest.raises(BadPrompts):
        batching.gather(Sample.objects.all(), by=buyer, format="openai")
    assert not BatchItem.objects.exists()
    assert batching.gather(Sample.objects.all(), by=buyer, format="jsonl")


def test_a_batch_s_settings_are_kept(project, buyer):
    make_sample(project)
    batch = batching.gather(
        Sample.objects.all(),
        by=buyer,
        format="csv",
        ratios=(0.7, "0.2", "0.10"),
        seed="42",
        stratify=True,
        options={"guard_formulas": True},
        selection={"project": project.name, "label": "Positif"},
    )
    batch.refresh_from_db()
    assert batch.ratios == ["0.7", "0.2", "0.10"]
    assert (batch.seed, batch.is_stratified, batch.options) == ("42", True, {"guard_formulas": True})
    assert batch.selection == {"project": project.name, "label": "Positif"}
    assert batch.path.endswith(".zip")


def test_two_batches_whose_uuids_begin_alike_have_files_of_their_own(project, buyer, monkeypatch):
    uuids = [uuid.UUID("550e8400-e29b-41d4-a716-446655440000"), uuid.UUID("550e8400-0000-4000-8000-000000000001")]
    monkeypatch.setattr(Batch._meta.get_field("uuid"), "_get_default", lambda: uuids.pop(0))
    paths = []
    for format in ("jsonl", "csv"):  # other endings, but their manifests would meet
        make_sample(project)
        paths.append(batching.gather(Sample.objects.all(), by=buyer, format=format).path)
    assert paths == ["export/550e8400.jsonl", "export/550e8400000040008000000000000001.csv"]


def test_a_slice_can_be_gathered(project, buyer):
    samples = [make_sample(project) for _ in range(5)]
    batch = batching.gather(Sample.objects.order_by("-pk")[:2], by=buyer, format="jsonl")
    assert carried(batch) == [samples[3].pk, samples[4].pk]


def test_a_thousand_samples_cost_as_many_queries_as_ten(django_assert_max_num_queries):
    counts = []
    for size in (10, 1000):
        project = make_samples(size)
        user = make_member(project, Role.MANAGER)
        with django_assert_max_num_queries(20) as queries:
            batching.gather(Sample.objects.filter(project=project), by=user, format="openai", ratios="0.8/0.1/0.1")
        counts.append(len(queries))
    assert counts[0] == counts[1]

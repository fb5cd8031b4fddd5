"""Splits of batches: what belongs together stays on one side, and who was on a side stays there in later batches."""

import random
import threading
from collections import Counter, defaultdict

import pytest
from django.core.files.storage import storages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exports import batching, dealing
from exports.errors import BadSplit
from exports.models import Batch, BatchItem, KeptSide, KeptSplit
from labelhub.accounts.roles import Role
from labelhub.jobs.worker import work
from samples.duplicates import note_duplicates
from samples.models import ClusterMember, Sample, Task
from tests.factories import make_member, make_project, make_sample, make_samples, make_source, make_superuser

pytestmark = pytest.mark.django_db(transaction=True)

SPLIT = "0.8/0.1/0.1"


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def gather(project):
    user = make_member(project, Role.BUYER)

    def gather(samples=None, **asked):
        chosen = Sample.objects.all() if samples is None else samples
        batch = batching.gather(chosen, by=user, **{"format": "jsonl", "ratios": SPLIT} | asked)
        work(threading.Event(), until_empty=True)
        batch.refresh_from_db()
        assert batch.state == Batch.State.READY, batch.error
        return batch

    return gather


def sides(batch):
    return dict(batch.items.values_list("sample_id", "split"))


def conversations(project, count, size, *, start=0):
    """`size` samples of each of `count` threads."""
    for thread in range(start, start + count):
        for turn in range(size):
            make_sample(project, f"fil {thread}, message {turn}", metadata={"thread": f"t{thread}", "turn": turn})


def threads_of(batch):
    found = {}
    for thread, split in batch.items.values_list("sample__task__metadata", "split"):
        found.setdefault(thread["thread"], set()).add(split)
    return found


def test_threads_stay_together_and_the_manifest_says_so(project, gather):
    conversations(project, 30, 3)
    batch = gather(group_by="metadata:thread", stratify=True)
    assert all(len(found) == 1 for found in threads_of(batch).values())
    assert Counter(sides(batch).values()) == {1: 72, 2: 9, 3: 9}
    assert batch.manifest["split"] == {
        "ratios": {"train": "0.8", "val": "0.1", "test": "0.1"},
        "seed": "0",
        "stratified": True,
        "group_by": ["metadata:thread"],
        "groups": 30,
        "largest_group": 3,
        "groups_on_several_sides": 0,
    }


def test_a_source_stays_together_and_rows_without_the_key_stand_for_themselves(project, gather):
    for number in range(10):
        for _ in range(number + 1):
            make_sample(project, source=make_source(project, f"file{number}"))
    batch = gather(group_by=["source"])
    found = {}
    for source, split in batch.items.values_list("sample__task__source", "split"):
        found.setdefault(source, set()).add(split)
    assert all(len(where) == 1 for where in found.values())
    alone = gather(group_by="metadata:nothing", allow_reexport=True)
    assert (alone.dealt["groups"], alone.dealt["largest_group"]) == (55, 1)
    assert Counter(sides(alone).values()) == {1: 44, 2: 6, 3: 5}


def test_near_duplicates_stay_together_though_nobody_looked_for_them_before(project, gather):
    words = ["le", "livreur", "est", "arrivé", "avec", "deux", "jours", "de", "retard", "et", "le", "colis", "abîmé"]
    for number in range(20):
        text = f"{' '.join(words[number % 5 :])} commande {number * 7919} {' '.join(words[: number % 7])} {number}" * 2
        make_sample(project, text)
        make_sample(project, text + " !")
    batch = gather(group_by="duplicates")
    found = {}
    for cluster, split in batch.items.values_list("sample__task__cluster_member__cluster", "split"):
        found.setdefault(cluster, set()).add(split)
    assert all(len(where) == 1 for where in found.values())
    assert batch.dealt["largest_group"] >= 2


def test_a_kept_split_moves_nobody_when_the_data_grows(project, gather):
    make_samples(200, project)
    first = gather(split_name="main", stratify=True)
    make_samples(20, project)
    second = gather(split_name="main", stratify=True, allow_reexport=True)
    assert {id: sides(second)[id] for id in sides(first)} == sides(first)
    assert Counter(sides(second).values()) == {1: 176, 2: 22, 3: 22}
    assert second.manifest["split"]["rows_that_had_a_side"] == 200
    assert KeptSide.objects.count() == 220


def test_only_new_samples_still_follow_the_thread_they_belong_to(project, gather):
    conversations(project, 20, 3)
    first = threads_of(gather(split_name="main", group_by="metadata:thread"))
    conversations(project, 30, 2)
    second = threads_of(gather(split_name="main", group_by="metadata:thread"))
    assert {thread: second[thread] for thread in first} == first


def alike(cluster):
    """A text as no other cluster has one: who has it too is a near-duplicate."""
    words = random.Random(cluster)
    return " ".join("".join(words.choices("abcdefghijklmnop", k=7)) for _ in range(12))


def test_near_duplicates_that_come_later_follow_the_cluster_they_belong_to(project, gather):
    for cluster in range(40):
        make_sample(project, alike(cluster))
    first = gather(split_name="main", group_by="duplicates")
    where = dict(first.items.values_list("sample__content", "split"))
    for cluster in range(40):
        make_sample(project, alike(cluster) + " !")
    second = gather(split_name="main", group_by="duplicates")
    assert dict(second.items.values_list("sample__content", "split")) == {f"{text} !": at for text, at in where.items()}
    assert second.dealt["rows_that_had_a_side"] == 40
    assert second.dealt["groups_on_several_sides"] == 0


def test_sources_stay_on_their_side_where_rows_are_kept_together_by_more_than_them(project, gather):
    def come(batch):
        for number in range(40):
            for thread in (f"{batch} alone {number}", f"{batch} pair {number // 2}"):
                source = make_source(project, f"file{number}")
                make_sample(project, f"{batch} {number} {thread}", source=source, metadata={"thread": thread})
        return dict(
            gather(split_name="main", group_by="source,metadata:thread").items.values_list(
                "sample__task__source", "split"
            )
        )

    assert come("first") == come("second")
    second = Batch.objects.latest("pk")
    assert (second.dealt["rows_that_had_a_side"], second.dealt["groups_on_several_sides"]) == (80, 0)


def test_who_joins_two_clusters_goes_with_one_and_the_manifest_says_they_are_on_several_sides(project, gather):
    texts = {cluster: alike(cluster) for cluster in range(60)}
    for text in texts.values():
        make_sample(project, text)
    first = gather(split_name="main", group_by="duplicates")
    where = dict(first.items.values_list("sample__content", "split"))
    one = next(text for text in texts.values() if where[text] == 1)
    other = next(text for text in texts.values() if where[text] == 3)
    make_sample(project, one + " " + other)
    tasks = Task.objects.filter(content__in=[one, other, f"{one} {other}"])
    make_one_cluster(tasks)
    second = gather(split_name="main", group_by="duplicates")
    assert second.dealt["groups_on_several_sides"] == 1


def make_one_cluster(tasks):
    """As texts between theirs would."""
    note_duplicates(tasks.values_list("pk", flat=True))
    ClusterMember.objects.filter(task__in=tasks).update(cluster=min(tasks.values_list("pk", flat=True)))


CRITERIA = {
    "duplicates": lambda task: task.cluster_member.cluster,
    "source": lambda task: task.source_id,
    "metadata:thread": lambda task: task.metadata.get("thread"),
}
newcomers = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.one_of(st.none(), st.integers(0, 8))), min_size=1, max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(newcomers, min_size=2, max_size=3),
    st.lists(st.sampled_from(sorted(CRITERIA)), min_size=1, max_size=3, unique=True),
    st.booleans(),
)
def test_however_a_project_grows_no_group_is_on_two_sides_unless_a_manifest_says_so(batches, group_by, again):
    project = make_project()
    user = make_member(project, Role.BUYER)
    where, said = {}, 0
    for newest in batches:
        for cluster, source, thread in newest:
            metadata = {} if thread is None else {"thread": f"t{thread}"}
            make_sample(project, alike(cluster), source=make_source(project, f"file{source}"), metadata=metadata)
        batch = batching.gather(
            Sample.objects.filter(project=project),
            by=user,
            format="jsonl",
            ratios="0.4/0.3/0.3",
            split_name="main",
            group_by=group_by,
            allow_reexport=again,
        )
        work(threading.Event(), until_empty=True)
        batch.refresh_from_db()
        dealt = sides(batch)
        assert {sample: where.get(sample, side) for sample, side in dealt.items()} == dealt  # nobody moves
        where |= dealt
        said += batch.manifest["split"]["groups_on_several_sides"]
    found = defaultdict(set)
    for sample in Sample.objects.filter(project=project).select_related("task"):
        for criterion in group_by:
            if (value := CRITERIA[criterion](sample.task)) is not None:
                found[criterion, value].add(where[sample.pk])
    assert said or all(len(on) == 1 for on in found.values())
    if len(group_by) == 1:
        assert not said


def test_a_sample_that_was_away_comes_back_to_its_side(project, gather):
    make_samples(40, project)
    first = gather(split_name="main")
    gone = first.items.filter(split=BatchItem.Split.TEST).first().sample_id
    Sample.objects.filter(pk=gone).update(status="PENDING")
    gather(split_name="main", allow_reexport=True)
    Sample.objects.filter(pk=gone).update(status="APPROVED")
    third = gather(split_name="main", allow_reexport=True)
    assert sides(third) == sides(first)


def test_a_kept_split_is_another_for_another_name_or_project(project, gather):
    make_samples(100, project)
    first = gather(split_name="main")
    other = gather(split_name="other", seed="1", allow_reexport=True)
    assert sides(first) != sides(other)
    make_samples(10)
    assert set(KeptSplit.objects.values_list("project", "name")) == {(project.pk, "main"), (project.pk, "other")}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": "2"}, "was dealt with seed '1' and keeps together by nothing"),
        ({"group_by": "source"}, "ask for the same, or for another name"),
    ],
)
def test_a_kept_split_is_not_mixed_with_one_that_does_not_fit(project, gather, changed, said):
    make_samples(20, project)
    gather(split_name="main", seed="1")
    with pytest.raises(BadSplit, match=said):
        gather(**{"split_name": "main", "seed": "1", "allow_reexport": True} | changed)
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"group_by": "author"}, "by 'author'; by duplicates, source or metadata:KEY they can"),
        ({"group_by": "metadata:"}, "by 'metadata:'"),
        ({"group_by": ["source", 3]}, "by '3'"),
        ({"group_by": "source", "ratios": None}, "give its shares"),
        ({"split_name": "main", "ratios": None}, "give its shares"),
        ({"split_name": "m" * 65}, "at most 64 characters"),
    ],
)
def test_what_cannot_be_kept_together_is_refused_before_anything_is_written(project, gather, asked, said):
    make_sample(project)
    with pytest.raises(BadSplit, match=said):
        gather(**asked)
    assert not Batch.objects.exists()


def test_a_kept_split_needs_one_project():
    make_sample(), make_sample()
    with pytest.raises(BadSplit, match="for one project"):
        batching.gather(Sample.objects.all(), by=make_superuser(), format="jsonl", ratios=SPLIT, split_name="main")
    assert not Batch.objects.exists()


def test_tasks_follow_the_same_kept_split_as_their_samples(project, gather):
    make_samples(60, project)
    carried = gather(split_name="main", stratify=True)
    user = make_member(project, Role.MANAGER)
    batch = batching.gather_tasks(
        Task.objects.all(), by=user, format="jsonl", ratios=SPLIT, split_name="main", stratify=True, shards=2
    )
    work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    assert batch.dealt["rows_that_had_a_side"] == 60
    counts = Counter()
    for part in batch.manifest["parts"]:
        counts[part["part"]] += part["rows"]
    assert counts == {"train": 48, "val": 6, "test": 6}
    assert carried.items.count() == 60


def test_whoever_dealt_meanwhile_was_first(project, gather, monkeypatch):
    """Another batch keeps its sides between our look and our word: ours follow."""
    make_samples(60, project)
    plan, interfered = dealing.splits.plan, []

    def interfering(rows, ratios, **asked):
        dealt = plan(rows, ratios, **asked)
        if not interfered:
            interfered.append(True)
            kept = KeptSplit.objects.get()
            KeptSide.objects.bulk_create(
                KeptSide(kept_split=kept, key=key, split=3) for key in dealt.keys.tolist()[:30]
            )
        return dealt

    monkeypatch.setattr(dealing.splits, "plan", interfering)
    batch = gather(split_name="main")
    assert Counter(sides(batch).values())[3] >= 30
    assert KeptSide.objects.count() == 60


def test_the_queries_of_dealing_do_not_grow_with_the_rows(project, django_assert_max_num_queries):
    counts = []
    user = make_member(project, Role.BUYER)
    for number, size in enumerate((20, 400)):
        make_samples(size, project)
        batch = batching.gather(
            Sample.objects.all(),
            by=user,
            format="jsonl",
            ratios=SPLIT,
            group_by="source,metadata:thread",
            split_name=f"split {number}",
        )
        batching.begin(batch, storages["local"])
        with django_assert_max_num_queries(30) as queries:
            dealing.deal(batch, lambda: None)
        counts.append(len(queries))
    assert counts[0] == counts[1]

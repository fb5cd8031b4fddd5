"""Answers become verdicts, verdicts become samples."""

import itertools

import pytest

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples import settling
from samples.errors import NotAllowed, WrongState
from samples.models import Annotation, Sample, Task, TaskLabel
from samples.models.verdicts import VERDICT_FIELDS
from samples.settling import Settled, accept_all, decide, settle, settle_all
from samples.task_types import InvalidAnswer
from tests.factories import (
    make_annotation,
    make_member,
    make_project,
    make_sample,
    make_settled_task,
    make_superuser,
    make_task,
    make_user,
)

pytestmark = pytest.mark.django_db


def make_answered(project, *labels, people=None, **fields):
    task = make_task(project, **fields)
    for person, label in zip(people or itertools.repeat(None), labels, strict=False):
        make_annotation(task, person, label=label)
    return task


def test_two_of_three_settle_a_task():
    task = settle(make_answered(make_project(), "Négatif", "Positif", "Négatif"))
    assert task.status == "COMPLETED"
    assert (task.label.name, task.label_name, task.label_index, task.label_names) == ("Négatif", "Négatif", 1, None)
    assert task.answer == {"label": "Négatif"}
    assert task.vote_shares == {"Négatif": 0.6667, "Positif": 0.3333}
    assert task.confidence == 0.6667
    assert task.validated_at is not None


def test_a_verdict_becomes_a_pending_sample_that_is_its_copy():
    task = settle(make_answered(make_project(), "Positif", "Positif", "Positif"))
    sample = Sample.objects.get()
    assert (sample.task, sample.project, sample.status, sample.sample_type) == (task, task.project, "PENDING", "TEXT")
    for name in (*VERDICT_FIELDS, "label"):
        assert getattr(sample, name) == getattr(task, name), name
    assert (sample.reviewed_by, sample.reviewed_at, sample.reason) == (None, None, "")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.subject_id, entry.after) == ("create", "sample", sample.pk, "PENDING")


def test_the_sample_of_an_image_is_an_image():
    project = make_project(task_type="IMAGE_CLASSIFICATION")
    settle(make_answered(project, "Positif", "Positif", "Positif"))
    assert Sample.objects.get().sample_type == "IMAGE"


def test_a_tie_is_no_verdict_but_keeps_the_shares():
    task = settle(make_answered(make_project(validations_needed=2), "Positif", "Négatif"))
    assert task.status == "FAILED"
    assert task.vote_shares == {"Positif": 0.5, "Négatif": 0.5}
    for name in ("label", "label_name", "label_index", "answer", "confidence", "validated_at"):
        assert getattr(task, name) is None, name
    assert not Sample.objects.exists()


def test_a_share_under_the_threshold_is_no_verdict():
    task = settle(make_answered(make_project(consensus_threshold=0.7), "Positif", "Positif", "Négatif"))
    assert (task.status, task.answer) == ("FAILED", None)


@pytest.mark.parametrize(("answers", "status"), [(0, "PENDING"), (1, "VALIDATING"), (2, "VALIDATING")])
def test_too_few_answers_settle_nothing(answers, status):
    task = settle(make_answered(make_project(), *["Positif"] * answers))
    assert (task.status, task.vote_shares) == (status, None)


def test_settling_again_changes_nothing():
    task = settle(make_answered(make_project(), "Positif", "Positif", "Négatif"))
    kept = Task.objects.filter(pk=task.pk).values().get()
    settle(task)
    assert Task.objects.filter(pk=task.pk).values().get() == kept
    assert AuditEntry.objects.count() == 1


def test_a_verdict_that_came_without_answers_stands():
    task = make_settled_task()
    assert settle(task).label_name == "Positif"


def test_several_labels_settle_one_by_one_and_are_linked():
    project = make_project(task_type="MULTI_LABEL", labels=["joy", "fear", "anger"])
    task = make_task(project)
    for labels in (["joy"], ["joy", "anger"], ["joy", "anger", "fear"]):
        task.annotations.create(annotator=make_user(), answer={"labels": labels})
    settle(task)
    assert task.answer == {"labels": ["joy", "anger"]}
    assert (task.label, task.label_index, task.label_name, task.label_names) == (
        None,
        None,
        "joy, anger",
        ["joy", "anger"],
    )
    assert task.vote_shares == {"joy": 1.0, "fear": 0.3333, "anger": 0.6667}
    assert task.confidence == 0.6667
    assert set(TaskLabel.objects.values_list("label__name", flat=True)) == {"joy", "anger"}
    assert Sample.objects.get().label_names == ["joy", "anger"]


def test_labels_from_a_task_s_own_options_carry_their_index_there():
    task = make_task(options=["Chat", "Chien"])
    for _ in range(3):
        task.annotations.create(annotator=make_user(), answer={"label": "Chien"})
    settle(task)
    assert (task.label, task.label_name, task.label_index) == (None, "Chien", 1)


def test_written_responses_settle_where_two_wrote_the_same():
    project = make_project(task_type="TEXT_GENERATION", labels=())
    task = make_task(project)
    for text in ("Bonjour !", "Bonjour  !", "Salut"):
        task.annotations.create(annotator=make_user(), answer={"text": text})
    settle(task)
    assert (task.answer, task.label_name, task.label_index) == ({"text": "Bonjour !"}, "Bonjour !", None)


def make_weighted_project():
    """A project weighted by record, with an annotator who was always right and two who never were."""
    project = make_project(consensus_rule="weighted")
    expert, *others = (make_user() for _ in range(3))
    for _ in range(8):
        task = make_settled_task(project, label="Positif")
        make_annotation(task, expert, label="Positif")
        for person in others:
            make_annotation(task, person, label="Négatif")
    return project, [expert, *others]


def test_a_record_outweighs_the_majority():
    project, people = make_weighted_project()
    task = settle(make_answered(project, "Positif", "Négatif", "Négatif", people=people))
    assert task.label_name == "Positif"
    assert task.vote_shares == {"Positif": 0.8182, "Négatif": 0.1818}  # 9/10 against twice 1/10
    assert task.confidence == 0.8182


def test_records_of_other_projects_and_the_task_s_own_verdict_do_not_count():
    _, people = make_weighted_project()
    project = make_project(consensus_rule="weighted")
    task = settle(make_answered(project, "Positif", "Négatif", "Négatif", people=people))
    assert task.vote_shares == {"Positif": 0.3333, "Négatif": 0.6667}
    assert settle(task).vote_shares == {"Positif": 0.3333, "Négatif": 0.6667}


def test_settling_many_weighs_like_settling_each():
    project, people = make_weighted_project()
    tasks = [make_answered(project, "Positif", "Négatif", "Négatif", people=people) for _ in range(3)]
    assert settle_all(project.tasks.open()) == Settled(completed=3, failed=0)
    for task in tasks:
        task.refresh_from_db()
        assert task.vote_shares == {"Positif": 0.8182, "Négatif": 0.1818}


def make_mixed(project):
    return [
        make_answered(project, "Positif", "Positif", "Positif"),
        make_answered(project, "Positif", "Négatif", "Négatif"),
        make_answered(project, "Positif", "Négatif", "Neutre"),
        make_answered(project, "Positif"),
        make_answered(project),
        make_settled_task(project),
    ]


def test_settling_many_says_how_many_got_a_verdict_and_leaves_the_rest_open():
    project = make_project(labels=["Positif", "Négatif", "Neutre"])
    tasks = make_mixed(project)
    assert settle_all(project.tasks.all()) == Settled(completed=2, failed=1)
    states = [Task.objects.get(pk=task.pk).status for task in tasks]
    assert states == ["COMPLETED", "COMPLETED", "FAILED", "VALIDATING", "PENDING", "COMPLETED"]
    assert Sample.objects.count() == 2
    assert AuditEntry.objects.filter(subject="sample", action="create").count() == 2


def test_settling_many_gives_what_settling_each_gives(monkeypatch):
    monkeypatch.setattr(settling, "CHUNK", 2)  # several chunks
    each, many = (make_project(labels=["Positif", "Négatif", "Neutre"]) for _ in range(2))
    for task in make_mixed(each):
        settle(task)
    make_mixed(many)
    settle_all(many.tasks.all())
    columns = ("status", "label_name", "label_index", "vote_shares", "confidence")
    assert list(many.tasks.values_list(*columns)) == list(each.tasks.values_list(*columns))


def test_settling_many_again_makes_nothing_twice():
    project = make_project(labels=["Positif", "Négatif", "Neutre"])
    make_mixed(project)
    settle_all(project.tasks.all())
    assert settle_all(project.tasks.all()) == Settled(completed=0, failed=1)
    assert Sample.objects.count() == 2


def test_failed_tasks_are_counted_again_under_a_new_threshold():
    project = make_project(consensus_threshold=0.7)
    make_answered(project, "Positif", "Positif", "Négatif")
    assert settle_all(project.tasks.all()) == Settled(completed=0, failed=1)
    project.consensus_threshold = 0.5
    project.save()
    assert settle_all(project.tasks.failed()) == Settled(completed=1, failed=0)


def test_settling_takes_sliced_and_joined_querysets():
    project = make_project()
    for _ in range(3):
        make_answered(project, "Positif", "Positif", "Positif")
    assert settle_all(Task.objects.filter(annotations__label__name="Positif").order_by("-pk")[:2]).completed == 1
    assert settle_all(Task.objects.filter(annotations__label__name="Positif")).completed == 2


def test_settling_many_takes_the_same_queries_for_more_tasks(django_assert_max_num_queries):
    project = make_project()
    for _ in range(40):
        make_answered(project, "Positif", "Positif", "Positif")
    with django_assert_max_num_queries(20):
        assert settle_all(project.tasks.all()).completed == 40


def test_accepting_makes_samples_of_settled_tasks_that_have_none():
    project = make_project()
    fresh = [make_settled_task(project) for _ in range(3)]
    make_sample(project)
    make_task(project)
    by = make_user()
    assert accept_all(project.tasks.all(), by=by) == 3
    assert accept_all(project.tasks.all()) == 0
    made = Sample.objects.pending()
    assert [sample.uid for sample in made] == [task.uid for task in fresh]
    entries = AuditEntry.objects.filter(action="create", subject="sample", actor=by, after="PENDING")
    assert set(entries.values_list("subject_id", flat=True)) == {sample.pk for sample in made}


def test_accepting_a_queryset_that_asks_for_tasks_without_samples_is_audited_too():
    make_settled_task()
    assert accept_all(Task.objects.filter(sample=None).order_by("-pk")[:5]) == 1
    assert AuditEntry.objects.count() == 1


def test_a_reviewer_decides_what_the_answers_could_not():
    task = settle(make_answered(make_project(validations_needed=2), "Positif", "Négatif"))
    reviewer = make_member(task.project, Role.REVIEWER)
    sample = decide(task, by=reviewer, answer={"label": "Négatif"}, reason="irony")
    assert (task.status, task.label.name, task.label_index, task.confidence) == ("COMPLETED", "Négatif", 1, 1.0)
    assert task.vote_shares == {"Positif": 0.5, "Négatif": 0.5}
    assert task.decided_by == reviewer
    assert (sample.task, sample.status, sample.label_name) == (task, "PENDING", "Négatif")
    entry = AuditEntry.objects.get(subject="task")
    assert (entry.action, entry.actor, entry.before, entry.after, entry.reason) == (
        "decide",
        reviewer,
        "FAILED",
        "COMPLETED: Négatif",
        "irony",
    )


def test_an_open_task_can_be_decided_and_a_settled_one_cannot():
    task = make_task()
    reviewer = make_superuser()
    decide(task, by=reviewer, answer={"label": "Positif"})
    with pytest.raises(WrongState, match="revise its sample"):
        decide(task, by=reviewer, answer={"label": "Négatif"})


def test_several_labels_can_be_decided():
    task = make_task(make_project(task_type="MULTI_LABEL", labels=["joy", "fear"]))
    decide(task, by=make_superuser(), answer={"labels": ["fear", "joy"]})
    assert Sample.objects.get().label_names == ["joy", "fear"]
    assert TaskLabel.objects.count() == 2


def test_only_a_reviewer_decides_and_only_validly():
    task = make_task()
    with pytest.raises(NotAllowed):
        decide(task, by=make_member(task.project, Role.ANNOTATOR), answer={"label": "Positif"})
    with pytest.raises(InvalidAnswer):
        decide(task, by=make_superuser(), answer={"label": "Furieux"})
    task.refresh_from_db()
    assert task.status == "PENDING"
    assert not Annotation.objects.exists()


def test_a_decision_stands_when_all_is_settled_again():
    task = settle(make_answered(make_project(validations_needed=2), "Positif", "Négatif"))
    decide(task, by=make_superuser(), answer={"label": "Négatif"})
    make_annotation(task, label="Positif")
    assert settle(task).label_name == "Négatif"
    assert settle_all(Task.objects.all()) == Settled(0, 0)

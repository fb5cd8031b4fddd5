"""Answers come in, one for each person and task."""

import threading

import pytest
from django.db import connection, connections

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples import review
from samples.annotating import annotate
from samples.errors import NotAllowed, WrongState
from samples.models import Annotation, AnnotationLabel, Sample, Task
from samples.settling import decide
from samples.task_types import InvalidAnswer
from tests.factories import (
    make_member,
    make_project,
    make_settled_task,
    make_superuser,
    make_task,
    make_user,
)

pytestmark = pytest.mark.django_db


def members(project, number=3, role=Role.ANNOTATOR):
    return [make_member(project, role) for _ in range(number)]


def answered(project, *labels):
    """A task of `project` with an answer of a new member for each of `labels`, and the members."""
    task, people = make_task(project), members(project, len(labels))
    for person, label in zip(people, labels, strict=True):
        annotate(task, by=person, answer={"label": label})
    return task, people


def test_an_answer_is_kept_with_its_label_and_lead_time():
    project = make_project()
    task, (person,) = make_task(project), members(project, 1)
    annotate(task, by=person, answer={"label": "Positif"}, lead_time_ms=1200)
    kept = Annotation.objects.get()
    assert (kept.task, kept.annotator, kept.answer) == (task, person, {"label": "Positif"})
    assert kept.label.name == "Positif"
    assert kept.lead_time_ms == 1200


def test_the_first_answer_opens_the_validation_and_the_last_needed_settles_it():
    project = make_project()
    task, people = make_task(project), members(project)
    states = []
    for person in people:
        annotate(task, by=person, answer={"label": "Positif"})
        states.append(task.status)
    assert states == ["VALIDATING", "VALIDATING", "COMPLETED"]
    assert task.sample.status == "PENDING"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BUYER, None])
def test_only_members_who_may_annotate_do(role):
    task = make_task()
    person = make_member(task.project, role) if role else make_user()
    with pytest.raises(NotAllowed, match=f"{person} may not answer tasks in {task.project.name}"):
        annotate(task, by=person, answer={"label": "Positif"})
    assert not Annotation.objects.exists()


def test_a_member_of_another_project_may_not_annotate_and_a_superuser_may():
    task = make_task()
    with pytest.raises(NotAllowed):
        annotate(task, by=make_member(make_project()), answer={"label": "Positif"})
    assert annotate(task, by=make_superuser(), answer={"label": "Positif"}).pk


def test_a_wrong_answer_changes_nothing():
    task = make_task()
    with pytest.raises(InvalidAnswer, match="Positif, Négatif"):
        annotate(task, by=make_member(task.project), answer={"label": "Furieux"})
    task.refresh_from_db()
    assert task.status == "PENDING"
    assert not Annotation.objects.exists()


def test_a_task_s_own_options_are_its_choices():
    task = make_task(options=["Chat", "Chien"])
    person = make_member(task.project)
    with pytest.raises(InvalidAnswer, match="Chat, Chien"):
        annotate(task, by=person, answer={"label": "Positif"})
    assert annotate(task, by=person, answer={"label": "Chien"}).label is None


def test_several_labels_are_rows_of_their_own_and_follow_an_edit():
    project = make_project(task_type="MULTI_LABEL", labels=["joy", "fear", "anger"])
    task, (person,) = make_task(project), members(project, 1)
    annotate(task, by=person, answer={"labels": ["anger", "joy"]})
    annotation = annotate(task, by=person, answer={"labels": ["fear", "anger"]})
    assert annotation.answer == {"labels": ["fear", "anger"]}
    assert annotation.label is None
    assert set(AnnotationLabel.objects.values_list("label__name", flat=True)) == {"fear", "anger"}


def test_one_s_own_answer_can_be_edited_and_stays_one():
    project = make_project()
    task, (person,) = make_task(project), members(project, 1)
    annotate(task, by=person, answer={"label": "Positif"}, lead_time_ms=900)
    annotate(task, by=person, answer={"label": "Négatif"})
    kept = Annotation.objects.get()
    assert (kept.label.name, kept.lead_time_ms) == ("Négatif", 900)
    assert task.status == "VALIDATING"


def test_a_settled_task_takes_no_first_answer():
    task, _ = answered(make_project(), "Positif", "Positif", "Positif")
    with pytest.raises(WrongState, match="settled"):
        annotate(task, by=make_member(task.project), answer={"label": "Négatif"})
    imported = make_settled_task()
    with pytest.raises(WrongState):
        annotate(imported, by=make_member(imported.project), answer={"label": "Négatif"})


def test_one_more_answer_breaks_the_tie_of_a_failed_task():
    task, _ = answered(make_project(validations_needed=2), "Positif", "Négatif")
    assert task.status == "FAILED"
    annotate(task, by=make_member(task.project), answer={"label": "Négatif"})
    assert (task.status, task.label_name) == ("COMPLETED", "Négatif")
    assert task.sample.label_name == "Négatif"


def test_an_edit_that_changes_the_verdict_sets_an_approved_sample_back():
    task, people = answered(make_project(), "Positif", "Positif", "Négatif")
    reviewer = make_member(task.project, Role.REVIEWER)
    review.approve(task.sample, by=reviewer)
    annotate(task, by=people[0], answer={"label": "Négatif"})
    sample = Sample.objects.get()
    assert (task.label_name, sample.label_name, sample.label_index) == ("Négatif", "Négatif", 1)
    assert (sample.status, sample.reviewed_by, sample.reviewed_at, sample.reason) == ("PENDING", None, None, "")
    entry = AuditEntry.objects.get(subject="sample", subject_id=sample.pk, action="edited")
    assert (entry.actor, entry.before, entry.after) == (people[0], "APPROVED: Positif", "PENDING: Négatif")


def test_an_edit_that_leaves_the_verdict_leaves_an_approved_sample_as_it_was_approved():
    task, people = answered(make_project(), "Positif", "Positif", "Négatif")
    sample = review.approve(task.sample, by=make_member(task.project, Role.REVIEWER))
    annotate(task, by=people[2], answer={"label": "Positif"})
    assert task.confidence == 1.0
    sample.refresh_from_db()
    assert (sample.status, sample.confidence) == ("APPROVED", 0.6667)


def test_a_pending_sample_follows_the_votes():
    task, people = answered(make_project(), "Positif", "Positif", "Négatif")
    annotate(task, by=people[2], answer={"label": "Positif"})
    assert Sample.objects.get().confidence == 1.0
    assert not AuditEntry.objects.filter(action="edited").exists()


def test_an_edit_that_loses_the_verdict_rejects_the_sample_until_there_is_one_again():
    task, people = answered(make_project(validations_needed=2), "Positif", "Positif")
    reviewer = make_member(task.project, Role.REVIEWER)
    review.approve(task.sample, by=reviewer)
    annotate(task, by=people[0], answer={"label": "Négatif"})
    sample = Sample.objects.get()
    assert (task.status, task.label_name, task.answer) == ("FAILED", None, None)
    assert (sample.status, sample.reviewed_by) == ("REJECTED", None)
    assert "no longer agree" in sample.reason
    annotate(task, by=people[0], answer={"label": "Positif"})
    sample.refresh_from_db()
    assert (task.status, sample.status, sample.label_name) == ("COMPLETED", "PENDING", "Positif")


def test_what_a_reviewer_decided_outlives_an_edit():
    task, people = answered(make_project(validations_needed=2), "Positif", "Négatif")
    decide(task, by=make_member(task.project, Role.REVIEWER), answer={"label": "Négatif"})
    annotate(task, by=people[1], answer={"label": "Positif"})
    assert (task.status, task.label_name) == ("COMPLETED", "Négatif")
    assert Sample.objects.get().label_name == "Négatif"


def run_together(*calls):
    """Run `calls` in threads of their own, from one starting line, and return what they raised."""
    ready, raised = threading.Barrier(len(calls)), []

    def run(call):
        try:
            ready.wait()
            call()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


# In-memory SQLite gives threads one shared connection; these need a database as it is in production.
needs_two_connections = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="threads share one connection to SQLite in memory; run on PostgreSQL"
)


@needs_two_connections
@pytest.mark.django_db(transaction=True)
def test_two_posts_at_once_of_one_person_leave_one_row():
    project = make_project()
    person = make_member(project)
    for _ in range(10):
        task = make_task(project)
        posts = [
            lambda label=label, pk=task.pk: annotate(Task.objects.get(pk=pk), by=person, answer={"label": label})
            for label in ("Positif", "Négatif")
        ]
        assert run_together(*posts) == []
        assert task.annotations.count() == 1


@needs_two_connections
@pytest.mark.django_db(transaction=True)
def test_the_last_two_answers_at_once_settle_the_task_once():
    project = make_project(validations_needed=2)
    people = members(project, 2)
    for _ in range(10):
        task = make_task(project)
        posts = [
            lambda person=person, pk=task.pk: annotate(Task.objects.get(pk=pk), by=person, answer={"label": "Positif"})
            for person in people
        ]
        assert run_together(*posts) == []
        task.refresh_from_db()
        assert (task.status, task.vote_shares) == ("COMPLETED", {"Positif": 1.0})
    assert Sample.objects.count() == 10

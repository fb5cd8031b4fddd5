"""A reviewer's steps, one at a time and many at once."""

import threading

import pytest
from django.db import connection, connections
from django.db.models import Count

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples import review
from samples.errors import NotAllowed, NotSettled, OwnWork, ReasonMissing, WrongState
from samples.models import Sample, Task, TaskLabel
from samples.task_types import InvalidAnswer
from tests.factories import make_annotation, make_member, make_project, make_sample, make_superuser, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def reviewer(project):
    return make_member(project, Role.REVIEWER)


def pending(project, **fields):
    return make_sample(project, status="PENDING", **fields)


def last_entry(sample):
    return AuditEntry.objects.filter(subject="sample", subject_id=sample.pk).first()


def test_approval_says_who_and_when(project, reviewer):
    sample = review.approve(pending(project), by=reviewer)
    assert (sample.status, sample.reviewed_by) == ("APPROVED", reviewer)
    entry = last_entry(sample)
    assert (entry.action, entry.actor, entry.before, entry.after) == ("approve", reviewer, "PENDING", "APPROVED")
    assert entry.at == sample.reviewed_at


def test_rejection_says_why(project, reviewer):
    sample = review.reject(pending(project), by=reviewer, reason=" off topic ")
    assert (sample.status, sample.reviewed_by, sample.reason) == ("REJECTED", reviewer, "off topic")
    assert (last_entry(sample).after, last_entry(sample).reason) == ("REJECTED", "off topic")


def test_rejection_without_a_reason_is_refused(project, reviewer):
    sample = pending(project)
    with pytest.raises(ReasonMissing):
        review.reject(sample, by=reviewer, reason=" ")
    with pytest.raises(ReasonMissing):
        review.reject_all(Sample.objects.all(), by=reviewer, reason="")
    sample.refresh_from_db()
    assert sample.status == "PENDING"


@pytest.mark.parametrize("status", ["APPROVED", "REJECTED"])
def test_reopening_puts_a_sample_back_among_the_pending(project, reviewer, status):
    sample = review.reopen(make_sample(project, status=status), by=reviewer, reason="look again")
    assert (sample.status, sample.reviewed_by, sample.reviewed_at) == ("PENDING", None, None)
    assert (last_entry(sample).before, last_entry(sample).after) == (status, "PENDING")
    assert last_entry(sample).reason == "look again"


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("approve", "APPROVED"),
        ("approve", "REJECTED"),
        ("reject", "APPROVED"),
        ("reject", "REJECTED"),
        ("reopen", "PENDING"),
    ],
)
def test_a_step_that_does_not_lead_on_from_the_state_is_refused(project, reviewer, step, status):
    sample = make_sample(project, status=status)
    words = {"reason": "no"} if step == "reject" else {}
    with pytest.raises(WrongState, match=f"is {status}; to {step} it must be"):
        getattr(review, step)(sample, by=reviewer, **words)
    assert last_entry(sample) is None


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.VIEWER, Role.BUYER])
def test_only_reviewers_review(project, role):
    sample, person = pending(project), make_member(project, role)
    for step in (
        lambda: review.approve(sample, by=person),
        lambda: review.reject(sample, by=person, reason="no"),
        lambda: review.reopen(sample, by=person),
        lambda: review.revise(sample, by=person, answer={"label": "Négatif"}),
    ):
        with pytest.raises(NotAllowed, match="may not approve, reject and reopen samples in"):
            step()


def test_a_reviewer_of_one_project_has_no_say_in_another(reviewer):
    with pytest.raises(NotAllowed):
        review.approve(pending(make_project()), by=reviewer)


@pytest.mark.parametrize(
    "make_person", [lambda project: make_member(project, Role.MANAGER), lambda _: make_superuser()]
)
def test_nobody_approves_what_only_he_annotated_not_even_a_superuser(project, make_person):
    sample, person = pending(project), make_person(project)
    make_annotation(sample.task, person)
    with pytest.raises(OwnWork, match="somebody else"):
        review.approve(sample, by=person)
    make_annotation(sample.task)
    assert review.approve(sample, by=person).status == "APPROVED"


def test_one_s_own_work_can_be_rejected(project, reviewer):
    sample = pending(project)
    make_annotation(sample.task, reviewer)
    assert review.reject(sample, by=reviewer, reason="a slip").status == "REJECTED"


def test_a_sample_whose_task_lost_its_verdict_cannot_be_reopened(project, reviewer):
    sample = make_sample(project, status="REJECTED")
    Task.objects.filter(pk=sample.task_id).update(status="FAILED", answer=None)
    with pytest.raises(NotSettled, match="decide its task"):
        review.reopen(sample, by=reviewer)


def test_a_revision_corrects_task_and_sample_and_asks_for_review_again(project, reviewer):
    sample = review.revise(make_sample(project), by=reviewer, answer={"label": "Négatif"}, reason="irony")
    assert (sample.status, sample.label.name, sample.label_name, sample.label_index) == (
        "PENDING",
        "Négatif",
        "Négatif",
        1,
    )
    assert (sample.answer, sample.reviewed_by, sample.reviewed_at) == ({"label": "Négatif"}, None, None)
    task = Task.objects.get()
    assert (task.label.name, task.answer, task.decided_by) == ("Négatif", {"label": "Négatif"}, reviewer)
    entry = last_entry(sample)
    assert (entry.action, entry.before, entry.after) == ("revise", "APPROVED: Positif", "PENDING: Négatif")
    assert (entry.actor, entry.reason) == (reviewer, "irony")


def test_a_revision_of_several_labels_moves_their_links(reviewer):
    project = make_project(task_type="MULTI_LABEL", labels=["joy", "fear"])
    sample = pending(project, label="joy")
    Task.objects.update(answer={"labels": ["joy"]}, label=None)
    review.revise(sample, by=make_superuser(), answer={"labels": ["fear"]})
    assert list(TaskLabel.objects.values_list("label__name", flat=True)) == ["fear"]
    assert (sample.label_names, sample.label) == (["fear"], None)


def test_a_revision_to_the_same_answer_changes_nothing(project, reviewer):
    sample = review.revise(make_sample(project), by=reviewer, answer={"label": "Positif"})
    assert sample.status == "APPROVED"
    assert last_entry(sample) is None


def test_a_revision_must_be_a_valid_answer(project, reviewer):
    sample = make_sample(project)
    with pytest.raises(InvalidAnswer, match="Positif, Négatif"):
        review.revise(sample, by=reviewer, answer={"label": "Furieux"})
    sample.refresh_from_db()
    assert sample.status == "APPROVED"


def test_approving_many_leaves_alone_what_may_not_be_approved_and_says_why(project, reviewer):
    good = [pending(project) for _ in range(3)]
    own, shared, elsewhere = pending(project), pending(project), pending(make_project())
    make_annotation(own.task, reviewer)
    make_annotation(shared.task, reviewer)
    make_annotation(shared.task)
    make_sample(project)
    reviewed = review.approve_all(Sample.objects.all(), by=reviewer)
    assert (reviewed.done, reviewed.refused) == (4, 3)
    assert reviewed.causes == {"not_allowed": 1, "wrong_state": 1, "own_work": 1}
    done, refused = reviewed
    assert (done, refused) == (4, 3)
    assert set(Sample.objects.filter(reviewed_by=reviewer)) == {*good, shared}
    for untouched in (own, elsewhere):
        untouched.refresh_from_db()
        assert untouched.status == "PENDING"


def test_many_steps_are_audited_row_by_row(project, reviewer):
    samples = [pending(project) for _ in range(3)]
    review.approve_all(Sample.objects.all(), by=reviewer)
    review.reopen_all(Sample.objects.filter(pk=samples[0].pk), by=reviewer)
    review.reject_all(Sample.objects.filter(pk=samples[0].pk), by=reviewer, reason="no")
    review.reopen_all(Sample.objects.order_by("pk"), by=reviewer, reason="all over again")
    trail = {}
    for entry in AuditEntry.objects.filter(actor=reviewer).order_by("id"):
        trail.setdefault(entry.subject_id, []).append((entry.before, entry.after))
    assert trail == {
        samples[0].pk: [
            ("PENDING", "APPROVED"),
            ("APPROVED", "PENDING"),
            ("PENDING", "REJECTED"),
            ("REJECTED", "PENDING"),
        ],
        samples[1].pk: [("PENDING", "APPROVED"), ("APPROVED", "PENDING")],
        samples[2].pk: [("PENDING", "APPROVED"), ("APPROVED", "PENDING")],
    }


def test_an_ordered_sliced_or_annotated_choice_is_taken_as_it_is(project, reviewer):
    samples = [pending(project) for _ in range(5)]
    make_annotation(samples[2].task)
    assert review.approve_all(Sample.objects.pending().order_by("-pk")[:2], by=reviewer).done == 2
    assert set(Sample.objects.approved()) == set(samples[3:])
    annotated = Sample.objects.annotate(answers=Count("task__annotations")).filter(answers=1)
    assert review.approve_all(annotated, by=reviewer).done == 1
    assert review.reopen_all(Sample.objects.approved().order_by("-reviewed_at")[:1], by=reviewer).done == 1
    assert Sample.objects.approved().count() == 2


def test_nothing_to_do_is_no_error(project, reviewer):
    assert tuple(review.approve_all(Sample.objects.none(), by=reviewer)) == (0, 0)
    make_sample(project)
    assert tuple(review.approve_all(Sample.objects.all(), by=reviewer)) == (0, 1)


@pytest.mark.parametrize("number", [1, 30])
@pytest.mark.parametrize("step", ["approve_all", "reject_all", "reopen_all"])
def test_many_take_the_same_queries_as_one(project, reviewer, step, number, django_assert_num_queries):
    for _ in range(number):
        make_sample(project, status="APPROVED" if step == "reopen_all" else "PENDING")
    words = {"reason": "no"} if step == "reject_all" else {}
    with django_assert_num_queries(6):  # a savepoint and its release, the count, the newest entry, INSERT, UPDATE
        assert getattr(review, step)(Sample.objects.all(), by=reviewer, **words).done == number


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="threads share one connection to SQLite in memory; run on PostgreSQL"
)
@pytest.mark.django_db(transaction=True)
def test_two_reviewers_at_once_approve_each_sample_once(project):
    for _ in range(200):
        pending(project)
    reviewers = [make_member(project, Role.REVIEWER) for _ in range(2)]
    ready, done = threading.Barrier(2), {}

    def approve(person, samples):
        try:
            ready.wait()
            done[person] = review.approve_all(samples, by=person)
        finally:
            connections.close_all()

    orders = [Sample.objects.order_by("pk"), Sample.objects.order_by("-pk")]
    threads = [threading.Thread(target=approve, args=pair) for pair in zip(reviewers, orders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(reviewed.done for reviewed in done.values()) == 200
    assert sum(reviewed.refused for reviewed in done.values()) == 200
    assert AuditEntry.objects.filter(action="approve").count() == 200
    for person in reviewers:
        named = set(AuditEntry.objects.filter(action="approve", actor=person).values_list("subject_id", flat=True))
        assert named == set(Sample.objects.filter(reviewed_by=person).values_list("pk", flat=True))


def test_a_reviewer_needs_no_other_role_to_reopen(project):
    person = make_member(project, Role.REVIEWER, user=make_user())
    assert review.reopen_all(Sample.objects.filter(pk=make_sample(project).pk), by=person).done == 1

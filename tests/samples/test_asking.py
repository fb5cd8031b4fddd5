"""Asking for the label of one item."""

import pytest

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples.asking import ask
from samples.errors import InvalidValue, NotAllowed
from samples.models import Source, Task
from samples.task_types import InvalidAnswer
from tests.factories import make_member, make_project, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project(validations_needed=3)


@pytest.fixture
def buyer(project):
    return make_member(project, Role.BUYER, user=make_user())


def test_an_item_becomes_a_task_that_waits(project, buyer):
    task = ask(project, "Bien ?", by=buyer, source="api", options=["Oui", "Non"], locale="en", metadata={"a": 1})
    task.refresh_from_db()
    assert (task.project, task.type, task.status, task.content) == (project, "SENTIMENT_ANALYSIS", "PENDING", "Bien ?")
    assert (task.options, task.locale, task.metadata, task.external_id) == (["Oui", "Non"], "en", {"a": 1}, task.uid)
    assert task.source.name == "api"
    entry = AuditEntry.objects.get(subject="task", subject_id=task.pk)
    assert (entry.actor, entry.action, entry.after) == (buyer, "ask", "PENDING")


def test_the_same_item_asked_twice_is_two_tasks_of_one_source(project, buyer):
    tasks = {ask(project, "Bien ?", by=buyer, source="api").pk for _ in range(2)}
    assert len(tasks) == 2
    assert Source.objects.count() == 1


def test_what_the_project_says_is_not_written_down_again(project, buyer):
    plain = ask(project, "Bien ?", by=buyer, source="api", validations_needed=3)
    other = ask(project, "Bien ?", by=buyer, source="api", validations_needed=5)
    assert (plain.options, plain.locale, plain.validations_needed) == (None, "fr", None)
    assert other.validations_needed == 5


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER])
def test_only_who_may_bring_tasks_in_may_ask(project, role):
    with pytest.raises(NotAllowed):
        ask(project, "Bien ?", by=make_member(project, role), source="api")
    assert not Task.objects.exists() and not Source.objects.exists()


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["one"], InvalidAnswer),
        (["same", "same"], InvalidAnswer),
        ([str(number) for number in range(1001)], InvalidAnswer),
        (["", "x"], InvalidValue),
        ([" x", "y"], InvalidValue),
        (["tab\there", "y"], InvalidValue),
        (["x" * 257, "y"], InvalidValue),
    ],
)
def test_options_that_nobody_can_choose_from_are_refused(project, buyer, options, fact):
    with pytest.raises(fact):
        ask(project, "Bien ?", by=buyer, source="api", options=options)
    assert not Task.objects.exists()


def test_two_responses_may_be_as_long_as_they_like():
    project = make_project(task_type="PREFERENCE", labels=())
    buyer = make_member(project, Role.BUYER)
    assert ask(project, "Dis bonjour", by=buyer, source="api", options=["a\n" * 500, "b"]).options[0] == "a\n" * 500
    with pytest.raises(InvalidValue):
        ask(project, "Dis bonjour", by=buyer, source="api", options=["a", " "])


def test_an_empty_item_is_refused(project, buyer):
    with pytest.raises(InvalidAnswer):
        ask(project, "  ", by=buyer, source="api", options=["a", "b"])

"""Who is given which task next: the oldest that still needs him, and never more people than answers are needed."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from labelhub.accounts.roles import Role
from samples import assigning
from samples.annotating import annotate
from samples.assigning import release, take_next
from samples.errors import InvalidValue, NotAllowed
from samples.models import Assignment, Task
from tests.factories import (
    make_annotation,
    make_member,
    make_project,
    make_settled_task,
    make_superuser,
    make_task,
    make_user,
)
from tests.samples.test_annotating import members, needs_two_connections, run_together

pytestmark = pytest.mark.django_db


def given(project, user, **asked):
    """The task that `user` is lent next, or None."""
    assignment = take_next(project, user=user, **asked)
    return assignment and assignment.task


def answer(task, user):
    annotate(task, by=user, answer={"label": "Positif"})


def test_the_next_task_is_the_oldest_open_one_that_the_user_has_not_answered():
    project = make_project()
    first, second, third = (make_task(project) for _ in range(3))
    me, other = members(project, 2)
    make_task(make_project())
    answer(second, other)
    for expected in (first, second, third):
        assert given(project, me) == expected
        answer(expected, me)
    assert given(project, me) is None
    assert given(project, other) == first


def test_the_next_task_still_needs_answers():
    project = make_project(validations_needed=1)
    make_annotation(make_task(project, status=Task.Status.VALIDATING))
    make_settled_task(project)
    assert given(project, make_member(project)) is None


def test_an_item_may_need_more_or_fewer_answers_than_its_project():
    project = make_project(validations_needed=2)
    quick, slow = make_task(project, validations_needed=1), make_task(project, validations_needed=3)
    one, two, three = members(project)
    answer(quick, one)
    assert quick.status == "COMPLETED"
    for person in (one, two):
        answer(slow, person)
    assert slow.status == "VALIDATING"
    assert given(project, three) == slow
    answer(slow, three)
    assert slow.status == "COMPLETED"
    assert given(project, make_member(project)) is None


def test_nobody_is_asked_in_a_project_where_he_may_not_answer():
    project = make_project()
    task = make_task(project)
    for stranger in (make_user(), make_member(project, Role.VIEWER)):
        with pytest.raises(NotAllowed):
            take_next(project, user=stranger)
    assert given(project, make_superuser()) == task


def test_two_people_are_not_given_the_same_task_where_one_answer_is_enough():
    project = make_project(validations_needed=1)
    tasks = [make_task(project) for _ in range(2)]
    me, other, third = members(project, 3)
    assert [given(project, me), given(project, other)] == tasks
    assert given(project, third) is None
    answer(tasks[1], other)
    assert given(project, third) is None, "what is answered enough is not asked again"


def test_a_task_is_lent_to_as_many_as_it_needs_answers_and_what_was_answered_counts():
    project = make_project(validations_needed=3)
    task, spare = make_task(project), make_task(project)
    people = members(project, 4)
    answer(task, people[0])
    assert [given(project, person) for person in people[1:]] == [task, task, spare]


def test_who_holds_a_task_is_given_it_again_for_as_long_again():
    project = make_project()
    task = make_task(project)
    me = make_member(project)
    first = take_next(project, user=me)
    Assignment.objects.update(until=timezone.now() + timedelta(seconds=5))
    again = take_next(project, user=me, order="random")
    assert (again.task, again.pk) == (task, first.pk)
    assert again.until - timezone.now() > timedelta(minutes=9)


def test_a_lease_lasts_as_long_as_the_setting_says_and_then_others_have_the_task(settings):
    settings.TASK_LEASE_MINUTES = 2
    project = make_project(validations_needed=1)
    task = make_task(project)
    me, other = members(project, 2)
    assert timedelta(seconds=110) < take_next(project, user=me).until - timezone.now() <= timedelta(minutes=2)
    assert given(project, other) is None
    Assignment.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert given(project, other) == task
    assert given(project, me) is None
    assert Assignment.objects.get().annotator == other, "what has run out is cleared away"


def test_an_answer_ends_the_lease_and_so_does_giving_it_back():
    project = make_project()
    first, second = make_task(project), make_task(project)
    me = make_member(project)
    answer(given(project, me), me)
    assert given(project, me, skipping=[first.pk]) == second
    assert release(second, user=me) and not release(second, user=me)
    assert not Assignment.objects.exists()


def test_what_one_skips_is_not_given_again():
    project = make_project()
    first, second = make_task(project), make_task(project)
    me = make_member(project)
    assert given(project, me) == first
    assert given(project, me, skipping=[first.pk]) == second
    assert given(project, me, skipping=[first.pk, second.pk]) is None


def test_random_order_reaches_every_task_and_only_waiting_ones():
    project = make_project()
    tasks = {make_task(project).pk for _ in range(4)}
    make_settled_task(project)
    me = make_member(project)
    seen = set()
    while len(seen) < 4:
        task = given(project, me, order="random")
        seen.add(task.pk)
        release(task, user=me)
    assert seen == tasks


def drawn(project, user, times, **asked):
    """How often each task was given, when it is given back every time."""
    counts = Counter()
    for _ in range(times):
        task = given(project, user, **asked)
        counts[task.pk] += 1
        release(task, user=user)
    return counts


def test_random_order_favours_no_task_even_after_a_gap(monkeypatch):
    monkeypatch.setattr(assigning, "dice", random.Random(1))
    project, other = make_project(), make_project()
    first = [make_task(project) for _ in range(3)]
    for _ in range(40):
        make_task(other)  # the next one of ours comes after a gap of forty
    after = make_task(project)
    counts = drawn(project, make_member(project), 400, order="random")
    assert set(counts) == {task.pk for task in [*first, after]}
    assert all(60 < count < 145 for count in counts.values()), counts  # a hundred each, give or take


def test_what_the_model_is_least_sure_about_comes_first_and_what_it_has_not_seen_last():
    project = make_project(task_order="margin", random_share=0.0)
    me, other = members(project, 2)
    unseen = make_task(project)
    sure, torn = make_task(project, margin=0.9), make_task(project, margin=0.1)
    between = make_task(project, margin=0.4)
    answer(between, other)  # VALIDATING by now
    for expected in (torn, between, sure, unseen):
        assert given(project, me) == expected
        answer(expected, me)
    assert given(project, me) is None


def test_where_no_model_has_guessed_margin_is_age():
    project = make_project(task_order="margin", random_share=0.0)
    first, _ = make_task(project), make_task(project)
    assert given(project, make_member(project)) == first


def test_of_those_given_by_margin_the_project_s_share_is_drawn_at_random(monkeypatch):
    monkeypatch.setattr(assigning, "dice", random.Random(7))
    project = make_project(task_order="margin", random_share=0.2)
    tasks = [make_task(project, margin=place / 50) for place in range(50)]
    counts = drawn(project, make_member(project), 500)
    others = 500 - counts[tasks[0].pk]
    assert 70 <= others <= 130, "a fifth of them, give or take"
    assert len(counts) > 35, "from all over the project"
    project.random_share = 1.0
    project.save()
    assert drawn(project, make_member(project), 50)[tasks[0].pk] < 10


def test_the_project_s_order_holds_where_nobody_asks_for_another():
    project = make_project(random_share=0.0)
    old, torn = make_task(project, margin=0.8), make_task(project, margin=0.1)
    me = make_member(project)
    for order, expected in (("age", old), ("margin", torn)):
        project.task_order = order
        project.save()
        assert given(project, me) == expected
        release(expected, user=me)
    assert given(project, me, order="age") == old


def test_by_margin_two_are_not_given_the_same_task_where_one_answer_is_enough():
    project = make_project(validations_needed=1, task_order="margin", random_share=0.0)
    sure, torn = make_task(project, margin=0.9), make_task(project, margin=0.1)
    me, other, third = members(project, 3)
    assert [given(project, me), given(project, other)] == [torn, sure]
    assert given(project, third) is None
    release(torn, user=me)
    assert given(project, third) == torn


def test_an_unknown_order_is_refused_with_the_known_ones():
    project = make_project()
    with pytest.raises(InvalidValue, match="'newest'; it may be age or margin or random"):
        take_next(project, user=make_superuser(), order="newest")


@pytest.mark.parametrize(("order", "queries"), [("age", 9), ("margin", 9), ("random", 12)])
def test_it_costs_the_same_however_many_tasks_wait(django_assert_num_queries, order, queries):
    project = make_project(task_order=order, random_share=0.0)
    first = make_task(project)
    me, other = members(project, 2)
    Task.objects.update(margin=0.5)
    with django_assert_num_queries(queries):  # two of them a savepoint's
        take_next(project, user=me)
    for _ in range(30):
        make_annotation(make_task(project, status="VALIDATING", margin=0.2), me)
    answer(first, me)
    make_task(project, margin=0.3)
    with django_assert_num_queries(queries):
        assert take_next(project, user=me).task.status == "PENDING"


@needs_two_connections
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", ["age", "margin", "random"])
def test_twelve_who_ask_at_once_share_the_tasks_without_asking_in_vain(order):
    project = make_project(validations_needed=2)
    for _ in range(5):
        make_task(project)
    people = members(project, 12)
    lent = []

    def ask(person):
        if assignment := take_next(project, user=person, order=order):
            lent.append(assignment.task_id)

    assert run_together(*(lambda person=person: ask(person) for person in people)) == []
    assert sorted(Counter(lent).values()) == [2] * 5
    assert Assignment.objects.live().count() == 10

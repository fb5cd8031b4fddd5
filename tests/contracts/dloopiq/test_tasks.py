"""POST /api/v1/tasks and GET /api/v1/tasks/{id}, as the sibling page describes them."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples.annotating import annotate
from samples.models import Label, Membership, Project, Source, Task
from tests.factories import (
    make_member,
    make_project,
    make_settled_task,
    make_source,
    make_staff,
    make_task,
    make_user,
)
from tests.together import at_once

from .conftest import ORDER, TASKS, Buyer


@pytest.fixture
def newcomer(db):
    """A buyer who is a member of no project yet."""
    return Buyer(make_user("nouveau"))


def task_of(answer):
    assert answer.status == 201, answer.message
    return Task.objects.get(uid=json.loads(answer.raw)["taskId"])


# Ordering -------------------------------------------------------------------------------------------------------------


def test_the_documented_order_is_answered_as_documented(newcomer):
    answer = newcomer.order(content="Ce produit est fantastique !", maxCents=25, validationsNeeded=3)
    assert answer.status == 201
    told = json.loads(answer.raw)
    assert list(told) == ["taskId", "status", "type", "costCents", "estimatedCompletionMs"]
    task = Task.objects.get(uid=told["taskId"])
    assert told == {
        "taskId": task.uid,
        "status": "PENDING",
        "type": "SENTIMENT_ANALYSIS",
        "costCents": 20,
        "estimatedCompletionMs": 3600000,
    }
    assert answer.headers["Location"] == f"{TASKS}/{task.uid}"
    assert (task.content, task.locale, task.options) == ("Ce produit est fantastique !", "fr", ["Positif", "Négatif"])


def test_what_is_left_out_has_the_documented_default(newcomer):
    task = task_of(newcomer.order(locale=None))
    assert task.locale == "en"
    assert task.project.validations_needed == 3 and task.validations_needed is None
    assert task.metadata == {"dloopiq_order": {"maxCents": 20, "costCents": 20}}


@pytest.mark.parametrize(("most", "cost"), [(25, 20), (20, 20), (5, 5), (1, 1)])
def test_a_task_costs_twenty_cents_or_the_budget_that_is_smaller(newcomer, most, cost):
    assert json.loads(newcomer.order(maxCents=most).raw)["costCents"] == cost


def test_every_type_with_options_can_be_ordered(newcomer):
    for kind in ("BINARY_CHOICE", "TEXT_CLASSIFICATION", "MULTI_LABEL", "IMAGE_CLASSIFICATION", "PREFERENCE"):
        assert task_of(newcomer.order(type=kind)).type == kind


@pytest.mark.parametrize("content", ["https://x.example/image.png?a=1&b=é", '{"text": "a", "n": 1.0}', "a\nb\t🙂"])
def test_content_is_kept_to_the_letter(newcomer, content):
    assert task_of(newcomer.order(content=content)).content == content


def test_the_expected_time_is_that_of_the_last_verdicts(newcomer):
    project = task_of(newcomer.order()).project
    for minutes in (1, 2, 300):
        asked = timezone.now() - timedelta(hours=9)
        make_settled_task(project, created_at=asked, validated_at=asked + timedelta(minutes=minutes))
    assert json.loads(newcomer.order().raw)["estimatedCompletionMs"] == 120_000


# Where it goes --------------------------------------------------------------------------------------------------------


def test_a_buyer_s_first_order_of_a_type_makes_him_a_project_and_the_next_go_there(newcomer):
    first, second = task_of(newcomer.order()), task_of(newcomer.order(content="Bof", locale="de"))
    other = task_of(newcomer.order(type="BINARY_CHOICE", options=["Oui", "Non"]))
    assert first.project == second.project != other.project
    assert first.project.title == "nouveau: Sentiment analysis"
    assert (first.project.created_by, first.project.consensus_rule) == (newcomer.user, "weighted")
    assert Membership.objects.get(project=first.project).role == Role.BUYER
    assert [source.name for source in Source.objects.filter(project=first.project)] == ["dloopiq"]


def test_staff_manage_the_projects_their_orders_make(db):
    task = task_of(Buyer(make_staff()).order())
    assert task.project.memberships.get().role == Role.MANAGER


def test_a_name_taken_by_somebody_else_is_no_way_into_another_s_orders(newcomer):
    thief = make_staff()
    taken = make_project(f"orders-{newcomer.user.uid}-SENTIMENT_ANALYSIS", created_by=thief)
    make_member(taken, Role.MANAGER, user=thief)
    make_member(taken, Role.BUYER, user=newcomer.user)
    tasks = [task_of(newcomer.order()) for _ in range(2)]
    assert tasks[0].project == tasks[1].project != taken


def test_who_was_put_out_of_his_project_orders_nothing_more(newcomer):
    task_of(newcomer.order())
    Membership.objects.all().delete()
    answer = newcomer.order()
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert Project.objects.count() == 1


def test_a_project_can_be_named_by_its_id_or_name(buyer, project):
    for named in (project.uid, project.name):
        assert task_of(buyer.order(projectId=named)).project == project
    assert Project.objects.count() == 1


def test_options_become_the_labels_of_one_s_own_project_in_their_order(newcomer):
    project = task_of(newcomer.order(options=["Négatif", "Positif"])).project
    newcomer.order(options=["Positif", "Mitigé"])
    assert list(project.labels.values_list("name", "position")) == [("Négatif", 0), ("Positif", 1), ("Mitigé", 2)]


def test_options_stay_the_item_s_own_in_a_project_that_others_manage(buyer, project):
    task = task_of(buyer.order(projectId=project.uid, options=["A", "B"]))
    assert task.choices == ["A", "B"]
    assert list(project.labels.values_list("name", flat=True)) == ["Positif", "Négatif"]


def test_a_list_of_labels_does_not_grow_without_end(newcomer):
    project = task_of(newcomer.order(options=[f"o{number}" for number in range(99)])).project
    assert task_of(newcomer.order(options=["x", "y"])).options == ["x", "y"]
    assert project.labels.count() == 99


def test_twenty_first_orders_at_once_make_one_project(transactional_db):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's database in memory is one connection for all threads; PostgreSQL runs this")
    buyer = Buyer(make_user())
    answers = at_once(20, lambda _: buyer.order().status)
    assert set(answers) <= {201, 503} and 201 in answers
    assert Project.objects.count() == 1
    assert Task.objects.count() == answers.count(201)
    assert sorted(Label.objects.values_list("name", flat=True)) == ["Négatif", "Positif"]


# How it goes on -------------------------------------------------------------------------------------------------------


def told(buyer, task):
    answer = buyer.ask("GET", f"{TASKS}/{task.uid}")
    assert answer.status == 200, answer.message
    return json.loads(answer.raw)


def test_a_task_can_be_followed_from_its_order_to_the_export(newcomer):
    task = task_of(newcomer.order(maxCents=25, validationsNeeded=2))
    contract = {
        "taskId": task.uid,
        "status": "PENDING",
        "type": "SENTIMENT_ANALYSIS",
        "content": "Super produit",
        "options": ["Positif", "Négatif"],
        "locale": "fr",
        "projectId": task.project.uid,
        "validationsNeeded": 2,
        "maxCents": 25,
        "costCents": 20,
        "label": None,
        "confidence": None,
        "createdAt": f"{task.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "validatedAt": None,
    }
    assert told(newcomer, task).items() >= contract.items()
    people = [make_member(task.project, user=make_user()) for _ in range(2)]
    statuses = []
    for person in people:
        annotate(task, by=person, answer={"label": "Négatif"})
        statuses.append(told(newcomer, task)["status"])
    assert statuses == ["VALIDATING", "COMPLETED"]
    done = told(newcomer, task)
    task.refresh_from_db()
    assert (done["label"], done["confidence"]) == ("Négatif", 1.0)
    assert done["validatedAt"] == f"{task.validated_at:%Y-%m-%dT%H:%M:%SZ}"
    (row,) = map(json.loads, newcomer.export(format="huggingface").raw.splitlines())
    assert row == {"text": "Super produit", "label": "Négatif", "label_id": 1}


def test_disagreement_is_failed(newcomer):
    task = task_of(newcomer.order(validationsNeeded=2))
    for label in ("Positif", "Négatif"):
        annotate(task, by=make_member(task.project, user=make_user()), answer={"label": label})
    assert told(newcomer, task)["status"] == "FAILED"


def test_a_task_of_another_door_has_no_cost_and_its_project_s_labels(buyer, project):
    task = make_task(project)
    body = told(buyer, task)
    assert (body["costCents"], body["maxCents"], body["options"]) == (None, None, ["Positif", "Négatif"])


def test_another_s_task_is_not_there(newcomer):
    for uid in (make_task().uid, "nothing", "x" * 3000, "%00"):
        answer = newcomer.client.get(f"{TASKS}/{uid}", headers=newcomer.headers)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")


def test_an_order_takes_the_same_queries_however_many_came_before(newcomer):
    def cost():
        with CaptureQueriesContext(connection) as captured:
            assert newcomer.order().status == 201
        return len(captured)

    newcomer.order()
    second = cost()
    source = make_source(Project.objects.get(), "dloopiq")
    for _ in range(60):
        make_settled_task(Project.objects.get(), source=source)
    assert cost() == second <= 25


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unchanged(newcomer):
    """After the test nothing may have come to be."""
    yield newcomer
    for model in (Project, Task, Source, Label, Membership):
        assert not model.objects.exists(), model
    assert not AuditEntry.objects.exclude(subject="accesskey").exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": None}, "MISSING_FIELDS"),
        ({"content": None}, "MISSING_FIELDS"),
        ({"options": None}, "MISSING_FIELDS"),
        ({"type": ""}, "MISSING_FIELDS"),
        ({"content": ""}, "MISSING_FIELDS"),
        ({"type": "NOTHING"}, "INVALID_TYPE"),
        ({"type": "sentiment_analysis"}, "INVALID_TYPE"),
        ({"type": "TEXT_GENERATION"}, "INVALID_TYPE"),
        ({"type": 5}, "INVALID_TYPE"),
        ({"type": ["SENTIMENT_ANALYSIS"]}, "INVALID_TYPE"),
        ({"type": {}}, "INVALID_TYPE"),
        ({"options": []}, "OPTIONS_REQUIRED"),
        ({"options": ["one"]}, "OPTIONS_REQUIRED"),
        ({"options": "Oui,Non"}, "OPTIONS_REQUIRED"),
        ({"options": {"a": 1, "b": 2}}, "OPTIONS_REQUIRED"),
        ({"options": [1, 2]}, "OPTIONS_REQUIRED"),
        ({"options": ["same", "same"]}, "INVALID_TASK"),
        ({"options": ["a", " "]}, "INVALID_TASK"),
        ({"options": ["a", "x" * 300]}, "INVALID_TASK"),
        ({"type": "BINARY_CHOICE", "options": ["a", "b", "c"]}, "INVALID_TASK"),
        ({"content": "   "}, "INVALID_TASK"),
        ({"content": 5}, "INVALID_TASK"),
        ({"content": {"text": "x"}}, "INVALID_TASK"),
        ({"locale": "it"}, "INVALID_LOCALE"),
        ({"locale": "FR"}, "INVALID_LOCALE"),
        ({"locale": ["fr"]}, "INVALID_LOCALE"),
        ({"maxCents": 0}, "INVALID_TASK"),
        ({"maxCents": -5}, "INVALID_TASK"),
        ({"maxCents": "25"}, "INVALID_TASK"),
        ({"maxCents": 2.5}, "INVALID_TASK"),
        ({"maxCents": True}, "INVALID_TASK"),
        ({"maxCents": 10**30}, "INVALID_TASK"),
        ({"validationsNeeded": 0}, "INVALID_TASK"),
        ({"validationsNeeded": 101}, "INVALID_TASK"),
        ({"validationsNeeded": "3"}, "INVALID_TASK"),
        ({"projectId": 5}, "INVALID_TASK"),
        ({"projectId": ""}, "INVALID_TASK"),
        ({"validationNeeded": 5}, "UNKNOWN_FIELD"),
    ],
    ids=repr,
)
def test_an_order_that_is_none_is_refused(unchanged, changes, code):
    answer = unchanged.order(**changes)
    assert (answer.status, answer.code) == (400, code), answer.message
    assert len(answer.message) < 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MISSING_FIELDS"),
        (b"{", "PARSE_ERROR"),
        (b"\xff\xfe", "PARSE_ERROR"),
        (b"[" * 100_000, "PARSE_ERROR"),
        (b'{"content": "\\u0000"}', "PARSE_ERROR"),
        (b'{"content": NaN}', "PARSE_ERROR"),
        (b"null", "MISSING_FIELDS"),
        (b"[]", "MISSING_FIELDS"),
        (b"5", "MISSING_FIELDS"),
        (b"{}", "MISSING_FIELDS"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_order_is_400(unchanged, body, code):
    answer = unchanged.ask("POST", TASKS, data=body, content_type="application/json")
    assert (answer.status, answer.code) == (400, code)


def test_a_body_of_more_than_ten_megabytes_is_413(unchanged):
    answer = unchanged.order(content="x" * 10 * 1024 * 1024)
    assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")


def test_a_body_of_another_type_is_415(unchanged):
    answer = unchanged.ask(
        "POST", TASKS, data=b"type=SENTIMENT_ANALYSIS", content_type="application/x-www-form-urlencoded"
    )
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_without_a_token_it_is_401(db):
    answer = Buyer().ask("POST", TASKS, ORDER)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    answer = Buyer().client.get(f"{TASKS}/{make_task().uid}")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/json")
    assert answer.json()["code"] == "not_authenticated", "one task is told at an address that is ours too, in our words"
    for token, code in (("lh0.0", "invalid_key"), ("a.b.c", "token_not_valid")):
        answer = Buyer().client.get(f"{TASKS}/{make_task().uid}", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_another_s_project_is_not_there_and_one_of_another_type_takes_no_such_task(buyer, project):
    answer = buyer.order(projectId=make_project().uid)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    answer = buyer.order(projectId=project.uid, type="BINARY_CHOICE")
    assert (answer.status, answer.code) == (400, "INVALID_TYPE")
    make_member(seen := make_project(), Role.VIEWER, user=buyer.user)
    answer = buyer.order(projectId=seen.uid)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert not Task.objects.exists()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_another_method_is_405(newcomer, method):
    for path in (TASKS, f"{TASKS}/{make_task().uid}"):
        answer = newcomer.client.generic(method, path, b"{}", "application/json", headers=newcomer.headers)
        assert (answer.status_code, answer["Content-Type"]) == (405, "application/json")

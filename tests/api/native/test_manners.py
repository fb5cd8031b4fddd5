"""What holds for every noun: who may enter, what a body may be, which methods there are; and Idempotency-Key itself."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.serializers import ChoiceField, Serializer

from labelhub.accounts.models import IdempotencyKey
from labelhub.accounts.roles import Role
from labelhub.api.native import serializers
from samples.models import Project
from tests.factories import make_member, make_project, make_sample, make_user
from tests.samples.test_annotating import needs_two_connections
from tests.together import at_once

from .conftest import Caller, refused

pytestmark = pytest.mark.django_db
NOUNS = [
    "projects",
    "labels",
    "tasks",
    "annotations",
    "predictions",
    "samples",
    "batches",
    "finetunes",
    "models",
    "jobs",
]
POSTS = ["projects", "labels", "annotations", "samples/approve", "batches", "finetunes"]  # tasks: a door of its own


@pytest.mark.parametrize("noun", NOUNS)
def test_who_is_in_no_project_finds_an_empty_page(noun):
    make_sample()
    answer = Caller(make_user()).get(noun).json()
    assert (answer["results"], answer["next"]) == ([], None)


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("token", [None, "a.b.c", "lh0.0", "x"])
def test_nobody_enters_without_a_good_token(noun, token):
    answer = Caller(token=token).ask("GET", noun)
    assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("noun", NOUNS)
def test_a_method_that_is_not_there_names_those_that_are(viewer, noun):
    answer = viewer.ask("PUT", noun, {})
    assert refused(answer, 405, "method_not_allowed")
    assert "GET" in answer["Allow"] and "GET" in answer.json()["message"]
    assert viewer.ask("HEAD", noun).content == b""
    assert "GET" in viewer.ask("OPTIONS", noun).json()["methods"]


@pytest.mark.parametrize("noun", POSTS)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "parse_error"),
        ("", "invalid"),
        ("\ufeff[]", "invalid"),
        ('{"project": NaN}', "parse_error"),
        ('{"project": "a\\u0000"}', "parse_error"),
        ('"text"', "invalid"),
        ("[" * 100_000, "parse_error"),
    ],
    ids=["broken", "empty", "list", "nan", "nul", "text", "deep"],
)
def test_a_body_that_is_none_is_refused(boss, noun, body, code):
    answer = boss.ask("POST", noun, body.encode())
    assert refused(answer, 400, code)


def choices_in(form):
    """A body for every field of `form` that takes one of a few words, with another in it; and the words."""
    for name, field in form.fields.items():
        if isinstance(field, Serializer):
            yield from (({name: body}, words) for body, words in choices_in(field))
        elif isinstance(field, ChoiceField):
            yield {name: "xml"}, field.choices
        elif isinstance(getattr(field, "child", None), ChoiceField):
            yield {name: ["xml"]}, field.child.choices


@pytest.mark.parametrize(
    ("path", "form", "how_many"),
    [
        ("projects", serializers.NewProject, 3),
        ("projects/reviews/imports", serializers.Upload, 2),
        ("projects/reviews/tasks/next", serializers.AskNext, 1),
        ("samples/approve", serializers.Selection, 2),
        ("batches", serializers.NewBatch, 6),
        ("finetunes", serializers.NewFineTune, 1),
    ],
)
def test_a_word_that_is_none_of_those_possible_is_refused_with_all_that_are(boss, project, path, form, how_many):
    asked = list(choices_in(form()))
    assert len(asked) == how_many
    for body, words in asked:
        message = boss.post(path, body, 400).json()["message"]
        assert f'"xml" is not a valid choice. Possible are: {", ".join(words)}.' in message, body


@pytest.mark.parametrize("noun", ["projects", "tasks", "samples", "batches", "finetunes", "doubts", "jobs"])
def test_a_filter_s_word_that_is_none_of_those_possible_is_refused_with_all_that_are(viewer, noun):
    told = viewer.client.get("/api/schema?format=json").json()
    asked = 0
    for parameter in told["paths"][f"/api/v1/{noun}"]["get"]["parameters"]:
        words = parameter["schema"].get("enum") or parameter["schema"].get("items", {}).get("enum")
        if words and parameter["name"] != "order":
            message = viewer.get(f"{noun}?{parameter['name']}=xml", 400).json()["message"]
            named = message.partition("xml is none of those possible: ")[2].rstrip(".")
            assert sorted(named.split(", ")) == sorted(words), message
            asked += 1
    assert asked


def test_a_body_of_another_type_or_of_ten_megabytes_is_refused(boss):
    answer = boss.client.post("/api/v1/projects", "name=x", content_type="text/plain")
    assert refused(answer, 415, "unsupported_media_type")
    big = b'{"name": "' + b"x" * 10 * 1024 * 1024 + b'"}'
    for noun in POSTS:
        assert refused(boss.ask("POST", noun, big), 413, "body_too_large")
    assert not Project.objects.exists()


def test_paths_that_lead_nowhere_are_404_in_json(boss, project):
    for path in ("nothing", "tasks/", "tasks/%00", "samples/ABCDEF", "batches/1", "projects/reviews/nothing", "jobs/x"):
        assert boss.ask("GET", path).status_code == 404
    assert refused(boss.ask("GET", "jobs/999999999999999999"), 404, "not_found")


def test_an_accept_header_does_not_change_the_language(boss):
    assert boss.ask("GET", "projects", accept="text/html")["Content-Type"] == "application/json"


# Idempotency-Key ------------------------------------------------------------------------------------------------------


def new(name="mail"):
    return {"name": name, "type": "TEXT_CLASSIFICATION"}


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "é", "a b"])
def test_a_key_that_is_none_is_refused(boss, key):
    answer = boss.ask("POST", "projects", new(), idempotency_key=key)
    assert refused(answer, 400, "invalid_idempotency_key")
    assert not Project.objects.exists()


def test_a_refusal_is_not_kept_and_the_same_request_may_fare_better(boss):
    boss.post("projects", new(), 201)
    assert refused(boss.post("projects", new(), idempotency_key="k"), 409, "name_taken")
    Project.objects.all().delete()
    assert boss.post("projects", new(), 201, idempotency_key="k")
    assert boss.post("projects", new(), 201, idempotency_key="k")["Idempotency-Replayed"] == "true"


def test_keys_are_each_caller_s_own_and_each_address_s(boss, manager):
    boss.post("projects", new(), 201, idempotency_key="k")
    manager.post("projects", new("other"), 201, idempotency_key="k")
    assert refused(boss.post("labels", new(), idempotency_key="k"), 422, "idempotency_key_reused")


def test_what_is_kept_is_forgotten_after_a_day(boss):
    boss.post("projects", new(), 201, idempotency_key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert refused(boss.post("projects", new(), idempotency_key="k"), 409, "name_taken")
    assert not IdempotencyKey.objects.exists()


def test_while_one_is_answered_the_other_is_told_to_wait_and_a_dead_one_is_taken_over(boss):
    boss.post("projects", new(), 201, idempotency_key="k")
    Project.objects.all().delete()
    IdempotencyKey.objects.update(status=None, busy_until=timezone.now() + timedelta(seconds=30))
    answer = boss.post("projects", new(), idempotency_key="k")
    assert refused(answer, 409, "still_running") and answer["Retry-After"] == "1"
    assert not Project.objects.exists()
    IdempotencyKey.objects.update(busy_until=timezone.now() - timedelta(seconds=1))
    assert "Idempotency-Replayed" not in boss.post("projects", new(), 201, idempotency_key="k")


@needs_two_connections
@pytest.mark.django_db(transaction=True)
def test_eight_at_once_do_the_work_once():
    project = make_project("reviews")
    for _ in range(3):
        make_sample(project)
    user = make_member(project, Role.MANAGER)
    callers, body = [Caller(user) for _ in range(8)], {"project": "reviews", "format": "jsonl"}
    answers = at_once(8, lambda number: callers[number].post("batches", body, idempotency_key="once"))
    codes = sorted(answer.status_code for answer in answers)
    assert set(codes) <= {202, 409} and 202 in codes and len(codes) == 8
    assert project.batches.count() == 1

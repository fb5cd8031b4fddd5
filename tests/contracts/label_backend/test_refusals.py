"""Who may not enter, what is not there, and what cannot be read: the room's envelope, and nothing changed."""

import json

import pytest

from exports.models import Batch, FineTune
from labelhub.accounts.roles import Role
from tests.factories import make_batch, make_member, make_project, make_sample, make_staff, make_superuser, make_user

from .conftest import Admin

ROUTES = [
    ("GET", "/api/training/samples"),
    ("POST", "/api/export/batch"),
    ("POST", "/api/export/{batch}/finetune"),
    ("GET", "/api/export/{batch}/status"),
    ("GET", "/api/export/list"),
]


@pytest.fixture
def batch(project):
    batch = make_batch(project, path="export/x.jsonl")
    batch.items.create(sample=make_sample(project))
    yield batch
    assert Batch.objects.count() == 1 and not FineTune.objects.exists()


def ask(who, method, path, batch):
    body = {"sampleIds": [batch.items.get().sample_id]} if method == "POST" else None
    return who.ask(method, path.format(batch=batch.pk), body)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("token", [None, "x", "a.b", "a.b.c", "é"])
def test_without_a_valid_token_it_is_401(batch, method, path, token):
    answer = ask(Admin(token=token), method, path, batch)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER, Role.BUYER])
def test_who_is_no_administrator_is_403(batch, project, method, path, role):
    answer = ask(Admin(make_member(project, role)), method, path, batch)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_belongs_nowhere_is_403(batch, method, path):
    for user in (make_user(), make_staff()):
        answer = ask(Admin(user), method, path, batch)
        assert (answer.status, answer.code) == (403, "FORBIDDEN")


def test_another_project_s_administrator_finds_nothing(batch):
    stranger = Admin(make_member(make_project(), Role.MANAGER))
    assert stranger.get("/api/training/samples").data["items"] == []
    assert stranger.get("/api/export/list").data["items"] == []
    for method, path in ROUTES[2:4]:
        answer = ask(stranger, method, path, batch)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")
    answer = ask(stranger, *ROUTES[1], batch)
    assert (answer.status, answer.code) == (400, "INVALID_SAMPLES")


def test_who_manages_one_project_and_buys_from_another_sees_the_first(batch, project):
    both = Admin(make_member(project, Role.BUYER))
    make_member(own := make_project(), Role.MANAGER, user=both.user)
    mine = make_sample(own)
    assert [item["id"] for item in both.get("/api/training/samples").data["items"]] == [mine.pk]
    answer = both.batch(mine, make_sample(project))
    assert (answer.status, answer.code) == (400, "INVALID_SAMPLES")


def test_a_superuser_sees_everything(batch):
    boss = Admin(make_superuser())
    assert boss.get("/api/training/samples").data["total"] == 1
    assert boss.get(f"/api/export/{batch.pk}/status").status == 200


@pytest.mark.parametrize("number", ["0", "999999", "9" * 18, "9" * 30, "x", "-1", "1.5", "%00", "1%20"])
def test_a_batch_that_is_not_there_is_404(admin, batch, number):
    for method, verb in (("POST", "finetune"), ("GET", "status")):
        answer = admin.ask(method, f"/api/export/{number}/{verb}", {} if method == "POST" else None)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    ["/api/training", "/api/training/", "/api/training/samples/", "/api/export", "/api/export/1", "/api/export/a/b/c"],
)
def test_a_path_that_is_not_there_is_404_in_the_room_s_words(admin, path):
    for method in ("GET", "POST"):
        answer = admin.ask(method, path)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/training/samples"),
        ("DELETE", "/api/export/list"),
        ("GET", "/api/export/batch"),
        ("GET", "/api/export/1/finetune"),
        ("PUT", "/api/export/1/status"),
        ("OPTIONS", "/api/export/list"),
    ],
)
def test_another_method_is_405(admin, method, path):
    answer = admin.ask(method, path, {} if method in ("POST", "PUT") else None)
    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "asked",
    [
        {"page": "0"},
        {"page": "-1"},
        {"page": "x"},
        {"page": ""},
        {"page": "1.5"},
        {"page": "²"},
        {"page": "9" * 30},
        {"page": str(10**12 + 1)},
        {"pageSize": "0"},
        {"pageSize": "many"},
        {"sampleType": "text"},
        {"sampleType": "AUDIO"},
        {"sampleType": ""},
        {"exported": "yes"},
        {"exported": "True"},
        {"exported": ""},
    ],
    ids=repr,
)
def test_a_filter_that_is_none_is_refused(admin, asked):
    answer = admin.get("/api/training/samples", **asked)
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER")
    assert len(answer.message) < 200


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 100_000, b'{"sampleIds": [NaN]}', b'{"sampleIds": ["\\u0000"]}']
)
def test_a_body_that_is_not_json_is_400(admin, body):
    answer = admin.ask("POST", "/api/export/batch", data=body, content_type="application/json")
    assert (answer.status, answer.code) == (400, "PARSE_ERROR")


def test_a_body_of_more_than_ten_megabytes_is_413_and_of_another_type_415(admin):
    body = json.dumps({"sampleIds": list(range(1_500_000))}).encode()
    answer = admin.ask("POST", "/api/export/batch", data=body, content_type="application/json")
    assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
    answer = admin.ask(
        "POST", "/api/export/batch", data=b"sampleIds=1", content_type="application/x-www-form-urlencoded"
    )
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_million_ids_that_are_nowhere_are_one_short_refusal(admin):
    answer = admin.ask("POST", "/api/export/batch", {"sampleIds": list(range(10**6, 2 * 10**6))})
    assert (answer.status, answer.code) == (400, "INVALID_SAMPLES")
    assert len(answer.message) < 500

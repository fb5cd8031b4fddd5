"""How a refusal is worded, and which room answers for a path that leads nowhere."""

import pytest
from django.db import OperationalError
from rest_framework.exceptions import NotFound, ValidationError

from labelhub.api.errors import Conflict, Doors, Refusal, exception_handler, faults, plain
from labelhub.facts import Fact


class Sour(Fact):
    code = "sour"


class VerySour(Sour):
    code = "very_sour"


def handled(error, codes=None, envelope=plain):
    return exception_handler(envelope, codes or {})(error, {})


def test_a_fact_takes_the_code_of_the_nearest_kind_that_is_named():
    answer = handled(VerySour("too sour", ids=[1]), {Fact: 400, Sour: (409, "SOUR")})
    assert answer.status_code == 409
    assert answer.data == {"status": "error", "code": "SOUR", "message": "too sour", "details": {"ids": [1]}}
    assert handled(VerySour("x"), {VerySour: 422}).data["code"] == "very_sour"


def test_a_fact_nobody_named_is_a_400_under_its_own_code():
    answer = handled(Sour("sour"))
    assert (answer.status_code, answer.data["code"]) == (400, "sour")


def test_what_is_no_refusal_stays_an_exception():
    assert handled(RuntimeError("broken")) is None


def test_a_busy_database_is_a_503_that_says_when_to_try_again():
    answer = handled(OperationalError("database is locked"))
    assert (answer.status_code, answer.data["code"], answer["Retry-After"]) == (503, "busy", "1")
    assert handled(OperationalError("no such table: x")) is None


def test_a_form_s_errors_say_where():
    answer = handled(ValidationError({"a": {"b": ["bad"]}, "c": [{}, {"d": ["worse"]}], "e": {3: ["third"]}}))
    assert answer.data["message"] == "a.b: bad; c[1].d: worse; e[3]: third"
    assert answer.data["code"] == "invalid"
    assert list(faults({"non_field_errors": ["all wrong"]})) == [("", "all wrong")]


@pytest.mark.parametrize(
    ("error", "status", "code"), [(NotFound("gone"), 404, "not_found"), (Conflict("x"), 409, "conflict")]
)
def test_other_refusals_keep_their_sentence(error, status, code):
    answer = handled(error)
    assert (answer.status_code, answer.data["code"], answer.data["message"]) == (status, code, str(error.detail))


def test_a_room_uses_its_own_words():
    answer = handled(Sour("sour"), envelope=lambda refusal: {"oops": refusal.message, "n": refusal.status})
    assert answer.data == {"oops": "sour", "n": 400}


def test_the_longest_beginning_of_a_path_finds_the_room(rf):
    rooms = Doors({"/api": plain, "/api/v1/things": lambda refusal: {"room": refusal.message}, "/v2": plain})
    answer = rooms.page_not_found(rf.get("/api/v1/things/9"), Exception())
    assert (answer.status_code, answer.content) == (404, b'{"room": "404 Not Found"}')
    for path in ("/api", "/api/", "/api/v1/thingsy", "/v2/x"):
        assert b'"code": "not_found"' in rooms.page_not_found(rf.get(path), Exception()).content
    assert rooms.envelope_for("/apis") is None
    assert rooms.server_error(rf.get("/api/x")).status_code == 500
    assert rooms.bad_request(rf.get("/api/x"), Exception()).status_code == 400
    assert rooms.permission_denied(rf.get("/api/x"), Exception()).status_code == 403


def test_outside_the_rooms_django_s_own_pages_answer(rf):
    rooms = Doors({"/api": plain})
    assert rooms.server_error(rf.get("/admin/x"))["Content-Type"].startswith("text/html")


def test_a_refusal_is_plain_data():
    assert plain(Refusal(404, "not_found", "gone")) == {
        "status": "error",
        "code": "not_found",
        "message": "gone",
        "details": {},
    }

"""People with access keys, and a client that checks how every answer is made."""

import json

import pytest
from django.test import Client

from labelhub.accounts.keys import create_key
from labelhub.accounts.roles import Role
from tests.factories import make_member, make_project, make_staff, make_superuser


class Caller:
    """A client for one person. Every refusal must be the room's: JSON, with a code and a sentence, and no traceback."""

    def __init__(self, user=None, token=None):
        self.user = user
        if user is not None:
            key, secret = create_key(user)
            token = f"{key.key_id}.{secret}"
        self.client = Client(headers={"authorization": f"Bearer {token}"} if token else {})
        self.client.raise_request_exception = False

    def ask(self, method, path, body=None, *, expect=None, **headers):
        options = {"headers": {name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            options |= {"data": body if isinstance(body, (str, bytes)) else json.dumps(body)}
            options["content_type"] = "application/json"
        answer = self.client.generic(method, path if path.startswith("http") else f"/api/v1/{path}", **options)
        check(answer)
        if expect is not None:
            assert answer.status_code == expect, answer.content[:600]
        return answer

    def get(self, path, expect=200, **headers):
        return self.ask("GET", path, expect=expect, **headers)

    def post(self, path, body=None, expect=None, **headers):
        return self.ask("POST", path, body if body is not None else {}, expect=expect, **headers)

    def patch(self, path, body, expect=200, **headers):
        return self.ask("PATCH", path, body, expect=expect, **headers)

    def put(self, path, expect=200):
        return self.ask("PUT", path, expect=expect)

    def delete(self, path, expect=204):
        return self.ask("DELETE", path, expect=expect)

    def all(self, path):
        """Every row of a list, page after page."""
        rows, address = [], path
        while address:
            page = self.get(address).json()
            rows += page["results"]
            address = page["next"]
        return rows


def check(answer):
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/json", answer.content[:300]
        told = answer.json()
        assert told.keys() == {"status", "code", "message", "details"}, told
        assert told["status"] == "error" and told["code"] and told["message"]
        assert isinstance(told["details"], dict)
        assert "Traceback" not in answer.content.decode()
        assert answer.status_code < 500, told


def refused(answer, status, code):
    """Whether `answer` is this refusal."""
    return (answer.status_code, answer.json().get("code")) == (status, code)


@pytest.fixture
def project(db):
    return make_project("reviews", validations_needed=1)


@pytest.fixture
def manager(project):
    return Caller(make_member(project, Role.MANAGER))


@pytest.fixture
def reviewer(project):
    return Caller(make_member(project, Role.REVIEWER))


@pytest.fixture
def annotator(project):
    return Caller(make_member(project, Role.ANNOTATOR))


@pytest.fixture
def viewer(project):
    return Caller(make_member(project, Role.VIEWER))


@pytest.fixture
def stranger(db):
    """Somebody with a project of his own."""
    return Caller(make_member(make_project("elsewhere"), Role.MANAGER, user=make_staff("stranger")))


@pytest.fixture
def boss(db):
    return Caller(make_superuser("boss"))

"""A buyer and what he says over HTTP."""

import json
from types import SimpleNamespace

import pytest
from django.test import Client

from labelhub.accounts.keys import create_key
from labelhub.accounts.roles import Role
from tests.factories import make_member, make_project, make_user

EXPORTS, TASKS = "/api/v1/exports", "/api/v1/tasks"
ORDER = {"type": "SENTIMENT_ANALYSIS", "content": "Super produit", "options": ["Positif", "Négatif"], "locale": "fr"}


class Buyer:
    """A client with an access key. An error must be JSON of a code and a sentence, and nothing else."""

    def __init__(self, user=None, token=None):
        self.user = user
        if user is not None:
            key, secret = create_key(user)
            token = f"{key.key_id}.{secret}"
        self.headers = {"authorization": f"Bearer {token}"} if token else {}
        self.client = Client(raise_request_exception=False)

    def ask(self, method, path, body=None, **options):
        if body is not None:
            options |= {"data": json.dumps(body), "content_type": "application/json"}
        answer = self.client.generic(method, path, headers=self.headers, **options)
        raw = answer.getvalue()
        told = SimpleNamespace(status=answer.status_code, headers=answer.headers, raw=raw, code=None, message=None)
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/json", raw[:300]
            error = json.loads(raw)
            shared = ["status", "details"] if path == TASKS else []
            assert list(error) == ["code", "message", *shared], error
            assert error["code"].isupper() and error["message"], error
            assert "Traceback" not in error["message"]
            told.code, told.message = error["code"], error["message"]
        return told

    def export(self, method="GET", **parameters):
        """GET /api/v1/exports; `format` is jsonl if nothing else is said."""
        return self.ask(method, EXPORTS, query_params={"format": "jsonl", **parameters})

    def order(self, **changes):
        """POST /api/v1/tasks; what is None in `changes` is left out."""
        body = {name: value for name, value in (ORDER | changes).items() if value is not None}
        return self.ask("POST", TASKS, body)


@pytest.fixture
def project(db):
    return make_project("avis")


@pytest.fixture
def buyer(project):
    return Buyer(make_member(project, Role.BUYER, user=make_user("acheteur")))

"""A project made as the command line makes one, and a client that speaks as it does."""

import json
from types import SimpleNamespace

import pytest
from django.test import Client

from labelhub.accounts.keys import create_key
from samples.models import Project
from tests.factories import make_member, make_staff


class Speaker:
    """A client with an access key; every answer must be JSON with a `status` that fits its code."""

    def __init__(self, user=None, token=None):
        self.user = user
        if user is not None:
            key, secret = create_key(user)
            token = f"{key.key_id}.{secret}"
        self.headers = {"accept": "*/*"} | ({"authorization": f"Bearer {token}"} if token else {})
        self.client = Client(raise_request_exception=False)

    def ask(self, method, path, body=None, **options):
        if body is not None and "data" not in options:
            options |= {"data": json.dumps(body), "content_type": "application/json"}
        answer = self.client.generic(method, path, headers=self.headers, **options)
        assert answer["Content-Type"] == "application/json", answer.content[:300]
        told = answer.json()
        assert told["status"] == ("ok" if answer.status_code == 200 else "error"), told
        if told["status"] == "error":
            assert isinstance(told["message"], str) and told["message"]
            assert "Traceback" not in told["message"]
        return SimpleNamespace(**told | {"code": answer.status_code, "headers": answer.headers, "raw": answer.content})

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def put(self, path, body=None, **options):
        return self.ask("PUT", path, body, **options)

    def post(self, path, body=None, **options):
        return self.ask("POST", path, body, **options)

    def delete(self, path, **options):
        return self.ask("DELETE", path, **options)


@pytest.fixture
def cli(db):
    """The manager of the project `bank`, with a source `inbox` and a dataset `mail` over it."""
    speaker = Speaker(make_staff("banker", email="banker@example.org"))
    assert speaker.put("/api/_private/projects/bank", {"project": {}, "user_ids": [speaker.user.uid]}).code == 200
    source = speaker.put("/api/v1/sources/bank/inbox", {"source": {}})
    speaker.source_id = source.source["id"]
    dataset = speaker.put("/api/v1/datasets/bank/mail", {"dataset": {"source_ids": [speaker.source_id]}})
    speaker.dataset_id = dataset.dataset["id"]
    return speaker


@pytest.fixture
def stranger(cli):
    """Somebody with a project of his own and no part in `bank`."""
    speaker = Speaker(make_staff("stranger"))
    assert speaker.put("/api/_private/projects/other", {"project": {}}).code == 200
    return speaker


def comment(number=1, text=None, at=None, **fields):
    return {
        "id": f"c{number}",
        "timestamp": at or f"2020-01-{1 + number % 28:02}T00:00:00Z",
        "messages": [{"body": {"text": text or f"message {number}"}}],
        **fields,
    }


@pytest.fixture
def filled(cli):
    """The same with five comments, c1 to c5, a day apart."""
    comments = [comment(number) for number in range(1, 6)]
    assert cli.post("/api/v1/sources/bank/inbox/sync", {"comments": comments}).new == 5
    return cli


@pytest.fixture
def make_member_of(db):
    """A function: a client for a new member of a project."""

    def made(project, role):
        return Speaker(make_member(Project.objects.get(name=project), role))

    return made

"""An administrator and what he says over HTTP."""

import json
from types import SimpleNamespace

import pytest
from django.test import Client

from exports.models import Batch
from labelhub.accounts.keys import create_key
from labelhub.accounts.roles import Role
from labelhub.jobs import worker
from tests.factories import make_member, make_project, make_sample


class Admin:
    """A client with an access key; every answer must be in one of the contract's two envelopes."""

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
        assert answer["Content-Type"] == "application/json", answer.content[:300]
        told = answer.json()
        if answer.status_code < 400:
            assert list(told) == ["code", "data"] and told["code"] == "SUCCESS", told
        else:
            assert list(told) == ["code", "message"] and told["code"].isupper() and told["message"], told
            assert "Traceback" not in told["message"]
        return SimpleNamespace(**{"data": None, "message": None} | told, status=answer.status_code, raw=answer.content)

    def get(self, path, **parameters):
        return self.ask("GET", path, query_params=parameters)

    def post(self, path, body=None):
        return self.ask("POST", path, {} if body is None else body)

    def batch(self, *samples, **more):
        return self.post("/api/export/batch", {"sampleIds": [sample.pk for sample in samples], **more})


@pytest.fixture
def project(db):
    return make_project("labels")


@pytest.fixture
def admin(project):
    return Admin(make_member(project, Role.MANAGER))


@pytest.fixture
def samples(project):
    return [make_sample(project, f"text {number}", label=("Positif", "Négatif")[number % 2]) for number in range(3)]


def written(batch_id):
    """The batch of that number, once its file is there."""
    batch = Batch.objects.get(pk=batch_id)
    worker.bring_to_end(batch.job)
    batch.refresh_from_db()
    assert batch.is_ready, batch.error
    return batch

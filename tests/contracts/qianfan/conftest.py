"""A client that signs as the contract says, and a dataset of prompts to speak about."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from django.test import Client

from labelhub.accounts.keys import create_key
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from samples.models import Dataset
from tests.factories import make_member, make_project, make_source, make_staff, make_task


def signed(
    key, secret, method, path, *, query="", host="testserver", at=None, seconds=300, names=("host", "x-bce-date")
):
    """The headers of a signed request, worked out apart from the code under test."""
    date = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {"host": host, "x-bce-date": date, "content-type": "application/json"}
    prefix = f"bce-auth-v1/{key}/{date}/{seconds}"
    signing_key = hmac.new(secret.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    lines = sorted(f"{name}:{quote(headers[name], safe='')}" for name in names)
    asked = "\n".join([method, path, query, *["\n".join(lines)]])
    digest = hmac.new(signing_key.encode(), asked.encode(), hashlib.sha256).hexdigest()
    return {"authorization": f"{prefix}/{';'.join(names)}/{digest}", "x-bce-date": date, "host": host}


class Speaker:
    """A client with an access key; every answer must be JSON in one of the room's envelopes."""

    def __init__(self, user=None):
        self.user = user
        self.key, self.secret = "", ""
        if user is not None:
            key, self.secret = create_key(user)
            self.key = key.key_id
        self.client = Client(raise_request_exception=False)

    def ask(self, path, body=None, *, headers=None, method="POST", **options):
        address, _, query = path.partition("?")
        if headers is None:
            headers = signed(self.key, self.secret, method, address, query=query) if self.key else {}
        options = {"data": json.dumps({} if body is None else body), "content_type": "application/json"} | options
        answer = self.client.generic(method, path, headers=headers, **options)
        assert answer["Content-Type"].startswith("application/json"), answer.content[:300]
        told = answer.json()
        assert "Traceback" not in answer.content.decode()
        return SimpleNamespace(code=answer.status_code, told=told, headers=answer.headers, raw=answer.content)

    def post(self, path, body=None, **options):
        """The result of a V1 call that must succeed."""
        answer = self.ask(f"/wenxinworkshop/{path}", body, **options)
        assert answer.code == 200 and answer.told["success"] is True, answer.told
        assert list(answer.told) == ["log_id", "result", "status", "success"]
        assert answer.told["status"] == 200
        return answer.told["result"]

    def refused(self, path, body=None, *, code=500001, **options):
        """The message of a V1 call that must be refused, in the one shape the official client survives."""
        answer = self.ask(f"/wenxinworkshop/{path}", body, **options)
        assert answer.code == 200, answer.told
        assert list(answer.told) == ["log_id", "result", "status", "success", "code", "message"]
        assert (answer.told["result"], answer.told["success"], answer.told["code"]) == (None, False, code)
        return answer.told["message"]

    def act(self, action, body=None, **options):
        """The result of a V2 action that must succeed."""
        answer = self.ask(f"/v2/dataset?Action={action}", body, **options)
        assert answer.code == 200, answer.told
        assert list(answer.told) == ["requestId", "result"]
        return answer.told["result"]


@pytest.fixture
def project(db):
    return make_project("prompts", task_type="TEXT_GENERATION", labels=(), locale="zh", validations_needed=1)


@pytest.fixture
def dataset(project):
    row = Dataset.objects.create(project=project, name="v1", title="常用提示")
    row.sources.add(make_source(project))
    return row


@pytest.fixture
def dataset_id(dataset):
    return f"ds-{dataset.uid}"


@pytest.fixture
def tasks(project, dataset):
    """Five prompts, none of them answered."""
    return [make_task(project, f"请写出第{number}个省的简介。") for number in range(1, 6)]


@pytest.fixture
def s3_destination(s3, settings):
    """The hub with a second destination, in a real store."""
    settings.STORAGES = {
        **settings.STORAGES,
        "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": s3.options()},
    }
    settings.EXPORT_DESTINATIONS = [*settings.EXPORT_DESTINATIONS, "s3"]
    return s3


@pytest.fixture
def manager(project):
    return Speaker(make_member(project, Role.MANAGER))


@pytest.fixture
def stranger(db):
    """Somebody with a project of his own and no part in `prompts`."""
    return Speaker(make_member(make_project("other"), Role.MANAGER, user=make_staff("stranger")))


@pytest.fixture
def make_speaker(project):
    """A function: a client for a new member of the project."""
    return lambda role: Speaker(make_member(project, role))


def work_off():
    """Do the jobs that wait."""
    while job := queue.claim():
        worker.run(job)

"""Over a real connection, with a worker that really writes and trains."""

import json
import subprocess
import time
from collections import Counter

import pytest
import requests

from exports.models import Batch, FineTune
from labelhub.accounts.roles import Role
from labelhub.jobs.models import Job
from samples.models import Sample
from tests.factories import make_member, make_project, make_samples, make_user
from tests.providers.shop import KEY, Shop
from tests.together import at_once


@pytest.fixture
def session(served):
    """An administrator of a project with sixty approved samples."""
    project = make_samples(60, make_project("labels"))
    session = requests.Session()
    token = served.jwt(make_member(project, Role.MANAGER, user=make_user("admin")))
    session.headers["Authorization"] = f"Bearer {token}"
    session.base = served.url
    session.ids = list(Sample.objects.order_by("pk").values_list("pk", flat=True))
    return session


def test_a_program_makes_a_batch_and_starts_its_fine_tune_without_waiting(session):
    """As the contract reads: when the batch has been answered, its file can be trained on."""
    shown = session.get(f"{session.base}/api/training/samples", params={"pageSize": 100, "exported": "false"}).json()
    ids = [item["id"] for item in shown["data"]["items"]]
    assert ids == session.ids
    made = session.post(f"{session.base}/api/export/batch", json={"sampleIds": ids})
    assert made.status_code == 201
    batch = made.json()["data"]
    started = session.post(f"{session.base}/api/export/{batch['id']}/finetune")
    assert (started.status_code, started.json()["data"]["finetuneStatus"]) == (200, "RUNNING"), started.text
    told = {}
    until = time.monotonic() + 120
    while told.get("finetuneStatus") not in ("SUCCESS", "FAILED") and time.monotonic() < until:
        time.sleep(0.2)
        told = session.get(f"{session.base}/api/export/{batch['id']}/status").json()["data"]
    assert (told["finetuneStatus"], told["progress"], told["errorMessage"]) == ("SUCCESS", 100, None)
    assert told["glmJobId"] == started.json()["data"]["glmJobId"]
    (listed,) = session.get(f"{session.base}/api/export/list").json()["data"]["items"]
    assert (listed["datasetFilePath"], listed["finetuneStatus"]) == (batch["datasetFilePath"], "SUCCESS")


@pytest.fixture
def shop(installation):
    """A provider that speaks as GLM does, for a server that starts after it."""
    with Shop("glm") as provider:
        given = {"BASE_URL": provider.base_url, "API_KEY": KEY, "FINETUNE_MODEL": "glm-test"}
        installation.env |= {f"ZHIPUAI_{name}": value for name, value in given.items()} | {"FINETUNE_PROVIDER": "glm"}
        yield provider


def test_of_ten_who_start_a_fine_tune_at_once_one_begins_it_at_the_provider(shop, session):
    assert ten_at_once(session) == {(200, "SUCCESS"): 1, (409, "FINETUNE_ALREADY_STARTED"): 9}
    assert len(shop.calls("POST /fine_tuning/jobs")) == 1
    assert FineTune.objects.get().provider_job_id == shop.only_job()["id"]


def test_of_ten_who_start_a_fine_tune_at_once_one_does(session):
    assert ten_at_once(session) == {(200, "SUCCESS"): 1, (409, "FINETUNE_ALREADY_STARTED"): 9}
    assert FineTune.objects.count() == Job.objects.filter(kind="exports.finetune").count() == 1


def ten_at_once(session):
    """What ten who start a fine-tune of one new batch at the same moment are told."""
    batch = session.post(f"{session.base}/api/export/batch", json={"sampleIds": session.ids}).json()["data"]
    return told_at_once(10, f"{session.base}/api/export/{batch['id']}/finetune", session)


def told_at_once(count, address, session, **more):
    """How often which status and code, of so many who post to `address` at the same moment."""
    answers = at_once(count, lambda _: requests.post(address, headers=dict(session.headers), **more))
    return Counter((answer.status_code, answer.json()["code"]) for answer in answers)


def test_of_two_batches_of_the_same_samples_at_once_one_is_made(session):
    told = told_at_once(6, f"{session.base}/api/export/batch", session, json={"sampleIds": session.ids})
    assert told == {(201, "SUCCESS"): 1, (400, "INVALID_SAMPLES"): 5}
    assert Batch.objects.count() == 1


def test_curl_speaks_it_too(served, session, tmp_path):
    def curl(*arguments):
        token = session.headers["Authorization"]
        done = subprocess.run(
            ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: {token}", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    ids = ",".join(map(str, session.ids[:3]))
    body = ["-H", "Content-Type: application/json", "-d", f'{{\n  "sampleIds": [{ids}]\n}}']
    status, made = curl("-X", "POST", f"{served.url}/api/export/batch", *body)
    assert (status, made["code"], made["data"]["sampleCount"]) == (201, "SUCCESS", 3)
    assert curl("-X", "POST", f"{served.url}/api/export/batch", *body)[1]["code"] == "INVALID_SAMPLES"
    assert curl("-X", "POST", f"{served.url}/api/export/{made['data']['id']}/finetune")[1]["code"] == "BATCH_UNSUITABLE"
    assert curl(f"{served.url}/api/export/list?page=1&pageSize=20")[1]["data"]["total"] == 1
    assert curl(f"{served.url}/api/export/nothing")[0] == 404
    assert Batch.objects.get().is_ready

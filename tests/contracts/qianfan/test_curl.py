"""The documented curl commands and the answers shown beside them, to the byte: ids, times and figures aside.

Address, Authorization, x-bce-date, dataset and bucket are the reader's own, as the pages ask.
"""

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest
import requests

from labelhub.accounts.roles import Role
from samples.models import Dataset
from tests.factories import make_member, make_project, make_settled_task, make_source, make_task

from .conftest import Speaker, signed, work_off

pytestmark = pytest.mark.django_db(transaction=True)

GOLDEN = Path(__file__).parent / "golden"

ENTITIES = """{
"offset": 0,
"pageSize": 10,
"datasetId": "ds-7pkzh1exthpuy10n",
"importTime": [],
"annoTime": [],
"tabType": 1,
"labelId": ""
}"""
EXPORT_ALL = """{
    "datasetId": "ds-7pkzh1exthpuy10n",
    "exportTo": 0,
    "exportType": 1,
    "exportFormat": 0
}"""
EXPORT_TO_BUCKET = """{
    "datasetId": "ds-7pkzh1exthpuy10n",
    "exportTo": 1,
    "storageId": "yourBucketName",
    "exportType": 1,
    "exportFormat": 0
}"""
EXPORT_SOURCE = """{
    "datasetId": "ds-7pkzh1exthpuy10n",
    "exportTo": 0,
    "exportType": 2,
    "exportFormat": 0
}"""


@pytest.fixture
def curl(live_server):
    """A function: the bytes that a command of a `speaker` is answered with, run as the page writes it."""

    def run(speaker, path, data):
        host = live_server.url.removeprefix("http://")
        headers = signed(speaker.key, speaker.secret, "POST", path, host=host, seconds=180000)
        said = subprocess.run(
            ["curl", "-s", "-i", "--location", f"{live_server.url}{path}"]
            + ["--header", f"Authorization: {headers['authorization']}"]
            + ["--header", f"x-bce-date: {headers['x-bce-date']}", "--header", "Content-Type: application/json"]
            + ["--data", data],
            capture_output=True,
            check=True,
        )
        head, _, body = said.stdout.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), said.stdout
        return body

    return run


def example(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def compact(told):
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def own_id(log_id):
    assert re.fullmatch("[0-9a-z]{16}", log_id), "as long as the contract's"
    return log_id


# entity/list ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def example_project(db):
    """A hundred and thirty-eight texts, a hundred and two with the label of the page's example."""
    project = make_project(task_type="TEXT_CLASSIFICATION", labels=(), locale="zh")
    project.labels.create(name="ERNIE_BOT", colour="#1A73E8", position=0)
    for number in range(138):
        if number < 102:
            make_settled_task(project, f"请写出第{number}个省的简介。", label="ERNIE_BOT")
        else:
            make_task(project, f"请写出第{number}个省的简介。")
    return project


def test_the_list_of_entities_is_the_example_to_the_byte(curl, live_server, example_project):
    dataset = Dataset.objects.create(project=example_project, name="v1")
    dataset.sources.add(make_source(example_project))
    speaker = Speaker(make_member(example_project, Role.MANAGER))
    raw = curl(speaker, "/wenxinworkshop/entity/list", ENTITIES.replace("ds-7pkzh1exthpuy10n", f"ds-{dataset.uid}"))
    told, expected = json.loads(raw), example("entity_list")
    expected["log_id"] = own_id(told["log_id"])
    shown = expected["result"]["items"][0]
    expected["result"]["items"] = []
    for item in told["result"]["items"]:
        own = copy.deepcopy(shown) | {"id": item["id"], "url": item["url"]}
        own["labels"][0]["label_id"] = item["labels"][0]["label_id"]
        assert requests.get(item["url"], timeout=30).status_code == 200
        figures = item["textExtra"]
        assert all(type(figures[name]) is type(value) for name, value in own["textExtra"].items())
        own["textExtra"] |= {name: value for name, value in figures.items() if isinstance(value, int)}
        expected["result"]["items"].append(own)
    assert len(told["result"]["items"]) == 10
    assert raw == compact(expected)


# dataset/export -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "export_type"), [(EXPORT_ALL, 1), (EXPORT_SOURCE, 2)])
def test_an_export_is_answered_with_the_example_to_the_byte(curl, manager, dataset_id, tasks, command, export_type):
    raw = curl(manager, "/wenxinworkshop/dataset/export", command.replace("ds-7pkzh1exthpuy10n", dataset_id))
    assert raw == compact(example("export") | {"log_id": own_id(json.loads(raw)["log_id"])})
    work_off()
    [record] = manager.post("dataset/exportRecord", {"datasetId": dataset_id})
    assert (record["status"], record["recordNum"], record["exportType"], record["exportTo"]) == (2, 5, export_type, 0)


def test_an_export_to_a_bucket_is_answered_with_the_example_too(curl, manager, dataset_id, tasks, s3_destination):
    command = EXPORT_TO_BUCKET.replace("ds-7pkzh1exthpuy10n", dataset_id)
    raw = curl(manager, "/wenxinworkshop/dataset/export", command.replace("yourBucketName", s3_destination.bucket))
    assert raw == compact(example("export") | {"log_id": own_id(json.loads(raw)["log_id"])})
    work_off()
    [record] = manager.post("dataset/exportRecord", {"datasetId": dataset_id})
    assert (record["status"], record["storageId"], record["exportTo"]) == (2, s3_destination.bucket, 1)
    stored = s3_destination.keys()
    assert record["storagePath"].removeprefix(f"bos:/{s3_destination.bucket}/") in stored


def test_a_bucket_that_is_not_ours_is_refused_in_the_words_of_the_example(curl, manager, dataset_id, tasks):
    """As the page's command stands, a reader that left `yourBucketName` in it."""
    command = EXPORT_TO_BUCKET.replace("ds-7pkzh1exthpuy10n", dataset_id)
    told = json.loads(curl(manager, "/wenxinworkshop/dataset/export", command))
    said = example("param_invalid")
    assert told["code"] == said["code"] and told["message"].startswith(said["message"])
    assert "yourBucketName" in told["message"]

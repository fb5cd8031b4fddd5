"""The documented curl commands; address, Authorization, x-bce-date and dataset are the reader's own, as their pages ask."""

import json
import subprocess

import pytest

from .conftest import signed, work_off

pytestmark = pytest.mark.django_db(transaction=True)

ENTITIES = """{
"offset": 0,
"pageSize": 10,
"datasetId": "%s",
"importTime": [],
"annoTime": [],
"tabType": 1,
"labelId": ""
}"""
EXPORT = """{
    "datasetId": "%s",
    "exportTo": 0,
    "exportType": %d,
    "exportFormat": 0
}"""
TEXT_EXTRA = "domainType taskType wordNum repetitiveCharRatio specialCharRatio flaggedWordRatio langProb perplexity"


@pytest.fixture
def curl(live_server, manager):
    """A function: the answer to a command, run as the page writes it."""

    def run(path, data):
        host = live_server.url.removeprefix("http://")
        headers = signed(manager.key, manager.secret, "POST", path, host=host, seconds=180000)
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
        return json.loads(body)

    return run


def test_the_entities_are_listed_in_the_shape_of_the_example(curl, dataset_id, tasks, manager):
    content = [{"prompt": tasks[0].content, "response": [["好"]]}]
    manager.post("entity/annotate", {"id": tasks[0].uid, "datasetId": dataset_id, "content": content})
    answer = curl("/wenxinworkshop/entity/list", ENTITIES % dataset_id)
    assert list(answer) == ["log_id", "result", "status", "success"]
    assert list(answer["result"]) == ["totalAll", "total", "items"]
    assert (answer["result"]["totalAll"], answer["result"]["total"]) == (5, 1)  # tabType 1: the annotated
    item = answer["result"]["items"][0]
    assert list(item) == ["id", "name", "labels", "url", "memorySize", "isEncrypted", "textExtra"]
    assert list(item["textExtra"]) == TEXT_EXTRA.split()


@pytest.mark.parametrize("export_type", [1, 2])
def test_an_export_is_answered_as_in_the_example(curl, dataset_id, tasks, manager, export_type):
    answer = curl("/wenxinworkshop/dataset/export", EXPORT % (dataset_id, export_type))
    assert answer | {"log_id": "dhqc1wmm2tyg61m7"} == {
        "log_id": "dhqc1wmm2tyg61m7",
        "result": True,
        "status": 200,
        "success": True,
    }
    work_off()
    [record] = manager.post("dataset/exportRecord", {"datasetId": dataset_id})
    assert (record["status"], record["recordNum"], record["exportType"]) == (2, 5, export_type)

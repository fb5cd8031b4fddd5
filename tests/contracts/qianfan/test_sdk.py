"""Baidu's own Python SDK and its command line, against a hub served as `manage.py serve` serves it."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import timezone

from labelhub.accounts.keys import create_key
from labelhub.accounts.roles import Role
from samples.models import Annotation, Dataset, Project, Task
from tests.factories import make_member, make_project, make_source, make_task
from tests.jobs.conftest import ROOT, empty_installation, installation, migrated, wait_until  # noqa: F401  (fixtures)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("qianfan") is None, reason="the Qianfan SDK (extra dev) is not installed: `make test` does"
)

PROMPTS = ["请写出北京的简介。", 'Say "hello", please.\n', "第三个问题", "四", "五"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def hub(installation, settings):  # noqa: F811
    """A hub with five prompts, two of them answered, and the SDK's environment for its manager."""
    project = make_project("prompts", task_type="TEXT_GENERATION", labels=(), locale="zh", validations_needed=1)
    dataset = Dataset.objects.create(project=project, name="v1", title="常用提示")
    dataset.sources.add(make_source(project))
    tasks = [make_task(project, prompt) for prompt in PROMPTS]
    user = make_member(project, Role.MANAGER)
    key, secret = create_key(user)
    port = free_port()
    secrets = {"SECRET_KEY": settings.SECRET_KEY, "SECRETS_KEY": settings.SECRETS_KEY}  # it must read our access key
    served = installation.start("serve", "--port", str(port), "--workers", "1", "--jobs", "1", **secrets)
    installation.wait_for_word(served, "LabelHub is at")
    wait_until(lambda: answers(port), seconds=60, what="the web server's first answer")
    environment = {
        name: value
        for name, value in os.environ.items()
        if "QIANFAN" not in name and not name.lower().endswith("_proxy")
    } | {
        "QIANFAN_CONSOLE_API_BASE_URL": f"http://127.0.0.1:{port}",
        "QIANFAN_ACCESS_KEY": key.key_id,
        "QIANFAN_SECRET_KEY": secret,
        "QIANFAN_EXPORT_STATUS_POLLING_INTERVAL": "0.2",
        "QIANFAN_CACHE_DIR": str(installation.folder / "cache"),
        "QIANFAN_DOT_ENV_CONFIG_FILE": str(installation.folder / "none"),
        "HOME": str(installation.folder),
        "PYTHONWARNINGS": "ignore",
    }
    return SimpleNamespace(
        dataset=dataset, id=f"ds-{dataset.uid}", tasks=tasks, user=user, env=environment, folder=installation.folder
    )


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(hub, *command, **env):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=hub.env | env,
        capture_output=True,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )


def sdk(hub, verb, *arguments, **env):
    """What the SDK's user gets from `verb` of official.py."""
    done = run(hub, "-m", "tests.contracts.qianfan.official", verb, *arguments, **env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(path):
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [row[0] if isinstance(row, list) else row for row in rows]


def test_entities_are_listed_annotated_and_deleted(hub):
    ids = [task.uid for task in hub.tasks]
    assert sdk(hub, "walk", hub.id) == ids
    assert sdk(hub, "annotate", hub.id, ids[0], PROMPTS[0], "北京是首都。") is True
    assert Annotation.objects.get().answer == {"text": "北京是首都。"}
    told = sdk(hub, "contents", hub.id)
    assert [row["entity_id"] for row in told] == ids
    assert json.loads(told[0]["entity_content"]) == [{"prompt": PROMPTS[0], "response": [["北京是首都。"]]}]
    assert json.loads(told[1]["entity_content"]) == [{"prompt": PROMPTS[1], "response": [[""]]}]
    assert sdk(hub, "delete", hub.id, ids[4], "no-such-entity") == {"failedOnes": ["no-such-entity"]}
    assert Task.objects.count() == 4
    assert sdk(hub, "statuses", hub.id)[hub.id]["entityCount"] == 4


def test_a_dataset_is_exported_downloaded_and_read_back_by_the_sdk_and_its_command_line(hub):
    sdk(hub, "annotate", hub.id, hub.tasks[2].uid, PROMPTS[2], "第三个回答")
    path = hub.folder / "out.jsonl"
    assert sdk(hub, "export", hub.id, str(path)) == 5
    rows = rows_of(path)
    assert [row["prompt"] for row in rows] == PROMPTS
    assert [row["response"] for row in rows] == [[[""]], [[""]], [["第三个回答"]], [[""]], [[""]]]
    assert hub.dataset.batches.count() == 1

    again = hub.folder / "again.jsonl"
    sdk(hub, "export", hub.id, str(again), QIANFAN_CACHE_DIR=str(hub.folder / "other"))
    assert hub.dataset.batches.count() == 1, "nothing changed: the client takes the file that is there"
    assert rows_of(again) == rows

    # The command line does the same, and after a change has the dataset exported again.
    Task.objects.filter(pk=hub.tasks[3].pk).update(updated_at=timezone.now() + timedelta(seconds=1), label_name="四！")
    downloaded = hub.folder / "cli.jsonl"
    done = run(hub, "-m", "qianfan.common.cli.main", "dataset", "download", "--output", str(downloaded), hub.id)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert [row["response"] for row in rows_of(downloaded)][2:4] == [[["第三个回答"]], [["四！"]]]
    assert hub.dataset.batches.count() == 2
    shown = run(hub, "-m", "qianfan.common.cli.main", "dataset", "view", hub.id, COLUMNS="200")
    assert shown.returncode == 0, shown.stdout[-2000:] + shown.stderr[-2000:]
    assert "第三个问题" in shown.stdout


def test_datasets_are_made_and_removed_version_two_exports_and_mistakes_are_explained(hub):
    hub.user.is_staff = True
    hub.user.save()
    made = sdk(hub, "create", "新数据集")
    assert (made["again"], made["version"]) == ("新数据集", 1)
    assert Dataset.objects.get(uid=made["id"][3:]).title == "新数据集"
    assert sdk(hub, "remove", made["id"]) == {"versionCount": 0}
    assert list(Project.objects.values_list("name", flat=True)) == ["prompts"]

    told = sdk(hub, "version_two", hub.id)
    assert [row["versionId"] for row in told["listed"]["datasetList"]] == [hub.id]
    assert told["described"]["sampleCount"] == 5
    assert (told["task"]["exportStatus"], told["task"]["sampleCount"]) == ("ExportFinished", 5)

    unknown = sdk(hub, "refused", "ds-0000000000000000")
    assert unknown["kind"] == "QianfanError"
    assert "code: 500001" in unknown["said"] and "param invalid: no such dataset" in unknown["said"]
    wrong = sdk(hub, "refused", hub.id, QIANFAN_SECRET_KEY="0" * 48)
    assert wrong["kind"] == "RequestError"
    assert "Secret Key" in wrong["said"] and "SignatureDoesNotMatch" in wrong["said"]
    nobody = sdk(hub, "refused", hub.id, QIANFAN_ACCESS_KEY="lh0123")
    assert nobody["kind"] == "RequestError"
    assert "Access Key" in nobody["said"] and "InvalidAccessKeyId" in nobody["said"]

"""What only real processes show: two that gather at the same moment, one that is killed, and how large they grow."""

import json
import os
import subprocess
import sys
import time
import uuid
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
LEASE = 12.0


class Hub:
    """A hub of its own: a fresh database, a fresh folder, and processes that use them."""

    def __init__(self, folder: Path, url: str):
        self.folder = folder
        self.environment = os.environ | {
            "DATABASE_URL": url,
            "DATA_DIR": str(folder),
            "JOB_LEASE_SECONDS": str(LEASE),
            "LOG_LEVEL": "ERROR",
        }

    def start(self, verb, *arguments) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.exports.outside", verb, *map(str, arguments)]
        return subprocess.Popen(
            command, env=self.environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, verb, *arguments):
        return answer(self.start(verb, *arguments))

    def files(self):
        """Every file of the exports, in folders too."""
        return sorted(path for path in (self.folder / "exports" / "export").rglob("*") if path.is_file())


def answer(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def hub(tmp_path, settings):
    """On the kind of database the tests run on."""
    if connection.vendor == "sqlite":
        yield Hub(tmp_path, f"sqlite:///{tmp_path / 'hub.sqlite3'}")
        return
    database = settings.DATABASES["default"]
    server = {"host": database["HOST"], "port": database["PORT"], "user": database["USER"]}
    password = database["PASSWORD"] or ""
    name = f"labelhub_outside_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(**server, password=password, dbname="postgres", autocommit=True) as administrator:
        administrator.execute(f'CREATE DATABASE "{name}"')
        try:
            account = f"{server['user']}:{password}" if password else server["user"]
            yield Hub(tmp_path, f"postgres://{account}@{server['host']}:{server['port']}/{name}")
        finally:
            administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def started(hub, verb, *arguments):
    """Two processes that have everything ready and wait for the word."""
    processes = [hub.start(verb, *arguments) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "here\n"
    return processes


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def together(hub, *ids):
    """Two processes that gather at the same moment."""
    processes = started(hub, "gather", *ids)
    return [answer(process) for process in [go(process) for process in processes]]


def test_two_processes_that_gather_the_same_ten_thousand_never_share_one(hub):
    hub.ask("prepare", 10_000)
    answers = together(hub)
    assert [found["of"] for found in answers] == [10_000, 10_000]
    assert sum(found.get("taken", 0) for found in answers) == 10_000
    assert hub.ask("claims") == {
        "claims": 10_000,
        "samples": 10_000,
        "batches": sum("batch" in found for found in answers),
    }
    assert {found["refused"] for found in answers if "refused" in found} <= {"empty_batch"}


def test_of_two_processes_that_want_the_same_ids_one_gets_them_all_and_the_other_none(hub):
    hub.ask("prepare", 10_000)
    answers = together(hub, 1, 10_000)
    assert sorted(found.get("taken", 0) for found in answers) == [0, 10_000]
    assert [found["refused"] for found in answers if "refused" in found] == ["already_exported"]
    assert hub.ask("claims") == {"claims": 10_000, "samples": 10_000, "batches": 1}


def test_a_batch_whose_worker_is_killed_in_the_middle_is_ready_within_a_lease_and_a_half(hub):
    hub.ask("prepare", 10_000)
    batch = answer(go(hub.start("gather")))["batch"]
    first, second = started(hub, "work", batch)
    go(first)
    while not any(file.stat().st_size for file in hub.files()):
        assert first.poll() is None
        time.sleep(0.001)
    first.kill()
    killed_at = time.time()
    first.communicate()
    assert [file.suffix for file in hub.files()] == [".part"], "it was not killed in the middle"

    ended = answer(go(second))
    assert (ended["state"], ended["attempts"]) == ("READY", 2), ended["error"]
    assert ended["finished_at"] - killed_at < 1.5 * LEASE
    short = Path(ended["path"]).stem
    assert [file.name for file in hub.files()] == [f"{short}.manifest.json", f"{short}.zip"]
    assert sha256(hub.files()[1].read_bytes()).hexdigest() == ended["sha256"]


def joined(hub, found):
    """The rows of all shards, one after the other, each file checked against its hash."""
    folder = hub.folder / "exports" / Path(found["path"]).parent
    data = [(folder / shard["name"]).read_bytes() for shard in found["shards"]]
    assert [sha256(part).hexdigest() for part in data] == [shard["sha256"] for shard in found["shards"]]
    return b"".join(data)


def test_two_workers_share_the_shards_and_the_rows_are_those_of_a_worker_alone(hub):
    hub.ask("prepare", 20_000)
    batch = hub.ask("gather_shards", 8)["batch"]
    workers = started(hub, "work", batch)
    answers = [answer(process) for process in [go(process) for process in workers]]
    found = hub.ask("shards", batch)
    assert found["state"] == "READY", found["error"]
    assert sum(worker["jobs"] for worker in answers) == 9  # a plan and eight shards
    assert min(worker["jobs"] for worker in answers) >= 2, answers
    ids = [json.loads(line)["id"] for line in joined(hub, found).splitlines()]
    assert len(set(ids)) == len(ids) == 20_000
    assert [shard["rows"] for shard in found["shards"]] == [2500] * 8
    assert {shard["attempts"] for shard in found["shards"]} == {1}


def test_shards_survive_the_death_of_a_worker_and_those_that_were_whole_are_not_written_again(hub):
    hub.ask("prepare", 20_000)
    batch = hub.ask("gather_shards", 8)["batch"]
    first, second = started(hub, "work", batch)
    go(first)
    while not (whole := [file for file in hub.files() if file.suffix == ".jsonl"]) or len(whole) == len(hub.files()):
        assert first.poll() is None
        time.sleep(0.0005)
    first.kill()
    first.communicate()
    whole = {file: file.stat().st_mtime_ns for file in hub.files() if file.suffix == ".jsonl"}
    assert [file.suffix for file in hub.files()].count(".part") == 1, "it was not killed in the middle"

    assert answer(go(second))["state"] == "READY"
    found = hub.ask("shards", batch)
    assert sorted(shard["attempts"] for shard in found["shards"]) == [1] * 7 + [2]
    assert {file: file.stat().st_mtime_ns for file in whole} == whole
    assert {file.name for file in hub.files()} == {shard["name"] for shard in found["shards"]} | {"manifest.json"}
    assert len(joined(hub, found).splitlines()) == 20_000


def test_a_batch_ten_times_as_large_needs_no_more_memory(hub):
    hub.ask("prepare", 100_000)
    for asked in (["json"], ["csv", "0.8/0.1/0.1"]):
        small, large = (hub.ask("weigh", count, *asked) for count in (10_000, 100_000))
        assert large["rows"] == 100_000
        assert large["mib"] - small["mib"] < 10, (asked, small, large)

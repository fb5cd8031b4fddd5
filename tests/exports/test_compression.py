"""Compressed files: the tools everybody has read them, and the same rows give the same bytes."""

import gzip
import io
import json
import threading
import time
from hashlib import sha256

import pytest
import zstandard
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from exports import batching, compression
from exports.errors import BadCompression
from exports.models import Batch
from labelhub.accounts.roles import Role
from labelhub.jobs.worker import work
from samples.models import Sample
from tests.factories import make_member, make_samples

OPENED = {
    "none": lambda data: data,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
}


@pytest.mark.parametrize("how", OPENED)
@given(chunks=st.lists(st.binary(max_size=2000)))
def test_what_was_compressed_comes_back_and_twice_it_is_the_same(how, chunks):
    data = b"".join(compression.compressed(iter(chunks), how))
    assert OPENED[how](data) == b"".join(chunks)
    assert b"".join(compression.compressed(iter(chunks), how)) == data


def test_no_clock_stands_in_the_bytes():
    data = b"".join(compression.compressed([b"a" * 1000], "gzip"))
    time.sleep(1.1)
    assert b"".join(compression.compressed([b"a" * 1000], "gzip")) == data


@pytest.fixture
def gather(transactional_db):
    user = make_member(make_samples(40), Role.BUYER)

    def gather(**asked):
        batch = batching.gather(Sample.objects.all(), by=user, **{"format": "jsonl", "allow_reexport": True} | asked)
        work(threading.Event(), until_empty=True)
        batch.refresh_from_db()
        assert batch.state == Batch.State.READY, batch.error
        return batch

    return gather


def content(batch, name=None):
    with batching.open_file(batch, name)[0] as file:
        return file.read()


@pytest.mark.parametrize(("how", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_a_batch_s_file_is_compressed_and_the_manifest_knows_both(gather, how, suffix):
    plain, batch = gather(), gather(compression=how)
    data = content(batch)
    assert batch.path == f"export/{batch.short_id}.jsonl{suffix}"
    assert batching.manifest_path(batch) == f"export/{batch.short_id}.manifest.json"
    assert OPENED[how](data) == content(plain)
    assert (batch.byte_count, batch.sha256) == (len(data), sha256(data).hexdigest())
    assert batch.manifest["file"]["sha256"] == batch.sha256
    assert batch.manifest["parts"][0] == {**plain.manifest["parts"][0], "name": f"{batch.short_id}.jsonl"}
    assert batch.manifest["compression"] == how
    assert content(gather(compression=how)) == data


def test_shards_are_compressed_one_by_one(gather):
    batch = gather(compression="zstd", shards=2, ratios="0.5/0.5/0")
    names = [part["name"] for part in batch.manifest["parts"]]
    assert names[0] == "train-00000-of-00002.jsonl.zst"
    ids = [json.loads(line)["id"] for name in names for line in OPENED["zstd"](content(batch, name)).splitlines()]
    assert sorted(ids) == sorted(Sample.objects.values_list("uid", flat=True))
    assert [part["rows"] for part in batch.manifest["parts"]] == [10, 10, 10, 10, 0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"compression": "rar"}, "unknown compression 'rar'; known: none, gzip, zstd"),
        ({"compression": "gzip", "ratios": "0.8/0.1/0.1"}, "a ZIP, which is compressed already"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(gather, asked, said):
    with pytest.raises(BadCompression, match=said):
        gather(**asked)
    assert not Batch.objects.exists()


def test_the_command_compresses_too(gather, tmp_path):
    project = Sample.objects.first().project.name
    for name, how in (("a.jsonl", "none"), ("b.jsonl.gz", "gzip")):
        call_command("export_samples", project=project, format="jsonl", output=tmp_path / name, compression=how)
    assert gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(CommandError, match="compressed already"):
        call_command(
            "export_samples",
            project=project,
            format="jsonl",
            split="0.8/0.1/0.1",
            output=tmp_path / "c.zip",
            compression="gzip",
        )
    assert not (tmp_path / "c.zip").exists()

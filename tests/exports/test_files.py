"""A queryset as one file, plain or split, counted on the way."""

import io
import json
from hashlib import sha256
from zipfile import ZipFile

import pytest

from exports import files
from exports.errors import BadSplit
from samples.models import Sample, Task
from tests.factories import make_project, make_samples, make_settled_task, make_task

pytestmark = pytest.mark.django_db


def ids(lines):
    return [json.loads(line)["id"] for line in lines.splitlines()]


def test_a_plain_file_holds_every_row_in_order_and_knows_its_size_and_hash():
    make_samples(25)
    file = files.file_of(Sample.objects.all(), format="jsonl")
    data = b"".join(file.chunks())
    assert ids(data) == list(Sample.objects.order_by("pk").values_list("uid", flat=True))
    assert (file.extension, file.media_type) == ("jsonl", "application/x-ndjson")
    assert (file.whole.rows, file.whole.bytes, file.whole.sha256) == (25, len(data), sha256(data).hexdigest())


def test_a_split_file_holds_every_row_once_in_three_members():
    make_samples(25)
    file = files.file_of(Sample.objects.all(), format="jsonl", ratios="0.8/0.1/0.1", stratify=True)
    data = b"".join(file.chunks())
    assert (file.extension, file.media_type) == ("zip", "application/zip")
    with ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert list(members) == ["train.jsonl", "val.jsonl", "test.jsonl"]
    assert [len(ids(content)) for content in members.values()] == [20, 3, 2]
    assert sorted(sum(map(ids, members.values()), [])) == sorted(Sample.objects.values_list("uid", flat=True))
    for tally, content in zip(file.parts.values(), members.values(), strict=True):
        assert (tally.bytes, tally.sha256) == (len(content), sha256(content).hexdigest())
    assert (
        b"".join(files.file_of(Sample.objects.all(), format="jsonl", ratios=(0.8, 0.1, 0.1), stratify=True).chunks())
        == data
    )


def test_every_csv_member_has_the_header_and_an_empty_part_is_there():
    make_samples(2)
    data = b"".join(files.file_of(Sample.objects.all(), format="csv", ratios="0.8/0.1/0.1").chunks())
    with ZipFile(io.BytesIO(data)) as archive:
        headers = [archive.read(name).splitlines()[0] for name in archive.namelist()]
        assert archive.read("test.csv").count(b"\n") == 1
    assert headers == [b"id,type,content,label,confidence,locale,validatedAt"] * 3


def test_tasks_and_their_samples_are_dealt_alike():
    make_samples(60)

    def members(rows):
        data = b"".join(files.file_of(rows, format="jsonl", ratios="0.6/0.2/0.2", seed="9").chunks())
        with ZipFile(io.BytesIO(data)) as archive:
            return [sorted(ids(archive.read(name))) for name in archive.namelist()]

    assert members(Sample.objects.all()) == members(Task.objects.all())


def test_training_formats_leave_out_what_has_no_label_and_deal_only_the_rest():
    project = make_project()
    for number in range(10):
        make_settled_task(project, f"settled {number}")
        make_task(project, f"open {number}")
    plain = b"".join(files.file_of(Task.objects.all(), format="alpaca").chunks())
    assert plain.count(b"\n") == 10 and b"open" not in plain
    assert b"".join(files.file_of(Task.objects.all(), format="jsonl").chunks()).count(b'"label":null') == 10
    split = files.file_of(Task.objects.all(), format="alpaca", ratios="0.8/0.1/0.1")
    b"".join(split.chunks())
    assert [tally.rows for tally in split.parts.values()] == [8, 1, 1]


def test_one_label_map_serves_the_plain_file_and_every_part():
    make_samples(40, make_project(labels=["Zut", "Ah", "Bof"]), labels=["Bof", "Zut", "Ah"])

    def label_ids(data):
        return {(row["label"], row["label_id"]) for row in map(json.loads, data.splitlines())}

    expected = {("Zut", 0), ("Ah", 1), ("Bof", 2)}
    assert label_ids(b"".join(files.file_of(Sample.objects.all(), format="huggingface").chunks())) == expected
    data = b"".join(files.file_of(Sample.objects.all(), format="huggingface", ratios="0.5/0.25/0.25").chunks())
    with ZipFile(io.BytesIO(data)) as archive:
        assert set().union(*(label_ids(archive.read(name)) for name in archive.namelist())) == expected


def test_ratios_that_do_not_add_up_are_refused_before_a_byte_is_written():
    with pytest.raises(BadSplit):
        files.file_of(Sample.objects.all(), format="jsonl", ratios="0.8/0.1/0.2")


def test_chunks_are_pages_not_lines():
    make_samples(3000)
    sizes = [len(chunk) for chunk in files.file_of(Sample.objects.all(), format="json").chunks()]
    assert len(sizes) < 10
    assert max(sizes) < 1_000_000


def test_the_queries_of_an_export_do_not_grow_with_its_projects(django_assert_num_queries):
    for count in (1, 5):
        for _ in range(count):
            make_samples(4)
        with django_assert_num_queries(6):  # projects, labels, labels outside the lists, both ends, a page
            b"".join(files.file_of(Sample.objects.all(), format="huggingface").chunks())
        with django_assert_num_queries(3):
            b"".join(files.file_of(Sample.objects.all(), format="jsonl").chunks())

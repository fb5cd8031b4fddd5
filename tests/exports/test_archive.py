"""The ZIP: in order, the same bytes every time, written as it is read."""

import io
import shutil
import subprocess
from zipfile import ZipFile

import pytest

from exports import archive


def members(**content):
    return [(f"{name}.txt", iter(chunks)) for name, chunks in content.items()]


def test_members_keep_their_order_and_empty_ones_are_there():
    data = b"".join(archive.zipped(members(train=[b"one\n", b"two\n"], val=[], test=[b"three\n"])))
    with ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["train.txt", "val.txt", "test.txt"]
        assert [opened.read(name) for name in opened.namelist()] == [b"one\ntwo\n", b"", b"three\n"]


def test_no_member_at_all_is_still_a_zip():
    assert ZipFile(io.BytesIO(b"".join(archive.zipped([])))).namelist() == []


def test_the_same_input_gives_the_same_bytes_whenever_and_however_it_is_cut():
    whole = [b"".join(b"line %d\n" % number for number in range(5000))]
    cut = [whole[0][start : start + 777] for start in range(0, len(whole[0]), 777)]
    assert b"".join(archive.zipped(members(train=whole))) == b"".join(archive.zipped(members(train=cut)))


def test_nothing_is_read_ahead_of_what_is_asked_for():
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield bytes(65536) + number.to_bytes(8, "big") * 8192

    stream = archive.zipped([("train.txt", endless())])
    for _ in range(20):
        next(stream)
    assert len(taken) < 200


@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip on this machine")
def test_unzip_finds_nothing_wrong(tmp_path):
    target = tmp_path / "export.zip"
    target.write_bytes(b"".join(archive.zipped(members(train=[b"x" * 100_000], val=[]))))
    tested = subprocess.run(["unzip", "-t", target], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout

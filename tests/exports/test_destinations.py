"""Destinations: a file is there complete, or not at all."""

import pytest
from django.core.files.storage import storages

from exports import destinations
from exports.errors import UnknownDestination


@pytest.fixture
def local():
    return destinations.storage_of("local")


def inside(storage, folder="export"):
    return sorted(storage.listdir(folder)[1])


def test_the_default_is_one_of_the_names():
    assert destinations.default() in destinations.names()


@pytest.mark.parametrize("name", ["moon", "default", "staticfiles", ""])
def test_an_unknown_destination_names_the_known_ones(name):
    with pytest.raises(UnknownDestination, match="known: local") as refused:
        destinations.storage_of(name)
    assert refused.value.details["known"] == destinations.names()


def test_a_local_file_has_its_name_only_when_it_is_published(local):
    draft = destinations.draft(local, "export/a.jsonl")
    draft.write(b"half")
    assert not local.exists("export/a.jsonl")
    draft.write(b" and half")
    draft.finish()
    assert not local.exists("export/a.jsonl")
    draft.publish()
    assert inside(local) == ["a.jsonl"]
    assert destinations.reading(local, "export/a.jsonl").read() == b"half and half"


def test_an_abandoned_file_leaves_no_trace(local):
    draft = destinations.draft(local, "export/a.jsonl")
    draft.write(b"half")
    draft.abandon()
    assert inside(local) == []


def test_publishing_replaces_what_was_there(local):
    for content in (b"old", b"new"):
        draft = destinations.draft(local, "export/a.jsonl")
        draft.write(content)
        draft.finish()
        draft.publish()
    assert inside(local) == ["a.jsonl"]
    assert destinations.reading(local, "export/a.jsonl").read() == b"new"


def test_what_dead_runs_left_of_one_file_is_removed_and_nothing_else(local):
    for path in ("export/a.jsonl", "export/a.jsonl", "export/ab.jsonl"):
        destinations.draft(local, path).write(b"half")
    destinations.remove_unfinished(local, "export/a.jsonl")
    assert [name.split(".jsonl")[0] for name in inside(local)] == [".ab"]


def test_two_runs_of_the_same_file_never_write_into_each_other_s(local):
    ours, theirs = (destinations.draft(local, "export/a.jsonl") for _ in range(2))
    ours.write(b"ours")
    theirs.write(b"theirs")
    for draft in (theirs, ours):
        draft.finish()
        draft.publish()
    assert destinations.reading(local, "export/a.jsonl").read() == b"ours"


# The same in an object store ------------------------------------------------------------------------------------------


@pytest.fixture
def store(s3, settings):
    """The tests' S3 store as the destination "s3"."""
    settings.STORAGES = settings.STORAGES | {
        "s3": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": s3.options(),
        }
    }
    settings.EXPORT_DESTINATIONS = ["local", "s3"]
    return storages["s3"]


def test_an_object_appears_when_it_is_complete(s3, store):
    draft = destinations.draft(store, "export/a.jsonl")
    for _ in range(12):
        draft.write(b"x" * 1_000_000)
    assert s3.keys() == []
    draft.finish()
    draft.publish()
    assert s3.keys() == ["export/a.jsonl"]
    assert s3.uploads() == []
    with destinations.reading(store, "export/a.jsonl") as file:
        assert file.read(3) == b"xxx"
        assert len(file.read()) == 11_999_997


def test_an_abandoned_upload_is_aborted(s3, store):
    draft = destinations.draft(store, "export/a.jsonl")
    for _ in range(8):
        draft.write(b"x" * 1_000_000)
    assert s3.uploads() == ["export/a.jsonl"]
    draft.abandon()
    assert s3.keys() == s3.uploads() == []


def test_an_object_that_is_not_there_is_a_missing_file(store):
    with pytest.raises(FileNotFoundError):
        destinations.reading(store, "export/nothing.jsonl")

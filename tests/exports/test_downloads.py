"""Downloads: the whole or a range, by the rules of RFC 9110, from a disk and from a real store; and links to the store."""

import threading
import time
import tracemalloc
import urllib.error
import urllib.request

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from exports import batching, downloads
from exports.errors import InShards, NotReady
from exports.models import Batch
from labelhub.accounts.roles import Role
from labelhub.jobs.worker import work
from samples.models import Sample
from tests.factories import make_batch, make_member, make_project, make_samples

DATA = bytes(range(256)) * 4
ETAG = '"' + "ab" * 32 + '"'


@pytest.fixture
def bucket(s3, settings):
    """The store as destination "s3"."""
    settings.STORAGES = settings.STORAGES | {
        "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": s3.options()}
    }
    settings.EXPORT_DESTINATIONS = ["local", "s3"]
    return s3


@pytest.fixture(params=["local", "s3"])
def batch(request, db):
    """A batch whose file is DATA, on a disk and in a store."""
    if request.param == "s3":
        request.getfixturevalue("bucket")
    storages[request.param].save("export/a.jsonl", ContentFile(DATA))
    batch = make_batch(make_project("reviews"), state=Batch.State.READY, path="export/a.jsonl", sha256="ab" * 32)
    batch.byte_count, batch.destination = len(DATA), request.param
    batch.save()
    return batch


def get(batch, method="get", **headers):
    request = getattr(RequestFactory(), method)(
        "/", headers={name.replace("_", "-"): headers[name] for name in headers}
    )
    return downloads.serve(request, batch)


def test_the_whole_file_comes_with_its_length_hash_and_name(batch):
    answer = get(batch)
    assert (answer.status_code, answer.getvalue()) == (200, DATA)
    assert (answer["Content-Length"], answer["ETag"], answer["Accept-Ranges"]) == ("1024", ETAG, "bytes")
    assert answer["Content-Disposition"] == f'attachment; filename="reviews-{batch.short_id}-jsonl.jsonl"'
    assert answer["Content-Type"] == "application/x-ndjson"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 1023),
        ("bytes=10-19", 10, 19),
        ("bytes=1000-99999", 1000, 1023),
        ("bytes=1023-", 1023, 1023),
        ("bytes=-1", 1023, 1023),
        ("bytes=-99999", 0, 1023),
    ],
)
def test_a_range_is_sent_alone(batch, asked, first, last):
    answer = get(batch, Range=asked)
    assert (answer.status_code, answer.getvalue()) == (206, DATA[first : last + 1])
    assert answer["Content-Range"] == f"bytes {first}-{last}/1024"
    assert answer["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=9999999999999999999-", "bytes=-0", "bytes=2000-3000"])
def test_a_range_beyond_the_file_is_416_with_its_size(batch, asked):
    answer = get(batch, Range=asked)
    assert (answer.status_code, answer["Content-Range"], answer.content) == (416, "bytes */1024", b"")


@pytest.mark.parametrize("asked", ["bytes=5-4", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,4-5", "", "bytes=١-٢"])
def test_what_is_no_single_range_brings_the_whole(batch, asked):
    assert get(batch, Range=asked).status_code == 200


def test_a_range_of_another_version_brings_the_whole(batch):
    assert get(batch, Range="bytes=0-1", If_Range=ETAG).status_code == 206
    for other in ('"cd"', f"W/{ETAG}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert get(batch, Range="bytes=0-1", If_Range=other).status_code == 200


def test_who_has_it_already_is_told_so_and_who_expects_another_too(batch):
    assert get(batch, If_None_Match=ETAG).status_code == 304
    assert get(batch, If_Match='"cd"').status_code == 412


def test_head_says_everything_but_the_content(batch):
    answer = get(batch, "head")
    assert (answer.status_code, answer.content, answer["Content-Length"]) == (200, b"", "1024")


@pytest.mark.django_db
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 1023), max_size=8, unique=True))
def test_ranges_put_together_are_the_file(cuts):
    if not storages["local"].exists("export/b.jsonl"):
        storages["local"].save("export/b.jsonl", ContentFile(DATA))
    batch = Batch(
        state=Batch.State.READY, path="export/b.jsonl", sha256="ab" * 32, byte_count=1024, destination="local"
    )
    batch.format = "jsonl"
    edges = [0, *sorted(cuts), 1024]
    pieces = [
        get(batch, Range=f"bytes={start}-{stop - 1}").getvalue() for start, stop in zip(edges, edges[1:], strict=False)
    ]
    assert b"".join(pieces) == DATA


def test_an_empty_file_can_be_fetched_and_has_no_range(batch):
    storages[batch.destination].delete(batch.path)
    storages[batch.destination].save(batch.path, ContentFile(b""))
    Batch.objects.update(byte_count=0)
    batch.refresh_from_db()
    assert get(batch).getvalue() == b""
    assert get(batch, Range="bytes=0-").status_code == 416


def test_a_file_that_is_gone_is_said_before_the_first_byte(batch):
    storages[batch.destination].delete(batch.path)
    with pytest.raises(NotReady, match="is gone from destination"):
        get(batch)


def test_a_hundred_megabytes_pass_in_little_memory(db, settings):
    path = storages["local"].path("export/big.jsonl")
    storages["local"].save("export/big.jsonl", ContentFile(b""))
    with open(path, "r+b") as file:
        file.truncate(100_000_000)
    batch = make_batch(make_project(), state=Batch.State.READY, path="export/big.jsonl", sha256="0" * 64)
    Batch.objects.update(byte_count=100_000_000)
    batch.refresh_from_db()
    tracemalloc.start()
    assert sum(map(len, get(batch).streaming_content)) == 100_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


# Through the admin, and by a link -------------------------------------------------------------------------------------


def written(project, **asked):
    user = make_member(project, Role.BUYER)
    batch = batching.gather(Sample.objects.all(), by=user, format="jsonl", **asked)
    work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    assert batch.is_ready, batch.error
    return user, batch


@pytest.mark.django_db(transaction=True)
def test_the_admin_serves_a_local_file_and_the_files_of_a_batch_in_shards(client):
    user, batch = written(make_samples(6), shards=2)
    client.force_login(user)
    for shard in batch.shards.all():
        answer = client.get(f"/admin/exports/batch/{batch.pk}/files/{shard.name}")
        assert answer["ETag"] == f'"{shard.sha256}"'
        assert len(answer.getvalue()) == shard.byte_count
        assert answer["Content-Disposition"].endswith(f'-{batch.short_id}-{shard.name}"')
    client.force_login(make_member(make_project(), Role.MANAGER))
    assert client.get(f"/admin/exports/batch/{batch.pk}/files/{shard.name}").status_code == 404
    with pytest.raises(InShards):
        batching.link_to(batch)


@pytest.mark.django_db(transaction=True)
def test_a_file_in_a_store_is_fetched_there_by_a_link_that_expires(client, bucket, settings):
    user, batch = written(make_samples(6), destination="s3")
    client.force_login(user)
    answer = client.get(f"/admin/exports/batch/{batch.pk}/download/")
    assert (answer.status_code, "no-store" in answer["Cache-Control"]) == (302, True)
    assert answer["Location"].startswith(bucket.endpoint_url)
    assert "secret" not in answer["Location"].lower()
    with urllib.request.urlopen(answer["Location"]) as got:
        assert len(got.read()) == batch.byte_count
        assert f"{batch.short_id}-jsonl.jsonl" in got.headers["Content-Disposition"]
    settings.EXPORT_LINK_SECONDS = 1
    link = batching.link_to(batch)
    time.sleep(2.1)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(link)
    assert refused.value.code == 403


@pytest.mark.django_db(transaction=True)
def test_a_store_that_browsers_cannot_reach_is_served_by_the_hub(client, bucket, settings):
    settings.EXPORT_LINK_SECONDS = 0
    user, batch = written(make_samples(6), destination="s3")
    client.force_login(user)
    answer = client.get(f"/admin/exports/batch/{batch.pk}/download/", headers={"Range": "bytes=0-9"})
    assert (answer.status_code, len(answer.getvalue())) == (206, 10)


@pytest.mark.django_db
def test_a_batch_that_is_not_ready_has_no_link():
    with pytest.raises(NotReady):
        batching.link_to(make_batch(make_project(), path="export/a.jsonl"))

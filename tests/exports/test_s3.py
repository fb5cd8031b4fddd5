"""The S3 store of the tests is a real one: it refuses what a real one refuses."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.s3 import Store

PART = 5 * 1024 * 1024  # the least S3 takes for a part that is not the last


def code_of(refusal):
    return refusal.value.response["Error"]["Code"]


def test_what_was_put_comes_back(s3):
    s3.client().put_object(Bucket=s3.bucket, Key="exports/été 训练.jsonl", Body=b"line\n")
    assert s3.keys() == ["exports/été 训练.jsonl"]
    assert s3.client().get_object(Bucket=s3.bucket, Key="exports/été 训练.jsonl")["Body"].read() == b"line\n"


def test_a_wrong_secret_is_refused(s3):
    with pytest.raises(ClientError) as refusal:
        s3.client(secret_key="not-the-secret").put_object(Bucket=s3.bucket, Key="a", Body=b"a")
    assert code_of(refusal) == "SignatureDoesNotMatch"
    assert s3.keys() == []


def test_an_unknown_access_key_is_refused(s3):
    with pytest.raises(ClientError) as refusal:
        s3.client(access_key="hub:stranger").put_object(Bucket=s3.bucket, Key="a", Body=b"a")
    assert code_of(refusal) in ("InvalidAccessKeyId", "AccessDenied", "SignatureDoesNotMatch")


def test_a_presigned_url_works_until_it_expires(s3):
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="a", Body=b"hello")
    names = {"Bucket": s3.bucket, "Key": "a"}
    long, short = (client.generate_presigned_url("get_object", names, ExpiresIn=seconds) for seconds in (60, 1))
    assert urllib.request.urlopen(long).read() == b"hello"
    time.sleep(2.1)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(short)
    assert refusal.value.code == 403


def test_a_presigned_url_for_another_key_is_refused(s3):
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="secret", Body=b"hello")
    url = client.generate_presigned_url("get_object", {"Bucket": s3.bucket, "Key": "public"}, ExpiresIn=60)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(url.replace("public", "secret"))
    assert refusal.value.code == 403


def test_a_multipart_upload_appears_when_it_is_complete_and_not_before(s3):
    client, names = s3.client(), {"Bucket": s3.bucket, "Key": "big"}
    upload = {**names, "UploadId": client.create_multipart_upload(**names)["UploadId"]}
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate((b"a" * PART, b"b"), start=1)
    ]
    assert s3.keys() == []
    assert s3.uploads() == ["big"]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.keys() == ["big"]
    assert s3.uploads() == []
    assert client.head_object(**names)["ContentLength"] == PART + 1
    assert client.get_object(**names, Range=f"bytes={PART - 1}-")["Body"].read() == b"ab"


def test_an_aborted_multipart_upload_leaves_nothing(s3):
    client, names = s3.client(), {"Bucket": s3.bucket, "Key": "big"}
    upload = {**names, "UploadId": client.create_multipart_upload(**names)["UploadId"]}
    client.upload_part(**upload, PartNumber=1, Body=b"a" * PART)
    client.abort_multipart_upload(**upload)
    assert s3.keys() == s3.uploads() == []
    with pytest.raises(ClientError) as refusal:
        client.upload_part(**upload, PartNumber=2, Body=b"b")
    assert code_of(refusal) == "NoSuchUpload"


def test_a_missing_bucket_is_an_error(s3):
    with pytest.raises(ClientError) as refusal:
        s3.client().put_object(Bucket="nobody-made-this-one", Key="a", Body=b"a")
    assert code_of(refusal) == "NoSuchBucket"


@pytest.fixture
def own_store(s3_store, tmp_path):
    """A store that a test may kill (`s3_store` is asked for only to skip where none can run)."""
    (tmp_path / "store").mkdir()
    store = Store(tmp_path / "store").start()
    yield store
    store.remove()


def test_a_killed_store_refuses_connections_and_finds_its_objects_when_it_is_back(own_store):
    bucket = own_store.make_bucket()
    bucket.client().put_object(Bucket=bucket.bucket, Key="a", Body=b"kept")
    own_store.kill()
    with pytest.raises(EndpointConnectionError):
        bucket.client().list_buckets()
    own_store.start()
    assert bucket.client().get_object(Bucket=bucket.bucket, Key="a")["Body"].read() == b"kept"


def test_two_stores_do_not_meet(s3, own_store):
    other = own_store.make_bucket()
    assert other.endpoint_url != s3.endpoint_url
    with pytest.raises(ClientError) as refusal:
        s3.client().list_objects_v2(Bucket=other.bucket)
    assert code_of(refusal) == "NoSuchBucket"


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_store_ends_and_cleans_up_when_the_tests_are_killed(s3_store, tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    program = (
        "import sys, time, pathlib; from tests.s3 import Store; store = Store(pathlib.Path(sys.argv[1])).start();"
        "print(store.pid, flush=True); time.sleep(600)"
    )
    tests = subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True)
    assert tests.stdout
    store = int(tests.stdout.readline())
    assert is_alive(store)
    tests.send_signal(signal.SIGKILL)
    tests.communicate(timeout=10)  # reads to the end: the store holds no copy of our pipe
    for _ in range(100):
        if not is_alive(store) and not root.exists():
            break
        time.sleep(0.1)
    assert not is_alive(store)
    assert not root.exists()

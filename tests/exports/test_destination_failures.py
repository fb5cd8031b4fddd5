"""When the place a batch goes to fails: wrong keys, no bucket, a store that dies half way, a full disk. All of it real."""

import json
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from botocore.config import Config
from django.core.files.storage import storages
from django.db.models import Value
from django.db.models.functions import Concat

from exports import batching
from exports.models import Batch
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Sample
from tests.factories import make_member, make_samples
from tests.s3 import Store

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    retries={"max_attempts": 0},
    connect_timeout=2,
    read_timeout=20,
)


@pytest.fixture
def project():
    """6.7 MB of samples, more than the reader takes at once: an upload sends a part before it has read the rest."""
    project = make_samples(110)
    Sample.objects.update(content=Concat("content", Value(" Ce produit est fantastique !" * 2_000)))
    return project


@pytest.fixture
def buyer(project):
    return make_member(project, Role.BUYER)


def use(settings, bucket, **changes):
    """Make `bucket` the destination "s3", beside "local"."""
    options = bucket.options(client_config=AT_ONCE, **changes)
    storage = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"s3": storage}
    settings.EXPORT_DESTINATIONS = ["local", "s3"]


def gather(buyer, destination="s3"):
    return batching.gather(Sample.objects.all(), by=buyer, format="jsonl", destination=destination)


def run(batch):
    """Let a worker run the batch's job once, now."""
    Job.objects.filter(pk=batch.job_id).update(run_after=batch.created_at)
    job = queue.claim(batch.job_id)
    assert job
    worker.run(job)
    batch.refresh_from_db()
    return batch


def stored(s3, batch):
    return s3.client().get_object(Bucket=s3.bucket, Key=batch.path)["Body"].read()


def test_each_batch_goes_where_it_was_told(s3, settings, buyer):
    use(settings, s3)
    far = run(gather(buyer, "s3"))
    near = run(batching.gather(Sample.objects.all(), by=buyer, format="csv", destination="local", allow_reexport=True))
    assert (far.state, near.state) == (Batch.State.READY, Batch.State.READY), far.error + near.error
    assert s3.keys() == [far.path, batching.manifest_path(far)]
    assert s3.uploads() == []
    content = stored(s3, far)
    assert (len(content), sha256(content).hexdigest()) == (far.byte_count, far.sha256)
    assert s3.client().head_object(Bucket=s3.bucket, Key=far.path, PartNumber=1)["PartsCount"] == 2
    manifest = s3.client().get_object(Bucket=s3.bucket, Key=batching.manifest_path(far))["Body"].read()
    assert json.loads(manifest)["file"]["sha256"] == far.sha256


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secret_key": "a-wrong-secret-of-ours"}, "403|SignatureDoesNotMatch"),
        ({"bucket_name": "nobody-made-this-one"}, "NoSuchBucket|404"),
    ],
    ids=["wrong secret", "missing bucket"],
)
def test_a_store_that_refuses_fails_the_batch_at_once_with_a_clear_error(s3, settings, buyer, changes, reason):
    use(settings, s3, **changes)
    batch = run(gather(buyer))
    assert batch.state == Batch.State.FAILED
    assert batch.job.attempt == 1  # the next try would be refused as well
    assert batch.error.startswith("destination 's3': ")
    assert re.search(reason, batch.error)
    for text in (batch.error, batch.job.error, json.dumps(batch.selection)):
        assert s3.secret_key not in text
        assert "a-wrong-secret-of-ours" not in text
    assert s3.keys() == s3.uploads() == []

    use(settings, s3)  # somebody puts the settings right
    batching.retry(batch, by=buyer)
    assert run(batch).state == Batch.State.READY
    assert sha256(stored(s3, batch)).hexdigest() == batch.sha256


@pytest.fixture
def mortal(s3_store, tmp_path):
    """A bucket in a store of its own that may be killed."""
    (tmp_path / "store").mkdir()
    store = Store(tmp_path / "store").start()
    yield store.make_bucket()
    store.remove()


@contextmanager
def killed_after_a_part(bucket):
    """Within, the store dies as soon as the first part of an upload has arrived."""

    class Deadly:
        """A hook into boto3's own events: no call is replaced, the process on the other side is killed for real."""

        parts = 0

        def __call__(self, **_):
            self.parts += 1
            if bucket.store.pid:
                assert bucket.uploads() != []
                bucket.store.kill()

    deadly = Deadly()
    events = storages["s3"].connection.meta.client.meta.events
    events.register("after-call.s3.UploadPart", deadly)
    try:
        yield deadly
    finally:
        events.unregister("after-call.s3.UploadPart", deadly)


def test_a_store_that_dies_half_way_is_tried_again_and_keeps_no_half_object(mortal, settings, buyer):
    use(settings, mortal)
    batch = gather(buyer)
    with killed_after_a_part(mortal) as deadly:
        run(batch)
    assert deadly.parts == 1
    assert batch.job.state == Job.State.QUEUED  # not failed: it will be tried again
    assert batch.job.attempt == 1
    assert "destination 's3'" in batch.job.error
    assert batch.state == Batch.State.QUEUED

    mortal.store.start()
    assert mortal.keys() == []  # nothing under the final name
    assert mortal.uploads() == [batch.path]  # the dead store could not be told to abort

    run(batch)
    assert batch.state == Batch.State.READY, batch.error
    assert sha256(stored(mortal, batch)).hexdigest() == batch.sha256
    assert mortal.keys() == [batch.path, batching.manifest_path(batch)]
    assert mortal.uploads() == []  # what the first run left was cleared away


def test_a_store_that_stays_dead_fails_the_batch_and_retry_clears_up(mortal, settings, buyer):
    use(settings, mortal)
    batch = gather(buyer)
    with killed_after_a_part(mortal):
        for _ in range(settings.JOB_MAX_ATTEMPTS):
            run(batch)
    assert batch.state == Batch.State.FAILED
    assert "destination 's3'" in batch.error
    mortal.store.start()
    assert mortal.keys() == []
    batching.retry(batch, by=buyer)
    assert run(batch).state == Batch.State.READY
    assert mortal.uploads() == []


class OperationAborted(BaseHTTPRequestHandler):
    """A store in which another operation on the same bucket is under way: it says 409, and asks to be tried again."""

    SAID = b"<Error><Code>OperationAborted</Code><Message>A conflicting operation is in progress. Try again.</Message></Error>"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(409)
        self.send_header("Content-Length", str(len(self.SAID)))
        self.end_headers()
        self.wfile.write(self.SAID)

    do_PUT = do_POST

    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_): ...


@pytest.fixture
def occupied():
    """The address of such a store."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), OperationAborted)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_store_that_is_busy_with_something_else_is_tried_again(s3, occupied, settings, buyer):
    use(settings, s3, endpoint_url=occupied)
    batch = run(gather(buyer))
    assert "OperationAborted" in batch.job.error
    assert (batch.state, batch.job.state) == (Batch.State.QUEUED, Job.State.QUEUED)
    use(settings, s3)
    assert run(batch).state == Batch.State.READY


def test_the_uploads_of_other_files_are_left_alone(s3, settings, buyer):
    use(settings, s3)
    batch = gather(buyer)
    for key in (batch.path + ".other", "export/another.jsonl", batch.path):
        s3.client().create_multipart_upload(Bucket=s3.bucket, Key=key)
    run(batch)
    assert sorted(s3.uploads()) == sorted([batch.path + ".other", "export/another.jsonl"])


@contextmanager
def full_disk(limit=1_000_000):
    """No file grows beyond `limit` bytes: write() fails in the kernel, as it does where nothing is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_fails_the_batch_and_leaves_no_file(settings, tmp_path, buyer):
    batch = gather(buyer, "local")
    with full_disk():
        for _ in range(settings.JOB_MAX_ATTEMPTS):
            run(batch)
    assert batch.state == Batch.State.FAILED
    assert "destination 'local'" in batch.error
    assert "File too large" in batch.error
    assert [path for path in (tmp_path / "exports").rglob("*") if path.is_file()] == []
    batching.retry(batch, by=buyer)
    assert run(batch).state == Batch.State.READY
    assert (tmp_path / "exports" / batch.path).stat().st_size == batch.byte_count


WRITE_200_MB = """
import json, os, sys
import django
django.setup()
from hashlib import sha256
from django.conf import settings
from django.core.files.storage import storages
from django.db.models import Value
from django.db.models.functions import Concat
from exports import destinations

def grown():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024

settings.STORAGES = settings.STORAGES | {
    "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": json.loads(sys.argv[1])}
}
seen, chunk = sha256(), os.urandom(65536)
draft = destinations.draft(storages["s3"], "big.bin")
for number in range(200 * 16):
    if number == 320:  # 20 MB: every buffer has had its size by now
        before = grown()
    draft.write(chunk)
    seen.update(chunk)
draft.finish()
draft.publish()
print(json.dumps({"grew": grown() - before, "sha256": seen.hexdigest()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_stays_flat_while_200_megabytes_go_to_the_store(s3):
    program = subprocess.run(
        [sys.executable, "-c", WRITE_200_MB, json.dumps(s3.options())], cwd=ROOT, capture_output=True, text=True
    )
    assert program.returncode == 0, program.stderr
    said = json.loads(program.stdout)
    assert said["grew"] <= 16, f"{said['grew']} MB"
    body, seen, size = s3.client().get_object(Bucket=s3.bucket, Key="big.bin")["Body"], sha256(), 0
    for chunk in body.iter_chunks(1 << 20):
        seen.update(chunk)
        size += len(chunk)
    assert (size, seen.hexdigest()) == (200 * 16 * 65536, said["sha256"])

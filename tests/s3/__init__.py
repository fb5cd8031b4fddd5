"""An S3 store for tests, as a process of its own that can be killed and started again."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

SERVER = Path(__file__).with_name("server.py")
ACCESS_KEY, SECRET_KEY = "hub:curator", "correct-horse-battery"
REGION = "us-east-1"
START_SECONDS = 60


def why_not(folder: Path) -> str:
    """What keeps the store from running on the file system of `folder`; empty where nothing does."""
    probe = folder / "xattr-probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.labelhub", b"1")
    except (OSError, AttributeError) as error:
        return f"the S3 store keeps its notes in user.* extended attributes, and {folder} has none ({error})"
    finally:
        probe.unlink()
    return ""


class Store:
    """Swift with its S3 door, under `root`; `kill` is kill -9, and `start` after it finds what was stored before."""

    def __init__(self, root: Path):
        self.root = root
        self._ports: list[str] = []
        self._process: subprocess.Popen | None = None

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> "Store":
        said = self.root / "ports.json"
        said.unlink(missing_ok=True)
        arguments = [str(SERVER), str(self.root), str(os.getpid()), ACCESS_KEY, SECRET_KEY, *self._ports]
        with (self.root / "errors.log").open("ab") as errors:
            self._process = subprocess.Popen(
                # -P: or the packages beside server.py would be found before those it imports
                [sys.executable, "-P", "-Wignore", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                close_fds=True,
                start_new_session=True,  # Ctrl-C ends the tests first, then they end the store
            )
        deadline = time.monotonic() + START_SECONDS
        while not said.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the S3 store did not start:\n{(self.root / 'errors.log').read_text()}")
            time.sleep(0.02)
        self._ports = [str(port) for port in json.loads(said.read_text())]
        return self

    def make_bucket(self) -> "Bucket":
        made = Bucket(store=self, bucket=f"bucket-{uuid.uuid4().hex[:12]}")
        made.client().create_bucket(Bucket=made.bucket)
        return made

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass
class Bucket:
    """A bucket of a running store, and all one needs to reach it."""

    store: Store
    bucket: str
    access_key: str = ACCESS_KEY
    secret_key: str = field(default=SECRET_KEY, repr=False)
    region: str = REGION

    @property
    def endpoint_url(self) -> str:
        return self.store.endpoint_url

    def client(self, **changes):
        """A boto3 client of the bucket's owner, or with a `secret_key` and the like of one's own choosing."""
        keys = {"access_key": self.access_key, "secret_key": self.secret_key} | changes
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=keys["access_key"],
            aws_secret_access_key=keys["secret_key"],
            region_name=self.region,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"max_attempts": 0},
                connect_timeout=5,
                read_timeout=30,
            ),
        )

    def options(self, **changes) -> dict:
        """The OPTIONS of a storage alias that writes here, as the settings would hold them."""
        return {
            "bucket_name": self.bucket,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "endpoint_url": self.endpoint_url,
            "region_name": self.region,
            "addressing_style": "path",
            "querystring_expire": 3600,
            "default_acl": None,
            "file_overwrite": True,
        } | changes

    def keys(self) -> list[str]:
        """The names of the objects under their final names."""
        return [found["Key"] for found in self.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def uploads(self) -> list[str]:
        """The names of multipart uploads that were begun and neither completed nor aborted."""
        return [found["Key"] for found in self.client().list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]

"""Where files go: names of Django storages, and files that appear there complete or not at all."""

import os
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils.http import content_disposition_header

from .errors import DestinationRefused, UnknownDestination

STORE_ERRORS: tuple[type[Exception], ...] = (OSError,)
with suppress(ImportError):  # without the extra "s3" nobody can raise its
    from botocore.exceptions import BotoCoreError, ClientError

    STORE_ERRORS = (OSError, BotoCoreError, ClientError)

UNFINISHED = ".part"


def names() -> list[str]:
    return list(settings.EXPORT_DESTINATIONS)


def bucket_names() -> dict[str, str]:
    """The destinations that are buckets of an object store: the bucket's name, and what the destination is called."""
    kept: dict[str, Any] = settings.STORAGES
    options = {name: kept[name].get("OPTIONS", {}) for name in names()}
    return {held["bucket_name"]: name for name, held in options.items() if "bucket_name" in held}


def default() -> str:
    return settings.EXPORT_DESTINATION


def storage_of(name: str) -> Storage:
    """The storage called `name`; UnknownDestination, naming the known ones, where there is none."""
    if name not in names():
        raise UnknownDestination(f"unknown destination {name!r}; known: {', '.join(names())}", known=names())
    return storages[name]


class DestinationFailed(Exception):
    """The destination could not be reached, or broke off, or is full: it may be better in a while."""


@contextmanager
def reporting(name: str) -> Iterator[None]:
    """What goes wrong at the destination `name` says so: DestinationRefused, or DestinationFailed where it may pass."""
    try:
        yield
    except STORE_ERRORS as error:
        said = f"destination {name!r}: {error}"
        answer = getattr(error, "response", None) or {}
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = answer.get("Error", {}).get("Code", "")
        # 409 is another operation under way there. An upload that is gone was cleared away; a new one may succeed.
        if 400 <= status < 500 and status not in (408, 409, 429) and code not in ("NoSuchUpload", "RequestTimeout"):
            raise DestinationRefused(said, destination=name, code=code) from error
        raise DestinationFailed(said) from error


class Draft(Protocol):
    """A file being written. `finish` does what is slow, `publish` shows it under its name, `abandon` leaves no trace."""

    def write(self, chunk: bytes) -> None: ...

    def finish(self) -> None: ...

    def publish(self) -> None: ...

    def abandon(self) -> None: ...


def draft(storage: Storage, path: str) -> Draft:
    """A new file that is to become `path` in `storage`."""
    if isinstance(storage, FileSystemStorage):
        return LocalDraft(Path(storage.path(path)))
    return StreamedDraft(storage, path)


class LocalDraft:
    """A file on a local disk: written beside its place under a name of this run's own, moved when complete."""

    def __init__(self, path: Path):
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        self._file = self._unfinished.open("xb")

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def publish(self) -> None:
        os.replace(self._unfinished, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abandon(self) -> None:
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


class StreamedDraft:
    """A file in an object store: uploaded in pieces; the object appears when the upload is completed."""

    def __init__(self, storage: Storage, path: str):
        self._file = storage.open(path, "wb")

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        self._file.close()

    def publish(self) -> None:
        """Nothing is left to do: a store has no cheap renaming, so the object is there since `finish`."""

    def abandon(self) -> None:
        # django-storages completes what is closed; the way to abort an upload is the upload itself.
        if upload := getattr(self._file, "_multipart", None):
            with suppress(*STORE_ERRORS):  # the store that failed us may refuse this too: the next run clears up
                upload.abort()


def remove(storage: Storage, *paths: str) -> None:
    """Delete these files, and what dead runs left of them."""
    for path in paths:
        remove_unfinished(storage, path)
        storage.delete(path)


def remove_unfinished(storage: Storage, path: str) -> None:
    """Delete what runs that died left of `path`: hidden files on a local disk, the parts of uploads in a store."""
    if isinstance(storage, FileSystemStorage):
        place = Path(storage.path(path))
        for left in place.parent.glob(f".{place.name}.*{UNFINISHED}"):
            left.unlink(missing_ok=True)
    elif bucket := getattr(storage, "bucket", None):
        key = posixpath.join(storage.location, path)  # type: ignore[attr-defined]
        with suppress(ClientError):  # a key that may write, but not list uploads: the bucket's own rules clear parts
            for upload in bucket.multipart_uploads.filter(Prefix=key):
                if upload.object_key == key:
                    upload.abort()


def reading(storage: Storage, path: str) -> BinaryIO:
    """The file at `path`, open for reading from its start; FileNotFoundError where there is none."""
    file = storage.open(path, "rb")
    if stored := getattr(file, "obj", None):  # S3: read from, the file would first fetch the whole object
        return stored.get()["Body"]
    return cast(BinaryIO, file)


CHUNK = 256 * 1024


class chunks:
    """The bytes of the file at `path` from `start` up to `stop`, in chunks; it is open from now on until `close`.

    A store sends no more than that range. FileNotFoundError where there is no file.
    """

    def __init__(self, storage: Storage, path: str, *, start: int, stop: int):
        self._left = stop - start
        file = storage.open(path, "rb")
        if stored := getattr(file, "obj", None):  # S3: see `reading`
            asked = {"Range": f"bytes={start}-{stop - 1}"} if self._left else {}
            file = stored.get(**asked)["Body"]
        else:
            file.seek(start)
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self._file.read(min(CHUNK, self._left)) if self._left else b""
        if not data:
            raise StopIteration
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


def link(storage: Storage, path: str, *, name: str, seconds: int) -> str | None:
    """A signed address of the file, good for so many seconds, under which it is saved as `name`; None without signing."""
    if not seconds or not getattr(storage, "querystring_auth", False) or getattr(storage, "custom_domain", None):
        return None
    saved_as = {"ResponseContentDisposition": content_disposition_header(True, name)}
    return storage.url(path, parameters=saved_as, expire=seconds)  # type: ignore[call-arg]

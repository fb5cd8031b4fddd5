"""The parts of a batch's file, as they were exported."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from exports import batching

SPOOLED_BYTES = 32 * 1024 * 1024


@contextmanager
def opened(batch) -> Iterator[IO[bytes]]:
    """The batch's file, seekable as ZIP wants it; one that comes over the network is spooled."""
    file, _ = batching.open_file(batch)
    with file:
        if file.seekable():
            yield file
        else:
            with tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES) as spool:
                shutil.copyfileobj(file, spool)
                spool.seek(0)
                yield spool


def members(batch, part: str) -> list[str]:
    """The files that make up `part`, by their names in the ZIP; none where the part is empty."""
    return [entry["name"] for entry in batch.manifest["parts"] if entry["part"] == part and entry["rows"]]


@contextmanager
def part_file(batch, part: str) -> Iterator[IO[bytes] | None]:
    """The lines of `part` ("train" of a file in one piece is all of it) in one seekable file; None where it is empty."""
    if not batch.ratios:
        with opened(batch) as file:
            yield file if part == "train" else None
        return
    names = members(batch, part)
    if not names:
        yield None
        return
    with opened(batch) as file, zipfile.ZipFile(file) as archive, tempfile.TemporaryFile() as whole:
        for name in names:
            with archive.open(name) as member:
                shutil.copyfileobj(member, whole)
        whole.seek(0)
        yield whole

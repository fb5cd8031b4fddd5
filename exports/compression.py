"""One stream of bytes, compressed: the same input gives the same bytes, for no clock and no name stands in them. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import zstandard
from isal import isal_zlib

from exports.errors import BadCompression

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
MEDIA_TYPES = {".gz": "application/gzip", ".zst": "application/zstd"}
GZIP_WINDOW = 31  # zlib's number for its largest window with a gzip header around it
GZIP_LEVEL, ZSTD_LEVEL = 2, 3


def choices() -> list[tuple[str, str]]:
    return [("none", "None"), ("gzip", "gzip"), ("zstd", "Zstandard")]


def check(how: str) -> None:
    """BadCompression, naming the known ones, for another."""
    if how not in SUFFIXES:
        raise BadCompression(f"unknown compression {how!r}; known: {', '.join(SUFFIXES)}", known=list(SUFFIXES))


def compressed(chunks: Iterable[bytes], how: str) -> Iterator[bytes]:
    """The stream of `chunks`, compressed; as it is with "none"."""
    if how == "none":
        yield from chunks
        return
    press = _gzip() if how == "gzip" else _zstd()
    for chunk in chunks:
        if data := press.compress(chunk):
            yield data
    yield press.flush()


def _gzip() -> Any:
    return isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW)


def _zstd() -> Any:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()

"""Many primary keys in few bytes: ascending, as their differences, compressed. Pure."""

import zlib
from array import array
from collections.abc import Iterable, Sequence

import numpy


def pack(keys: Iterable[int]) -> bytes:
    """The keys, which ascend, as bytes: a run of consecutive ones takes next to nothing, a random million some 1.5 MB."""
    values = numpy.asarray(keys if isinstance(keys, array) else array("q", keys), "<i8")
    return zlib.compress(numpy.diff(values, prepend=0).astype("<i8").tobytes(), 1)


def unpack(data: bytes) -> Sequence[int]:
    """What was packed, as an array of eight bytes a key."""
    values = numpy.cumsum(numpy.frombuffer(zlib.decompress(data), "<i8"), dtype="i8")
    return array("q", values.tobytes())

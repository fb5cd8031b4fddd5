"""How alike texts are: shingles, exact Jaccard similarity, and the MinHash keys under which like texts meet. Pure.

A text counts as its shingles: every five bytes in a row of its UTF-8, after NFKC, case folding and the removal of
punctuation. Bytes rather than characters, because five letters and two Han characters say about as much: in English the
two are the same thing, in Chinese a changed character no longer makes a different text of a short sentence.

Every constant here is part of the stored keys. Change one, and no text finds those indexed before.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

WIDTH = 5  # bytes in a shingle
BANDS, ROWS = 16, 4  # texts of similarity J share a key with a chance of 1 - (1 - J⁴)¹⁶: .6 at .5, .99 at .7, 1 from .8
CHARACTERS_READ = 20_000  # a longer text counts by its beginning: a book pasted into a cell must not fill the memory
BLOCK = 1 << 15  # shingles hashed at a time: small enough to stay in the processor's cache

Numbers = NDArray[np.uint64]


def _scrambled(numbers: Numbers) -> Numbers:
    """Each number as another, one to one, near numbers far apart (the finaliser of splitmix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _constants(count: int) -> Numbers:
    """The same `count` random-looking numbers on every machine and with every version of numpy."""
    return _scrambled(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


_drawn = _constants(2 * BANDS * ROWS + BANDS)
_FACTORS = (_drawn[: BANDS * ROWS] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)  # odd: a permutation of 32 bits
_SHIFTS = (_drawn[BANDS * ROWS : 2 * BANDS * ROWS] >> np.uint64(32)).astype(np.uint32)
_BAND_SALTS = _drawn[2 * BANDS * ROWS :]


@cache
def _no_punctuation() -> dict[int, str]:
    every = range(0x20000)  # Unicode keeps punctuation in its first two planes
    return {code: " " for code in every if unicodedata.category(chr(code)).startswith("P")}


def essence(text: str) -> bytes:
    """What of `text` is compared, as UTF-8: folded, without punctuation, single spaces.

    A text of nothing but punctuation is compared as it is.
    """
    folded = unicodedata.normalize("NFKC", text[:CHARACTERS_READ]).casefold()
    bare = folded.translate(_no_punctuation())
    return " ".join(bare.split() or folded.split()).encode(errors="surrogatepass")


def _windows(essences: Sequence[bytes]) -> tuple[Numbers, NDArray[np.intp]]:
    """The shingles of several texts in a row, five bytes packed into a number, and where each text's begin."""
    padded = [essence.ljust(WIDTH, b"\0") for essence in essences]
    lengths = np.fromiter(map(len, padded), dtype=np.intp, count=len(padded))
    octets = np.frombuffer(b"".join(padded), dtype=np.uint8).astype(np.uint64)
    packed = np.zeros(len(octets) - WIDTH + 1, dtype=np.uint64)
    for place in range(WIDTH):
        packed = (packed << np.uint64(8)) | octets[place : place + len(packed)]
    ends = np.cumsum(lengths)
    own = np.ones(len(octets), dtype=bool)
    for place in range(1, WIDTH):  # a window that begins so near the end of a text reaches into the next
        own[ends - place] = False
    counts = lengths - WIDTH + 1
    return packed[own[: len(packed)]], np.cumsum(counts) - counts


def shingles(essence: bytes) -> frozenset[bytes]:
    """The set of shingles of what `essence` returned; none for a text without a visible character."""
    padded = essence.ljust(WIDTH, b"\0") if essence else b""
    return frozenset([padded[start : start + WIDTH] for start in range(len(padded) - WIDTH + 1)])


def jaccard(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    """What two sets of shingles share of all they hold together, exactly; 1 for two empty ones."""
    shared = len(one & other)
    together = len(one) + len(other) - shared
    return shared / together if together else 1.0


def _blocks(essences: Sequence[bytes]) -> Iterator[slice]:
    """Runs of texts of about BLOCK bytes, one text at the least."""
    start, size = 0, 0
    for stop, essence in enumerate(essences):
        if size and size + len(essence) > BLOCK:
            yield slice(start, stop)
            start, size = stop, 0
        size += len(essence)
    if start < len(essences):
        yield slice(start, len(essences))


def signatures(essences: Sequence[bytes]) -> NDArray[np.uint32]:
    """For each text the least of its shingles under each of 64 permutations: a row of 64 numbers."""
    signed = np.empty((len(essences), BANDS * ROWS), dtype=np.uint32)
    for block in _blocks(essences):
        windows, starts = _windows(essences[block])
        hashes = (_scrambled(windows) >> np.uint64(32)).astype(np.uint32)
        for row, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS, strict=True)):
            signed[block, row] = np.minimum.reduceat(hashes * factor + shift, starts)
    return signed


def band_keys(essences: Sequence[bytes], scopes: Sequence[int]) -> NDArray[np.int64]:
    """For each text its 16 keys, one a band: what it is found by. Texts of different scopes never share one."""
    rows = signatures(essences).astype(np.uint64).reshape(len(essences), BANDS, ROWS)
    keys = np.asarray(scopes, dtype=np.uint64)[:, None] ^ _BAND_SALTS[None, :]
    for row in range(0, ROWS, 2):
        keys = _scrambled(keys + ((rows[:, :, row] << np.uint64(32)) | rows[:, :, row + 1]))
    return keys.view(np.int64)

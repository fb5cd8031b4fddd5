"""How surprising a text is to a model of the texts it came with. Pure.

The model is Witten and Bell's interpolation (1991, "The zero-frequency problem", method C) of character n-grams, from
four characters down to all that were read being alike, and what was never read being one more of them: so the chances
of all that may follow a context make 1. A text is only told by a model that has not read it: texts are dealt into five
folds by a hash of their key, and each fold has a model of the other four.

Two units. Bits a byte of UTF-8 compares texts of any script, lower being less surprising; perplexity, 2 to the bits a
character, is what others call so, but takes a Latin text among Chinese ones for an easy one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from heapq import heappush, heappushpop
from itertools import repeat
from math import log2
from typing import NamedTuple

ORDER = 4  # characters, the one that is told included
FOLDS = 5
FEWEST = 200  # texts, fewer than which tell nothing reliable
GROWTH = 1.5  # a new model is due when there are half as many texts again
MOST_DRAWN = 1_000  # texts a model reads of each fold
MOST_READ = 1_000  # characters of one text
MOST_LEARNT = 40_000  # characters of each fold: a model of Chinese stays below 80 MB
MOST_TOLD = 10_000  # characters of one text that are looked at to tell it

START = "\x02" * (ORDER - 1)  # what stands before the first character


class Surprise(NamedTuple):
    bits_per_byte: float
    perplexity: float  # a character


class Model:
    """What followed what in `texts`: the bits of every n-gram that was read, and what falling back from one costs."""

    def __init__(self, texts: Iterable[str]):
        counted = [Counter[str]() for _ in range(ORDER)]
        for text in texts:
            padded = START + text
            for order, grams in enumerate(counted):
                first = len(START) - order
                grams.update([padded[at : at + order + 1] for at in range(first, first + len(text))])
        self._anything = log2(len(counted[0]) + 1)  # bits of any character at all, one that was never read among them
        chances: dict[str, float] = {"": 2**-self._anything}
        fallback: dict[str, float] = {}
        for order, grams in enumerate(counted):
            seen, kinds = Counter[str](), Counter[str]()
            for gram, count in grams.items():
                seen[gram[:-1]] += count
                kinds[gram[:-1]] += 1
            for gram, count in grams.items():
                context = gram[:-1]
                lower = chances[gram[1:] if order else ""]
                chances[gram] = (count + kinds[context] * lower) / (seen[context] + kinds[context])
            fallback.update((context, log2((seen[context] + kinds[context]) / kinds[context])) for context in seen)
        del chances[""]
        self._bits = {gram: -log2(chance) for gram, chance in chances.items()}
        self._fallback = fallback

    def bits(self, grams: list[str]) -> float:
        """The bits of the last characters of all `grams`, four characters each, after those before them; their sum."""
        total = 0.0
        for _ in range(ORDER):  # all at once and one order down for what was never read, which is fast in Python
            known = list(map(self._bits.get, grams))
            total += sum(filter(None, known))
            grams = [gram for gram, bits in zip(grams, known, strict=True) if bits is None]
            total += sum(map(self._fallback.get, [gram[:-1] for gram in grams], repeat(0.0)))
            grams = [gram[1:] for gram in grams]
        return total + len(grams) * self._anything

    def surprise(self, text: str) -> Surprise | None:
        """How surprising `text` is; nothing for an empty one."""
        text = text[:MOST_TOLD]
        if not text:
            return None
        padded = START + text
        total = self.bits([padded[at : at + ORDER] for at in range(len(text))])
        size = len(text.encode("utf-8", "surrogatepass"))
        return Surprise(total / size, 2 ** (total / len(text)))


def fold(key: str) -> int:
    return _hash(key) % FOLDS


def tier(texts: int) -> int | None:
    """How many of so many texts, the first ones, a model is made from; None for too few."""
    if texts < FEWEST:
        return None
    size = FEWEST
    while (larger := int(size * GROWTH)) <= texts:
        size = larger
    return size


def drawn(keys: Iterable[tuple[int, str]]) -> list[list[int]]:
    """The ids that models are to read, by fold, of `keys`, (id, key): those whose keys have the lowest hashes."""
    heaps: list[list[tuple[int, int]]] = [[] for _ in range(FOLDS)]
    for number, key in keys:
        rank = _hash(key)
        heap, entry = heaps[rank % FOLDS], (-rank, number)
        if len(heap) < MOST_DRAWN:
            heappush(heap, entry)
        else:
            heappushpop(heap, entry)
    return [[number for _, number in sorted(heap, reverse=True)] for heap in heaps]


def model_without(held_out: int, folds: Sequence[Iterable[str]]) -> Model:
    """A model of the texts of all `folds` but the one that it is going to tell."""
    return Model(text for at, texts in enumerate(folds) if at != held_out for text in _within_reason(texts))


def _within_reason(texts: Iterable[str]) -> Iterable[str]:
    left = MOST_LEARNT
    for text in texts:
        text = text[: min(left, MOST_READ)]
        left -= len(text)
        yield text
        if not left:
            return


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())

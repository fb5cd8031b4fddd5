"""Dealing rows into train, val and test: exact sizes, the same every time, whatever order they come in. Pure."""

import re
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from heapq import heapify, heappop, heappush
from itertools import permutations
from typing import Any

import numpy

from exports.errors import BadSplit

PARTS = ("train", "val", "test")
Ratios = tuple[Decimal, Decimal, Decimal]
Sizes = tuple[int, int, int]

# A plain decimal number. Python's Decimal also takes "NaN", "1e-999999999" (whose exact sum would fill the memory) and
# the digits of other scripts.
is_share = re.compile(r"\A(0?\.[0-9]{1,20}|[01](\.[0-9]{0,20})?|[0-9](\.[0-9]{1,20})?[eE]-[0-9])\Z").match


def parse(ratios: str | Sequence[Any]) -> Ratios:
    """The three shares in "0.8/0.1/0.1" or in three values; BadSplit unless they add up to exactly 1.

    Decimal throughout: as floats, 0.7 + 0.2 + 0.1 is not 1.
    """
    values = ratios.split("/") if isinstance(ratios, str) else list(ratios)
    if len(values) != 3:
        raise BadSplit(f"a split has three shares, train/val/test, not {len(values)}: write 0.8/0.1/0.1")
    train, val, test = (_share(value, part) for value, part in zip(values, PARTS, strict=True))
    if sum(_units((train, val, test))) != SCALE:
        raise BadSplit(f"the shares {train}/{val}/{test} add up to {train + val + test}, not to exactly 1")
    return train, val, test


def _share(value: Any, part: str) -> Decimal:
    text = str(value).strip()
    if isinstance(value, bool) or not is_share(text) or Decimal(text) > 1:
        raise BadSplit(f"the share of {part} is a number from 0 to 1, not {text[:40]!r}")
    return Decimal(text)


SCALE = 10**30


def _units(ratios: Ratios) -> tuple[int, int, int]:
    """The ratios as whole numbers of 10**-30: exact whatever the precision of the decimal context."""
    train, val, test = (int(ratio.scaleb(30)) for ratio in ratios)
    return train, val, test


def sizes(total: int, ratios: Ratios) -> Sizes:
    """How many of `total` rows each part gets: largest remainder, the earlier part where two are equal."""
    exact = [divmod(total * units, SCALE) for units in _units(ratios)]
    counts = [whole for whole, _ in exact]
    by_remainder = sorted(range(3), key=lambda part: (-exact[part][1], part))
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return counts[0], counts[1], counts[2]


def allot(counts: Mapping[Hashable, int], ratios: Ratios) -> dict[Hashable, Sizes]:
    """The sizes of each label's parts: its exact share rounded up or down, and the parts' totals those of the whole.

    Each label alone by largest remainder would leave the totals off (77 labels of 10 rows, 0.85/0.1/0.05: the test
    part would get none, or one of each). So we start from there and move single rows between parts, inside a label,
    until the totals are right: always the cheapest move, by remainder given up for remainder gained, directly or through
    the third part, and never more than one row from a label's exact share. Such a rounding always exists: with three
    parts the exact shares themselves are a flow through a network whose corners are whole numbers.
    """
    totals = sizes(sum(counts.values()), ratios)
    tables = {label: _Rounding(count, ratios) for label, count in counts.items()}
    surplus = [sum(table.sizes[part] for table in tables.values()) - totals[part] for part in range(3)]
    if any(surplus):
        _level(list(tables.values()), surplus)
    return {label: (table.sizes[0], table.sizes[1], table.sizes[2]) for label, table in tables.items()}


class _Rounding:
    """One label's sizes, and which of them may still be rounded the other way."""

    def __init__(self, count: int, ratios: Ratios):
        exact = [divmod(count * units, SCALE) for units in _units(ratios)]
        self.floors = [whole for whole, _ in exact]
        self.remainders = [rest for _, rest in exact]
        self.sizes = list(sizes(count, ratios))

    def may_move(self, giver: int, taker: int) -> bool:
        return (
            self.sizes[giver] > self.floors[giver]
            and self.sizes[taker] == self.floors[taker]
            and self.remainders[taker] > 0
        )

    def cost(self, giver: int, taker: int) -> int:
        return self.remainders[giver] - self.remainders[taker]

    def move(self, giver: int, taker: int) -> None:
        self.sizes[giver] -= 1
        self.sizes[taker] += 1


def _level(tables: list[_Rounding], surplus: list[int]) -> None:
    """Move single rows between parts until no part has a surplus."""
    moves = {
        pair: [(table.cost(*pair), number) for number, table in enumerate(tables) if table.may_move(*pair)]
        for pair in permutations(range(3), 2)
    }
    for heap in moves.values():
        heapify(heap)

    def cheapest(pair) -> int | None:
        heap = moves[pair]
        while heap and not tables[heap[0][1]].may_move(*pair):  # it moved since it was put here
            heappop(heap)
        return heap[0][0] if heap else None

    while any(surplus):
        ways = []
        for giver, taker in permutations(range(3), 2):
            if surplus[giver] > 0 > surplus[taker]:
                third = 3 - giver - taker
                for way in (((giver, taker),), ((giver, third), (third, taker))):
                    costs = [cheapest(pair) for pair in way]
                    if None not in costs:
                        ways.append((sum(cost for cost in costs if cost is not None), way))
        _, way = min(ways)
        for pair in way:
            number = moves[pair][0][1]
            tables[number].move(*pair)
            for other in moves:
                if tables[number].may_move(*other):
                    heappush(moves[other], (tables[number].cost(*other), number))
        surplus[way[0][0]] -= 1
        surplus[way[-1][1]] += 1


def deal(
    rows: Iterable[tuple[int, str, Hashable]], ratios: Ratios, *, seed: str, stratify: bool = False
) -> tuple[array, array, array]:
    """The ids of train, val and test, each in ascending order, from rows of (id, uid, label).

    A row's place is the hash of seed and uid, so it depends neither on the order of the rows nor on the database. Held
    per row are its id, eight bytes of the hash and the number of its label.
    """
    ids, hashes, numbers = array("q"), bytearray(), array("i")
    labels: dict[Hashable, int] = {}
    salt = f"{seed}:".encode()
    for id, uid, label in rows:
        ids.append(id)
        hashes += sha256(salt + uid.encode()).digest()[:8]
        numbers.append(labels.setdefault(label if stratify else None, len(labels)))
    keys = numpy.frombuffer(hashes, ">u8")
    every, number = numpy.asarray(ids), numpy.asarray(numbers)
    counts = dict(zip(labels, numpy.bincount(number, minlength=len(labels)).tolist(), strict=True))
    allotted = allot({label: counts[label] for label in sorted(labels, key=_alphabetical)}, ratios)
    order = numpy.lexsort((every, keys, number))  # label by label, there by hash, then by id
    parts = numpy.arange(3, dtype="u1")
    dealt = numpy.empty(len(ids), dtype="u1")
    dealt[order] = numpy.concatenate([parts[:0], *(numpy.repeat(parts, allotted[label]) for label in labels)])
    train, val, test = (array("q", numpy.sort(every[dealt == part]).tobytes()) for part in parts)
    return train, val, test


def _alphabetical(label: Hashable) -> tuple[bool, str]:
    """An order of labels that does not depend on which came first; rows without one are last."""
    return label is None, str(label)

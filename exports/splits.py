"""Dealing rows into train, val and test: exact sizes, the same every time, whatever order they come in. Pure.

Rows that belong together stay together, and who was on a side stays there when the data grows.
"""

import re
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from heapq import heapify, heappop, heappush
from itertools import permutations
from typing import Any, NamedTuple

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


# Dealing --------------------------------------------------------------------------------------------------------------

NOWHERE = 3  # the side of a row that is still to be dealt


class Slim(NamedTuple):
    """Some rows, a column each of ids, uids, labels and, by each criterion, what they belong together with.

    None, as a label or a value, is nothing in common.
    """

    ids: numpy.ndarray
    uids: Sequence[bytes]
    labels: Sequence[Hashable]
    groups: Sequence[Sequence[Hashable]] = ()


class Rows:
    """What a split must know of its rows, some thirty bytes a row: id, hash, label, groups.

    A row's place is the hash of seed and uid, so it depends neither on the order of the rows nor on the database. Where
    its side is kept, it is known by that hash too. A value of a criterion that is `lasting`, which keeps its name when its
    group grows, has a side of its own, known by the value's hash, so that who joins later goes where the group went. Of
    the others it must be told who is in their groups and not among the rows (`note_absent`).
    """

    def __init__(self, pages: Iterable[Slim], *, seed: str, lasting: Sequence[bool] = ()):
        ids, hashes, numbers = [numpy.empty(0, "i8")], bytearray(), array("i")
        self.labels: dict[Hashable, int] = {}
        values: list[dict[Hashable, int]] = [{} for _ in lasting]
        memberships = [array("i") for _ in lasting]
        self._salt = f"{seed}:".encode()
        for page in pages:
            ids.append(page.ids)
            hashes += self._hashed(page.uids)
            numbers.extend([self.labels.setdefault(label, len(self.labels)) for label in page.labels])
            for column, known, members in zip(page.groups, values, memberships, strict=True):
                members.extend([-1 if value is None else known.setdefault(value, len(known)) for value in column])
        self.ids = numpy.concatenate(ids)
        self.hashes = numpy.frombuffer(hashes, ">u8").astype("u8")
        self.keys = self.hashes.view("i8")
        self.numbers = numpy.asarray(numbers, "i4")
        columns = [numpy.asarray(members, "i4") for members in memberships]
        self.groups = _joined(columns, len(self.ids))
        self._values = [{} if lasts else known for lasts, known in zip(lasting, values, strict=True)]
        self._groups_of = [self._of_values(members, len(known)) for members, known in zip(columns, values, strict=True)]
        places = [place for place, lasts in enumerate(lasting) if lasts]
        self.value_keys = _together(_keys(values[place], place) for place in places)
        self.value_groups = _together(self._groups_of[place] for place in places)
        self.absent_keys = self.absent_groups = numpy.empty(0, "i8")

    def _hashed(self, uids: Iterable[bytes]) -> bytes:
        return b"".join([sha256(self._salt + uid).digest()[:8] for uid in uids])

    def _of_values(self, members, count: int):
        """The group of each of a criterion's values."""
        groups = numpy.zeros(count, "i8")
        there = members >= 0
        groups[members[there]] = self.groups[there]
        return groups

    def note_absent(self, criterion: int, pairs: Iterable[tuple[Hashable, bytes]]) -> None:
        """Rows, by value and uid, that are not dealt now; who has the value goes where they are, if they are anywhere."""
        hashes, values, known = bytearray(), array("i"), self._values[criterion]
        for value, uid in pairs:
            if value in known:
                values.append(known[value])
                hashes += self._hashed([uid])
        keys = numpy.frombuffer(hashes, ">u8").astype("u8").view("i8")
        absent = ~numpy.isin(keys, self.keys)
        if absent.any():
            groups = self._groups_of[criterion][numpy.asarray(values, "i4")]
            self.absent_keys = _together([self.absent_keys, keys[absent]])
            self.absent_groups = _together([self.absent_groups, groups[absent]])


def _together(arrays: Iterable[Any]):
    return numpy.concatenate([numpy.empty(0, "i8"), *arrays])


def _keys(values: Mapping[Hashable, int], place: int):
    """Eight bytes for each value of the criterion in that place; that two of a million share theirs has a chance of one
    in forty million."""
    before = f"{place}:" if place else ""
    hashes = (sha256(f"{before}{type(value).__name__}:{value}".encode()).digest()[:8] for value in values)
    return numpy.fromiter((int.from_bytes(hash, "big", signed=True) for hash in hashes), "i8", len(values))


def _joined(criteria: list, count: int):
    """Each row's group: rows that share a value of any criterion are together, and so are those they are together with."""
    if not criteria:
        return None
    if len(criteria) == 1:
        alone = criteria[0] < 0
        groups = criteria[0].astype("i8")
        groups[alone] = groups.max(initial=-1) + 1 + numpy.arange(alone.sum())
    else:
        from scipy.sparse import coo_matrix  # large, and few splits need it
        from scipy.sparse.csgraph import connected_components

        rows, nodes, offset = [], [], count
        for members in criteria:
            there = numpy.flatnonzero(members >= 0)
            rows.append(there)
            nodes.append(members[there].astype("i8") + offset)
            offset += members.max(initial=-1) + 1
        edges = (numpy.concatenate(rows), numpy.concatenate(nodes))
        graph = coo_matrix((numpy.ones(len(edges[0]), "u1"), edges), shape=(offset, offset))
        groups = connected_components(graph, directed=False)[1][:count]
    return numpy.unique(groups, return_inverse=True)[1]


@dataclass(frozen=True)
class Dealt:
    """Where every row went. `keys` are those, of rows and values, that had no side, `sides` what they have now: to be kept."""

    parts: tuple[array, array, array]  # the ids of train, val and test, each ascending
    keys: Any
    sides: Any
    kept: int  # rows whose side was known before, or that of their group
    groups: int | None  # None where every row stands for itself
    largest: int
    torn: int  # groups that were on several sides before they were known to belong together


def deal(pages: Iterable[Slim], ratios: Ratios, *, seed: str, stratify: bool = False) -> tuple[array, array, array]:
    """The ids of train, val and test, each in ascending order."""
    return plan(Rows(pages, seed=seed), ratios, stratify=stratify).parts


def plan(rows: Rows, ratios: Ratios, *, stratify: bool = False, fixed: tuple[Any, Any] | None = None) -> Dealt:
    """Deal the rows: those of a group to one side, and those whose key is `fixed` (keys and their sides) to that side.

    Only the others are dealt, so that the whole comes as near to the ratios as it can: exactly, where every row stands
    for itself; with groups the large ones first, each where it is missed most, and single rows fill what is left.
    """
    labels = rows.numbers if stratify else numpy.zeros(len(rows.ids), "i4")
    names = list(rows.labels) if stratify else [None]
    sides, of_values = _known_sides(rows.keys, fixed), _known_sides(rows.value_keys, fixed)
    new, new_values = numpy.flatnonzero(sides == NOWHERE), numpy.flatnonzero(of_values == NOWHERE)
    where, torn = _sides_of_groups(rows, sides, of_values, _known_sides(rows.absent_keys, fixed))
    if where is not None:
        sides[new] = where[rows.groups[new]]
    kept = int((sides < NOWHERE).sum())
    counts = numpy.bincount(labels, minlength=len(names)).tolist()
    order = sorted(range(len(names)), key=lambda number: _alphabetical(names[number]))
    allotted = allot({number: counts[number] for number in order if counts[number]}, ratios)
    need = numpy.array([allotted.get(number, (0, 0, 0)) for number in range(len(names))], "i8").reshape(-1, 3)
    _take_off(need, labels, sides)
    if rows.groups is not None:
        _deal_groups(rows, labels, sides, need, ratios)
    _deal_singles(rows, labels, sides, need, ratios)
    if where is not None:  # a group that was nowhere is on one side now, that of any of its rows
        open_ = where[rows.groups] == NOWHERE
        where[rows.groups[open_]] = sides[open_]
        of_values[new_values] = where[rows.value_groups[new_values]]
    keys, first = numpy.unique(_together([rows.keys[new], rows.value_keys[new_values]]), return_index=True)
    sizes = numpy.bincount(rows.groups) if rows.groups is not None else numpy.zeros(1, "i8")
    train, val, test = (array("q", numpy.sort(rows.ids[sides == part]).tobytes()) for part in range(3))
    return Dealt(
        parts=(train, val, test),
        keys=keys,
        sides=numpy.concatenate([sides[new], of_values[new_values]])[first],
        kept=kept,
        groups=None if rows.groups is None else len(sizes),
        largest=int(sizes.max(initial=0)),
        torn=torn,
    )


def following(rows: Rows, fixed: tuple[Any, Any]) -> int:
    """How many rows go to a side that is known: their own, or that of their group."""
    of_keys = [_known_sides(keys, fixed) for keys in (rows.keys, rows.value_keys, rows.absent_keys)]
    where, _ = _sides_of_groups(rows, *of_keys)
    return int(((of_keys[0] if where is None else where[rows.groups]) < NOWHERE).sum())


def _known_sides(keys, fixed):
    sides = numpy.full(len(keys), NOWHERE, "u1")
    if fixed is not None and len(fixed[0]):
        order = numpy.argsort(fixed[0])
        there, at = fixed[0][order], fixed[1][order]
        places = numpy.minimum(numpy.searchsorted(there, keys), len(there) - 1)
        sides = numpy.where(there[places] == keys, at[places], sides).astype("u1")
    return sides


def _sides_of_groups(rows: Rows, sides, of_values, of_absent) -> tuple[Any, int]:
    """Where most of each group are whose side is known, NOWHERE if none is; and how many groups are on several sides."""
    if rows.groups is None:
        return None, 0
    groups = _together([rows.groups, rows.value_groups, rows.absent_groups])
    sides = numpy.concatenate([sides, of_values, of_absent])
    known = numpy.flatnonzero(sides < NOWHERE)
    count = int(rows.groups.max(initial=-1)) + 1
    there = numpy.bincount(groups[known] * 3 + sides[known], minlength=3 * count).reshape(-1, 3)
    where = numpy.where(there.any(axis=1), there.argmax(axis=1), NOWHERE).astype("u1")
    return where, int(((there > 0).sum(axis=1) > 1).sum())


def _take_off(need, labels, sides):
    """What is on a side is not needed there any more; below nothing where there is too much of it."""
    there = sides < NOWHERE
    numpy.subtract.at(need, (labels[there], sides[there]), 1)


def _deal_groups(rows: Rows, labels, sides, need, ratios: Ratios) -> None:
    """The groups of two and more, the largest first, each to the side where it brings the shares nearest to what is asked."""
    waiting = numpy.flatnonzero(sides == NOWHERE)
    groups = rows.groups[waiting]
    sizes = numpy.bincount(groups, minlength=1)
    waiting = waiting[sizes[groups] > 1]
    if not len(waiting):
        return
    order = numpy.lexsort((labels[waiting], rows.groups[waiting]))
    waiting = waiting[order]
    groups, of = rows.groups[waiting], labels[waiting]
    starts = numpy.flatnonzero(numpy.diff(groups, prepend=-1))
    rank = numpy.minimum.reduceat(rows.hashes[waiting], starts)  # the same wherever the group is called what
    runs = numpy.flatnonzero((numpy.diff(groups, prepend=-1) != 0) | (numpy.diff(of, prepend=-1) != 0))
    amounts = numpy.diff(numpy.append(runs, len(waiting)))
    first_run = numpy.searchsorted(runs, starts)
    last_run = numpy.append(first_run[1:], len(runs))
    group_sizes = numpy.diff(numpy.append(starts, len(waiting)))
    chosen = _choose(
        numpy.lexsort((rank, -group_sizes)).tolist(),
        list(zip(first_run.tolist(), last_run.tolist(), strict=True)),
        of[runs].tolist(),
        amounts.tolist(),
        need,
        [numpy.bincount(labels, minlength=len(need)) * float(ratio) for ratio in ratios],
        [part for part in range(3) if ratios[part] > 0],
    )
    sides[waiting] = numpy.repeat(numpy.array(chosen, "u1"), group_sizes)
    numpy.subtract.at(need, (of, sides[waiting]), 1)


def _choose(order, runs, labels, amounts, need, shares, parts) -> list[int]:
    """A side for every group, in `order`: where the squared distance to the shares, in units of them, shrinks most.

    The labels' distances and that of the whole count alike. Plain lists: a step is too small for numpy.
    """
    missing = [list(map(float, column)) for column in need.T.tolist()]
    total = [sum(column) for column in missing]
    per = [[1.0 / max(share, 1.0) for share in column.tolist()] for column in shares]
    per_total = [1.0 / max(float(column.sum()), 1.0) for column in shares]
    chosen = [0] * len(runs)
    for group in order:
        first, last = runs[group]
        best, least = parts[0], float("inf")
        size = sum(amounts[first:last])
        for part in parts:
            lacking, weight = missing[part], per[part]
            cost = size * (size - 2.0 * total[part]) * per_total[part]
            for run in range(first, last):
                label, amount = labels[run], amounts[run]
                cost += amount * (amount - 2.0 * lacking[label]) * weight[label]
            if cost < least:
                best, least = part, cost
        chosen[group] = best
        total[best] -= size
        for run in range(first, last):
            missing[best][labels[run]] -= amounts[run]
    return chosen


def _deal_singles(rows: Rows, labels, sides, need, ratios: Ratios) -> None:
    """What is left, label by label in the order of the hashes, in the sizes that are still needed."""
    waiting = numpy.flatnonzero(sides == NOWHERE)
    order = waiting[numpy.lexsort((rows.ids[waiting], rows.hashes[waiting], labels[waiting]))]
    left = numpy.bincount(labels[waiting], minlength=len(need)).tolist()
    sizes_of = [_shared(count, wanted, ratios) for count, wanted in zip(left, need.tolist(), strict=True)]
    parts = numpy.arange(3, dtype="u1")
    sides[order] = numpy.concatenate([parts[:0], *(numpy.repeat(parts, sizes) for sizes in sizes_of)])


def _shared(count: int, wanted: Sequence[int], ratios: Ratios) -> Sizes:
    """`count` rows for three sides that want so many each: as they want where that is the sum, else in proportion."""
    weights = [max(0, one) for one in wanted]
    if sum(weights) == count:
        return weights[0], weights[1], weights[2]
    if not sum(weights):
        return sizes(count, ratios)
    exact = [divmod(count * weight, sum(weights)) for weight in weights]
    shares = [whole for whole, _ in exact]
    for part in sorted(range(3), key=lambda part: (-exact[part][1], part))[: count - sum(shares)]:
        shares[part] += 1
    return shares[0], shares[1], shares[2]


def _alphabetical(label: Hashable) -> tuple[bool, str]:
    """An order of labels that does not depend on which came first; rows without one are last."""
    return label is None, str(label)

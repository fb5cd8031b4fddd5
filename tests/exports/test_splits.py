"""Splits: exact sizes, the same every time, nothing in two parts."""

from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports import splits
from exports.errors import BadSplit

EIGHT_ONE_ONE = splits.parse("0.8/0.1/0.1")


@st.composite
def ratios(draw):
    """Three shares that add up to exactly 1, of up to six decimals."""
    first = draw(st.integers(0, 10**6))
    second = draw(st.integers(0, 10**6 - first))
    return tuple(Decimal(part) / 10**6 for part in (first, second, 10**6 - first - second))


@pytest.mark.parametrize(
    "given_ratios",
    ["0.7/0.2/0.1", "0.70/.2/0.1", (0.7, 0.2, 0.1), ["0.7", "0.2", "0.1"], (Decimal("0.7"), "0.2", 0.1)],
)
def test_shares_that_floats_cannot_add_up_are_accepted(given_ratios):
    assert 0.7 + 0.2 + 0.1 != 1.0
    assert splits.parse(given_ratios) == (Decimal("0.7"), Decimal("0.2"), Decimal("0.1"))


def test_every_triple_of_whole_percents_is_accepted():
    for train in range(101):
        for val in range(101 - train):
            splits.parse((train / 100, val / 100, (100 - train - val) / 100))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("0.8/0.1", "three shares"),
        ("0.8/0.1/0.05/0.05", "three shares"),
        ("", "three shares"),
        ("0.8/0.1/0.2", "add up to 1.1, not to exactly 1"),
        ("0.8/0.1/0.0999999999999999999", "not to exactly 1"),
        ("1.1/-0.1/0", "a number from 0 to 1"),
        ("-0/1/0", "a number from 0 to 1"),
        ("NaN/0.5/0.5", "a number from 0 to 1"),
        ("Infinity/0/0", "a number from 0 to 1"),
        ("1e-999999999/0.5/0.5", "a number from 0 to 1"),
        ("0.5/0.5/0." + "0" * 99 + "1", "a number from 0 to 1"),
        ("0.8/0.1/un dixième", "the share of test"),
        ((0.8, None, 0.1), "the share of val"),
        ((True, 0, 0), "the share of train"),
        ((float("nan"), 0.5, 0.5), "the share of train"),
        ((9, 0, 0), "the share of train"),
        ("٠.٨/0.1/0.1", "the share of train"),
    ],
)
def test_what_is_no_split_is_refused_with_the_reason(bad, said):
    with pytest.raises(BadSplit) as refused:
        splits.parse(bad)
    assert said in refused.value.message


def test_the_sum_is_exact_even_where_decimal_would_round():
    with localcontext() as context:
        context.prec = 3
        with pytest.raises(BadSplit):
            splits.parse("0.5/0.4999999/0.0000002")


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (2, 0, 0)),
        (3, (3, 0, 0)),
        (5, (4, 1, 0)),
        (10, (8, 1, 1)),
        (999, (799, 100, 100)),
    ],
)
def test_sizes_go_by_largest_remainder_the_earlier_part_first(total, expected):
    assert splits.sizes(total, EIGHT_ONE_ONE) == expected


@given(st.integers(0, 10**12), ratios())
def test_sizes_add_up_and_are_the_exact_share_rounded(total, shares):
    counts = splits.sizes(total, shares)
    assert sum(counts) == total
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - total * Fraction(share)) < 1


@given(st.dictionaries(st.integers(), st.integers(0, 60), max_size=40), ratios())
@settings(max_examples=400)
def test_stratified_sizes_are_exact_in_every_label_and_in_the_whole(counts, shares):
    allotted = splits.allot(counts, shares)
    for label, cells in allotted.items():
        assert sum(cells) == counts[label]
        for cell, share in zip(cells, shares, strict=True):
            assert abs(cell - counts[label] * Fraction(share)) < 1
    totals = tuple(sum(cells[part] for cells in allotted.values()) for part in range(3))
    assert totals == splits.sizes(sum(counts.values()), shares)


@given(st.dictionaries(st.integers(), st.integers(0, 5), min_size=1, max_size=4), ratios())
def test_no_other_rounding_is_nearer_to_the_exact_shares(counts, shares):
    """Compared with every table that has the same totals."""

    def distance(table):
        return sum(
            abs(cell - counts[label] * Fraction(share))
            for label, cells in table.items()
            for cell, share in zip(cells, shares, strict=True)
        )

    def tables(labels):
        if not labels:
            yield {}
            return
        label, *rest = labels
        floors = [int(counts[label] * Fraction(share)) for share in shares]
        for ups in [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]:
            cells = tuple(floor + up for floor, up in zip(floors, ups, strict=True))
            near = all(
                abs(cell - counts[label] * Fraction(share)) < 1 for cell, share in zip(cells, shares, strict=True)
            )
            if near and sum(cells) == counts[label]:
                for table in tables(rest):
                    yield {label: cells} | table

    totals = splits.sizes(sum(counts.values()), shares)
    best = min(
        distance(table)
        for table in tables(list(counts))
        if tuple(sum(cells[part] for cells in table.values()) for part in range(3)) == totals
    )
    assert distance(splits.allot(counts, shares)) == best


def test_many_small_labels_do_not_empty_the_small_parts():
    allotted = splits.allot(dict.fromkeys(range(77), 10), splits.parse("0.85/0.1/0.05"))
    assert [sum(cells[part] for cells in allotted.values()) for part in range(3)] == [655, 77, 38]
    assert set(allotted.values()) == {(8, 1, 1), (9, 1, 0)}


rows = st.lists(
    st.tuples(st.integers(1, 10**9), st.sampled_from(["a", "b", "c", None])), max_size=60, unique_by=lambda row: row[0]
).map(lambda found: [(id, f"{id:016x}", label) for id, label in found])


@given(rows, ratios(), st.booleans(), st.randoms())
def test_parts_are_disjoint_complete_and_the_same_in_any_order(found, shares, stratify, random):
    dealt = splits.deal(found, shares, seed="7", stratify=stratify)
    assert sorted(id for part in dealt for id in part) == sorted(id for id, *_ in found)
    assert tuple(map(len, dealt)) == splits.sizes(len(found), shares)
    assert all(list(part) == sorted(part) for part in dealt)
    shuffled = random.sample(found, len(found))
    assert splits.deal(iter(shuffled), shares, seed="7", stratify=stratify) == dealt


def test_another_seed_deals_another_hand():
    found = [(id, f"{id:016x}", None) for id in range(1, 200)]
    assert splits.deal(found, EIGHT_ONE_ONE, seed="0") != splits.deal(found, EIGHT_ONE_ONE, seed="1")


def test_the_hand_is_known_and_must_never_change():
    """A release that dealt otherwise would move rows from test into train."""
    found = [(id, f"{id:016x}", None) for id in range(1, 21)]
    train, val, test = splits.deal(found, EIGHT_ONE_ONE, seed="0")
    assert (list(val), list(test)) == ([8, 18], [4, 5])


def test_every_label_keeps_its_share_in_every_part():
    found = [(id, f"{id:016x}", "rare" if id % 10 == 0 else "common") for id in range(1, 1001)]
    dealt = splits.deal(found, EIGHT_ONE_ONE, seed="0", stratify=True)
    labels = {id: label for id, _, label in found}
    assert [Counter(labels[id] for id in part) for part in dealt] == [
        {"common": 720, "rare": 80},
        {"common": 90, "rare": 10},
        {"common": 90, "rare": 10},
    ]

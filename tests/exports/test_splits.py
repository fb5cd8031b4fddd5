"""Splits: exact sizes, the same every time, nothing in two parts."""

from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports import splits
from exports.errors import BadSplit

EIGHT_ONE_ONE = splits.parse("0.8/0.1/0.1")


def paged(found, size=7):
    """Rows of (id, uid, label, groups…) as the reader hands them over, a few at a time."""
    found = list(found)
    for start in range(0, len(found), size):
        ids, uids, labels, *groups = zip(*found[start : start + size], strict=True)
        yield splits.Slim(numpy.array(ids, "i8"), [uid.encode() for uid in uids], labels, groups)


def dealt_to(found, shares, **how):
    return splits.deal(paged(found), shares, **how)


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
    dealt = dealt_to(found, shares, seed="7", stratify=stratify)
    assert sorted(id for part in dealt for id in part) == sorted(id for id, *_ in found)
    assert tuple(map(len, dealt)) == splits.sizes(len(found), shares)
    assert all(list(part) == sorted(part) for part in dealt)
    shuffled = random.sample(found, len(found))
    assert dealt_to(iter(shuffled), shares, seed="7", stratify=stratify) == dealt


def test_another_seed_deals_another_hand():
    found = [(id, f"{id:016x}", None) for id in range(1, 200)]
    assert dealt_to(found, EIGHT_ONE_ONE, seed="0") != dealt_to(found, EIGHT_ONE_ONE, seed="1")


def test_the_hand_is_known_and_must_never_change():
    """A release that dealt otherwise would move rows from test into train."""
    found = [(id, f"{id:016x}", None) for id in range(1, 21)]
    train, val, test = dealt_to(found, EIGHT_ONE_ONE, seed="0")
    assert (list(val), list(test)) == ([8, 18], [4, 5])


def test_every_label_keeps_its_share_in_every_part():
    found = [(id, f"{id:016x}", "rare" if id % 10 == 0 else "common") for id in range(1, 1001)]
    dealt = dealt_to(found, EIGHT_ONE_ONE, seed="0", stratify=True)
    labels = {id: label for id, _, label in found}
    assert [Counter(labels[id] for id in part) for part in dealt] == [
        {"common": 720, "rare": 80},
        {"common": 90, "rare": 10},
        {"common": 90, "rare": 10},
    ]


# Groups, and sides that are kept ----------------------------------------------------------------------------------------

SEED = "7"


def member(id, label=None, *groups):
    return (id, f"{id:016x}", label, *groups)


grouped_rows = st.lists(
    st.tuples(st.integers(1, 10**9), st.sampled_from(["a", "b", None]), st.sampled_from([None, *range(12)])),
    max_size=80,
    unique_by=lambda row: row[0],
).map(lambda found: [member(*row) for row in found])


def plan_of(found, shares=EIGHT_ONE_ONE, *, criteria=1, lasting=False, absent=(), stratify=True, fixed=None):
    collected = splits.Rows(paged(found), seed=SEED, lasting=[lasting] * criteria)
    if absent:
        collected.note_absent(0, [(group, uid.encode()) for _, uid, _, group in absent])
    return splits.plan(collected, shares, stratify=stratify, fixed=fixed)


def sides_of(dealt):
    return {id: side for side, part in enumerate(dealt.parts) for id in part}


def sides_of_groups(found, dealt):
    sides, groups = sides_of(dealt), {}
    for id, _, _, group in found:
        if group is not None:
            groups.setdefault(group, set()).add(sides[id])
    return groups


@given(grouped_rows, ratios(), st.booleans(), st.randoms())
def test_a_group_is_on_one_side_nothing_is_lost_and_the_order_does_not_matter(found, shares, stratify, random):
    dealt = plan_of(found, shares, stratify=stratify)
    assert sorted(sides_of(dealt)) == sorted(id for id, *_ in found)
    assert all(len(sides) == 1 for sides in sides_of_groups(found, dealt).values())
    assert all(not dealt.parts[part] for part in range(3) if not shares[part])
    again = plan_of(random.sample(found, len(found)), shares, stratify=stratify)
    assert again.parts == dealt.parts


@given(grouped_rows, st.booleans())
def test_what_a_group_is_called_does_not_matter(found, stratify):
    renamed = [(*row, None if group is None else f"group {97 * group}") for *row, group in found]
    assert plan_of(renamed, stratify=stratify).parts == plan_of(found, stratify=stratify).parts


@given(grouped_rows, grouped_rows, ratios(), st.booleans(), st.booleans())
def test_no_row_changes_side_when_the_data_grows(before, more, shares, by_group, stratify):
    known = {id for id, *_ in before}
    grown = before + [row for row in more if row[0] not in known]
    first = plan_of(before, shares, lasting=by_group, stratify=stratify)
    second = plan_of(grown, shares, lasting=by_group, stratify=stratify, fixed=(first.keys, first.sides))
    now = sides_of(second)
    assert {id: now[id] for id in known} == sides_of(first)
    assert sorted(now) == sorted(id for id, *_ in grown)
    assert all(len(sides) == 1 for sides in sides_of_groups(grown, second).values())
    assert not set(second.keys.tolist()) & set(first.keys.tolist())


@given(rows, rows, ratios(), st.booleans())
def test_single_rows_that_come_later_are_dealt_beside_those_that_stay(before, more, shares, stratify):
    known = {id for id, *_ in before}
    grown = before + [row for row in more if row[0] not in known]
    first = plan_of(before, shares, criteria=0, stratify=stratify)
    second = plan_of(grown, shares, criteria=0, stratify=stratify, fixed=(first.keys, first.sides))
    now = sides_of(second)
    assert {id: now[id] for id in known} == sides_of(first)
    assert second.kept == len(known)
    if not stratify and len(grown) > 10 * len(known):
        assert tuple(map(len, second.parts)) == splits.sizes(len(grown), shares)


def test_rows_that_share_a_value_of_any_criterion_stay_together_however_long_the_chain():
    chain = [member(id, "a", id // 2, (id + 1) // 2) for id in range(1, 41)]
    others = [member(id, "a", None, None) for id in range(100, 500)]
    dealt = plan_of(chain + others, criteria=2)
    sides = sides_of(dealt)
    assert len({sides[id] for id, *_ in chain}) == 1
    assert (dealt.groups, dealt.largest) == (401, 40)


def test_who_joins_a_known_group_later_follows_it_even_alone():
    group = [member(id, None, "thread") for id in range(1, 6)]
    others = [member(id) + (None,) for id in range(10, 60)]
    first = plan_of(group + others, lasting=True)
    side = sides_of(first)[1]
    later = [member(id, None, "thread") for id in range(100, 150)] + [member(id) + (None,) for id in range(200, 210)]
    second = plan_of(later, lasting=True, fixed=(first.keys, first.sides))
    assert {sides_of(second)[id] for id in range(100, 150)} == {side}


@given(grouped_rows, grouped_rows, ratios(), st.booleans(), st.booleans())
def test_who_comes_later_goes_where_the_group_is_whose_rows_are_not_here_any_more(
    before, more, shares, lasting, stratify
):
    known = {id for id, *_ in before}
    new = [row for row in more if row[0] not in known]
    first = plan_of(before, shares, lasting=lasting, stratify=stratify)
    absent = [] if lasting else [row for row in before if row[-1] is not None]
    second = plan_of(new, shares, lasting=lasting, absent=absent, stratify=stratify, fixed=(first.keys, first.sides))
    together = sides_of_groups(before, first)
    assert second.torn == 0
    assert second.kept == sum(group in together for *_, group in new)
    for group, sides in sides_of_groups(new, second).items():
        assert sides == together.get(group, sides)
        assert len(sides) == 1


def test_rows_that_are_not_here_take_no_share():
    absent = [member(id, None, id) for id in range(1, 101)]
    first = plan_of(absent)
    found = [member(id, None, id % 100) for id in range(1000, 1100)] + [
        member(id, None, None) for id in range(2000, 2900)
    ]
    second = plan_of(found, absent=absent, fixed=(first.keys, first.sides))
    assert tuple(map(len, second.parts)) == (800, 100, 100)


def test_groups_that_turn_out_to_belong_together_stay_where_they_are_and_are_counted():
    before = [member(id, None, id % 20) for id in range(1, 101)]
    first = plan_of(before)
    sides = sides_of(first)
    one, other = next((a, b) for a in sides for b in sides if sides[a] == 0 and sides[b] == 2)
    joined = {one % 20, other % 20}
    after = [(*row, "both" if group in joined else group) for *row, group in before] + [member(999, None, "both")]
    second = plan_of(after, fixed=(first.keys, first.sides))
    now = sides_of(second)
    assert {id: now[id] for id in sides} == sides
    assert second.torn == 1
    assert now[999] in (0, 2)


def test_a_set_that_grew_keeps_every_label_s_share():
    before = [member(id, f"label {id % 7}") for id in range(1, 1001)]
    first = plan_of(before, criteria=0)
    more = [member(id, f"label {id % 7}") for id in range(1001, 1101)]
    second = plan_of(before + more, criteria=0, fixed=(first.keys, first.sides))
    assert tuple(map(len, second.parts)) == (880, 110, 110)
    for part in second.parts:
        shares = Counter(id % 7 for id in part)
        assert all(abs(count / len(part) - 1 / 7) < 0.01 for count in shares.values())


def test_large_groups_and_rare_labels_still_come_near_the_shares():
    found = [member(id, "rare" if id % 50 == 0 else "common", id % 97) for id in range(1, 3001)]
    dealt = plan_of(found)
    for part, share in zip(dealt.parts, (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) / 3000 - share) < 0.01
        assert abs(sum(id % 50 == 0 for id in part) / len(part) - 0.02) < 0.02

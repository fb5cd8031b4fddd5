"""Packed keys come back as they were, and take little room."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports import keys


@given(st.sets(st.integers(1, 2**63 - 1)))
def test_what_was_packed_comes_back_in_order(chosen):
    ascending = array("q", sorted(chosen))
    assert keys.unpack(keys.pack(ascending)) == ascending
    assert keys.unpack(keys.pack(list(ascending))) == ascending


@pytest.mark.parametrize(("step", "most"), [(1, 50_000), (7, 50_000)])
def test_a_million_keys_in_a_row_take_fifty_kilobytes(step, most):
    packed = keys.pack(array("q", range(step, step * 1_000_000 + 1, step)))
    assert len(packed) < most
    assert len(keys.unpack(packed)) == 1_000_000

"""A page by number is the same from whichever end it is read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelhub.numbered import keys_at
from samples.models import Task

from .factories import make_project, make_task


@pytest.fixture
def eleven(db):
    project = make_project()
    return [make_task(project, f"text {number}").pk for number in range(11)]


@pytest.mark.parametrize("order", ["pk", "-pk"])
def test_every_page_is_the_slice_of_the_whole(eleven, order):
    rows = Task.objects.order_by(order)
    whole = sorted(eleven, reverse=order == "-pk")

    @settings(max_examples=60, deadline=None)
    @given(first=st.integers(0, 14), size=st.integers(1, 14))
    def holds(first, size):
        assert keys_at(rows, first, size, total=11) == whole[first : first + size]

    holds()


def test_a_page_beyond_the_end_asks_nothing(eleven, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert keys_at(Task.objects.order_by("pk"), 11, 5, total=11) == []
        assert keys_at(Task.objects.order_by("pk"), 10**12, 5, total=11) == []

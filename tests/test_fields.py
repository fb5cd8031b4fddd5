"""JSON goes into a column and comes out unchanged, on every database."""

import json

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from labelhub.fields import JSONTextField, dump_json
from samples.models import Task

from .factories import make_project, make_task

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)


class AnyMetadata(TestCase):
    @given(metadata=st.dictionaries(text, values, max_size=5))
    def test_it_comes_back_with_its_types_and_its_order(self, metadata):
        task = make_task(make_project(), metadata=metadata)
        kept = Task.objects.get(pk=task.pk).metadata
        assert json.dumps(kept) == json.dumps(metadata)  # tells 1 from 1.0 from True, and one key order from another


@pytest.mark.django_db
def test_text_is_stored_compact_and_unescaped():
    task = make_task(metadata={"ville": "Orléans", "城市": "北京", "n": 1.0, "big": 2**70})
    with connection.cursor() as cursor:
        cursor.execute("SELECT metadata FROM samples_task WHERE id = %s", [task.pk])
        assert cursor.fetchone()[0] == '{"ville":"Orléans","城市":"北京","n":1.0,"big":1180591620717411303424}'


@pytest.mark.django_db
def test_null_stays_null():
    assert Task.objects.get(pk=make_task(options=None).pk).options is None
    assert Task.objects.filter(options__isnull=True).count() == 1


@pytest.mark.django_db
def test_looking_inside_the_document_is_refused():
    with pytest.raises(FieldError):
        Task.objects.filter(metadata__ville="Orléans").exists()


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json({"x": float("nan")})
    with pytest.raises(ValidationError, match="not JSON"):
        JSONTextField().validate({"x": float("inf")}, None)

"""What the database writes is to the byte what the reference in Python writes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from exports import formats, rows
from exports.context import context_of
from exports.formats import sql
from exports.formats.shape import in_sql, resolved
from samples.models import Label, Sample, Task
from tests.factories import make_project, make_sample, make_settled_task, make_task

HOSTILE = [
    'say "hello", he said',
    "two\nlines and\r\nthree",
    "\u2028 and \u2029 and \x85",
    "tab\t, bell \x07, vertical \x0b, delete \x7f, escape \x1b",
    "👩‍👩‍👧 emoji, ‏عربى, 汉字, n̈",
    '=HYPERLINK("http://x")',
    "-1",
    "back\\slash / slash </script>",
    '{"text": "structured", "n": 1.0}',
    " spaces around ",
    "{content} {0} %s %(x)s % %%",
    "'; DROP TABLE samples_sample; --",
    "[brackets] *stars* ?",
    ",",
    '"',
]
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.sampled_from(HOSTILE) | st.text(characters, min_size=1)
shares = st.none() | st.integers(0, 10_000).map(lambda n: n / 10_000)
moments = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
locales = st.sampled_from(["fr", "en", "zh", "de-AT", "xx"])


def with_options(format, options):
    return replace(format, shape=resolved(format.shape, options))


IN_SQL = [name for name in formats.names() if in_sql(with_options(formats.get(name), {}))]


def by_the_database(walk, format, context, options):
    format = with_options(format, options)
    record = sql.compiled(format, context, rows.scope_of(walk, format), rows.dialect_of(walk), options)
    assert record is not None

    def never(page):
        raise AssertionError(f"not written by the database: {page}")

    return b"".join(formats.framed(format, (data for _, data in rows.written(walk, record, never))))


def by_hand(walk, format, context, options):
    return b"".join(formats.encode(format, rows.pages(walk), context, options))


def check(queryset, name, options=None):
    format, options = formats.get(name), options or {}
    chosen = queryset.exclude(label_name=None) if format.settled_only else queryset
    context = context_of(chosen, format)
    expected = by_hand(rows.walk(chosen), format, context, options)
    assert by_the_database(rows.walk(chosen), format, context, options) == expected
    return expected


class AnyText(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.project = make_project(
            labels=("Positif", 'N"ég,atif'),
            prompts={"fr": {"chat": "«{content}» ou {content} ?", "instruction": "Dis :"}},
        )
        cls.samples = [make_sample(cls.project, str(number)) for number in range(3)]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(texts, texts, shares, moments, locales), min_size=3, max_size=3))
    def test_whatever_stands_in_the_columns(self, values):
        for sample, (content, label, share, moment, locale) in zip(self.samples, values, strict=True):
            Sample.objects.filter(pk=sample.pk).update(
                content=content, label_name=label, label=None, confidence=share, validated_at=moment, locale=locale
            )
        for name in IN_SQL:
            check(Sample.objects.filter(project=self.project), name)
        check(Sample.objects.filter(project=self.project), "csv", {"guard_formulas": True})
        for name in ("openai", "sharegpt", "alpaca"):
            check(Sample.objects.filter(project=self.project), name, {"system_prompt": values[0][0]})

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.lists(texts, min_size=1, max_size=4, unique=True), min_size=3, max_size=3))
    def test_whatever_stands_in_a_list_of_labels(self, lists):
        for sample, names in zip(self.samples, lists, strict=True):
            Sample.objects.filter(pk=sample.pk).update(
                label_name=", ".join(names), label_names=names, label=None, type="MULTI_LABEL"
            )
        for name in IN_SQL:
            check(Sample.objects.filter(project=self.project), name)


@pytest.mark.django_db
@pytest.mark.parametrize("name", IN_SQL)
def test_tasks_without_a_verdict_and_answers_in_free_text(name):
    project = make_project()
    make_settled_task(project, "settled")
    make_task(project, "open")
    make_sample(make_project(task_type="TEXT_GENERATION", labels=["Une réponse."]), label="Une réponse.")
    assert check(Task.objects.all(), name)
    assert check(Sample.objects.all(), name)
    assert check(Task.objects.filter(pk__in=[]), name) == {"json": b"[]", "csv": check(Task.objects.none(), "csv")}.get(
        name, b""
    )


@pytest.mark.django_db
def test_a_page_that_sql_cannot_write_is_written_by_hand():
    project = make_project()
    for number in range(5):
        make_sample(project, f"text {number}")
    format = formats.get("huggingface")
    walk = rows.walk(Sample.objects.all())
    scope = rows.scope_of(walk, format)
    narrow = formats.Context(labels={"Positif": 0})
    Sample.objects.filter(content="text 3").update(label_name="unforeseen", label=None)
    record = sql.compiled(format, narrow, scope, rows.dialect_of(walk), {})
    pages = list(rows.written(walk, record, formats.page_writer(format, narrow)))
    assert [count for count, _ in pages] == [5]
    assert b'"label": "unforeseen", "label_id": 1' in pages[0][1]


@pytest.mark.django_db
def test_steps_that_meet_a_crowd_are_halved(monkeypatch):
    monkeypatch.setattr(rows, "FIRST_PAGE", 4)
    monkeypatch.setattr(rows, "MOST_ROWS", 3)
    project = make_project()
    kept = [make_sample(project, f"text {number}") for number in range(40)]
    Sample.objects.filter(pk__in=[sample.pk for sample in kept[:12]]).update(status="PENDING")  # a gap, then a crowd
    walk = rows.walk(Sample.objects.approved())
    format = formats.get("jsonl")
    data = by_the_database(walk, format, formats.Context(), {})
    assert data == by_hand(walk, format, formats.Context(), {})
    assert data.count(b"\n") == 28
    assert max(len(page) for page in rows.pages(walk)) <= 6
    assert Label.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_readers_of_a_server_keep_the_order(monkeypatch):
    monkeypatch.setattr(rows, "FIRST_PAGE", 5)
    monkeypatch.setattr(rows, "MOST_ROWS", 5)
    project = make_project()
    for number in range(60):
        make_sample(project, f"text {number}")
    data = by_the_database(rows.walk(Sample.objects.all()), formats.get("jsonl"), formats.Context(), {})
    assert data == by_hand(rows.walk(Sample.objects.all()), formats.get("jsonl"), formats.Context(), {})
    assert data.count(b"\n") == 60

"""What the database writes is to the byte what the reference in Python writes."""

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from exports import files, formats, rows
from exports.context import context_of
from exports.figures import figures_of_rows
from exports.formats import sql
from exports.formats.context import LABELLED
from exports.formats.shape import resolved
from samples.models import Label, Sample, Task
from tests.factories import make_project, make_sample, make_settled_task, make_task

EVERY = [format.name for format in (*formats.MENU, *formats.OF_CONTRACTS)]
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
    " \t\n",
    "\u3000\u00a0\u2028\x85\x1c",
    "{content} {0} %s %(x)s % %%",
    "'; DROP TABLE samples_sample; --",
    "[brackets] *stars* ?",
    ",",
    '"',
]
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.sampled_from(HOSTILE) | st.text(characters, min_size=1)
blanks = st.text(st.sampled_from(" \t\n\r\x1c\x85\u00a0\u3000"))
shares = st.none() | st.integers(0, 10_000).map(lambda n: n / 10_000)
moments = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
locales = st.sampled_from(["fr", "en", "zh", "de-AT", "xx"])


def with_options(format, options):
    return replace(format, shape=resolved(format.shape, options))


def is_in_sql(name):
    format = with_options(formats.get(name), {})
    return sql.compiler(format, formats.Context(), sql.DIALECTS["sqlite"], {}) is not None


IN_SQL = [name for name in EVERY if is_in_sql(name)]


def test_what_most_people_train_with_is_written_by_the_database():
    least = {"json", "jsonl", "csv", "openai", "huggingface", "prompt-completion", "alpaca", "sharegpt", "qianfan"}
    assert least | {"qianfan_dataset", "qianfan_source"} <= set(IN_SQL)


def by_the_database(walk, format, context, options):
    """All of it by the database, which is told beforehand what it would learn from the first page."""
    format = with_options(format, options)
    compile = sql.compiler(format, context, rows.dialect_of(walk), options)
    assert compile is not None

    def never(page):
        raise AssertionError(f"not written by the database: {page}")

    written = rows.written(walk, compile, never, scope_of(walk))
    return b"".join(formats.framed(format, (page.data for page in written)))


def figures(*, by_hand):
    """What is counted of all samples while they are written, by the reference or by the database."""
    walk, format = rows.walk(Sample.objects.all()), formats.get("jsonl")
    if by_hand:
        pages = [rows.figures_of(page, b"") for page in rows.pages(walk)]
    else:
        compile = sql.compiler(format, formats.Context(), rows.dialect_of(walk), {})
        pages = list(rows.written(walk, compile, None, scope_of(walk), with_figures=True))
    return [(page.rows, page.labels, page.blank_contents, page.blank_answers) for page in pages]


def scope_of(walk, labels=2):
    known = [dict(zip(formats.COLUMNS, row, strict=True)) for page in rows.pages(walk) for row in page]
    names = [row["label_name"] for row in known if row["label_name"] and row["type"] in LABELLED]
    return sql.Scope(
        walk.table,
        tuple(dict.fromkeys((row["project"], row["type"], row["locale"]) for row in known)),
        tuple(dict.fromkeys(names))[:labels],
    )


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
        assert figures(by_hand=True) == figures(by_hand=False)
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

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(texts, texts | blanks, texts | blanks), min_size=3, max_size=3))
    def test_whatever_the_responses_of_a_preference_are(self, values):
        for sample, (content, chosen, rejected) in zip(self.samples, values, strict=True):
            answer = {"chosen": chosen, "rejected": rejected}
            Sample.objects.filter(pk=sample.pk).update(
                content=content, label_name=chosen, label=None, type="PREFERENCE", answer=answer
            )
        assert figures(by_hand=True) == figures(by_hand=False)
        whole = figures_of_rows(Sample.objects.all()).parts["whole"]
        assert [(whole.blank_contents, whole.blank_answers)] == [page[2:] for page in figures(by_hand=True)]


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
    scope = scope_of(walk)
    narrow = formats.Context(labels={"Positif": 0})
    Sample.objects.filter(content="text 3").update(label_name="unforeseen", label=None)
    compile = sql.compiler(format, narrow, rows.dialect_of(walk), {})
    pages = list(rows.written(walk, compile, formats.page_writer(format, narrow), scope))
    assert [page.rows for page in pages] == [5]
    assert b'"label": "unforeseen", "label_id": 1' in pages[0].data


@pytest.mark.django_db
def test_what_sql_must_know_it_learns_from_the_first_page_and_from_each_it_could_not_write(monkeypatch):
    monkeypatch.setattr(rows, "FIRST_PAGE", 10)
    monkeypatch.setattr(rows, "MOST_ROWS", 10)
    project = make_project()
    for number in range(60):
        make_sample(project, f"text {number}")
    walk, format = rows.walk(Sample.objects.all()), with_options(formats.get("openai"), {})
    context = context_of(Sample.objects.all(), format)
    Sample.objects.filter(content__in=[f"text {number}" for number in range(25, 60)]).update(locale="zh")
    compile = sql.compiler(format, context, rows.dialect_of(walk), {})
    by_hand = []

    def counted(page):
        by_hand.append(len(page))
        return formats.page_writer(format, context)(page)

    data = b"".join(page.data for page in rows.written(walk, compile, counted))
    assert data == b"".join(formats.encode(format, rows.pages(walk), context))
    assert len(by_hand) == 2  # the first, and the one in which the first Chinese row stood


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 8, 9, 200])
def test_however_many_labels_there_are_each_row_has_its_own(count):
    names = [f"étiquette {number:03} “x”, 'y'" for number in range(count)]
    project = make_project(labels=names)
    for name in names[:: max(1, count // 20)]:
        make_sample(project, name, label=name)
    unlisted = make_sample(project, "unlisted", label=names[0])
    Sample.objects.filter(pk=unlisted.pk).update(label=None, label_name="zz")
    walk = rows.walk(Sample.objects.all())
    for name in ("huggingface", "openai", "csv"):
        format = with_options(formats.get(name), {})
        context = context_of(Sample.objects.all(), format)
        expected = by_hand(walk, format, context, {})
        compile = sql.compiler(format, context, rows.dialect_of(walk), {})
        written = rows.written(walk, compile, None, scope_of(walk, labels=count))
        assert b"".join(formats.framed(format, (page.data for page in written))) == expected


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL's tables have the column")
def test_the_tables_know_which_texts_json_writes_as_they_stand():
    texts = [*HOSTILE, *(f"a{chr(code)}b" for code in range(1, 0x180)), "Ça va ? 汉字 👩‍👧", ""]
    project = make_project()
    told = {make_task(project, text or " ", external_id=str(number)).pk: text for number, text in enumerate(texts)}
    Task.objects.filter(pk=max(told)).update(content="")  # the column goes with its row, however that is changed
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, content_is_plain FROM samples_task")
        assert dict(cursor.fetchall()) == {
            pk: orjson.dumps(text) == b'"%b"' % text.encode() for pk, text in told.items()
        }


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


@pytest.mark.django_db
def test_the_labels_of_a_file_are_counted_as_its_pages_go_by(monkeypatch):
    monkeypatch.setattr(rows, "FIRST_PAGE", 3)
    monkeypatch.setattr(rows, "MOST_ROWS", 3)
    project = make_project(labels=("Positif", 'N"ég,atif\n', "1"))
    for number in range(20):
        make_sample(project, f"text {number}", label=('N"ég,atif\n' if number % 4 == 0 else "Positif"))
    make_sample(project, "whose label is called like the place of another", label="1")
    several = make_sample(project, "several")
    Sample.objects.filter(pk=several.pk).update(type="MULTI_LABEL", label=None, label_names=["Positif", "autre"])
    make_sample(make_project(task_type="TEXT_GENERATION", labels=["Une réponse."]), label="Une réponse.")
    for name in ("jsonl", "csv"):
        whole = {"whole": rows.walk(Sample.objects.all())}
        file = files.File(formats.get(name), whole, formats.Context(), {}, with_figures=True)
        assert b"".join(file.chunks()) and file.rows == 23
        assert file.whole.labels() == {"Positif": 16, 'N"ég,atif\n': 5, "1": 1, "autre": 1}

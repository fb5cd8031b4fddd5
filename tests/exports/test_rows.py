"""The reader: every row once, in order, whatever the page; plain values, and few queries."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from exports import rows
from exports.formats import COLUMNS
from exports.models import BatchItem
from labelhub.setwise import Ids
from samples.models import Sample, Task
from tests.factories import make_batch, make_project, make_sample, make_settled_task, make_task

pytestmark = pytest.mark.django_db


def read(pages, column="content"):
    return [row[COLUMNS.index(column)] for page in pages for row in page]


@pytest.fixture
def texts(monkeypatch):
    """A project with twelve samples, read three to a page at first."""
    monkeypatch.setattr(rows, "FIRST_PAGE", 3)
    monkeypatch.setattr(rows, "MOST_ROWS", 3)
    project = make_project()
    return [make_sample(project, f"text {number}") for number in range(12)]


def test_every_row_comes_once_in_the_order_of_its_key(texts):
    assert read(rows.pages(rows.walk(Sample.objects.order_by("-content")))) == [
        f"text {number}" for number in range(12)
    ]
    assert {len(page) for page in rows.pages(rows.walk(Sample.objects.all()))} == {3}


def test_a_row_is_plain_values_as_the_file_will_show_them():
    project = make_project()
    moment = datetime(2026, 5, 25, 12, 5, 59, 999_999, tzinfo=timezone(timedelta(hours=2)))
    sample = make_sample(project, "Bof", confidence=1.0, validated_at=moment)
    [[row]] = rows.pages(rows.walk(Sample.objects.all()))
    assert dict(zip(COLUMNS, row, strict=True)) == {
        "pk": sample.pk,
        "project": project.pk,
        "uid": sample.uid,
        "type": "SENTIMENT_ANALYSIS",
        "content": "Bof",
        "label_name": "Positif",
        "label_names": None,
        "confidence": 1.0,
        "locale": "fr",
        "answer": '{"label":"Positif"}',
        "vote_shares": '{"Positif":1.0}',
        "validated_at": "2026-05-25T10:05:59Z",
    }
    assert type(row[COLUMNS.index("confidence")]) is float


def test_a_list_of_labels_is_the_text_it_was_stored_as():
    make_sample()
    Sample.objects.update(label_names=["joie", "été"])
    assert read(rows.pages(rows.walk(Sample.objects.all())), "label_names") == ['["joie","été"]']


def test_tasks_are_read_by_the_same_reader_with_or_without_a_verdict():
    project = make_project()
    make_settled_task(project, "settled", validated_at=datetime(2026, 1, 1, tzinfo=UTC))
    make_task(project, "open")
    assert read(rows.pages(rows.walk(Task.objects.all()))) == ["settled", "open"]
    assert read(rows.pages(rows.walk(Task.objects.all())), "validated_at") == ["2026-01-01T00:00:00Z", None]


def test_nothing_selected_is_no_page(texts):
    assert list(rows.pages(rows.walk(Sample.objects.none()))) == []
    assert list(rows.pages(rows.walk(Sample.objects.filter(pk__in=[])))) == []
    assert list(rows.pages(rows.walk(Sample.objects.filter(content="?")))) == []


def test_a_slice_is_read_whole(texts):
    assert read(rows.pages(rows.walk(Sample.objects.order_by("-pk")[:5]))) == [
        f"text {number}" for number in range(7, 12)
    ]


def test_chosen_ids_are_read_in_order_and_those_that_do_not_match_left_out(texts):
    ids = [sample.pk for sample in texts]
    Sample.objects.filter(pk=ids[4]).update(status="REJECTED")
    assert read(rows.pages(rows.walk_ids(Sample.objects.approved(), ids[2:9]))) == [
        f"text {n}" for n in (2, 3, 5, 6, 7, 8)
    ]


def test_a_part_of_a_batch_is_read_as_its_items_say(texts):
    batch = make_batch(texts[0].project)
    for number, sample in enumerate(texts):
        BatchItem.objects.create(batch=batch, sample=sample, split=1 if number % 2 else 3)
    other = make_batch(texts[0].project)
    BatchItem.objects.create(batch=other, sample=texts[1], split=3, is_claim=False)
    assert read(rows.pages(rows.walk_part(batch, 3))) == [f"text {number}" for number in range(0, 12, 2)]
    assert read(rows.pages(rows.walk_part(batch, 1))) == [f"text {number}" for number in range(1, 12, 2)]
    assert read(rows.pages(rows.walk_part(batch, 2))) == []


def test_a_sample_that_lost_its_approval_is_not_read(texts):
    batch = make_batch(texts[0].project)
    for sample in texts:
        BatchItem.objects.create(batch=batch, sample=sample)
    Sample.objects.filter(content__in=["text 5", "text 6", "text 11"]).update(status="PENDING")
    assert read(rows.pages(rows.walk_part(batch, 0))) == [f"text {number}" for number in (0, 1, 2, 3, 4, 7, 8, 9, 10)]


def identified(*columns):
    """(id, uid, label, …) of every sample, as a split is told of it."""
    found = []
    for ids, uids, labels, groups in rows.identities(rows.walk(Sample.objects.all()), *columns):
        found += zip(ids.tolist(), map(bytes.decode, uids), labels, *groups, strict=True)
    return found


def test_identities_carry_the_label_of_labelled_types_only():
    labelled = make_sample()
    written = make_sample(make_project(task_type="TEXT_GENERATION", labels=["x"]), label="x")
    assert identified() == [(labelled.pk, labelled.uid, "Positif"), (written.pk, written.uid, None)]


@pytest.mark.parametrize("label", ["a\nb", 'say "non"', "a, b", "\\", "é\u2028", "null", " ", "1", ""])
def test_a_label_is_told_to_a_split_to_the_letter(label):
    sample = make_sample(make_project(labels=["x"]), label="x")
    Sample.objects.update(label_name=label)
    assert identified() == [(sample.pk, sample.uid, label)]
    assert [row[:3] for row in identified("project")] == identified()


def test_a_page_is_one_query(texts, django_assert_num_queries):
    with django_assert_num_queries(6):  # both ends, and four pages of three
        list(rows.pages(rows.walk(Sample.objects.all())))


def test_long_rows_come_in_small_pages():
    project = make_project()
    for number in range(130):
        make_sample(project, f"{number} " + "x" * 40_000)
    sizes = [len(page) for page in rows.pages(rows.walk(Sample.objects.all()))]
    assert sizes == [100, 19, 11]


def test_the_reader_holds_no_transaction_between_pages(texts):
    pages = rows.pages(rows.walk(Sample.objects.all()))
    next(pages)
    Sample.objects.filter(content="text 11").update(content="changed meanwhile")
    assert read(pages)[-1] == "changed meanwhile"


def test_keys_beyond_the_database_s_parameter_limit_are_one_parameter(django_assert_num_queries):
    sample = make_sample()
    with django_assert_num_queries(1):
        assert Sample.objects.get(pk__in=Ids(range(sample.pk, sample.pk + 300_000))) == sample

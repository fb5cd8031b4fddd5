"""The export: what it holds, and pages that neither skip nor repeat whatever happens in between."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelhub.api.uipath.comments import MOMENTS, after
from labelhub.api.uipath.cursors import Place, place_of, token_of
from labelhub.heads import MOST
from samples.models import Project, Source, Task
from tests.factories import make_settled_task, make_task

from .conftest import comment

EXPORT = "/api/v1/datasets/bank/mail/export"
NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


def ids_of(answer):
    return [row["comment"]["id"] for row in answer.comments]


def all_pages(speaker, body, between=lambda: None):
    """The ids of every page; `between` is called after each."""
    pages, continuation = [], {}
    while True:
        answer = speaker.post(EXPORT, body | continuation)
        pages.append(ids_of(answer))
        if not hasattr(answer, "continuation"):
            return pages
        continuation = {"continuation": answer.continuation}
        between()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moments=st.lists(st.integers(0, 3), max_size=12),
    limit=st.integers(1, 8),
    late=st.lists(st.integers(0, 3), max_size=4),
    order_by=st.sampled_from(["timestamp", "created_at"]),
)
def test_each_comment_comes_exactly_once_whatever_is_inserted(cli, moments, limit, late, order_by):
    """Ties everywhere (four moments in all), any page size, an insert between any two pages."""
    Task.objects.all().delete()
    source = Source.objects.get(uid=cli.source_id)

    def insert(moment, number):
        when = NOON + timedelta(microseconds=moment)
        column = "occurred_at" if order_by == "timestamp" else "created_at"
        make_task(source.project, f"{number}", source=source, external_id=f"c{number}", **{column: when})

    for number, moment in enumerate(moments):
        insert(moment, number)
    waiting = [(moment, 100 + number) for number, moment in enumerate(late)]
    pages = all_pages(cli, {"limit": limit, "order_by": order_by}, lambda: waiting and insert(*waiting.pop()))
    seen = [one for page in pages for one in page]
    assert len(seen) == len(set(seen)), "one came twice"
    assert {f"c{number}" for number in range(len(moments))} <= set(seen), "one was skipped"
    assert all(len(page) == limit for page in pages[:-1])
    old = [one for one in seen if int(one[1:]) < 100]
    expected = sorted(range(len(moments)), key=lambda number: (moments[number], number))
    assert old == [f"c{number}" for number in expected]


def test_a_page_is_64_long_and_at_most_256(cli):
    comments = [comment(number) for number in range(300)]
    cli.post("/api/v1/sources/bank/inbox/sync", {"comments": comments})
    assert len(cli.post(EXPORT, {}).comments) == 64
    assert [len(page) for page in all_pages(cli, {"limit": 256})] == [256, 44]
    exact = all_pages(cli, {"limit": 150})
    assert [len(page) for page in exact] == [150, 150], "no empty page at the end"


def test_the_range_leaves_its_beginning_out_and_takes_its_end_in(filled):
    """So that windows (a, b], (b, c] tile."""
    body = {"from": "2020-01-02T00:00:00Z", "to": "2020-01-04T00:00:00Z"}
    assert ids_of(filled.post(EXPORT, body)) == ["c2", "c3"]
    windows = [{"to": body["from"]}, body, {"from": body["to"]}]
    assert [ids_of(filled.post(EXPORT, window)) for window in windows] == [["c1"], ["c2", "c3"], ["c4", "c5"]]
    assert ids_of(filled.post(EXPORT, {"from": "2020-01-04T02:00:00+02:00"})) == ["c4", "c5"]
    assert ids_of(filled.post(EXPORT, {"to": "2020-01-02"})) == ["c1"]


def test_order_by_says_which_time_is_sorted_and_filtered(filled):
    Task.objects.filter(external_id="c5").update(created_at=NOON - timedelta(days=2))
    Task.objects.exclude(external_id="c5").update(created_at=NOON)
    answer = filled.post(EXPORT, {"order_by": "created_at"})
    assert ids_of(answer)[0] == "c5"
    answer = filled.post(EXPORT, {"order_by": "created_at", "from": "2020-01-01T00:00:00Z"})
    assert ids_of(answer) == ["c1", "c2", "c3", "c4"]


def test_chosen_comments_and_sources(filled):
    filled.put("/api/v1/sources/bank/second", {"source": {}})
    second = filled.get("/api/v1/sources/bank/second").source["id"]
    ids = {"source_ids": [filled.source_id, second]}
    filled.post("/api/v1/datasets/bank/mail", {"dataset": ids})
    filled.post("/api/v1/sources/bank/second/sync", {"comments": [comment(1, "again")]})
    assert len(filled.post(EXPORT, {}).comments) == 6
    assert len(filled.post(EXPORT, {"source_ids": [second]}).comments) == 1
    assert filled.post(EXPORT, {"source_ids": ["0000000000000000"]}).comments == []
    uids = [f"{filled.source_id}.c3", f"{second}.c1", f"{second}.unknown", "nonsense"]
    shown = [row["comment"]["uid"] for row in filled.post(EXPORT, {"comment_uids": uids}).comments]
    assert sorted(shown) == sorted(uids[:2])


def test_an_empty_list_names_nothing(filled):
    """A program whose list of wanted comments came out empty must not get them all."""
    assert filled.post(EXPORT, {"comment_uids": []}).comments == []
    assert filled.post(EXPORT, {"source_ids": []}).comments == []
    assert len(filled.post(EXPORT, {"comment_uids": None, "source_ids": None}).comments) == 5


def test_more_sources_than_one_statement_joins_come_in_one_order(cli):
    project = Project.objects.get(name="bank")
    sources = Source.objects.bulk_create(Source(project=project, name=f"s{number}") for number in range(2 * MOST + 5))
    Task.objects.all().delete()
    for number, source in enumerate(sources):
        make_task(project, "x", source=source, external_id=f"c{number}", occurred_at=NOON - timedelta(hours=number % 7))
    cli.post("/api/v1/datasets/bank/mail", {"dataset": {"source_ids": [source.uid for source in sources]}})
    seen = [one for page in all_pages(cli, {"limit": 50}) for one in page]
    numbers = range(len(sources))
    assert seen == [f"c{number}" for number in sorted(numbers, key=lambda number: (-(number % 7), number))]
    answer = cli.post("/api/_private/datasets/bank/mail/query", {"limit": 1000})
    assert [row["comment"]["id"] for row in answer.results] == seen[::-1]


@pytest.mark.parametrize("order_by", ["timestamp", "created_at"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_page_is_a_range_of_an_index_however_deep_it_lies(filled, order_by, newest_first):
    """What is read is what is shown: no sort of all the rows, and nothing read over among rows of one moment."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # five rows are read faster without an index
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    source = Source.objects.get(uid=filled.source_id)
    tasks = Task.objects.annotate(moment=MOMENTS[order_by]).filter(source=source)
    tasks = tasks.order_by(*(("-moment", "-pk") if newest_first else ("moment", "pk")))
    index = {"timestamp": "task_by_source_time", "created_at": "task_by_source_creation"}[order_by]
    for part in after(Place(NOON, 3), tasks, newest_first=newest_first):
        plan = part.values_list("moment", "pk")[:65].explain()
        assert index in plan and "sort" not in plan.lower() and "B-TREE" not in plan, plan


def test_a_continuation_works_for_its_own_question_only(filled):
    token = filled.post(EXPORT, {"limit": 2}).continuation
    assert ids_of(filled.post(EXPORT, {"limit": 3, "continuation": token})) == ["c3", "c4", "c5"]
    for other in (
        {"order_by": "created_at"},
        {"from": "2019-01-01T00:00:00Z"},
        {"to": "2030-01-01T00:00:00Z"},
        {"source_ids": [filled.source_id]},
        {"comment_uids": [f"{filled.source_id}.c5"]},
    ):
        assert filled.post(EXPORT, {"continuation": token} | other).code == 400
    filled.put("/api/v1/datasets/bank/other", {"dataset": {"source_ids": [filled.source_id]}})
    assert filled.post("/api/v1/datasets/bank/other/export", {"continuation": token}).code == 400


@given(
    moment=st.datetimes(timezones=st.just(UTC)),
    number=st.integers(0, 2**63 - 1),
    change=st.integers(0, 60),
    letter=st.sampled_from("0123456789abcdefZ.x"),
)
def test_an_altered_continuation_is_refused(moment, number, change, letter):
    from rest_framework.exceptions import ParseError

    place = Place(moment, number)
    token = token_of(place, question=["q"])
    assert place_of(token, question=["q"]) == place
    change %= len(token)
    altered = token[:change] + letter + token[change + 1 :]
    if altered != token:
        with pytest.raises(ParseError):
            place_of(altered, question=["q"])


def test_what_came_through_another_door_is_exported_too(cli):
    source = Source.objects.get(uid=cli.source_id)
    project = Project.objects.get(name="bank")
    project.labels.create(name="Positif", position=0)
    metadata = {"shop": "Lyon", "stars": 5, "uipath": None, "tags": ["x"], "big": 12345678901234567890}
    make_settled_task(project, "Très bien", source=source, external_id="content:ab", metadata=metadata, label="Positif")
    Task.objects.update(answer={"labels": ["Positif"]}, label_names=["Positif"])
    row = cli.post(EXPORT, {}).comments[0]
    assert row["comment"]["messages"] == [{"body": {"text": "Très bien"}}]
    assert row["comment"]["user_properties"] == {
        "string:shop": "Lyon",
        "number:stars": 5,
        "number:big": 12345678901234567890,
    }
    assert row["comment"]["has_annotations"] is True
    assert row["annotations"]["labels"]["assigned"] == [{"name": "Positif", "sentiment": "positive"}]


def queries_of(speaker, ask):
    ask()  # the first request of a key notes its use
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert ask().code == 200
    return len(queries)


@pytest.mark.parametrize(
    "ask",
    [
        lambda cli: cli.post(EXPORT, {"limit": 256}),
        lambda cli: cli.post("/api/_private/datasets/bank/mail/query", {"limit": 512}),
        lambda cli: cli.get("/api/_private/datasets/bank/mail/labellings?limit=999"),
        lambda cli: cli.get("/api/_private/sources/bank/inbox/comments?limit=64"),
        lambda cli: cli.get("/api/v1/datasets"),
        lambda cli: cli.get("/api/v1/sources"),
        lambda cli: cli.get("/api/_private/users"),
        lambda cli: cli.post("/api/_private/datasets/bank/mail/statistics", {}),
    ],
    ids=["export", "query", "labellings", "comments", "datasets", "sources", "users", "statistics"],
)
def test_a_list_costs_the_same_number_of_queries_whatever_its_length(filled, make_member_of, ask):
    path = f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}"
    filled.post(f"{path}.c1", {"labelling": [{"assigned": [{"name": "A"}]}]})
    few = queries_of(filled, lambda: ask(filled))
    filled.post("/api/v1/sources/bank/inbox/sync", {"comments": [comment(number) for number in range(6, 40)]})
    for number in range(2, 12):
        filled.post(f"{path}.c{number}", {"labelling": [{"assigned": [{"name": f"L{number}"}]}]})
        filled.put(f"/api/v1/sources/bank/s{number}", {"source": {}})
        filled.put(f"/api/v1/datasets/bank/d{number}", {"dataset": {"source_ids": [filled.source_id]}})
    make_member_of("bank", "viewer")
    assert queries_of(filled, lambda: ask(filled)) == few
    assert few <= 12

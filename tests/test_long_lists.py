"""Lists of the admin that may grow to millions of rows, with what counts as many made small."""

import io
import re

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.urls import reverse

from labelhub import long_lists
from samples.models import Project, Sample, Task

from .factories import make_member, make_project, make_sample, make_superuser

pytestmark = pytest.mark.django_db
ROWS = 130  # two full pages of fifty, and a rest


@pytest.fixture
def many(monkeypatch):
    """A project of ROWS samples, more than are counted."""
    monkeypatch.setattr(long_lists, "MOST", 20)
    monkeypatch.setattr(long_lists, "MOMENT", 60.0)
    call_command("generate_samples", str(ROWS), project="many", stdout=io.StringIO())
    return Project.objects.get(name="many")


@pytest.fixture
def boss(client):
    user = make_superuser()
    client.force_login(user)
    return user


def address(model, query=""):
    return f"{reverse(f'admin:samples_{model._meta.model_name}_changelist')}?{query}"


def opened(client, there):
    answer = client.get(there)
    assert answer.status_code == 200
    return answer.context["cl"]


def pages(client, there, way="next_address"):
    """The ids on the page at `there` and on those its links lead on to, page by page."""
    start, found = there.partition("?")[0], []
    while there and len(found) < 20:
        cl = opened(client, there)
        found.append([row.pk for row in cl.result_list])
        onward = getattr(cl, way)
        there = start + onward if onward else ""
    return found


@pytest.mark.parametrize("query", ["", "project__id__exact={project}", "status__exact=APPROVED", "o=7", "o=-7"])
def test_pages_by_key_show_every_row_once_there_and_back(client, boss, many, query):
    there = address(Task if "o=" in query else Sample, query.format(project=many.pk))
    model = Task if "o=" in query else Sample
    falling = query == "o=-7"
    everything = sorted(model.objects.values_list("pk", flat=True), reverse=falling)
    forth = pages(client, there)
    assert [len(page) for page in forth] == [50, 50, 30]
    assert sum(forth, []) == everything
    last = opened(client, f"{there}&after={forth[1][-1]}")
    back = pages(client, there.partition("?")[0] + last.previous_address, "previous_address")
    assert back == [forth[1], forth[0]]


def test_a_member_turns_the_pages_of_his_own_rows(client, many):
    other = make_project("other")
    theirs = make_sample(other)
    client.force_login(make_member(many, "manager"))
    seen = sum(pages(client, address(Sample)), [])
    assert len(seen) == ROWS
    assert theirs.pk not in seen


def test_a_page_costs_the_same_number_of_queries_wherever_it_is(client, boss, many, django_assert_num_queries):
    deep = Sample.objects.order_by("pk")[99].pk
    with django_assert_num_queries(5):
        opened(client, address(Sample))
    with django_assert_num_queries(5):
        opened(client, address(Sample, f"after={deep}"))


def test_what_is_not_counted_says_so(client, boss, many):
    page = client.get(address(Sample)).content.decode()
    assert "more than 20 samples" in page
    assert "Next ›" in page
    assert "‹ Back" not in page


def test_a_search_looks_for_a_moment_and_goes_on_from_there(client, boss, many, monkeypatch):
    monkeypatch.setattr(long_lists, "MOMENT", 0.0)
    monkeypatch.setattr(long_lists, "FIRST_STEP", 40)
    wanted = Sample.objects.order_by("-pk").first()
    Sample.objects.filter(pk=wanted.pk).update(content="a quokka at last")
    there = address(Sample, "q=quokka")
    page = client.get(there).content.decode()
    assert "0 found in the part of the list looked through so far" in page
    assert "None found so far" in page and "No results found" not in page
    assert page.count("Look further ›") == 2, "in the empty list, and below it"
    found = pages(client, there)
    assert found[0] == []
    assert len(found) > 2
    assert sum(found, []) == [wanted.pk]
    back = pages(client, address(Sample, f"q=quokka&before={wanted.pk + 1}"), "previous_address")
    assert sum(back, []) == [wanted.pk]
    first = Sample.objects.order_by("pk").first().pk
    Sample.objects.exclude(pk=first).update(content="no such animal")
    Sample.objects.filter(pk=first).update(content="a quokka at first")
    backwards = client.get(address(Sample, f"q=quokka&before={wanted.pk}"))
    assert backwards.content.decode().count("‹ Look further") == 2


def test_where_all_was_looked_through_nothing_is_found(client, boss, many):
    for query in ("q=quokka", "q=quokka&status__exact=REJECTED"):
        page = client.get(address(Sample, query)).content.decode()
        assert "No results found" in page and "None found so far" not in page


def test_an_id_is_found_at_once(client, boss, many):
    sample = Sample.objects.select_related("task").order_by("-pk").first()
    for model, term, row in (
        (Sample, sample.uid, sample),
        (Task, sample.uid, sample.task),
        (Task, sample.task.external_id, sample.task),
    ):
        cl = opened(client, address(model, f"q={term}"))
        assert not cl.is_long
        assert [found.pk for found in cl.result_list] == [row.pk]


def test_few_rows_are_counted_and_sorted_as_ever(client, boss, many):
    few = Sample.objects.filter(pk__in=Sample.objects.order_by("-pk").values("pk")[:5])
    few.update(status="REJECTED", confidence=0.5)
    few.filter(pk=Sample.objects.order_by("-pk").first().pk).update(confidence=0.1)
    cl = opened(client, address(Sample, "status__exact=REJECTED&o=5"))
    assert not cl.is_long
    assert cl.result_count == 5
    assert [row.confidence for row in cl.result_list] == [0.1, 0.5, 0.5, 0.5, 0.5]


def test_many_rows_offer_no_sorting_that_would_read_them_all(client, boss, many):
    sorts = set(re.findall(r"\?[^\"]*\bo=-?(\d+)", client.get(address(Task)).content.decode()))
    assert sorts == {str(1 + admin.site.get_model_admin(Task).list_display.index("created_at"))}


def test_an_action_on_all_rows_takes_those_of_every_page(client, boss, many):
    Sample.objects.update(status="PENDING", reviewed_at=None)
    there = address(Sample, "status__exact=PENDING")
    first = opened(client, there).result_list[0].pk
    chosen = {"action": "approve", "select_across": "1", "_selected_action": [first]}
    assert client.post(there, chosen).status_code == 302
    assert Sample.objects.filter(status="APPROVED").count() == ROWS


def test_a_place_that_is_none_is_the_beginning(client, boss, many):
    first = pages(client, address(Sample))[0]
    for place in ("x", "-1", "9" * 30, ""):
        assert [row.pk for row in opened(client, address(Sample, f"after={place}")).result_list] == first

"""INSERT … SELECT: one statement, however many rows."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.utils import timezone

from labelhub.accounts.models import AuditEntry
from labelhub.setwise import Named, insert_rows, insert_select
from samples.models import Annotation, Source, Task

from .factories import make_project, make_source, make_task, make_user


@pytest.mark.django_db
def test_it_computes_rows_in_the_database(django_assert_num_queries):
    project = make_project()
    for number in range(5):
        make_task(project, f"text {number}")
    now, user = timezone.now(), make_user()
    with django_assert_num_queries(1):
        made = insert_select(
            AuditEntry,
            Task.objects.filter(project=project).order_by("-id"),
            {
                "at": Value(now),
                "actor": Value(user.pk),
                "action": Value("look"),
                "subject": Value("task"),
                "subject_id": "pk",
                "before": Value(""),
                "after": Concat(Value("→ "), F("status")),
                "reason": Value(""),
            },
        )
    assert made == 5
    entries = AuditEntry.objects.filter(action="look")
    assert set(entries.values_list("subject_id", flat=True)) == set(Task.objects.values_list("pk", flat=True))
    assert {(entry.at, entry.actor, entry.after) for entry in entries} == {(now, user, "→ PENDING")}


@pytest.mark.django_db
def test_a_null_needs_no_type_of_its_own():
    make_task()
    columns = {"at": Value(timezone.now()), "actor": Value(None), "subject_id": "pk"}
    columns |= {name: Value("") for name in ("action", "subject", "before", "after", "reason")}
    assert insert_select(AuditEntry, Task.objects.all(), columns) == 1
    assert AuditEntry.objects.get().actor is None


def _copy(**options):
    """Make a source of every task, named after its locale: two tasks in one locale collide."""
    now = timezone.now()
    columns = {"uid": "uid", "project": "project", "name": "locale", "title": Value(""), "description": Value("")}
    columns |= {"properties": Value({})}
    columns |= {"created_at": Value(now), "updated_at": Value(now)}
    return insert_select(Source, Task.objects.all(), columns, **options)


@pytest.mark.django_db
def test_a_broken_constraint_undoes_everything_or_is_stepped_over():
    project = make_project()
    source = make_source(project)
    for locale in ("fr", "fr", "en"):
        make_task(project, source=source, locale=locale)
    with pytest.raises(IntegrityError), transaction.atomic():
        _copy()
    assert Source.objects.count() == 1
    assert _copy(ignore_conflicts=True) == 2
    assert set(Source.objects.exclude(pk=source.pk).values_list("name", flat=True)) == {"fr", "en"}


@pytest.mark.django_db
def test_plain_rows_are_written_as_objects_would_be(django_assert_num_queries):
    task, person, now = make_task(), make_user(), timezone.now()
    rows = [(task.pk, '{"label":"é","n":1.0}', 40), (make_task().pk, "{}", None)]
    same = {"annotator": person.pk, "label": None, "created_at": now, "updated_at": now}
    with django_assert_num_queries(1):
        insert_rows(Annotation, ("task", "answer", "lead_time_ms"), rows, same=same)
    first, second = Annotation.objects.order_by("pk")
    assert (first.task, first.annotator, first.answer, first.lead_time_ms) == (
        task,
        person,
        {"label": "é", "n": 1.0},
        40,
    )
    assert (first.created_at, second.answer, second.lead_time_ms) == (now, {}, None)
    insert_rows(Annotation, ("task", "answer", "lead_time_ms"), [], same=same)
    assert Annotation.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    [
        "a\tb",
        "line\nline",
        "cr\r\nlf",
        "back\\slash",
        r"\N",
        r"\.",
        "\\\n\t",
        "é 中文 \U0001f600",
        "\x0b\x0c\x08\x7f",
        "",
        " ",
    ],
)
def test_any_text_arrives_as_it_left(text):
    project = make_project()
    source, now = make_source(project), timezone.now()
    same = {"project": project.pk, "source": source.pk, "type": project.task_type, "created_at": now, "updated_at": now}
    rows = [("0" * 16, "one", text, 0.25, now), ("1" * 16, "two", text, None, None)]
    insert_rows(Task, ("uid", "external_id", "content", "confidence", "validated_at"), rows, same=same)
    found = Task.objects.filter(source=source).order_by("uid")
    assert list(found.values_list("content", "confidence", "validated_at")) == [(text, 0.25, now), (text, None, None)]


@pytest.mark.django_db
def test_rows_are_found_by_the_names_their_sources_know_them_by():
    project = make_project()
    one, other = make_source(project, "one"), make_source(project, "other")
    names = ["a", "7", "it's", 'quo"te', "é 中文 \U0001f600", "a b", "[1]", ""]
    tasks = {
        (source, name): make_task(project, source=source, external_id=name) for source in (one, other) for name in names
    }
    asked = [
        (one, "a"),
        (one, "7"),
        (other, "it's"),
        (other, 'quo"te'),
        (other, "é 中文 \U0001f600"),
        (one, "[1]"),
        (one, ""),
    ]
    found = Task.objects.named([*asked, (one, "nobody"), (one, "a")])
    assert sorted(found.values_list("pk", flat=True)) == sorted(tasks[pair].pk for pair in asked)
    assert not Task.objects.named([]).exists()


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite plans without looking how many rows there are")
def test_a_source_that_has_just_come_is_not_read_whole_to_find_some_of_its_rows():
    """Else every block of an import would read all blocks before it."""
    project, now = make_project(), timezone.now()

    def fill(source, count):
        same = {
            "project": project.pk,
            "source": source.pk,
            "type": project.task_type,
            "created_at": now,
            "updated_at": now,
        }
        rows = ((f"{source.pk:08}{number:08}", f"row-{number}", "text") for number in range(count))
        insert_rows(Task, ("uid", "external_id", "content"), rows, same=same)

    fill(make_source(project, "old"), 6_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    new = make_source(project, "new")
    fill(new, 6_000)
    names = Named(Task, ("source", "external_id"), [(new.pk, f"row-{number}") for number in range(5)])
    plan = Task.objects.filter(pk__in=names).order_by().explain()
    assert "task_once_in_source" in plan, plan

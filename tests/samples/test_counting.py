"""How many there are in each state: the database keeps count, whoever writes."""

import io
import random

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Count
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from samples import counting
from samples.intake import import_tasks
from samples.models import Sample, StatusCount, Task
from tests.factories import make_project, make_sample, make_samples, make_source, make_task
from tests.together import at_once

pytestmark = pytest.mark.django_db


def counted(rows):
    """What an index would say."""
    return dict(rows.order_by().values_list("status").annotate(Count("pk")))


def agree():
    """What is kept is what there is, of each project and source."""
    for source in {None, *Task.objects.values_list("source", flat=True)}:
        kept = StatusCount.objects.tasks().filter(source=source)
        assert kept.by_status() == counted(Task.objects.filter(source=source)), source
    for project in {*Sample.objects.values_list("project", flat=True)}:
        assert StatusCount.objects.samples().filter(project=project).by_status() == counted(
            Sample.objects.filter(project=project)
        )
    assert StatusCount.objects.samples().by_status() == counted(Sample.objects.all())
    assert StatusCount.objects.tasks().by_status() == counted(Task.objects.all())


STEPS = ["add", "copy", "again", "move", "move all", "elsewhere", "remove", "samples", "fold", "undone"]


class Counting(TestCase):
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**16)), min_size=1, max_size=12))
    def test_whatever_is_written_and_however_the_counts_are_those_of_the_rows(self, steps):
        projects = [make_project(), make_project()]
        sources = [make_source(project, name) for project in projects for name in ("one", "two")]
        for step, seed in steps:
            self.take(step, random.Random(seed), sources)
            agree()

    def take(self, step, chance, sources):
        source, tasks = chance.choice(sources), Task.objects.order_by("pk")
        there = list(tasks.values_list("pk", flat=True))
        some = chance.sample(there, chance.randint(0, len(there)))
        if step == "add":
            make_task(source.project, source=source, status=chance.choice(["PENDING", "FAILED"]))
        elif step == "copy":
            lines = "".join(f'{{"text": "{chance.random()}"}}\n' for _ in range(3))
            import_tasks(source.project, io.BytesIO(lines.encode()), name="some.jsonl", source=source.name)
        elif step == "again":  # rows that break a unique constraint are left out, and are not counted
            Task.objects.bulk_create(Task.objects.filter(pk__in=some), ignore_conflicts=True)
        elif step == "move" and there:
            task = tasks.get(pk=chance.choice(there))
            task.status = chance.choice(["PENDING", "VALIDATING", "FAILED"])
            task.save()
        elif step == "move all":
            Task.objects.filter(pk__in=some).update(status=chance.choice(["PENDING", "VALIDATING"]))
        elif step == "elsewhere" and there:
            Task.objects.filter(pk=chance.choice(there)).update(source=source, project=source.project)
        elif step == "remove":
            Sample.objects.filter(task__in=some).delete()
            Task.objects.filter(pk__in=some).delete()
        elif step == "samples":
            make_sample(source.project, status=chance.choice(["PENDING", "REJECTED"]), source=source)
            Sample.objects.filter(task__in=some).update(status="PENDING")
        elif step == "fold":
            fold(source.project)
        elif step == "undone":
            with transaction.atomic():
                make_task(source.project, source=source)
                Task.objects.filter(pk__in=some).update(status="FAILED")
                transaction.set_rollback(True)


def one_writer_is_not_enough():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")


def fold(project):
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT samples_statuscount_fold(%s)", [project.pk])


@pytest.mark.django_db(transaction=True)
def test_those_who_write_at_the_same_moment_are_all_counted():
    one_writer_is_not_enough()
    project = make_samples(200)
    tasks = list(project.tasks.values_list("pk", flat=True))

    def write(number):
        for round in range(5):
            make_task(project)
            Task.objects.filter(pk__in=tasks[number::4]).update(status=["FAILED", "COMPLETED"][round % 2])
            Sample.objects.filter(task__in=tasks[number::4][: round + 1]).update(status="REJECTED")
            fold(project)

    at_once(4, write)
    assert counted(Task.objects.all()) == {"PENDING": 20, "FAILED": 200}
    agree()


@pytest.mark.django_db(transaction=True)
def test_a_writer_that_has_not_committed_keeps_nobody_from_writing_and_counts_once_it_has():
    one_writer_is_not_enough()
    project = make_samples(10)
    with transaction.atomic():
        Task.objects.filter(project=project).update(status="FAILED")
        at_once(1, lambda _: (make_task(project), fold(project)))  # it would wait for ever
        assert StatusCount.objects.tasks().by_status() == {"PENDING": 1, "FAILED": 10}
        seen = at_once(1, lambda _: StatusCount.objects.tasks().by_status())
        assert seen == [{"PENDING": 1, "COMPLETED": 10}]
    agree()


def test_of_many_changes_a_project_keeps_some_dozens_of_rows():
    project = make_project()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT setseed(0.5)")  # which statements fold is drawn by lot; the same in every run
    for _ in range(300):
        make_task(project)
    assert StatusCount.objects.count() < 300
    fold(project)
    assert StatusCount.objects.values_list("noun", "status", "number").get() == ("task", "PENDING", 300)


def test_a_table_that_lost_its_triggers_is_counted_anew_after_the_next_migrate():
    make_samples(3)
    with connection.cursor() as cursor:
        counting.remove(cursor, connection.vendor)
    make_samples(4)
    assert StatusCount.objects.samples().by_status() == {"APPROVED": 3}
    call_command("migrate", verbosity=0)
    agree()
    make_samples(2)
    assert StatusCount.objects.samples().by_status() == {"APPROVED": 9}


@pytest.mark.django_db(transaction=True)
def test_machines_that_migrate_at_the_same_moment_make_the_triggers_once():
    one_writer_is_not_enough()
    make_samples(3)
    with transaction.atomic(), connection.cursor() as cursor:
        counting.remove(cursor, connection.vendor)
    make_samples(2)
    at_once(3, lambda _: counting.install(using="default"))
    make_samples(2)
    assert StatusCount.objects.samples().by_status() == {"APPROVED": 7}
    agree()


def test_a_migrate_that_finds_all_in_place_counts_nothing():
    make_samples(3)
    StatusCount.objects.all().delete()
    counting.install(using="default")
    assert not StatusCount.objects.exists()


def test_a_dump_that_is_loaded_elsewhere_counts_nothing_twice(tmp_path):
    """dumpdata and loaddata, as one moves from SQLite to PostgreSQL."""
    make_samples(3)
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "--exclude=contenttypes", "--exclude=auth.permission", output=str(dump), verbosity=0)
    assert '"samples.statuscount"' in dump.read_text()
    Sample.objects.all().delete()
    Task.objects.all().delete()
    make_samples(2)
    call_command("loaddata", str(dump), verbosity=0)
    assert StatusCount.objects.tasks().by_status() == {"COMPLETED": 5}
    agree()


@pytest.mark.django_db(transaction=True)
def test_a_table_emptied_at_once_counts_nothing():
    """TRUNCATE on PostgreSQL; SQLite has only DELETE."""
    make_samples(3)
    with connection.cursor() as cursor:
        for table in ("exports_batchitem", "samples_sample"):
            cursor.execute(f"TRUNCATE {table} CASCADE" if connection.vendor == "postgresql" else f"DELETE FROM {table}")
    assert StatusCount.objects.samples().by_status() == {}
    assert StatusCount.objects.tasks().by_status() == {"COMPLETED": 3}

"""manage.py import_tasks and generate_samples: what is typed, what is printed, what is left behind."""

import io
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from samples.models import Annotation, Dataset, Label, Project, Sample, Source, Task
from tests.factories import make_project, make_user

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path, capsys):
    """run(text, …) writes a file, imports it and returns the summary line and what went to stderr."""

    def run(data, name="reviews.csv", **options):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        out, err = StringIO(), StringIO()
        call_command("import_tasks", str(path), stdout=out, stderr=err, **{"project": "shop"} | options)
        return out.getvalue(), err.getvalue()

    return run


CREATE = {"create": True, "type": "SENTIMENT_ANALYSIS"}
REVIEWS = "text,label\nTrès bien,Positif\nBof,Négatif\n"


def test_it_makes_the_project_its_labels_and_says_what_it_did(run):
    out, err = run(REVIEWS, locale="fr", **CREATE)
    assert out.startswith(
        "reviews.csv: 2 rows: 2 created, 0 updated, 0 unchanged, 0 skipped; new labels: Positif, Négatif ("
    )
    assert out.count("\n") == 1 and err == ""
    project = Project.objects.get()
    assert (project.name, project.task_type, project.locale) == ("shop", "SENTIMENT_ANALYSIS", "fr")
    assert Sample.objects.pending().count() == 2


def test_the_order_of_labels_can_be_said(run):
    run(REVIEWS, labels="Négatif, Neutre, Positif", **CREATE)
    assert list(Label.objects.values_list("name", flat=True)) == ["Négatif", "Neutre", "Positif"]


def test_columns_source_dataset_and_map_are_options(run):
    data = "avis;note;ref;ville\nTrès bien;1;A7;Lyon\n".encode("latin-1")
    run(
        data,
        content_field="avis",
        label_field="note",
        id_field="ref",
        label_map="1=Positif, 0=Négatif",
        delimiter=";",
        encoding="latin-1",
        source="boutique",
        dataset="avis",
        **CREATE,
    )
    task = Task.objects.get()
    assert (task.external_id, task.content, task.label_name) == ("A7", "Très bien", "Positif")
    assert task.metadata == {"ville": "Lyon"}
    assert Dataset.objects.get().sources.get() == Source.objects.get(name="boutique")


def test_labels_can_be_an_annotator_s(run):
    make_user("ana")
    run(REVIEWS, labels_as="annotations", annotator="ana", **CREATE)
    assert Annotation.objects.filter(annotator__username="ana").count() == 2
    assert set(Task.objects.values_list("status", flat=True)) == {"VALIDATING"}
    with pytest.raises(CommandError, match="there is no user 'bob'"):
        run(REVIEWS, labels_as="annotations", annotator="bob")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "there is no project 'shop'; --create makes it"),
        ({"create": True}, "--create needs --type, one of: SENTIMENT_ANALYSIS"),
        ({"project": "a b", **CREATE}, "project name 'a b': letters, digits"),
        ({"label_map": "1", **CREATE}, "--label-map '1' is not like 1=Positive"),
        ({"label_map": "1=a,1=b", **CREATE}, "--label-map names '1' twice"),
        ({"content_field": "avis", **CREATE}, "no column 'avis'; the columns are: text, label"),
        ({"locale": "not a locale", **CREATE}, "'not a locale' is not a locale"),
        ({"labels_as": "annotations", **CREATE}, "need an annotator"),
    ],
)
def test_a_slip_in_the_options_is_named_and_leaves_nothing_behind(run, options, words):
    with pytest.raises(CommandError) as caught:
        run(REVIEWS, **options)
    assert words in str(caught.value) and caught.value.returncode == 1
    assert not Project.objects.exists()


def test_labels_join_an_existing_project_only_when_asked(run):
    project = make_project("shop", labels=["Positif"])
    with pytest.raises(CommandError, match="reviews.csv, line 3, label: 'Négatif' is not one of the labels: Positif"):
        run(REVIEWS)
    assert not Task.objects.exists()
    run(REVIEWS, new_labels=True)
    assert project.labels.count() == 2
    with pytest.raises(CommandError, match="is of type SENTIMENT_ANALYSIS, not MULTI_LABEL"):
        run(REVIEWS, type="MULTI_LABEL")


def test_rows_left_out_are_listed_on_stderr(run):
    out, err = run("text,label\ngood,a\n" + " ,a\n" * 25, on_error="skip", **CREATE)
    lines = err.splitlines()
    assert lines[0] == "line 3, content: the content is empty" and len(lines) == 21
    assert lines[-1] == "… and 5 more"
    assert "26 rows: 1 created, 0 updated, 0 unchanged, 25 skipped" in out


def test_standard_input_needs_a_format(monkeypatch):
    def piped(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    piped(b'{"text": "a"}\n')
    with pytest.raises(CommandError, match="say --format"):
        call_command("import_tasks", "-", project="shop", **CREATE)
    call_command("import_tasks", "-", project="shop", format="jsonl", stdout=StringIO(), **CREATE)
    assert Task.objects.get().content == "a"


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(CommandError, match="gone.csv cannot be read: No such file"):
        call_command("import_tasks", str(tmp_path / "gone.csv"), project="shop", **CREATE)
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        call_command("import_tasks", str(tmp_path), project="shop", **CREATE)


# Synthetic samples ----------------------------------------------------------------------------------------------------


def generate(number, **options):
    call_command("generate_samples", str(number), stdout=StringIO(), **{"project": "big"} | options)


def test_synthetic_samples_are_approved_and_look_like_texts():
    generate(3_000, labels=5)
    samples = Sample.objects.approved()
    assert samples.count() == Task.objects.completed().count() == 3_000
    assert set(samples.values_list("locale", flat=True)) == {"en", "fr", "zh"}
    assert {len(content) for content in samples.values_list("content", flat=True)} <= set(range(120, 401))
    assert set(samples.values_list("label_index", flat=True)) == set(range(5))
    sample = samples.select_related("task", "label").first()
    assert (sample.uid, sample.label.name) == (sample.task.uid, sample.label_name)
    assert sample.answer == {"label": sample.label_name} and sample.vote_shares == {sample.label_name: 1.0}
    assert sample.reviewed_at and sample.task.is_settled


def test_the_same_seed_makes_the_same_samples_and_a_second_run_makes_others():
    told = ("uid", "content", "locale", "label_name")
    generate(200, seed="x")
    first = list(Sample.objects.order_by("pk").values_list(*told))
    generate(200, seed="x")
    generate(10, seed="y")
    assert Sample.objects.count() == len(set(Sample.objects.values_list("uid", flat=True))) == 410
    Sample.objects.all().delete()
    Task.objects.all().delete()
    generate(200, seed="x")
    assert list(Sample.objects.order_by("pk").values_list(*told)) == first


def test_synthetic_samples_take_the_labels_of_a_project_that_is_there():
    make_project("big")
    generate(20)
    assert set(Sample.objects.values_list("label_name", flat=True)) == {"Positif", "Négatif"}
    make_project("texts", task_type="TEXT_GENERATION", labels=[])
    with pytest.raises(CommandError, match="is of type TEXT_GENERATION"):
        generate(1, project="texts")
    with pytest.raises(CommandError, match="at least 1"):
        generate(0)


# Memory ---------------------------------------------------------------------------------------------------------------

MEASURE = """
import os, resource, sys
from django.conf import settings
from labelhub import settings as own
values = {name: getattr(own, name) for name in dir(own) if name.isupper()}
values["MIGRATION_MODULES"] = type("Unmigrated", (dict,), {"__contains__": lambda *_: True, "get": lambda *_: None,
                                   "__getitem__": lambda *_: None})()
settings.configure(**values)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
from samples.intake import import_tasks
from samples.projects import create_project
project = create_project("big", task_type="SENTIMENT_ANALYSIS")
with open(sys.argv[1], "rb") as file:
    imported = import_tasks(project, file, name="big.jsonl")
print(imported.created, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """100,000 rows against 10,000, each in a process and an SQLite file of its own; the peak in MiB."""
    peaks = {}
    for rows in (10_000, 100_000):
        path = tmp_path / f"{rows}.jsonl"
        with path.open("w") as file:
            for number in range(rows):
                label = "Positive" if number % 3 else "Negative"
                file.write(f'{{"id": {number}, "text": "{"some words " * 20}{number}", "label": "{label}"}}\n')
        folder = tmp_path / str(rows)
        environment = {**os.environ, "DATA_DIR": str(folder), "DATABASE_URL": f"sqlite:///{folder}/own.sqlite3"}
        answer = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr
        created, peaks[rows] = map(int, answer.stdout.split())
        assert created == rows
    assert peaks[100_000] - peaks[10_000] < 20, peaks

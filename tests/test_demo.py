"""The demo tells the whole story, and telling it twice changes nothing."""

import csv
import json
import re
import zipfile
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from exports.models import Batch, FineTune, ModelVersion
from labelhub.accounts.models import AuditEntry, User
from labelhub.demo import ANNOTATORS, DATA, DEMO_PASSWORD, DEMO_USER, LABELS, REVIEWS, UNSEEN
from samples.models import Annotation, Prediction, Project, Sample, Task
from tests.factories import make_project


@pytest.fixture(autouse=True)
def patience(settings):
    """Loading scikit-learn may outlast a heartbeat, and that sees no job inside the transaction of a test."""
    settings.JOB_LEASE_SECONDS = 600


def told(*options):
    out = StringIO()
    call_command("demo", *options, stdout=out)
    return out.getvalue()


def everything():
    """How many rows of each kind there are."""
    models = (User, Project, Task, Annotation, Sample, Batch, FineTune, ModelVersion, Prediction, AuditEntry)
    return {model.__name__: model.objects.count() for model in models}


@pytest.mark.django_db
def test_the_demo_makes_everything_once_and_finds_it_the_second_time():
    first = told()
    made = everything()
    assert made | {"AuditEntry": 0} == {
        "User": 4,
        "Project": 1,
        "Task": 212,
        "Annotation": 600,
        "Sample": 200,
        "Batch": 3,
        "FineTune": 1,
        "ModelVersion": 1,
        "Prediction": 12,
        "AuditEntry": 0,
    }
    assert "195 tasks settled, 5 without a majority; Krippendorff’s alpha 0.8" in first
    assert "188 samples approved and 12 rejected by demo" in first

    for path, checksum in re.findall(r"^ +(/.*)\n +sha256 (\w+)$", first, re.MULTILINE):
        assert sha256(Path(path).read_bytes()).hexdigest() == checksum
        with zipfile.ZipFile(path) as archive:
            lines = {name: len(archive.read(name).splitlines()) for name in archive.namelist()}
        assert lines == {"train.jsonl": 150, "val.jsonl": 19, "test.jsonl": 19}
    assert set(Batch.objects.values_list("format", "state")) == {
        ("jsonl", "READY"),
        ("openai", "READY"),
        ("huggingface", "READY"),
    }
    metrics = FineTune.objects.get().metrics
    assert f"accuracy {metrics['accuracy']:.3f}" in first
    assert metrics["labels"] == ["Positive", "Negative"]
    assert first.count("unseen texts imported") == 1
    assert first.endswith("log in as demo, password demo-labelhub\n")

    demo = User.objects.get(username=DEMO_USER)
    assert demo.is_superuser and demo.check_password(DEMO_PASSWORD)
    assert not any(user.has_usable_password() for user in User.objects.filter(username__in=ANNOTATORS))

    make_project("theirs")
    with pytest.raises(CommandError, match="holds 1 other project, and the demo makes a superuser"):
        told()
    second = told("--force")
    assert everything() == made | {"Project": 2}
    assert "0 answers given, 600 there already" in second
    assert re.findall(r"sha256 \w+|accuracy .*", second) == re.findall(r"sha256 \w+|accuracy .*", first)


@pytest.mark.django_db
def test_the_demo_makes_no_log_in_in_other_people_s_databases():
    make_project("theirs"), make_project("ours")
    with pytest.raises(CommandError, match="holds 2 other projects"):
        told()
    assert not User.objects.exists()


# The bundled data -----------------------------------------------------------------------------------------------------


def rows(name):
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return [json.loads(line) for line in file] if name.endswith(".jsonl") else list(csv.DictReader(file))


def test_the_reviews_are_two_hundred_different_texts_in_three_languages():
    reviews = [row for name in REVIEWS for row in rows(name)]
    locales = [row["locale"] for row in reviews]
    assert [locales.count(locale) for locale in ("en", "fr", "zh")] == [70, 70, 60]
    assert len({row["text"] for row in reviews}) == len({row["id"] for row in reviews}) == 200
    assert not {row["text"] for row in rows(UNSEEN)} & {row["text"] for row in reviews}


def test_every_review_is_answered_by_all_three_and_some_are_disputed():
    answers = rows("answers.csv")
    assert [row["id"] for row in answers] == [row["id"] for name in REVIEWS for row in rows(name)]
    given = [tuple(row[name] for name in ANNOTATORS) for row in answers]
    assert {answer for answers in given for answer in answers} == set(LABELS)
    disputed = [answers for answers in given if len(set(answers)) > 1]
    undecided = {row["id"] for row, answers in zip(rows("answers.csv"), given, strict=True) if len(set(answers)) == 3}
    assert 10 < len(disputed) < 40
    assert {row["id"] for row in rows("decisions.csv")} == undecided

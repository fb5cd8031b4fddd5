"""The main job on real data: files in, verdicts approved, split files out, and back in again with nothing changed."""

import io
import json
import threading
import zipfile
from collections import Counter

import pytest

from exports import batching
from exports.models import Batch
from labelhub.jobs.worker import work
from samples import review
from samples.intake import Columns, Layout, import_tasks
from samples.models import Sample, Task
from samples.projects import create_project

from .factories import make_superuser

pytestmark = pytest.mark.django_db(transaction=True)

EMOTIONS = ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust")
SENTIMENTS = {"1": "Positive", "0": "Negative"}


@pytest.fixture
def admin():
    return make_superuser()


def bring_in(project, path, **how):
    with open(path, "rb") as file:
        return import_tasks(project, file, name=path.name, on_error="skip", **how)


def approve_everything(project, *, by):
    waiting = Sample.objects.filter(project=project).pending()
    count = waiting.count()
    assert review.approve_all(waiting, by=by).done == count
    return count


def export(project, *, by, **how):
    """A batch of all that is approved, written by a worker; the names and bytes of the members of its ZIP."""
    batch = batching.gather(Sample.objects.filter(project=project), by=by, ratios="0.8/0.1/0.1", **how)
    work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    assert batch.state == Batch.State.READY, batch.error
    with batching.open_file(batch)[0] as file, zipfile.ZipFile(io.BytesIO(file.read())) as archive:
        assert archive.testzip() is None
        return batch, {name: archive.read(name) for name in archive.namelist()}


def records(data):
    return [json.loads(line) for line in data.splitlines()]


def worst_gap(parts):
    """The largest difference between a label's share in a part and in the whole."""
    whole = Counter(label for labels in parts.values() for label in labels)
    counts = [Counter(labels) for labels in parts.values()]
    return max(
        abs(part[label] / part.total() - count / whole.total()) for part in counts for label, count in whole.items()
    )


def test_uci_sentiment_goes_out_as_conversations_balanced_in_every_part(real_data, admin):
    project = create_project(
        "uci", task_type="SENTIMENT_ANALYSIS", labels=("Positive", "Negative"), by=admin, locale="en"
    )
    created = 0
    for shop, header in (("amazon_cells", True), ("yelp", False), ("imdb", False)):
        names = {"content": "Review", "label": "Liked"} if header else {"content": "1", "label": "2"}
        path = real_data / "uci_sentiment" / f"{shop}_labelled.txt"
        layout = Layout(kind="tsv", header=header)
        done = bring_in(project, path, source=shop, columns=Columns(**names, label_map=SENTIMENTS), layout=layout)
        assert done.created + done.unchanged + done.skipped == (999 if header else 1000)
        assert done.skipped == 0
        created += done.created
    assert created >= 2970  # the same sentence twice in a file is one task
    assert approve_everything(project, by=admin) == created
    batch, members = export(project, by=admin, format="openai", stratify=True)
    assert list(members) == ["train.jsonl", "val.jsonl", "test.jsonl"]
    parts = {name: [row["messages"][1]["content"] for row in records(data)] for name, data in members.items()}
    assert sum(map(len, parts.values())) == created == batch.sample_count
    assert [len(rows) for rows in parts.values()] == [round(created * 0.8), round(created * 0.1), round(created * 0.1)]
    assert worst_gap(parts) < 0.005
    users = [row["messages"][0]["content"] for data in members.values() for row in records(data)]
    assert all(text.startswith("Analyse the sentiment: ") for text in users)


def test_banking77_keeps_its_77_labels_in_one_order_in_every_part(real_data, admin):
    labels = json.loads((real_data / "banking77" / "categories.json").read_text())
    project = create_project("banking77", task_type="TEXT_CLASSIFICATION", labels=labels, by=admin, locale="en")
    columns = Columns(content="text", label="category")
    rows = {"train": 10_003, "test": 3_080}
    created = 0
    for name, count in rows.items():
        done = bring_in(project, real_data / "banking77" / f"{name}.csv", source=name, columns=columns)
        assert done.created + done.unchanged + done.skipped == count
        assert not done.labels_added
        created += done.created
    assert approve_everything(project, by=admin) == created == Task.objects.filter(project=project).count()
    batch, members = export(project, by=admin, format="huggingface", stratify=True)
    parts = {name: records(data) for name, data in members.items()}
    assert sum(map(len, parts.values())) == created
    for part in parts.values():
        assert {row["label"] for row in part} == set(labels)
        assert all(labels[row["label_id"]] == row["label"] for row in part)
    assert worst_gap({name: [row["label"] for row in part] for name, part in parts.items()}) < 0.001
    texts = Counter(row["text"] for part in parts.values() for row in part)
    assert texts == Counter(Task.objects.filter(project=project).values_list("content", flat=True))
    assert batch.manifest["label_map"] == {label: index for index, label in enumerate(labels)}


@pytest.mark.parametrize("format", ["json", "jsonl", "csv"])
def test_sib200_in_three_languages_comes_back_the_same(real_data, admin, format):
    labels = (real_data / "sib200" / "labels.txt").read_text().split("\n")[:7]
    project = create_project("sib200", task_type="TEXT_CLASSIFICATION", labels=labels, by=admin)
    columns = Columns(content="text", label="category")
    created = 0
    for folder, locale in (("eng_Latn", "en"), ("fra_Latn", "fr"), ("zho_Hans", "zh")):
        for part, count in (("train", 701), ("dev", 99), ("test", 204)):
            path = real_data / "sib200" / folder / f"{part}.tsv"
            done = bring_in(project, path, source=f"{folder}-{part}", columns=columns, locale=locale)
            assert (done.created + done.unchanged, done.skipped) == (count, 0)
            created += done.created
    assert Counter(Task.objects.values_list("locale", flat=True)) == {"en": 1004, "fr": 1004, "zh": 1004}
    assert Task.objects.first().metadata.keys() == {"index_id"}
    assert approve_everything(project, by=admin) == created == 3012
    _, members = export(project, by=admin, format=format, stratify=True)
    again = create_project("sib200-again", task_type="TEXT_CLASSIFICATION", labels=labels, by=admin)
    for name, data in members.items():
        done = import_tasks(again, io.BytesIO(data), name=name, source="back", on_error="stop")
        assert done.skipped == done.unchanged == 0 and not done.labels_added

    def verdicts(of):
        fields = ("content", "label_name", "label_index", "type")
        if format != "jsonl":  # the contract's JSON Lines have neither
            fields += ("locale", "confidence")
        return Counter(Sample.objects.filter(project=of).values_list(*fields))

    assert verdicts(again) == verdicts(project)


def test_xed_keeps_every_emotion_of_a_line(real_data, admin):
    project = create_project("xed", task_type="MULTI_LABEL", labels=EMOTIONS, by=admin)
    numbers = {str(number): name for number, name in enumerate(EMOTIONS, 1)}
    columns = Columns(content="1", label="2", label_map=numbers)
    layout = Layout(kind="tsv", header=False)
    made = 0
    for name, locale, count, broken in (  # broken: these lines of the files have one cell, six or seven
        ("en-annotated", "en", 17_528, 0),
        ("fr-projections", "fr", 7_560, 257),
        ("zh-projections", "zh", 694, 49),
    ):
        path = real_data / "xed" / f"{name}.tsv"
        done = bring_in(project, path, source=name, columns=columns, layout=layout, locale=locale)
        assert done.created + done.unchanged + done.skipped == count
        assert sum("columns" in error.reason for error in done.errors) == broken
        others = [error for error in done.errors if "columns" not in error.reason]
        assert all("is labelled" in error.reason for error in others)  # the same line twice, felt otherwise
        assert len(others) < count * 0.01
        made += done.created
    assert approve_everything(project, by=admin) == made
    _, members = export(project, by=admin, format="json")
    rows = [row for data in members.values() for row in json.loads(data)]
    assert len(rows) == made
    cells = [line.split("\t") for line in (real_data / "xed" / "fr-projections.tsv").read_text().splitlines()]
    told = {
        row[0]: {numbers[part.strip()] for part in row[1].split(",")}
        for row in cells
        if len(row) == 2 and '"' not in row[0]
    }
    exported = {row["content"]: set(row["label"]) for row in rows if row["locale"] == "fr"}
    assert told.keys() <= exported.keys() and len(told) > 7000
    assert sum(exported[text] == felt for text, felt in told.items()) >= len(told) * 0.99
    again = create_project("xed-again", task_type="MULTI_LABEL", labels=EMOTIONS, by=admin)
    for name, data in members.items():
        assert import_tasks(again, io.BytesIO(data), name=name, source="back").skipped == 0
    fields = ("content", "label_name", "locale", "confidence")
    assert Counter(Sample.objects.filter(project=again).values_list(*fields)) == Counter(
        Sample.objects.filter(project=project).values_list(*fields)
    )


def test_sib200_s_translations_stay_together_and_nobody_moves_when_the_set_grows(real_data, admin):
    labels = (real_data / "sib200" / "labels.txt").read_text().split("\n")[:7]
    project = create_project("sib200-split", task_type="TEXT_CLASSIFICATION", labels=labels, by=admin)
    parts = ["train", "dev", "test"]
    for language, locale in (("eng_Latn", "en"), ("fra_Latn", "fr"), ("zho_Hans", "zh-CN")):
        for part in parts:
            path = real_data / "sib200" / language / f"{part}.tsv"
            bring_in(project, path, columns=Columns(content="text", label="category"), locale=locale)
    approve_everything(project, by=admin)
    samples = Sample.objects.filter(project=project)
    indices = samples.order_by().values_list("pk", "task__metadata")
    group_of = {pk: metadata["index_id"] for pk, metadata in indices}
    late = set(sorted(set(group_of.values()), key=str)[::11])
    early = [pk for pk, group in group_of.items() if group not in late]
    asked = {"by": admin, "format": "jsonl", "stratify": True, "group_by": "metadata:index_id", "split_name": "main"}
    first, _ = export(project, ids=early, **asked)
    second, _ = export(project, allow_reexport=True, **asked)

    before, now = (dict(batch.items.values_list("sample_id", "split")) for batch in (first, second))
    assert len(now) > 1.09 * len(before)
    assert sum(now[pk] != side for pk, side in before.items()) == 0
    sides = {}
    for pk, side in now.items():
        sides.setdefault(group_of[pk], set()).add(side)
    assert sum(len(found) > 1 for found in sides.values()) == 0
    for batch in (first, second):
        parts = {part["name"]: list(Counter(part["labels"]).elements()) for part in batch.manifest["parts"]}
        assert worst_gap(parts) < 0.01
        rows = [part["rows"] / batch.sample_count for part in batch.manifest["parts"]]
        assert all(abs(share - wanted) < 0.01 for share, wanted in zip(rows, (0.8, 0.1, 0.1), strict=True))

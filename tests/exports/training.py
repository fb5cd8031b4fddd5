"""What tests of fine-tuning train on: real texts, and small made ones, gathered and written by the real functions."""

import csv
import io
import json
from hashlib import sha256

from exports import batching
from labelhub.jobs.worker import bring_to_end
from samples import review
from samples.intake import import_tasks
from samples.models import Sample
from tests.factories import make_project, make_superuser

GOOD = ("great and lovely", "love it, works perfectly", "excellent value, very happy", "delicious, friendly staff")
BAD = ("broken on arrival", "terrible, waste of money", "rude staff and cold food", "very disappointed, avoid")
THINGS = ("kettle", "hotel", "book", "train", "café", "phone", "vélo", "soap", "museum", "tent")


def opinions(count=80):
    """So many short texts, in turn good and bad."""
    for number in range(count):
        label, words = (("Good", GOOD), ("Bad", BAD))[number % 2]
        yield f"{THINGS[number // 2 % 10]} {number}: {words[number // 7 % 4]}", label


def project_of(rows, *, task_type="TEXT_CLASSIFICATION", labels=(), by=None):
    """A project whose approved samples are `rows` of (text, label or list of labels).

    Each has an id made from its text, so that the split, which goes by id, and the scores are the same every time.
    """
    project = make_project(task_type=task_type, labels=labels, locale="en")
    lines = "".join(
        json.dumps({"id": sha256(text.encode()).hexdigest()[:16], "text": text, "label": label}) + "\n"
        for text, label in rows
    )
    import_tasks(project, io.BytesIO(lines.encode()), name="rows.jsonl")
    assert review.approve_all(Sample.objects.filter(project=project), by=by or make_superuser()).refused == 0
    return project


def batch_of(rows, *, by=None, format="jsonl", ratios="0.8/0.1/0.1", stratify=True, project=None, **more):
    """A READY batch of `rows`, or of what is approved in `project`."""
    by = by or make_superuser()
    project = project or project_of(rows, by=by, **{k: more.pop(k) for k in ("task_type", "labels") if k in more})
    batch = batching.gather(
        Sample.objects.all(), by=by, project=project, format=format, ratios=ratios, stratify=stratify, **more
    )
    bring_to_end(batch.job)
    batch.refresh_from_db()
    assert batch.is_ready, batch.error
    return batch


def uci(folder):
    """3,000 sentences from three shops, each 1 (liked) or 0."""
    for name in ("amazon_cells", "imdb", "yelp"):
        for line in (folder / "uci_sentiment" / f"{name}_labelled.txt").read_text().splitlines():
            text, _, label = line.rpartition("\t")
            if label in ("0", "1"):
                yield text.strip(), label


def sib(folder, language, part):
    with (folder / "sib200" / language / f"{part}.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row["text"], row["category"]


def banking(folder, part):
    with (folder / "banking77" / f"{part}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield row["text"], row["category"]

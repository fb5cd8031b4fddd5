"""Predicting: a model version guesses the labels of tasks, and the guesses are kept beside the answers of people."""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import QuerySet

from samples.models import Prediction, Task

from .errors import Unsuitable
from .models import ModelVersion
from .providers import local

BLOCK = 2_000


def predict(version: ModelVersion, tasks: QuerySet[Task]) -> int:
    """Keep what `version` guesses about each of `tasks` of its project, in place of what it guessed before.

    A task gets the likeliest label, or, where several are allowed, each that is likelier than not. Returns how many
    tasks were guessed.
    """
    if version.finetune.provider != local.Local.name:
        raise Unsuitable(f"{version} lives at {version.finetune.provider}; only local models predict here")
    model = local.load(version.artefact)
    labels = dict(version.project.labels.values_list("name", "pk"))
    columns = {name: column for column, name in enumerate(model.labels)}
    of_pictures = version.project.kind.sample_type == "IMAGE"
    rows = tasks.filter(project=version.project).order_by("pk").values_list("pk", "media" if of_pictures else "content")
    if of_pictures:
        rows = rows.exclude(media="")  # elsewhere: not fetched
    done = 0
    for block in _blocks(rows):
        keys, texts = zip(*block, strict=True)
        chances = model.predict_proba(local.pictures_of(texts) if of_pictures else texts)
        guesses = [
            Prediction(task_id=task, model=str(version), label_id=labels[name], probability=float(row[columns[name]]))
            for task, row, names in zip(keys, chances, model.chosen(chances), strict=True)
            for name in names
            if name in labels
        ]
        with transaction.atomic():
            Prediction.objects.filter(model=str(version), task__in=keys).delete()
            Prediction.objects.bulk_create(guesses)
        done += len(keys)
    return done


def _blocks(rows: QuerySet) -> Iterator[list[tuple[int, str]]]:
    """The rows by key range: no cursor stays open while the model thinks."""
    after = 0
    while block := list(rows.filter(pk__gt=after)[:BLOCK]):
        yield block
        after = block[-1][0]

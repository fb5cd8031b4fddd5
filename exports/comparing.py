"""Two model versions of a project on the same test part: which is better, at what, and where they disagree.

A model of this machine is asked while one waits for the page. One at a provider is paid by the text: it is judged by what
it said when a run asked it about the test part (`ask_about_test`).
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from labelhub.accounts.roles import Power
from labelhub.jobs.models import Job
from labelhub.setwise import Texts
from samples.models import Annotation, Prediction, Task
from samples.permissions import require

from . import predicting
from .carried import carried_by
from .errors import NotAskedYet, Unsuitable
from .models import Batch, ModelVersion, PredictionRun
from .providers import Trainer, get

MOST_TEXTS = 20_000  # judged while somebody waits for the page
TEST_OF = "test_of"  # in the selection of a run: the batch whose test part it asks about


@dataclass(frozen=True)
class Comparison:
    """`metrics` of each on `test`; `agreement` counts the texts that both, one, the other or neither got right."""

    versions: tuple[ModelVersion, ModelVersion]
    metrics: tuple[dict[str, Any], dict[str, Any]]
    test: str
    agreement: dict[str, int]
    seen: tuple[int, int]  # texts of the test part that each was trained on: they flatter it


def compare(first: ModelVersion, second: ModelVersion) -> Comparison:
    """Judge both by the test part of the later one's batch.

    Unsuitable where they are of different projects; NotAskedYet, which names `version` and `batch`, where one lives at a
    provider and no run has asked it about that part.
    """
    if first.project_id != second.project_id:
        raise Unsuitable(f"{first} and {second} answer the questions of different projects")
    first, second = sorted((first, second), key=lambda version: version.version)
    return _judged(first, second)


def ask_about_test(version: ModelVersion, batch: Batch, *, by) -> PredictionRun:
    """Have a run ask `version` about the texts of the test part of `batch`, as `predicting.ask` does.

    One that is on its way is returned: two side by side would both pay for the same texts.
    """
    require(by, Power.FINETUNE, version.project)
    tasks = _tasks_of(batch, texts_of_test(batch))
    with transaction.atomic():
        ModelVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
        under_way = [run for run in _runs_about(version, batch) if run.job and not run.job.is_finished]
        if under_way:
            return under_way[0]
        return predicting.ask(version, tasks, by=by, selection={TEST_OF: str(batch.uuid)})


def _runs_about(version: ModelVersion, batch: Batch) -> list[PredictionRun]:
    """The runs that ask, or asked, `version` about the test part of `batch`."""
    runs = PredictionRun.objects.filter(version=version).select_related("job", "version__project").defer("keys")
    return [run for run in runs if run.selection.get(TEST_OF) == str(batch.uuid)]


def texts_of_test(batch: Batch) -> list[str]:
    """The texts of a batch's test part that models are judged by."""
    from .providers.examples import train_and_test

    return train_and_test(batch)[1].texts[:MOST_TEXTS]


def _tasks_of(batch: Batch, texts: list[str]) -> QuerySet[Task]:
    """The batch's tasks that say one of these."""
    return carried_by(batch).tasks().filter(content__in=Texts(dict.fromkeys(texts)))


def _judged(first, second):
    from .providers import scores  # scikit-learn takes a second to load
    from .providers.examples import train_and_test

    batch, several = second.finetune.batch, second.project.kind.allows_several
    train, test = train_and_test(batch)
    texts, answers = test.texts[:MOST_TEXTS], test.answers[:MOST_TEXTS]
    metrics, right, seen = [], [], []
    for version in (first, second):
        guesses, chances, labels = _guesses_of(version, batch, texts)
        metrics.append(scores.score(answers, guesses, chances, labels=labels, several=several))
        right.append([set(guess) == set(answer) for guess, answer in zip(guesses, answers, strict=True)])
        learnt = train if version.finetune.batch_id == batch.pk else train_and_test(version.finetune.batch)[0]
        known = set(learnt.texts)
        seen.append(sum(text in known for text in texts))
    outcomes = list(zip(*right, strict=True))
    agreement = {
        "both": outcomes.count((True, True)),
        "first": outcomes.count((True, False)),
        "second": outcomes.count((False, True)),
        "neither": outcomes.count((False, False)),
    }
    return Comparison((first, second), tuple(metrics), f"the test part of {batch}", agreement, tuple(seen))


def _guesses_of(version, batch, texts):
    """(labels of each text, their chances or None, all labels) as `version` sees them."""
    if isinstance(get(version.finetune.provider), Trainer):
        from .providers import local

        model = local.load(version.artefact)
        chances = model.predict_proba(local.items_of(batch, texts))
        return model.chosen(chances), chances, model.labels
    told = _told(version, batch, texts)
    return [told.get(text, []) for text in texts], None, list(version.project.labels.values_list("name", flat=True))


def _told(version, batch, texts) -> dict[str, list[str]]:
    """What `version` said of `texts` when it was asked; a text to which it gave no label is not there."""
    if all(predicting.state_of(run) != Job.State.DONE for run in _runs_about(version, batch)):
        where = f"{version} lives at {version.finetune.provider} and was not asked about the test part of {batch} yet"
        raise NotAskedYet(where, version=version.pk, batch=batch.pk, texts=len(texts))
    said: dict[str, dict[str, float]] = defaultdict(dict)
    guesses = Prediction.objects.filter(model=str(version), task__in=_tasks_of(batch, texts)).order_by("pk")
    for text, label, chance in guesses.values_list("task__content", "label__name", "probability"):
        said[text][label] = 1.0 if chance is None else chance
    if version.project.kind.allows_several:
        return {text: [label for label, chance in labels.items() if chance >= 0.5] for text, labels in said.items()}
    return {text: [max(labels, key=lambda label: labels[label])] for text, labels in said.items()}


def lineage(version: ModelVersion) -> dict[str, Any]:
    """Where a version comes from, in numbers: its batch, what that carries, the answers behind it, by how many people."""
    batch = version.finetune.batch
    answers = Annotation.objects.filter(task__in=carried_by(batch).tasks())
    return {
        "batch": batch,
        "samples": batch.sample_count,
        "annotations": answers.count(),
        "annotators": answers.order_by().values("annotator").distinct().count(),
        "sha256": batch.sha256,
    }

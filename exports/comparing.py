"""Two model versions of a project on the same test part: which is better, at what, and where they disagree."""

from dataclasses import dataclass
from typing import Any

from .carried import carried_by
from .errors import Unsuitable
from .models import ModelVersion
from .providers import Trainer, get

MOST_TEXTS = 20_000  # judged while somebody waits for the page


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

    Unsuitable where they are of different projects, or one was trained elsewhere: its answers are not to be had here.
    """
    if first.project_id != second.project_id:
        raise Unsuitable(f"{first} and {second} answer the questions of different projects")
    first, second = sorted((first, second), key=lambda version: version.version)
    for version in (first, second):
        if not isinstance(get(version.finetune.provider), Trainer):
            raise Unsuitable(f"{version} lives at {version.finetune.provider}; only models trained here are compared")
    return _judged(first, second)


def _judged(first, second):
    from .providers import local, scores  # scikit-learn takes a second to load
    from .providers.examples import train_and_test

    batch, several = second.finetune.batch, second.project.kind.allows_several
    train, test = train_and_test(batch)
    texts, answers = test.texts[:MOST_TEXTS], test.answers[:MOST_TEXTS]
    items = local.items_of(batch, texts)
    metrics, right, seen = [], [], []
    for version in (first, second):
        model = local.load(version.artefact)
        chances = model.predict_proba(items)
        guesses = model.chosen(chances)
        metrics.append(scores.score(answers, guesses, chances, labels=model.labels, several=several))
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


def lineage(version: ModelVersion) -> dict[str, Any]:
    """Where a version comes from, in numbers: its batch, what that carries, the answers behind it, by how many people."""
    from samples.models import Annotation

    batch = version.finetune.batch
    answers = Annotation.objects.filter(task__in=carried_by(batch).tasks())
    return {
        "batch": batch,
        "samples": batch.sample_count,
        "annotations": answers.count(),
        "annotators": answers.order_by().values("annotator").distinct().count(),
        "sha256": batch.sha256,
    }

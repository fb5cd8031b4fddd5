"""Looking for label errors: a model that has not learnt from a verdict is asked what it would have said.

“Not learnt from” is seen to here: either the settled tasks of a project are dealt into five folds, and each is judged by
a model trained on the other four; or a version judges those that were not among its lessons.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.jobs import queue
from labelhub.jobs.models import Job
from samples import doubting
from samples.doubting import Doubted
from samples.models import Project, Task
from samples.permissions import require

from . import keys as packing
from . import providers
from .errors import Unsuitable
from .models import BatchItem, BatchTasks, ModelVersion
from .providers import Trainer
from .providers.base import Progress

KIND = "exports.doubt"
FOLDS = 5
LEAST_OF_A_LABEL = 3  # else the model that judges one has hardly met the label
LEAST = 20
MOST = 200_000  # verdicts held in memory while models are trained on them
BLOCK = 2_000


class Settled(NamedTuple):
    """A task with its verdict, as it is judged."""

    pk: int
    uid: str
    item: str  # the text, or the name of the picture's file
    verdict: str
    labels: tuple[str, ...]


def look(project: Project, *, by, version: ModelVersion | None = None) -> Job:
    """Have a job look for label errors in `project`, with `version` or with models of its own; `by` None is the hub."""
    if by is not None:
        require(by, Power.REVIEW, project)
    _check(project, version)
    audit.record(project, "look for label errors", by=by, after=str(version or name_of(project)))
    return queue.submit(KIND, {"project": project.pk, "version": version and version.pk}, by=by)


def name_of(project: Project) -> str:
    """What doubts call the models of the search's own."""
    return f"{project.name}@cross"


def _check(project, version):
    if not project.kind.has_labels:
        raise Unsuitable(f"{project.task_type} has answers in free text: a model cannot say which of them are wrong")
    if version is not None:
        if version.project_id != project.pk:
            raise Unsuitable(f"{version} answers the questions of another project")
        if not isinstance(providers.get(version.finetune.provider), Trainer):
            raise Unsuitable(
                f"{version} lives at {version.finetune.provider} and does not say how likely other labels are"
            )
        providers.get(version.finetune.provider).check_asking(version)
    count = Task.objects.filter(project=project).completed().count()
    if version is None and not LEAST <= count <= MOST:
        raise Unsuitable(f"it takes {LEAST} to {MOST:,} settled tasks to judge one by the others; there are {count:,}")


def run(project: Project, version: ModelVersion | None, progress: Progress) -> dict[str, Any]:
    """Judge, and raise the doubts; run again it starts over and leaves the same ones."""
    progress(0, 100, "reading the verdicts")
    _check(project, version)
    search = _by_itself if version is None else partial(_by_version, version)
    result: dict[str, Any] = {"model": str(version or name_of(project)), "judged": 0, "learnt_from": 0, "too_rare": 0}
    found = list(search(project, progress, result))
    result["doubts"] = doubting.raise_doubts(project, model=result["model"], found=found)
    result["disagreements"] = len(found)
    return result


# Five folds -----------------------------------------------------------------------------------------------------------


def _by_itself(project, progress, result) -> Iterator[Doubted]:
    from .providers import linear_model

    rows = list(_settled(project))
    counts = Counter(label for row in rows for label in row.labels)
    known = [row for row in rows if all(counts[label] >= LEAST_OF_A_LABEL for label in row.labels)]
    result |= {"judged": len(known), "too_rare": len(rows) - len(known)}
    labels = [name for name in counts if counts[name] >= LEAST_OF_A_LABEL]
    if len(labels) < 2 or len(known) < LEAST:
        raise Unsuitable(f"it takes two labels with {LEAST_OF_A_LABEL} verdicts each to tell right from wrong")
    folds = dealt(known)
    for number, held_out in enumerate(folds):
        others = [row for place, fold in enumerate(folds) if place != number for row in fold]

        def told(share, doing, number=number):
            progress(int(95 * (number + share) / FOLDS), 100, f"fold {number + 1} of {FOLDS}: {doing}")

        model = linear_model.fit(
            _items(project, others),
            [row.labels for row in others],
            labels=labels,
            several=project.kind.allows_several,
            report=told,
        )
        yield from _judged(project, model, held_out)


def dealt(rows: Sequence[Settled], folds: int = FOLDS) -> list[list[Settled]]:
    """`rows` in so many parts, each label alike in all of them; the same every time."""
    ranked = sorted(rows, key=lambda row: (row.labels, sha256(row.uid.encode()).digest()))
    return [ranked[number::folds] for number in range(folds)]


# A version ------------------------------------------------------------------------------------------------------------


def _by_version(version, project, progress, result) -> Iterator[Doubted]:
    from .providers import local

    model, lessons = local.load(version.artefact), lessons_of(version)
    rows = list(_settled(project))
    unseen = [row for row in rows if row.pk not in lessons]
    result |= {"judged": len(unseen), "learnt_from": len(rows) - len(unseen)}
    for start in range(0, len(unseen), BLOCK):
        yield from _judged(project, model, unseen[start : start + BLOCK])
        progress(start, len(unseen), f"{start:,} of {len(unseen):,} verdicts judged")


def lessons_of(version: ModelVersion) -> set[int]:
    """The tasks that `version` has learnt from, or may have: all of its batch but the test part."""
    batch = version.finetune.batch
    items = batch.items.exclude(split=BatchItem.Split.TEST)
    learnt = set(items.values_list("sample__task", flat=True))
    for packed in BatchTasks.objects.filter(batch=batch).exclude(split=BatchItem.Split.TEST):
        learnt.update(packing.unpack(bytes(packed.keys)))
    return learnt


# Judging --------------------------------------------------------------------------------------------------------------


def _settled(project) -> Iterator[Settled]:
    """The settled tasks whose verdict is of the project's labels, pictures only where their files are kept here."""
    of_pictures = project.kind.sample_type == "IMAGE"
    tasks = Task.objects.filter(project=project, options__isnull=True).completed().order_by("pk")
    if of_pictures:
        tasks = tasks.exclude(media="")
    columns = ("pk", "uid", "media" if of_pictures else "content", "label_name", "label_names")
    for pk, uid, item, verdict, several in tasks.values_list(*columns).iterator(chunk_size=BLOCK):
        yield Settled(pk, uid, item, verdict, tuple(several or [verdict]))


def _items(project, rows):
    from .providers import local

    names = [row.item for row in rows]
    return local.pictures_of(names) if project.kind.sample_type == "IMAGE" else names


def _judged(project, model, rows: Sequence[Settled]) -> Iterator[Doubted]:
    """Those of `rows` of which `model` says otherwise."""
    if not rows:
        return
    columns: Mapping[str, int] = {name: column for column, name in enumerate(model.labels)}
    chances = model.predict_proba(_items(project, rows))
    kind, order = (
        project.kind,
        {name: place for place, name in enumerate(project.labels.values_list("name", flat=True))},
    )
    for row, chance, said in zip(rows, chances, model.chosen(chances), strict=True):
        if set(said) == set(row.labels) or not all(name in order for name in said):
            continue
        chosen = sorted(said, key=lambda name: order[name])
        answer = {"labels": chosen} if kind.allows_several else {"label": chosen[0]}
        yield Doubted(
            task=row.pk,
            verdict=row.verdict,
            answer=answer,
            suggestion=kind.label_name(answer),
            confidence=_likelihood(chance, columns, said, several=kind.allows_several),
            trust=_likelihood(chance, columns, row.labels, several=kind.allows_several),
        )


def _likelihood(chance, columns, labels, *, several) -> float:
    """How likely `labels` are the answer: of one label its chance; of several, that of the least certain yes or no."""
    if not several:
        return float(chance[columns[labels[0]]]) if labels[0] in columns else 0.0
    if not all(name in columns for name in labels):
        return 0.0
    wanted = {columns[name] for name in labels}
    return min(float(p if column in wanted else 1 - p) for column, p in enumerate(chance))

"""Entities as the contract sees our tasks: which of a dataset are asked for, what they say, and what is told of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet

from labelhub.accounts.models import User
from labelhub.fields import dump_json
from labelhub.setwise import Ids
from samples.models import Annotation, Dataset, Label, Source, StatusCount, Task, TaskLabel
from samples.models.tasks import TaskQuerySet
from samples.quality import Figures, measure
from samples.task_types import InvalidAnswer

ALL, ANNOTATED, NOT_ANNOTATED = 0, 1, 2
Times = tuple[datetime, datetime]
MEGABYTE = 1024 * 1024


def of_dataset(dataset: Dataset) -> TaskQuerySet:
    """Its sources' tasks, which are its project's; asked by source alone, an index counts them without a look at one."""
    return Task.objects.filter(source__in=list(dataset.sources.values_list("pk", flat=True)))


def own_answers(user: User) -> QuerySet[Annotation]:
    return Annotation.objects.filter(task=OuterRef("pk"), annotator=user)


def figures_of(task: Task) -> Figures:
    """As they were stored, or measured now where that has not happened yet."""
    stored = getattr(task, "statistics", None)
    if stored is None:
        return measure(task.content, task.locale)
    return Figures(*(getattr(stored, name) for name in Figures._fields))


class Listed(NamedTuple):
    """What entity/list asks for.

    An entity counts as annotated when it has its verdict, and before that for those who have answered it.
    """

    rows: QuerySet[Task]
    total: int
    total_all: int  # without the filters


def listed(dataset: Dataset, asked: Mapping[str, Any], user: User) -> Listed:
    """The entities of `dataset` under the filters of entity/list, and how many."""
    everything = _of_dataset_by_state(dataset)
    states = StatusCount.objects.tasks().filter(source__in=dataset.sources.all()).by_status()
    total_all, decided = sum(states.values()), states.get(Task.Status.COMPLETED, 0)
    if asked["tabType"] == ALL:
        rows, total = everything, total_all
    else:
        open_ones = everything.filter(status__in=[state for state in Task.Status if state != Task.Status.COMPLETED])
        mine = []
        if total_all > decided:
            mine = list(open_ones.filter(annotations__annotator=user).order_by().values_list("pk", flat=True))
        if asked["tabType"] == ANNOTATED:
            rows, total = everything.filter(status=Task.Status.COMPLETED), decided + len(mine)
            if mine:
                rows = everything.filter(Q(status=Task.Status.COMPLETED) | Q(pk__in=Ids(mine)))
        else:
            rows, total = open_ones, total_all - decided - len(mine)
            if mine:
                rows = rows.exclude(pk__in=Ids(mine))
    narrowed = _narrowed(rows, asked, user)
    return Listed(narrowed, total if narrowed is rows else narrowed.count(), total_all)


def _of_dataset_by_state(dataset: Dataset) -> TaskQuerySet:
    """As `of_dataset`; where that is all its project has, asked by project, for which there is an index on the state."""
    if Source.objects.filter(project=dataset.project_id).exclude(datasets=dataset).exists():
        return of_dataset(dataset)
    return Task.objects.filter(project=dataset.project_id)


def _narrowed(tasks: QuerySet[Task], asked: Mapping[str, Any], user: User) -> QuerySet[Task]:
    """`tasks` themselves where nothing more is asked; both ends of a time range belong to it."""
    if times := asked.get("importTime"):
        tasks = tasks.filter(created_at__range=times)
    if times := asked.get("annoTime"):
        answered_then = Exists(own_answers(user).filter(updated_at__range=times))
        decided_then = Q(status=Task.Status.COMPLETED, validated_at__range=times)
        tasks = tasks.filter(decided_then | ~Q(status=Task.Status.COMPLETED) & Q(answered_then))
    if ids := asked.get("labelId"):
        several = TaskLabel.objects.filter(task=OuterRef("pk"), label__in=ids)
        tasks = tasks.filter(Q(label__in=ids) | Exists(several))
    return tasks


def content_of(task: Task, user: User) -> str:
    """The entity's text as the contract writes one: the verdict, or before there is one what `user` answered himself."""
    answer = task.answer
    if not task.is_settled:
        answer = task.annotations.filter(annotator=user).values_list("answer", flat=True).first()
    return dump_json([{"prompt": task.content, "response": responses(answer, task)}])


def responses(answer: Mapping[str, Any] | None, task: Task) -> list[list[str]]:
    """An answer as the contract's list of responses, of two the better first; one empty text where there is none."""
    if answer is None:
        return [[""]]
    if task.kind.form == "pair":
        return [[answer["chosen"]], [answer["rejected"]]]
    return [[task.kind.label_name(answer)]]


def entity(task: Task, *, labels: Iterable[Label], url: str) -> dict[str, Any]:
    return {
        "id": task.uid,
        "name": str(task.media).rpartition("/")[2],
        "labels": [{"label_id": str(label.pk), "name": label.name, "color": label.colour} for label in labels],
        "url": url,
        "memorySize": max(0.01, round(len(task.content.encode()) / MEGABYTE, 2)),
        "isEncrypted": False,
        "textExtra": text_extra(figures_of(task)),
    }


def text_extra(figures: Figures) -> dict[str, Any]:
    """Whole numbers, as the contract types them: ratios and the probability in percent."""
    return {
        "domainType": "",
        "taskType": "",
        "wordNum": figures.word_number,
        "repetitiveCharRatio": percent(figures.repetitive_char_ratio),
        "specialCharRatio": percent(figures.special_char_ratio),
        "flaggedWordRatio": percent(figures.flagged_word_ratio),
        "langProb": percent(figures.language_probability),
        "perplexity": round(figures.perplexity or 0),
    }


def percent(ratio: float) -> int:
    return round(min(ratio, 1.0) * 100)


def labels_of(tasks: Iterable[Task]) -> dict[int, list[Label]]:
    """The labels of each verdict, by task; two statements whatever their number."""
    tasks = list(tasks)
    several: dict[int, list[Label]] = {}
    links = TaskLabel.objects.filter(task__in=tasks).select_related("label").order_by("label__position")
    for link in links:
        several.setdefault(link.task_id, []).append(link.label)
    return {task.pk: several.get(task.pk) or ([task.label] if task.label else []) for task in tasks}


# Annotating -----------------------------------------------------------------------------------------------------------


def answer_in(asked: Mapping[str, Any], task: Task) -> tuple[Any, str]:
    """The answer that entity/annotate gives to `task`, and the prompt it gives it to; InvalidAnswer where it is none."""
    if asked.get("labels"):
        return answer_of_labels(asked["labels"], task), task.content
    if len(asked["content"]) != 1:
        raise InvalidAnswer(
            f"content has {len(asked['content'])} turns; an entity here is one prompt with its response"
        )
    turn = asked["content"][0]
    said = [text for candidate in turn.get("response", []) for text in candidate]
    if not said:
        raise InvalidAnswer('response is empty; write "response": [["…"]]')
    return answer_of_texts(said, task), turn["prompt"]


def answer_of_texts(said: list[str], task: Task) -> Any:
    kind = task.kind
    if kind.form == "pair":  # the better response, then the other, as a ranking puts them
        given = dict(zip(("chosen", "rejected"), said, strict=False))
        if len(said) > 2:
            raise InvalidAnswer(f"response has {len(said)} texts; a preference ranks two")
        return kind.clean(given, choices=task.choices)
    if kind.allows_several and len(said) > 1:
        return kind.clean(said, choices=task.choices)
    if len(said) != 1:
        raise InvalidAnswer(f"response has {len(said)} texts; an entity here takes one")
    return kind.from_text(said[0], choices=() if not kind.has_labels else task.choices)


def answer_of_labels(told: Iterable[Mapping[str, str]], task: Task) -> Any:
    """The answer that names these labels, by `name` or by `label_id`."""
    kind = task.kind
    if not kind.has_labels:
        raise InvalidAnswer("an entity of this dataset is annotated with content, not with labels")
    known = {str(label.pk): label.name for label in task.project.labels.all()}
    names = []
    for label in told:
        name = label.get("name") or known.get(label["label_id"])
        if name is None:
            raise InvalidAnswer(f"no such label_id: {label['label_id']}")
        names.append(name)
    if not kind.allows_several and len(names) != 1:
        raise InvalidAnswer(f"{len(names)} labels given; an entity of this dataset takes one")
    return kind.clean(names if kind.allows_several else names[0], choices=task.choices)

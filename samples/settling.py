"""Settling: the answers to a task become a verdict or none, and a verdict becomes a PENDING sample at once."""

import json
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, Count, Exists, F, Max, OuterRef, Q, QuerySet, TextField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.setwise import Ids, insert_select, update_each
from samples import consensus, task_types
from samples.consensus.weighted import weight_of

from .errors import WrongState
from .models import Annotation, Label, Project, Sample, Task, TaskLabel
from .models.verdicts import VERDICT_FIELDS
from .permissions import require

CHUNK = 1_000  # tasks counted in one transaction: short enough that nobody waits for SQLite's one writer

# The columns that tell what was decided; with what the item is, they are what a sample copies.
DECIDED = (
    "label",
    "label_name",
    "label_names",
    "label_index",
    "answer",
    "vote_shares",
    "confidence",
    "validated_at",
)


class Settled(NamedTuple):
    """How many tasks got a verdict, and how many were counted and got none."""

    completed: int
    failed: int


def settle(task: Task, *, by=None) -> Task:
    """Count the answers to `task` under its project's rule, if enough have answered; `by` is whose answer made it so.

    A task that has a verdict is counted again; where the verdict changes, its sample goes back to PENDING, and where it
    is lost, the sample is rejected. A verdict that a reviewer gave, or that came without answers, stands.
    """
    _count([task.pk], records=_records(Task.objects.filter(pk=task.pk), but=task), by=by)
    task.refresh_from_db()
    return task


def settle_all(tasks: QuerySet[Task]) -> Settled:
    """The same for those of `tasks` that have answers and no verdict, a hundred thousand at a time.

    Each chunk is a transaction of its own, so a run that was cut off is simply started again. Every annotator's record
    is taken once, as it stands when the run begins.
    """
    answered = Exists(Annotation.objects.filter(task=OuterRef("pk")))
    waiting = unsliced(tasks).exclude(status=Task.Status.COMPLETED).filter(answered, decided_by=None).order_by("pk")
    records = _records(waiting)
    # Eight bytes a task, looked up once: a walk in pages would look through what is left for every page.
    pks = array("q", dict.fromkeys(waiting.values_list("pk", flat=True).iterator(chunk_size=10_000)))
    completed = failed = 0
    for start in range(0, len(pks), CHUNK):
        counted = _count(pks[start : start + CHUNK].tolist(), records=records)
        completed += counted.completed
        failed += counted.failed
    return Settled(completed, failed)


def unsliced(rows: QuerySet) -> QuerySet:
    """`rows` as a queryset that takes further filters."""
    return rows.model.objects.filter(pk__in=rows.values("pk")) if rows.query.is_sliced else rows


@transaction.atomic
def decide(task: Task, *, by, answer: Any, reason: str = "") -> Sample:
    """Give a task without a verdict the one the reviewer `by` says, and return the sample made of it."""
    require(by, Power.REVIEW, task.project)
    lock(task)
    if task.is_settled:
        raise WrongState(f"task {task.pk} has its verdict, “{task.label_name}”: revise its sample instead", id=task.pk)
    before = task.status
    overrule(task, by=by, answer=answer, action="decide", reason=reason)
    audit.record(task, "decide", by=by, before=before, after=told(task), reason=reason)
    return task.sample


def lock(task: Task) -> None:
    """Hold the row of `task` until the transaction ends, and read it again: whoever answers or decides waits here.

    Its key stays free (`no_key`, as for every row locked here that others point to): PostgreSQL checks references at the
    end of a transaction, and who then waits for the row, holding others, is how deadlocks begin.
    """
    task.refresh_from_db(from_queryset=Task.objects.select_for_update(no_key=True))


def overrule(task: Task, *, by, answer: Any, action: str, reason: str = "") -> None:
    """Write a reviewer's verdict on the locked `task` and bring its sample into line.

    The votes and their shares stay as they were cast; the confidence is that of a decision, 1.
    """
    previous = {task.pk: task.answer}
    answer = task.kind.clean(answer, choices=task.choices)
    labels = {label.name: label for label in task.project.labels.all()}
    for name, value in verdict_columns(answer, kind=task.kind, labels=labels, options=task.options).items():
        setattr(task, name, value)
    task.confidence = 1.0
    task.validated_at = timezone.now()
    task.status = Task.Status.COMPLETED
    task.decided_by = by
    _write([task], labels={task.project_id: labels})
    _bring_into_line([task], previous=previous, action=action, by=by, reason=reason)
    accept_all(Task.objects.filter(pk=task.pk), by=by)


def unsettle(task: Task, *, by) -> None:
    """Take the verdict off the locked `task`, which waits for answers again; a sample made of it is rejected."""
    previous = {task.pk: task.answer}
    for name in DECIDED:
        setattr(task, name, None)
    task.status = Task.Status.PENDING
    task.decided_by = None
    _write([task], labels={task.project_id: {}})
    _bring_into_line([task], previous=previous, action="withdrawn", by=by)


def verdict_columns(
    answer: Mapping[str, Any],
    *,
    kind: task_types.TaskType,
    labels: Mapping[str, Label],
    options: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What the canonical `answer` puts into the columns that tell a verdict; `labels` are the project's, by name."""
    name = kind.label_name(answer)
    names_one = kind.has_labels and not kind.allows_several
    label = labels.get(name) if names_one else None
    index = label.position if label else options.index(name) if names_one and options else None
    return {
        "answer": answer,
        "label": label,
        "label_name": name,
        "label_names": kind.label_names(answer),
        "label_index": index,
    }


@transaction.atomic
def accept_all(tasks: QuerySet[Task], *, by=None) -> int:
    """Make a PENDING sample of each settled task that has none yet, in one statement; returns how many."""
    return _make_samples(Task.objects.completed().filter(pk__in=tasks.values("pk"), sample=None), by=by, meets=True)


@transaction.atomic
def accept_fresh(task_ids: Sequence[int], *, by=None) -> int:
    """The same for settled tasks that this transaction has just written: they cannot have one."""
    return _make_samples(Task.objects.filter(pk__in=Ids(task_ids)), by=by, meets=False) if task_ids else 0


def _make_samples(settled: QuerySet[Task], *, by, meets: bool) -> int:
    """`meets`: another may be making samples of the same tasks at this moment, and then his stand."""
    at = timezone.now()
    newest = Sample.objects.aggregate(newest=Max("pk"))["newest"] or 0
    special = [
        When(type=kind.name, then=Value(kind.sample_type)) for kind in task_types.MENU if kind.sample_type != "TEXT"
    ]
    columns: dict[str, str | Combinable] = {
        "task": "pk",
        "project": "project",
        "sample_type": Case(*special, default=Value("TEXT")),
        "status": Value(Sample.Status.PENDING),
        "reason": Value(""),
        "created_at": Value(at),
        "updated_at": Value(at),
        "label": "label",
        **{name: name for name in VERDICT_FIELDS},
    }
    made = insert_select(Sample, settled.order_by("pk"), columns, ignore_conflicts=meets)
    if made:  # numbered after all that were there, and stamped: exactly these
        fresh = Sample.objects.filter(pk__gt=newest, created_at=at)
        audit.record_all(fresh, "create", by=by, after=Sample.Status.PENDING, at=at)
    return made


def told(row: Task | Sample) -> str:
    """The state and the verdict of `row` for the audit trail."""
    return f"{row.status}: {row.label_name}"[:200] if row.label_name else row.status


# Counting -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """How often an annotator was judged by a verdict, and how often he had said the same."""

    agreed: int = 0
    judged: int = 0


Records = Mapping[tuple[int, int], Record]  # (project, annotator) -> record


def _records(tasks: QuerySet[Task], *, but: Task | None = None) -> Records:
    """The records of everyone who answered `tasks`, over the settled tasks of their projects except `but`.

    Empty where no project's rule asks for records. Free texts count as agreeing when they are the same to the letter.
    """
    rules = [rule.name for rule in consensus.MENU if rule.uses_records]
    projects = list(
        Project.objects.filter(pk__in=tasks.order_by().values("project"), consensus_rule__in=rules).values_list(
            "pk", flat=True
        )
    )
    if not projects:
        return {}
    judged = Annotation.objects.filter(
        task__project__in=projects,
        task__status=Task.Status.COMPLETED,
        annotator__in=Annotation.objects.filter(task__in=tasks.order_by().values("pk")).values("annotator"),
    )
    if but is not None:
        judged = judged.exclude(task=but)
    counts = (
        judged.order_by()
        .values_list("task__project", "annotator")
        .annotate(agreed=Count("pk", filter=Q(answer=F("task__answer"))), judged=Count("pk"))
    )
    return {(project, annotator): Record(agreed, judged) for project, annotator, agreed, judged in counts}


@transaction.atomic
def _count(pks: Collection[int], *, records: Records, by=None) -> Settled:
    """Count the answers to the tasks `pks`, write what changed, and bring their samples into line."""
    tasks = list(
        Task.objects.select_for_update(no_key=True)
        .filter(pk__in=Ids(pks), decided_by=None)
        .defer("content", "metadata")
        .order_by("pk")
    )
    projects = Project.objects.in_bulk({task.project_id for task in tasks})
    labels: dict[int, dict[str, Label]] = {pk: {} for pk in projects}
    for label in Label.objects.filter(project__in=projects).order_by("position"):
        labels[label.project_id][label.name] = label
    answers = defaultdict(list)
    given = Annotation.objects.filter(task__in=Ids(task.pk for task in tasks)).order_by("pk")
    as_text = given.annotate(text=Cast("answer", TextField()))
    for task_id, annotator_id, text in as_text.values_list("task_id", "annotator_id", "text"):
        answers[task_id].append((annotator_id, text))

    now = timezone.now()
    previous = {task.pk: task.answer for task in tasks}
    counted, changed = [], []
    outcomes: dict[tuple, dict[str, Any]] = {}  # most tasks of a project come to one of a few
    for task in tasks:
        project = projects[task.project_id]
        votes = tuple(
            (text, _weight(records.get((project.pk, annotator), Record()))) for annotator, text in answers[task.pk]
        )
        if not votes:
            continue
        was = _state(task)
        needed = task.validations_needed or project.validations_needed
        if len(votes) < needed and task.status in Task.OPEN:
            task.status = Task.Status.VALIDATING
        else:
            counted.append(task)
            asked = (project.pk, votes)
            outcome = outcomes.get(asked) if task.options is None else None
            if outcome is None:
                outcome = _outcome(task, votes, project=project, labels=labels[project.pk])
                if task.options is None:
                    outcomes[asked] = outcome
            _apply(task, outcome, at=now)
        if _state(task) != was:
            changed.append(task)
    _write(changed, labels=labels)
    _bring_into_line(changed, previous=previous, action="edited", by=by)
    completed = [task.pk for task in counted if task.is_settled]
    if completed:
        accept_all(Task.objects.filter(pk__in=Ids(completed)), by=by)
    return Settled(len(completed), len(counted) - len(completed))


def _weight(record):
    return weight_of(record.agreed, record.judged)


def _state(task):
    return (task.status, *(getattr(task, name) for name in DECIDED))


def _outcome(task, votes, *, project, labels) -> dict[str, Any]:
    """What the `votes` on `task` come to: its status and the columns that tell a verdict, but for the moment."""
    settlement = task.kind.settle(
        [(json.loads(text), weight) for text, weight in votes],
        rule=consensus.get(project.consensus_rule),
        threshold=project.consensus_threshold,
        choices=task.options or list(labels),
    )
    shares = {value: round(share, 4) for value, share in settlement.shares.items()}
    if settlement.answer is None:
        return dict.fromkeys(DECIDED) | {"status": Task.Status.FAILED, "vote_shares": shares}
    return {
        "status": Task.Status.COMPLETED,
        "vote_shares": shares,
        "confidence": round(settlement.confidence, 4),
        **verdict_columns(settlement.answer, kind=task.kind, labels=labels, options=task.options),
    }


def _apply(task, outcome, *, at):
    """Put on `task` what its votes come to; a verdict that stays keeps its moment."""
    if outcome["status"] == Task.Status.COMPLETED and task.answer != outcome["answer"]:
        task.validated_at = at
    for name, value in outcome.items():
        setattr(task, name, value)


def _write(tasks: Iterable[Task], *, labels: Mapping[int, Mapping[str, Label]]) -> None:
    """Save the verdicts of `tasks`, and the links to several labels where a type allows them."""
    tasks = list(tasks)
    now = timezone.now()
    update_each(
        Task,
        ("status", "decided_by", "updated_at", *DECIDED),
        (
            (task.pk, task.status, task.decided_by_id, now, task.label_id, *(getattr(task, n) for n in DECIDED[1:]))
            for task in tasks
        ),
    )
    several = [task for task in tasks if task.kind.allows_several]
    if several:
        TaskLabel.objects.filter(task__in=several).delete()
        TaskLabel.objects.bulk_create(
            TaskLabel(task=task, label=labels[task.project_id][name])
            for task in several
            for name in task.label_names or ()
            if name in labels[task.project_id]
        )


def _bring_into_line(
    tasks: Iterable[Task], *, previous: Mapping[int, Any], action: str, by=None, reason: str = ""
) -> None:
    """Let the samples that `tasks` already have follow their verdicts; `previous` holds the answers before.

    Another answer sets a sample back to PENDING, an answer lost rejects it; where only the shares moved, a reviewed
    sample stays as it was reviewed.
    """
    by_pk = {task.pk: task for task in tasks}
    for sample in Sample.objects.select_for_update().filter(task__in=Ids(by_pk)).order_by("pk"):
        task = by_pk[sample.task_id]
        before = told(sample)
        is_other = task.answer != previous[task.pk]
        if task.answer is None:
            _reject_lost(sample, by=by)
        elif is_other or sample.status == Sample.Status.PENDING:
            for name in DECIDED:
                setattr(sample, name, getattr(task, name))
            sample.status = Sample.Status.PENDING
            sample.reviewed_by = sample.reviewed_at = None
            sample.reason = ""
            sample.save(update_fields=[*DECIDED, "status", "reviewed_by", "reviewed_at", "reason", "updated_at"])
            if is_other:
                audit.record(sample, action, by=by, before=before, after=told(sample), reason=reason)


def _reject_lost(sample, *, by):
    """Reject the sample of a task whose answers no longer agree: it states what nobody decided."""
    before = told(sample)
    if sample.status == Sample.Status.REJECTED:
        return
    sample.status = Sample.Status.REJECTED
    sample.reviewed_by = None
    sample.reviewed_at = timezone.now()
    sample.reason = "the answers no longer agree"
    sample.save(update_fields=["status", "reviewed_by", "reviewed_at", "reason", "updated_at"])
    audit.record(sample, "edited", by=by, before=before, after=told(sample), reason=sample.reason)

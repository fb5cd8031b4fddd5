"""Rows become tasks, in batches inside one transaction: all of a file or nothing of it."""

from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.models import new_uid
from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.setwise import insert_rows, update_each
from samples.errors import BadRow, InvalidValue
from samples.models import Annotation, AnnotationLabel, Dataset, Project, Source, Task, TaskLabel
from samples.projects import checked
from samples.settling import accept_all, settle_all
from samples.task_types import InvalidAnswer

from .answering import VERDICT_COLUMNS, Answer, Answers
from .reading import TABLES, Layout, Readable, Row, batches, kind_of, read
from .recognising import Columns, Item, Recogniser

BATCH = 2_000
ERRORS_KEPT = 1_000

ITEM_COLUMNS = ("uid", "external_id", "content", "locale", "options", "metadata", "occurred_at")
SURETY_COLUMNS = ("confidence", "validated_at")
NO_VERDICT = (Task.Status.PENDING.value, *(None for _ in VERDICT_COLUMNS + SURETY_COLUMNS))


class RowError(NamedTuple):
    """Why a row was left out."""

    line: int
    field: str
    reason: str

    def __str__(self):
        where = f"line {self.line}, {self.field}" if self.field else f"line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class Imported:
    """What became of a file's rows: every one is counted once, as created, updated, unchanged or skipped.

    `updated` are tasks that were there and got the row's answer; `errors` are the first thousand of the `skipped`.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    errors: list[RowError] = field(default_factory=list)
    labels_added: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    """A task that a row speaks of: in the database (with a pk), or to be made at the end of the batch."""

    content: str
    options: list[str] | None
    status: str = Task.Status.PENDING
    answer: dict[str, Any] | None = None  # its verdict; where answers are imported, what the annotator said
    pk: int | None = None
    line: int | None = None  # where in this file it stands
    uid: str = ""
    given: tuple[Item, Answer] | None = None  # what this batch says about it

    @property
    def where(self) -> str:
        return f"line {self.line}" if self.line else "the project"


def import_tasks(
    project: Project,
    file: Readable,
    *,
    name: str,
    source: str = "import",
    by=None,
    columns: Columns = Columns(),  # noqa: B008  (frozen)
    layout: Layout = Layout(),  # noqa: B008  (frozen)
    labels_as: Literal["verdict", "annotations"] = "verdict",
    annotator=None,
    locale: str | None = None,
    dataset: str | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    new_labels: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Imported:
    """Make tasks of the rows of the binary `file`, called `name`, in the project's source called `source`.

    The same file twice changes nothing: a row is known again by its id, or by what it asks. A label cell becomes the
    task's verdict and a PENDING sample, or an answer of `annotator`, which settles the task when enough have answered.
    `locale` overrules what rows say; `dataset` is a choice of sources that this one joins. A row that cannot be taken
    raises BadRow and leaves everything as it was ("stop"), or is left out and reported ("skip"); a file that cannot be
    read raises BadFile in either case. `progress` hears how many bytes more were read. The caller has asked whether
    `by` may import here.
    """
    if labels_as not in ("verdict", "annotations"):
        raise InvalidValue(f"labels_as is {labels_as!r}; it may be verdict or annotations", field="labels_as")
    if on_error not in ("stop", "skip"):
        raise InvalidValue(f"on_error is {on_error!r}; it may be stop or skip", field="on_error")
    if (labels_as == "annotations") != (annotator is not None):
        raise InvalidValue("labels imported as annotations need an annotator, verdicts have none", field="annotator")
    rows = read(file, name=name, layout=layout, progress=progress)
    recogniser = Recogniser(
        project,
        columns=columns,
        locale=locale,
        verdicts=labels_as == "verdict",
        same_columns=kind_of(name, layout) in TABLES,
    )
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # the list of labels grows for one at a time
        channel = _source(project, source, dataset)
        answers = Answers(project, label_map=columns.label_map, new_labels=new_labels)
        run = _Run(channel, recogniser, answers, by=by, annotator=annotator, name=name, stops=on_error == "stop")
        for batch in batches(rows, BATCH):
            run.take(batch)
        recogniser.check_names()
        return run.finish()


def _source(project: Project, name: str, dataset: str | None) -> Source:
    """The source called `name`, made where there is none and locked: its external ids are given out by one at a time."""
    source = Source.objects.select_for_update().filter(project=project, name=name).first()
    if source is None:
        source = Source(project=project, name=name)
        checked(source)
        source.save()
    if dataset is not None:
        choice = Dataset.objects.filter(project=project, name=dataset).first()
        if choice is None:
            choice = Dataset(project=project, name=dataset)
            checked(choice)
            choice.save()
        choice.sources.add(source)
    return source


class _Run:
    """One import under way."""

    def __init__(self, source: Source, recogniser: Recogniser, answers: Answers, *, by, annotator, name, stops):
        self.source, self.project, self.kind = source, source.project, source.project.kind
        self.recogniser, self.answers = recogniser, answers
        self.by, self.annotator, self.name, self.stops = by, annotator, name, stops
        self.now = timezone.now()
        self.created = self.updated = self.unchanged = self.skipped = 0
        self.errors: list[RowError] = []
        # Where each task of this file stands, to name the first of two that clash: 16 bytes a row, not a dict entry.
        self.hashes, self.lines = array("q"), array("q")

    def take(self, rows: Iterable[Row]) -> None:
        """Read a batch of rows, then write what is new in it."""
        items = self._recognised(rows)
        known, taken = self._look_up(items)
        new: list[tuple[_Known, Item]] = []
        answered: list[_Known] = []
        for item in items:
            task = known.get(item.external_id)
            if task and task.answer and item.other_id and self.kind.label_name(task.answer) != item.answer:
                item = item._replace(external_id=item.other_id)
                task = known.get(item.external_id)
            try:
                answer = self._answer_for(task, item)
            except (BadRow, InvalidAnswer, InvalidValue) as fact:
                self._refuse(item.line, fact, part="label")
                continue
            if task is None:
                self.created += 1
                task = known[item.external_id] = _Known(item.content, item.options, line=item.line)
                task.uid = item.uid if item.uid and item.uid not in taken else new_uid()
                new.append((task, item))
            elif answer is None:
                self.unchanged += 1
            else:
                self.updated += 1
            if answer is not None:
                self.answers.accept(answer)
                task.answer, task.given = answer.value, (item, answer)
                answered.append(task)
        self.answers.save()
        self._write(new, answered)

    def finish(self) -> Imported:
        if self.annotator is not None:
            # One filter: this annotator's answers of this import.
            given = Task.objects.filter(annotations__annotator=self.annotator, annotations__created_at=self.now)
            settle_all(given)
        if self.created or self.updated:
            what = f"{self.created} created, {self.updated} updated, {self.unchanged} unchanged, {self.skipped} skipped"
            audit.record(self.source, "import", by=self.by, after=what, reason=self.name)
        return Imported(self.created, self.updated, self.unchanged, self.skipped, self.errors, list(self.answers.added))

    # Reading ----------------------------------------------------------------------------------------------------------

    def _recognised(self, rows: Iterable[Row]) -> list[Item]:
        items = []
        for line, row in rows:
            try:
                if isinstance(row, BadRow):
                    raise row
                items.append(self.recogniser.item(line, row))
            except (BadRow, InvalidAnswer) as fact:
                self._refuse(line, fact, part="content" if isinstance(fact, InvalidAnswer) else "")
        return items

    def _refuse(self, line: int, fact: Fact, *, part: str) -> None:
        error = RowError(line, fact.details.get("field", part), fact.message)
        if self.stops:
            raise BadRow(f"{self.name}, {error}", line=line, field=error.field, reason=error.reason) from fact
        self.skipped += 1
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(error)

    def _look_up(self, items: list[Item]) -> tuple[dict[str, _Known], set[str]]:
        """The tasks that `items` speak of, by external id, and the uids that belong to tasks elsewhere.

        A row that this hub exported carries its task's uid as its id: it is known again whatever source it came from.
        """
        wanted = ("external_id", "uid", "pk", "content", "options", "answer", "status", "project_id")
        found = {}
        ids = [item.external_id for item in items] + [item.other_id for item in items if item.other_id]
        tasks = Task.objects.filter(source=self.source, external_id__in=ids)
        for row in tasks.values_list(*wanted):
            found[row[0]] = row
        uids = [item.uid for item in items if item.uid and item.external_id not in found]
        taken = set()
        for row in Task.objects.filter(uid__in=uids).values_list(*wanted) if uids else ():
            if row[-1] == self.project.pk:
                found[row[1]] = row
            else:
                taken.add(row[1])
        said = {}
        if self.annotator is not None and found:
            given = Annotation.objects.filter(annotator=self.annotator, task__in=[row[2] for row in found.values()])
            said = dict(given.values_list("task_id", "answer"))
        known = {}
        for external_id, (_, _, pk, content, options, answer, status, _) in found.items():
            earlier = answer if self.annotator is None else said.get(pk)
            known[external_id] = _Known(content, options, status, earlier, pk)
        return known, taken

    def _answer_for(self, task: _Known | None, item: Item) -> Answer | None:
        """What `item` answers that `task` has not got; None where it says nothing new, BadRow where the two disagree."""
        if task is None:
            return None if item.answer is None else self.answers.read(item.answer, item.options)
        if task.content != item.content or task.options != item.options:
            self._place(task, item)
            raise BadRow(f"the id {item.external_id!r} already belongs to another item ({task.where})", field="id")
        if item.answer is None:
            return None
        answer = self.answers.read(item.answer, item.options)
        if answer.value == task.answer:
            return None
        if task.answer is not None:
            self._place(task, item)
            there, here = self.kind.label_name(task.answer), self.kind.label_name(answer.value)
            raise BadRow(f"the same item is labelled {there!r} ({task.where}), not {here!r}", field="label")
        if self.annotator is None and task.status != Task.Status.PENDING:
            raise BadRow(f"people have answered this item, it is {task.status}: a file cannot decide it", field="label")
        if self.annotator is not None and task.status == Task.Status.COMPLETED:
            raise BadRow("this item has its verdict and takes no further answers", field="label")
        return answer

    def _place(self, task: _Known, item: Item) -> None:
        """Find the line of `task`, if an earlier batch of this file made it."""
        if task.line is None and len(self.errors) < ERRORS_KEPT:
            with suppress(ValueError):
                task.line = self.lines[self.hashes.index(hash(item.external_id))]

    # Writing ----------------------------------------------------------------------------------------------------------

    def _write(self, new: list[tuple[_Known, Item]], answered: list[_Known]) -> None:
        for _, item in new:
            self.hashes.append(hash(item.external_id))
            self.lines.append(item.line)
        before = Task.objects.aggregate(last=Max("pk"))["last"] or 0
        insert_rows(
            Task,
            (*ITEM_COLUMNS, "status", *VERDICT_COLUMNS, *SURETY_COLUMNS),
            (self._row(task, item) for task, item in new),
            same={
                "project": self.project.pk,
                "source": self.source.pk,
                "type": self.project.task_type,
                "created_at": self.now,
                "updated_at": self.now,
            },
        )
        if answered:
            # The source is locked, so whatever it holds beyond that number is what was just written.
            fresh = Task.objects.filter(source=self.source, pk__gt=before)
            if self.annotator is None:
                self._write_verdicts(answered, fresh=fresh)
            else:
                self._write_annotations(answered, fresh=fresh)

    def _row(self, task: _Known, item: Item) -> tuple:
        options = item.options and dump_json(item.options)
        what = (task.uid, item.external_id, item.content, item.locale, options, item.metadata, item.occurred_at)
        if task.given is None or self.annotator is not None:
            return what + NO_VERDICT
        says, answer = task.given
        return (*what, Task.Status.COMPLETED.value, *self.answers.written(answer, item.options), *self._surety(says))

    def _surety(self, item: Item) -> tuple:
        return (1.0 if item.confidence is None else item.confidence, item.validated_at or self.now)

    def _write_verdicts(self, tasks: list[_Known], *, fresh: QuerySet[Task]) -> None:
        """Settle the tasks that were there already, link several labels, and make the samples."""
        older = {task.pk: task.given for task in tasks if task.pk and task.given}
        rows = []
        for pk, (item, answer) in older.items():
            verdict = self.answers.verdict(answer.value, item.options)
            columns = (verdict[name] for name in VERDICT_COLUMNS)
            rows.append((pk, Task.Status.COMPLETED, self.now, *columns, *self._surety(item)))
        update_each(Task, ("status", "updated_at", *VERDICT_COLUMNS, *SURETY_COLUMNS), rows)
        if self.kind.allows_several:
            self._number(tasks, fresh)
            insert_rows(
                TaskLabel, ("task", "label"), ((task.pk, pk) for task in tasks for pk in self._labels(task)), same={}
            )
        accept_all(fresh, by=self.by)
        if older:
            accept_all(Task.objects.filter(pk__in=list(older)), by=self.by)

    def _write_annotations(self, tasks: list[_Known], *, fresh: QuerySet[Task]) -> None:
        self._number(tasks, fresh)
        several = self.kind.allows_several
        rows = []
        for task in tasks:
            labels = self._labels(task)
            rows.append((task.pk, dump_json(task.answer), labels[0] if labels and not several else None))
        same = {"annotator": self.annotator.pk, "created_at": self.now, "updated_at": self.now}
        insert_rows(Annotation, ("task", "answer", "label"), rows, same=same)
        if several:
            given = Annotation.objects.filter(annotator=self.annotator, task__in=[task.pk for task in tasks])
            pks = dict(given.values_list("task_id", "pk"))
            links = ((pks[task.pk], label) for task in tasks if task.pk for label in self._labels(task))
            insert_rows(AnnotationLabel, ("annotation", "label"), links, same={})

    def _number(self, tasks: list[_Known], fresh: QuerySet[Task]) -> None:
        """Give the tasks that were just written the primary keys the database chose."""
        pks = dict(fresh.values_list("uid", "pk"))
        for task in tasks:
            task.pk = task.pk or pks[task.uid]

    def _labels(self, task: _Known) -> list[int]:
        """The project's labels that the answer names."""
        if not self.kind.has_labels or task.answer is None:
            return []
        names = self.kind.label_names(task.answer) or [self.kind.label_name(task.answer)]
        return [self.answers.labels[name].pk for name in names if name in self.answers.labels]

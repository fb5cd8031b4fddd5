"""Rows become tasks: the file is read to its end first, then written in blocks, a transaction each.

A file that cannot be taken is refused before anything is written. What only the database can tell (the id belongs to
another item, people have decided otherwise) may stop an import between two blocks: the blocks before it stay, the
message says so, and the same file again goes on from there, for rows are known again. The same holds for a process
that is killed. Nobody waits longer than a block for SQLite's one writer.
"""

import pickle
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.models import AuditEntry, new_uids
from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.setwise import Ids, Texts, insert_rows, new_ids, update_each
from samples.errors import BadRow, InvalidValue
from samples.looking_over import look_over
from samples.models import Annotation, AnnotationLabel, Dataset, Project, Source, Task, TaskLabel
from samples.projects import checked
from samples.settling import accept_all, accept_fresh, settle_all
from samples.task_types import InvalidAnswer

from .answering import VERDICT_COLUMNS, Answer, Answers
from .reading import TABLES, Layout, Readable, Row, batches, kind_of, read
from .recognising import Columns, Item, Recogniser

BATCH = 2_000  # rows written in one transaction
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
    written: Callable[[int, int], object] | None = None,
) -> Imported:
    """Make tasks of the rows of the binary `file`, called `name`, in the project's source called `source`.

    The same file twice changes nothing: a row is known again by its id, or by what it asks. A label cell becomes the
    task's verdict and a PENDING sample, or an answer of `annotator`, which settles the task when enough have answered.
    `locale` overrules what rows say; `dataset` is a choice of sources that this one joins. A row that cannot be taken
    raises BadRow ("stop"), or is left out and reported ("skip"); a file that cannot be read raises BadFile in either
    case, and leaves everything as it was. So does a bad row, unless it contradicts what the database holds and stands
    beyond the first BATCH rows: then those before its block are there, as the message says. `progress` hears how many
    bytes more were read, `written`, between two transactions, how many rows are written and how many there are. The
    caller has asked whether `by` may import here.
    """
    if labels_as not in ("verdict", "annotations"):
        raise InvalidValue(f"labels_as is {labels_as!r}; it may be verdict or annotations", field="labels_as")
    if on_error not in ("stop", "skip"):
        raise InvalidValue(f"on_error is {on_error!r}; it may be stop or skip", field="on_error")
    if (labels_as == "annotations") != (annotator is not None):
        raise InvalidValue("labels imported as annotations need an annotator, verdicts have none", field="annotator")
    reader = _Reader(
        project,
        Recogniser(
            project,
            columns=columns,
            locale=locale,
            verdicts=labels_as == "verdict",
            same_columns=kind_of(name, layout) in TABLES,
        ),
        Answers(project, label_map=columns.label_map, new_labels=new_labels),
        name=name,
        stops=on_error == "stop",
    )
    with tempfile.TemporaryFile() as read_rows:
        total, repeated = reader.read_all(read(file, name=name, layout=layout, progress=progress), into=read_rows)
        read_rows.seek(0)
        run = _Run(
            project,
            Answers(project, label_map=columns.label_map, new_labels=new_labels),
            reader.refusals,
            repeated,
            source=source,
            dataset=dataset,
            by=by,
            annotator=annotator,
        )
        for items in _kept_blocks(read_rows):
            run.take(items)
            if written:
                written(run.seen, total)
        return run.finish()


def _kept_blocks(file: IO[bytes]) -> Iterator[list[Item]]:
    while True:
        try:
            yield list(map(Item._make, pickle.load(file)))
        except EOFError:
            return


class _Refusals:
    """The rows that were left out; or the first of them, which stops everything."""

    def __init__(self, name: str, *, stops: bool):
        self.name, self.stops = name, stops
        self.count = 0
        self.errors: list[RowError] = []

    def add(self, line: int, fact: Fact, *, part: str, after: str = "") -> None:
        """Leave the row out, or raise BadRow; `after` tells what the database holds of the file by then."""
        error = RowError(line, fact.details.get("field", part), fact.message)
        if self.stops:
            taken = {"taken": True} if after else {}
            where = {"line": line, "field": error.field, "reason": error.reason, **taken}
            raise BadRow(f"{self.name}, {error}{after}", **where) from fact
        self.count += 1
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(error)


class _Reader:
    """The first half of an import: the whole file is read and understood before a row of it is written.

    What the file alone can tell (that it breaks off, that a row has no content, that a label is not on the list) is
    known then, with the database untouched and nobody kept waiting.
    """

    def __init__(self, project: Project, recogniser: Recogniser, answers: Answers, *, name: str, stops: bool):
        self.recogniser, self.answers = recogniser, answers
        self.refusals = _Refusals(name, stops=stops)

    def read_all(self, rows: Iterable[Row], *, into: IO[bytes]) -> tuple[int, set[int]]:
        """Write the items of `rows` to the file `into`, block by block.

        Returns how many they are, and the hashes of the external ids that more than one of them may have: of most files
        there are none.
        """
        count, hashes = 0, array("q")  # 8 bytes a row
        for block in batches(rows, BATCH):
            items = self._recognised(block)
            count += len(items)
            hashes.extend(map(hash, _names(items)))
            pickle.dump(list(map(tuple, items)), into, pickle.HIGHEST_PROTOCOL)
        self.recogniser.check_names()
        ordered = np.sort(hashes)
        return count, set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())

    def _recognised(self, rows: Iterable[Row]) -> list[Item]:
        items = []
        for line, row in rows:
            part = ""
            try:
                if isinstance(row, BadRow):
                    raise row
                item = self.recogniser.item(line, row)
                if item.answer is not None and self.refusals.stops:
                    part = "label"
                    self.answers.accept(self.answers.read(item.answer, item.options))
                items.append(item)
            except (BadRow, InvalidAnswer, InvalidValue) as fact:
                self.refusals.add(line, fact, part=part or ("content" if isinstance(fact, InvalidAnswer) else ""))
        return items


def _names(items: Iterable[Item]) -> Iterator[str]:
    """Every external id that one of `items` may get."""
    for item in items:
        yield item.external_id
        if item.other_id:
            yield item.other_id


def _source(project: Project, name: str, dataset: str | None) -> Source:
    """The source called `name`, made where there is none and locked: its external ids are given out by one at a time."""
    source = Source.objects.select_for_update(no_key=True).filter(project=project, name=name).first()
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
    """The second half of an import: blocks of items become rows of the database."""

    def __init__(
        self,
        project: Project,
        answers: Answers,
        refusals: _Refusals,
        repeated: set[int],
        *,
        source,
        dataset,
        by,
        annotator,
    ):
        self.project, self.kind = project, project.kind
        self.repeated = repeated
        self.answers, self.refusals = answers, refusals
        self.source_name, self.dataset_name = source, dataset
        self.by, self.annotator = by, annotator
        self.now = timezone.now()
        self.created = self.updated = self.unchanged = self.seen = 0
        self.entry: AuditEntry | None = None
        self.is_alone = True  # in the source, as far as is known
        self.last: int | None = None  # the newest task, by its key, that this run has made
        # Where each task of this file stands, to name the first of two that clash: 16 bytes a row, not a dict entry.
        self.hashes, self.lines = array("q"), array("q")

    def take(self, items: list[Item]) -> None:
        """Write what is new in a block, all of it or nothing, with the counts for the audit trail."""
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get(
                pk=self.project.pk
            )  # the list of labels grows for one at a time
            self.source = _source(self.project, self.source_name, self.dataset_name)
            self.answers.refresh()
            new, answered = self._sorted_out(items)
            self.answers.save()
            self._write(new, answered)
            self.seen += len(items)
            self._note()

    def _sorted_out(self, items: list[Item]) -> tuple[list[tuple[_Known, Item]], list[_Known]]:
        """Which of `items` are new, and which tasks, new or not, get an answer."""
        known, taken = self._look_up(items)
        new: list[tuple[_Known, Item]] = []
        answered: list[_Known] = []
        uids = iter(new_uids(len(items)))
        for item in items:
            task = known.get(item.external_id)
            if task and task.answer and item.other_id and self.kind.label_name(task.answer) != item.answer:
                item = item._replace(external_id=item.other_id)
                task = known.get(item.external_id)
            try:
                answer = self._answer_for(task, item)
            except (BadRow, InvalidAnswer, InvalidValue) as fact:
                self.refusals.add(item.line, fact, part="label", after=self._there())
                continue
            if task is None:
                self.created += 1
                task = known[item.external_id] = _Known(item.content, item.options, line=item.line)
                task.uid = item.uid if item.uid and item.uid not in taken else next(uids)
                new.append((task, item))
            elif answer is None:
                self.unchanged += 1
            else:
                self.updated += 1
            if answer is not None:
                self.answers.accept(answer)
                task.answer, task.given = answer.value, (item, answer)
                answered.append(task)
        return new, answered

    def _there(self) -> str:
        """What to tell somebody whose file is stopped in the middle."""
        if not self.seen:
            return ""
        return (
            f". The {self.seen:,} rows before this block are imported; mend this one and import the file again: "
            "what is there is known again and nothing is taken twice"
        )

    def _note(self) -> None:
        """One entry an import, whose counts grow with every block: a killed import has told what it did."""
        if not (self.created or self.updated):
            return
        left_out = self.refusals.count
        what = f"{self.created} created, {self.updated} updated, {self.unchanged} unchanged, {left_out} skipped"
        if self.entry is None:
            self.entry = audit.record(self.source, "import", by=self.by, after=what, reason=self.refusals.name)
        else:
            AuditEntry.objects.filter(pk=self.entry.pk).update(after=what)

    def finish(self) -> Imported:
        if self.annotator is not None and self.seen:
            # One filter: answers of his that this import brought, or that one brought which died before it counted them.
            settle_all(
                Task.objects.filter(
                    Q(annotations__created_at=self.now) | Q(status=Task.Status.PENDING),
                    annotations__annotator=self.annotator,
                    source=self.source,
                )
            )
        if self.created or self.updated:
            look_over(self.project, by=self.by)
        errors = sorted(self.refusals.errors)[:ERRORS_KEPT]
        return Imported(
            self.created, self.updated, self.unchanged, self.refusals.count, errors, list(self.answers.added)
        )

    # Looking ----------------------------------------------------------------------------------------------------------

    def _look_up(self, items: list[Item]) -> tuple[dict[str, _Known], set[str]]:
        """The tasks that `items` speak of, by external id, and the uids that belong to tasks elsewhere.

        A row that this hub exported carries its task's uid as its id: it is known again whatever source it came from.
        """
        wanted = ("external_id", "uid", "pk", "content", "options", "answer", "status", "project_id")
        found = {}
        names = _names(items)
        if self._still_alone():
            names = (name for name in names if hash(name) in self.repeated)
        for row in Task.objects.named((self.source, name) for name in names).values_list(*wanted):
            found[row[0]] = row
        uids = [item.uid for item in items if item.uid and item.external_id not in found]
        taken = set()
        for row in Task.objects.filter(uid__in=Texts(uids)).values_list(*wanted) if uids else ():
            if row[-1] == self.project.pk:
                found[row[1]] = row
            else:
                taken.add(row[1])
        said = {}
        if self.annotator is not None and found:
            there = Ids(row[2] for row in found.values())
            given = Annotation.objects.filter(annotator=self.annotator, task__in=there)
            said = dict(given.values_list("task_id", "answer"))
        known = {}
        for external_id, (_, _, pk, content, options, answer, status, _) in found.items():
            earlier = answer if self.annotator is None else said.get(pk)
            known[external_id] = _Known(content, options, status, earlier, pk)
        return known, taken

    def _still_alone(self) -> bool:
        """Whether the source holds what this run has made, and nothing else: only ids that the file repeats may be there.

        Whoever writes into a source locks it, and the newest is found in an index. (Of two machines whose clocks differ
        one may miss the other's: then the constraint on ids stops this block, and the import is to be run again.)
        """
        if self.is_alone:
            newest = Task.objects.filter(source=self.source).order_by("-created_at", "-pk")
            self.is_alone = newest.values_list("pk", flat=True).first() == self.last
        return self.is_alone

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
        if task.line is None and len(self.refusals.errors) < ERRORS_KEPT:
            with suppress(ValueError):
                task.line = self.lines[self.hashes.index(hash(item.external_id))]

    # Writing ----------------------------------------------------------------------------------------------------------

    def _write(self, new: list[tuple[_Known, Item]], answered: list[_Known]) -> None:
        self.hashes.extend(hash(item.external_id) for _, item in new)
        self.lines.extend(item.line for _, item in new)
        if new:
            pks = new_ids(Task, len(new))
            self.last = pks[-1]
            older = [task for task in answered if task.pk]
            for (task, _), pk in zip(new, pks, strict=True):
                task.pk = pk
            same = {
                "project": self.project.pk,
                "source": self.source.pk,
                "type": self.project.task_type,
                "created_at": self.now,
                "updated_at": self.now,
            }
            asked, told = ("id", *ITEM_COLUMNS), ("status", *VERDICT_COLUMNS, *SURETY_COLUMNS)
            if self.annotator is None and answered:
                rows = ((*self._asked(task, item), *self._told(task)) for task, item in new)
                insert_rows(Task, (*asked, *told), rows, same=same)
            else:
                waiting = dict(zip(told, NO_VERDICT, strict=True))
                insert_rows(Task, asked, (self._asked(task, item) for task, item in new), same={**same, **waiting})
        else:
            older = answered
        if self.annotator is not None:
            self._write_annotations(answered)
        elif answered:
            self._settle_older(older)
            if self.kind.allows_several:
                links = ((task.pk, pk) for task in answered for pk in self._labels(task))
                insert_rows(TaskLabel, ("task", "label"), links, same={})
            accept_fresh([task.pk for task, _ in new if task.given], by=self.by)  # type: ignore[misc]

    def _asked(self, task: _Known, item: Item) -> tuple:
        options = item.options and dump_json(item.options)
        asked = (item.external_id, item.content, item.locale, options, item.metadata, item.occurred_at)
        return (task.pk, task.uid, *asked)

    def _told(self, task: _Known) -> tuple:
        """What the file says of it."""
        if task.given is None:
            return NO_VERDICT
        item, answer = task.given
        return (Task.Status.COMPLETED.value, *self.answers.written(answer, item.options), *self._surety(item))

    def _surety(self, item: Item) -> tuple:
        return (1.0 if item.confidence is None else item.confidence, item.validated_at or self.now)

    def _settle_older(self, tasks: Sequence[_Known]) -> None:
        """Give tasks that were there already their verdict, and make the samples."""
        rows = []
        for task in tasks:
            item, answer = task.given  # type: ignore[misc]
            verdict = self.answers.verdict(answer.value, item.options)
            columns = (verdict[name] for name in VERDICT_COLUMNS)
            rows.append((task.pk, Task.Status.COMPLETED, self.now, *columns, *self._surety(item)))
        update_each(Task, ("status", "updated_at", *VERDICT_COLUMNS, *SURETY_COLUMNS), rows)
        if rows:
            accept_all(Task.objects.filter(pk__in=Ids(task.pk for task in tasks)), by=self.by)

    def _write_annotations(self, tasks: list[_Known]) -> None:
        several = self.kind.allows_several
        rows = []
        for task in tasks:
            labels = self._labels(task)
            rows.append((task.pk, dump_json(task.answer), labels[0] if labels and not several else None))
        same = {"annotator": self.annotator.pk, "created_at": self.now, "updated_at": self.now}
        insert_rows(Annotation, ("task", "answer", "label"), rows, same=same)
        if several:
            given = Annotation.objects.filter(annotator=self.annotator, task__in=Ids(task.pk for task in tasks))
            pks = dict(given.values_list("task_id", "pk"))
            links = ((pks[task.pk], label) for task in tasks if task.pk for label in self._labels(task))
            insert_rows(AnnotationLabel, ("annotation", "label"), links, same={})

    def _labels(self, task: _Known) -> list[int]:
        """The project's labels that the answer names."""
        if not self.kind.has_labels or task.answer is None:
            return []
        names = self.kind.label_names(task.answer) or [self.kind.label_name(task.answer)]
        return [self.answers.labels[name].pk for name in names if name in self.answers.labels]

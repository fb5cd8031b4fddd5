"""A label cell becomes an answer of the project's task type, and new labels are found on the way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from labelhub.fields import dump_json
from samples import consensus
from samples.errors import BadFile, BadRow
from samples.models import Label, Project
from samples.projects import add_labels, check_label_name
from samples.settling import verdict_columns

from .recognising import check_text

MOST_NEW_LABELS = 1_000  # more than that and the label column is some other column
ANSWERS_KEPT = 10_000
VERDICT_COLUMNS = ("label", "label_name", "label_names", "label_index", "answer", "vote_shares")


class Answer(NamedTuple):
    """What a label cell says, in canonical form and as JSON text; and its labels that the project does not have yet."""

    value: dict[str, Any]
    text: str
    new: tuple[str, ...]


class Answers:
    """Reads the label cells of one file; knows the project's labels, those it had and those the file brings."""

    def __init__(self, project: Project, *, label_map: Mapping[str, str], new_labels: bool):
        self.project, self.kind = project, project.kind
        self.label_map, self.new_labels = label_map, new_labels and project.kind.has_labels
        self.labels: dict[str, Label] = {label.name: label for label in project.labels.order_by("position")}
        self.names = list(self.labels)  # the choices, in the order of the list, the coming ones at its end
        self.coming: list[str] = []
        self.added: list[str] = []
        self.kept: dict[str, Answer] = {}
        self.rows: dict[str, tuple] = {}

    def read(self, cell: Any, options: Sequence[str] | None) -> Answer:
        """The answer in `cell`; BadRow or InvalidAnswer where it is none."""
        if options is None and isinstance(cell, str) and cell in self.kept:
            return self.kept[cell]
        if not self.kind.has_labels:
            if not isinstance(cell, str):
                raise BadRow(f"the answer is {type(cell).__name__}, not text", field="label")
            check_text(cell, "label")
            value = self.kind.from_text(cell, choices=options or ())
            return Answer(value, dump_json(value), ())
        choices: list[str] = list(options or self.names)
        given = self._several(cell, choices) if self.kind.allows_several else [self._mapped(self._one(cell))]
        new = [] if options or not self.new_labels else [name for name in dict.fromkeys(given) if name not in choices]
        for name in new:
            check_label_name(name)
        choices += new
        value = self.kind.clean(given if self.kind.allows_several else given[0], choices=choices)
        answer = Answer(value, dump_json(value), tuple(new))
        if options is None and not new and isinstance(cell, str) and len(self.kept) < ANSWERS_KEPT:
            self.kept[cell] = answer
        return answer

    def accept(self, answer: Answer) -> None:
        """The row of `answer` is taken: its new labels stand at the end of the list from now on."""
        for name in answer.new:
            if name not in self.names:
                self.names.append(name)
                self.coming.append(name)
        if len(self.added) + len(self.coming) > MOST_NEW_LABELS:
            raise BadFile(
                f"more than {MOST_NEW_LABELS:,} new labels, {self.coming[-1]!r} among them: is this the label column?"
            )

    def refresh(self) -> None:
        """Look at the project's list again, for it may have changed since the last block: others add labels too."""
        now = {label.name: label for label in self.project.labels.order_by("position")}
        if {name: label.position for name, label in now.items()} != {
            name: label.position for name, label in self.labels.items()
        }:
            self.labels, self.names = now, list(now)
            self.kept, self.rows = {}, {}

    def save(self) -> None:
        """Add the labels that were accepted to the project."""
        for label in add_labels(self.project, self.coming):
            self.labels[label.name] = label
            self.added.append(label.name)
        self.coming = []

    def verdict(self, value: Mapping[str, Any], options: Sequence[str] | None) -> dict[str, Any]:
        """The columns of a verdict that nobody voted on: all of the shares are its own."""
        columns = verdict_columns(value, kind=self.kind, labels=self.labels, options=options)
        columns["label"] = columns["label"] and columns["label"].pk
        votes = self.kind.settle(
            [(value, 1.0)], rule=consensus.get("majority"), threshold=0.0, choices=options or self.names
        )
        return columns | {"vote_shares": dict(votes.shares)}

    def written(self, answer: Answer, options: Sequence[str] | None) -> tuple:
        """The same as it is written into a new row, in the order of VERDICT_COLUMNS, JSON as text."""
        row = self.rows.get(answer.text) if options is None else None
        if row is None:
            columns = self.verdict(answer.value, options)
            names = columns["label_names"]
            columns |= {"answer": answer.text, "vote_shares": dump_json(columns["vote_shares"])}
            columns["label_names"] = names and dump_json(names)
            row = tuple(columns[name] for name in VERDICT_COLUMNS)
            if options is None and self.kind.has_labels and len(self.rows) < ANSWERS_KEPT:
                self.rows[answer.text] = row
        return row

    def _one(self, cell: Any) -> str:
        if isinstance(cell, str):
            return cell if cell in self.labels else cell.strip()
        if isinstance(cell, bool):
            return "true" if cell else "false"
        if isinstance(cell, (int, float)):
            return str(cell)
        raise BadRow(f"a label is a text, not a {type(cell).__name__}", field="label")

    def _mapped(self, name: str) -> str:
        return self.label_map.get(name, name)

    def _several(self, cell: Any, choices: Sequence[str]) -> list[str]:
        """The labels in a list, in a JSON list written as text, or in a text that joins them by commas."""
        if isinstance(cell, list):
            return [self._mapped(self._one(part)) for part in cell]
        text = self._one(cell)
        if text in self.label_map:
            return [self.label_map[text]]
        parts = [self._mapped(part.strip()) for part in text.split(",") if part.strip()]
        if text in choices and not all(part in choices for part in parts):
            return [text]  # a label with a comma in its name
        if text.startswith("["):
            try:
                return [self._mapped(self._one(part)) for part in json.loads(text)]
            except (ValueError, TypeError) as error:
                raise BadRow(f"{text[:40]!r} is not a JSON list of labels", field="label") from error
        if self.new_labels or all(part in choices for part in parts):
            return parts
        return self.kind.from_text(text, choices=choices)["labels"]  # whose refusal names what is allowed

"""The words a format is declared in. A shape says what a record looks like; the compiler decides how rows are walked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .beside import Beside
from .checks import Check

# What a row carries to an encoder, in this order; the reader (exports/rows.py) selects exactly these. `label_names`,
# `answer` and `vote_shares` are the JSON texts as they are stored, `validated_at` a finished `2026-05-25T10:05:00Z`.
COLUMNS = (
    "pk",
    "project",
    "uid",
    "type",
    "content",
    "label_name",
    "label_names",
    "confidence",
    "locale",
    "answer",
    "vote_shares",
    "validated_at",
)
Page = Sequence[tuple]  # consecutive rows, a few hundred kilobytes of them


@dataclass(frozen=True)
class Column:
    """A column of the row as it stands: "uid", "type", "content", "locale", "confidence"."""

    name: str


@dataclass(frozen=True)
class Moment:
    """A timestamp column as `2026-05-25T10:05:00Z`: UTC, whole seconds; null stays null."""

    name: str


@dataclass(frozen=True)
class Label:
    """The label: its name, or the list of names where the type allows several."""


@dataclass(frozen=True)
class LabelText:
    """The label as one text, several joined by ", "."""


@dataclass(frozen=True)
class LabelList:
    """The names of the labels as a list, of one where the type allows no more; empty where there is none."""


@dataclass(frozen=True)
class LabelId:
    """The label's index in the export's label map, or the list of them where the type allows several; else null."""


@dataclass(frozen=True)
class Prompt:
    """The project's or the type's prompt in the row's locale, filled with the content: style "chat" or "instruction"."""

    style: str


@dataclass(frozen=True)
class Responses:
    """The answer as a list of responses of one text each, [["…"]]; [[""]] where there is none, so that rows look alike."""


@dataclass(frozen=True)
class SoftLabel:
    """The share of the votes each label of the export's label map won, in its order; null where answers are free text.

    Votes for what is not on the map (an item's own options) are left out.
    """


@dataclass(frozen=True)
class Answer:
    """A text inside the stored answer: "chosen" or "rejected" of a preference."""

    key: str


@dataclass(frozen=True)
class Given:
    """The text of a batch's option. Without it the turn of the list goes in which it stands, or else its key."""

    option: str


# Strings, numbers, booleans and None stand for themselves; mappings and sequences nest.
WORDS = (Column, Moment, Label, LabelText, LabelList, LabelId, Prompt, SoftLabel, Answer, Responses, Given)
Word = Column | Moment | Label | LabelText | LabelList | LabelId | Prompt | SoftLabel | Answer | Responses | Given
Shape = Word | str | int | float | None | Mapping | Sequence


@dataclass(frozen=True)
class Switch:
    """An option that is true or false; `about` is what a form says beside it."""

    about: str

    def flaw(self, value: Any) -> str:
        """What is wrong with `value`, or nothing."""
        return "" if isinstance(value, bool) else f"is true or false, not {value!r}"


@dataclass(frozen=True)
class Words:
    """An option that is a text of one to `most` characters."""

    about: str
    most: int

    def flaw(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            return f"is a text, not {value!r}"
        if len(value) > self.most:
            return f"has at most {self.most:,} characters, not {len(value):,}"
        if any("\ud800" <= character <= "\udfff" for character in value) or "\0" in value:
            return "holds a character that no file can hold"
        return ""


Option = Switch | Words
LICENSE = Words("Licence for the card, as cc-by-4.0", most=60)
SYSTEM_PROMPT = Words("System prompt, before every conversation", most=20_000)
BUNDLE: Mapping[str, Option] = {
    "bundle": Switch("With a dataset card (README.md), croissant.json and the manifest, in a ZIP"),
    "license": LICENSE,
}
SYSTEM: Mapping[str, Option] = {"system_prompt": SYSTEM_PROMPT}


@dataclass(frozen=True)
class Format:
    """A file format. `name` is its name in APIs and commands, `label` the one people read.

    A batch runs `checks` before a byte is written: what the format's consumer would refuse, or should know.
    """

    name: str
    label: str
    shape: Shape
    extension: str
    media_type: str
    settled_only: bool = False  # rows without a label cannot be written (there is nothing to learn from)
    takes: frozenset[str] | None = None  # the task types it can hold; None: all
    options: Mapping[str, Option] = field(default_factory=dict)  # what a batch may set, beside BUNDLE
    checks: tuple[Check, ...] = ()
    beside: Beside | None = None  # a file that a bundle needs for this format's reader
    is_zipped: bool = False  # the file is a ZIP even where it is not split
    records: int = 1  # what a reader of the file counts for a sample

    @property
    def all_options(self) -> dict[str, Option]:
        return {**self.options, **BUNDLE}

    @property
    def columns(self) -> Mapping[str, Shape]:
        """The keys of a record and their shapes; none where a record is a list, or no record at all."""
        return self.shape if isinstance(self.shape, Mapping) else {}

    def uses(self, word: type) -> bool:
        """Whether `word` (Prompt, LabelId, …) stands anywhere in the shape."""
        return any(isinstance(leaf, word) for leaf in leaves(self.shape))


def leaves(shape: Shape) -> Iterator[Shape]:
    """What is left of a shape when its mappings and sequences are opened."""
    if isinstance(shape, Mapping):
        shape = list(shape.values())
    if isinstance(shape, (list, tuple)):
        for part in shape:
            yield from leaves(part)
    else:
        yield shape


def resolved(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """`shape` with the texts of the options that were given, and without what belongs to the others."""
    match shape:
        case Given(option):
            return options[option]
        case Mapping():
            kept = {key: value for key, value in shape.items() if not _is_missing(value, options)}
            return {key: resolved(value, options) for key, value in kept.items()}
        case list() | tuple():
            return [resolved(value, options) for value in shape if not _lacks(value, options)]
    return shape


def _is_missing(shape: Shape, options: Mapping[str, Any]) -> bool:
    return isinstance(shape, Given) and not options.get(shape.option)


def _lacks(turn: Shape, options: Mapping[str, Any]) -> bool:
    values = turn.values() if isinstance(turn, Mapping) else [turn]
    return any(_is_missing(value, options) for value in values)


@dataclass(frozen=True)
class Lines(Format):
    """One JSON value a line; `spaced` puts a space after each comma and colon, as Python's own json does.

    A row of a shape with `then` becomes two lines.
    """

    extension: str = "jsonl"
    media_type: str = "application/x-ndjson"
    spaced: bool = False
    then: Shape = None

    def uses(self, word):
        return super().uses(word) or any(isinstance(leaf, word) for leaf in leaves(self.then))


@dataclass(frozen=True)
class Array(Format):
    """One JSON array of objects."""

    extension: str = "json"
    media_type: str = "application/json"


GUARD = Switch("An apostrophe before cells that a spreadsheet would run as formulas")


@dataclass(frozen=True)
class Table(Format):
    """CSV after RFC 4180 with "\\n" line ends; `always_quoted` columns are quoted even where they need not be.

    Its option `guard_formulas` puts an apostrophe before text that a spreadsheet would run.
    """

    shape: Mapping[str, Shape]
    extension: str = "csv"
    media_type: str = "text/csv; charset=utf-8"
    always_quoted: frozenset[str] = field(default_factory=frozenset)
    options: Mapping[str, Option] = field(default_factory=lambda: {"guard_formulas": GUARD})


@dataclass(frozen=True)
class Columnar(Format):
    """Apache Parquet: the shape's keys are its columns. https://parquet.apache.org/docs/file-format/"""

    extension: str = "parquet"
    media_type: str = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Folders(Format):
    """The images themselves, in folders of a ZIP. `by_label`: a folder for each label; else one list in COCO's JSON."""

    extension: str = "zip"
    media_type: str = "application/zip"
    by_label: bool = True

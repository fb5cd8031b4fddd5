"""The words a format is declared in. A shape says what a record looks like; the compiler decides how rows are walked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# What a row carries to an encoder, in this order; the reader (exports/rows.py) selects exactly these. `label_names` is
# the stored JSON text of the list, `validated_at` a finished `2026-05-25T10:05:00Z`.
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
class LabelId:
    """The label's index in the export's label map, or the list of them where the type allows several; else null."""


@dataclass(frozen=True)
class Prompt:
    """The project's or the type's prompt in the row's locale, filled with the content: style "chat" or "instruction"."""

    style: str


@dataclass(frozen=True)
class Responses:
    """The answer as a list of responses of one text each, [["…"]]; [[""]] where there is none, so that rows look alike."""


# Strings, numbers and None stand for themselves; mappings and sequences nest.
Shape = (
    Column | Moment | Label | LabelText | LabelId | Prompt | Responses | str | int | float | None | Mapping | Sequence
)


@dataclass(frozen=True)
class Format:
    """A file format. `name` is its name in APIs and commands, `label` the one people read."""

    name: str
    label: str
    shape: Mapping[str, Shape]
    extension: str
    media_type: str
    settled_only: bool = False  # rows without a label cannot be written (there is nothing to learn from)
    options: frozenset[str] = frozenset()  # switches a batch may set to true
    is_zipped: bool = False  # the file is a ZIP even where it is not split

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


@dataclass(frozen=True)
class Lines(Format):
    """One JSON value a line; `spaced` puts a space after each comma and colon, as Python's own json does."""

    extension: str = "jsonl"
    media_type: str = "application/x-ndjson"
    spaced: bool = False


@dataclass(frozen=True)
class Array(Format):
    """One JSON array of objects."""

    extension: str = "json"
    media_type: str = "application/json"


@dataclass(frozen=True)
class Table(Format):
    """CSV after RFC 4180 with "\\n" line ends; `always_quoted` columns are quoted even where they need not be.

    Its option `guard_formulas` puts an apostrophe before text that a spreadsheet would run.
    """

    extension: str = "csv"
    media_type: str = "text/csv; charset=utf-8"
    always_quoted: frozenset[str] = field(default_factory=frozenset)
    options: frozenset[str] = frozenset({"guard_formulas"})

"""Shapes in plain Python with orjson: the reference for every other compiler. Pages of rows in, pages of bytes out.

A shape becomes a list of pieces: bytes that are the same in every record, and functions from a page's columns to that
page's bytes. So a page is written by `map` and `zip` over columns, not by a walk over records and their fields.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any

import orjson
from orjson import dumps

from .context import LABELLED, SLOT, Context
from .shape import (
    COLUMNS,
    WORDS,
    Answer,
    Array,
    Column,
    Columnar,
    Format,
    Label,
    LabelId,
    LabelList,
    LabelText,
    Lines,
    Moment,
    Page,
    Prompt,
    Responses,
    Shape,
    SoftLabel,
    Table,
    resolved,
)

Columns = Mapping[str, Sequence[Any]]
Piece = bytes | Callable[[Columns], Iterable[bytes]]
Cells = Callable[[Columns], Sequence[str]]


def encode(
    format: Format, pages: Iterable[Page], context: Context, options: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[bytes]:
    """The file of `pages` in `format`, in chunks: one for each page, but in Parquet."""
    if isinstance(format, Columnar):
        from . import columnar  # pyarrow is an extra

        return columnar.encode(format, pages, context)
    return framed(format, map(page_writer(format, context, options), pages))


def page_writer(
    format: Format, context: Context, options: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[Page], bytes]:
    """What writes a page of `format`; an array's records each with a comma before them."""
    match format:
        case Lines():
            shapes = [format.shape] if format.then is None else [format.shape, format.then]
            return _record_writer([resolved(shape, options) for shape in shapes], context, format.spaced, after=b"\n")
        case Array():
            return _record_writer([resolved(format.shape, options)], context, before=b",")
        case Table():
            return _table_writer(format, context, guard=options.get("guard_formulas", False))
    raise TypeError(f"no encoder for {type(format).__name__}")


def framed(format: Format, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The whole file around pages already written: an array's brackets, a table's header."""
    match format:
        case Array():
            return _array(chunks)
        case Table():
            return chain([",".join(format.columns).encode() + b"\n"], chunks)
    return chunks


# JSON -----------------------------------------------------------------------------------------------------------------


def _array(chunks):
    """One JSON array of records that each come with a comma before them."""
    first = next(chunks, None)
    if first is None:
        yield b"[]"
        return
    yield b"[" + first[1:]
    yield from chunks
    yield b"]"


def _record_writer(
    shapes: Sequence[Shape], context: Context, spaced: bool = False, *, before: bytes = b"", after: bytes = b""
) -> Callable[[Page], bytes]:
    """What writes a page, a record of each of `shapes` for every row."""
    pieces = _joined(piece for shape in shapes for piece in (before, *_pieces(shape, context, spaced), after))

    def write(page: Page) -> bytes:
        columns = _columns(page)
        parts = (repeat(piece, len(page)) if isinstance(piece, bytes) else piece(columns) for piece in pieces)
        return b"".join(chain.from_iterable(zip(*parts, strict=True)))

    return write


def _columns(page: Page) -> Columns:
    return dict(zip(COLUMNS, zip(*page, strict=True), strict=True))


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """`pieces` with neighbouring constants made one."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and isinstance(piece, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _pieces(shape: Shape, context: Context, spaced: bool) -> Iterator[Piece]:
    comma, colon = (b", ", b": ") if spaced else (b",", b":")
    match shape:
        case Mapping():
            yield b"{"
            for number, (key, value) in enumerate(shape.items()):
                yield (comma if number else b"") + dumps(key) + colon
                yield from _pieces(value, context, spaced)
            yield b"}"
        case list() | tuple():
            yield b"["
            for number, value in enumerate(shape):
                yield comma if number else b""
                yield from _pieces(value, context, spaced)
            yield b"]"
        case Column() | Moment():
            yield _dumped(shape.name)
        case LabelText():
            yield _dumped("label_name")
        case Label():
            yield _labels
        case LabelList():
            yield _label_lists
        case LabelId():
            yield _label_ids(context)
        case Responses():
            yield lambda columns: [b"[[%b]]" % dumps(name or "") for name in columns["label_name"]]
        case SoftLabel():
            soft = soft_labels(context)
            yield lambda columns: map(dumps, soft(columns))
        case Answer(key):
            yield lambda columns: [dumps(orjson.loads(answer)[key]) for answer in columns["answer"]]
        case Prompt():
            yield _prompted(shape, context)
        case _ if isinstance(shape, WORDS):
            raise TypeError(f"no encoder for {shape}")
        case _:
            yield dumps(shape)


def _dumped(name: str) -> Piece:
    return lambda columns: map(dumps, columns[name])


def _labels(columns: Columns) -> Iterable[bytes]:
    """The label, or the stored JSON text of the list of labels, which goes out as it is."""
    return [
        dumps(name) if names is None else names.encode()
        for name, names in zip(columns["label_name"], columns["label_names"], strict=True)
    ]


def _label_lists(columns: Columns) -> Iterable[bytes]:
    return [
        (b"[]" if name is None else dumps([name])) if names is None else names.encode()
        for name, names in zip(columns["label_name"], columns["label_names"], strict=True)
    ]


def soft_labels(context: Context) -> Callable[[Columns], list[list[float] | None]]:
    """The shares of a page's rows, in the order of the label map."""
    order = sorted(context.labels, key=context.labels.__getitem__)

    def shares_of(type: str, stored: str | None) -> list[float] | None:
        if stored is None or type not in LABELLED:
            return None
        shares = orjson.loads(stored)
        return [float(shares.get(label, 0.0)) for label in order]

    return lambda columns: list(map(shares_of, columns["type"], columns["vote_shares"]))


def _label_ids(context: Context) -> Callable[[Columns], list[bytes]]:
    lists: dict[str, bytes] = {}

    def id_of(type: str, name: str | None, names: str | None) -> bytes:
        if name is None or type not in LABELLED:
            return b"null"
        if names is None:
            return b"%d" % context.label_id(name)
        if names not in lists:
            lists[names] = dumps([context.label_id(name) for name in orjson.loads(names)])
        return lists[names]

    return lambda columns: list(map(id_of, columns["type"], columns["label_name"], columns["label_names"]))


def _fill(prompt: Prompt, context: Context) -> Callable[[Columns], Iterator[str]]:
    """The texts of `prompt` for a page's rows."""
    templates: dict[tuple[int, str, str], str] = {}

    def fill(project: int, type: str, locale: str, content: str) -> str:
        key = (project, type, locale)
        if key not in templates:
            templates[key] = context.template(prompt.style, *key)
        return templates[key].replace(SLOT, content)

    return lambda columns: map(fill, columns["project"], columns["type"], columns["locale"], columns["content"])


def _prompted(prompt: Prompt, context: Context) -> Piece:
    fill = _fill(prompt, context)
    return lambda columns: map(dumps, fill(columns))


# CSV ------------------------------------------------------------------------------------------------------------------

needs_quotes = re.compile(r'[",\r\n]').search
is_formula = re.compile(r"[=+\-@\t\r]").match


def _table_writer(format: Table, context: Context, *, guard: bool) -> Callable[[Page], bytes]:
    cells = [
        _cells(shape, context, always_quoted=name in format.always_quoted, guard=guard)
        for name, shape in format.columns.items()
    ]
    ends = [","] * (len(cells) - 1) + ["\n"]

    def write(page: Page) -> bytes:
        columns = _columns(page)
        parts = [(cell(columns), repeat(end, len(page))) for cell, end in zip(cells, ends, strict=True)]
        return "".join(chain.from_iterable(zip(*chain.from_iterable(parts), strict=True))).encode()

    return write


def _cells(shape: Shape, context: Context, *, always_quoted: bool, guard: bool) -> Cells:
    texts = _texts(shape, context)

    def write(columns: Columns) -> Sequence[str]:
        values = texts(columns)
        if guard:
            values = [f"'{value}" if is_formula(value) else value for value in values]
        if always_quoted:
            return [quoted(value) for value in values]
        if needs_quotes("".join(values)):  # one search for the page: most columns hold nothing to quote
            return [quoted(value) if needs_quotes(value) else value for value in values]
        return values

    return write


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _texts(shape: Shape, context: Context) -> Callable[[Columns], Sequence[str]]:
    """A page's cells before quoting; null is empty, a list is its JSON text."""
    match shape:
        case Column() | Moment():
            name = shape.name
            return lambda columns: list(map(_text, columns[name]))
        case LabelText():
            return lambda columns: list(map(_text, columns["label_name"]))
        case Label():
            return lambda columns: [
                _text(name) if names is None else names
                for name, names in zip(columns["label_name"], columns["label_names"], strict=True)
            ]
        case LabelId():
            ids = _label_ids(context)
            return lambda columns: ["" if id == b"null" else id.decode() for id in ids(columns)]
        case Prompt():
            fill = _fill(shape, context)
            return lambda columns: list(fill(columns))
        case _ if isinstance(shape, WORDS):
            raise TypeError(f"no encoder for {shape}")
        case _:
            constant = _text(shape)
            return lambda columns: [constant] * len(columns["pk"])


def _text(value: Any) -> str:
    """A cell: text as it is, a number as JSON writes it, nothing for null."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value).decode()

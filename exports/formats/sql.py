"""Shapes in SQL: the database writes each record, and Python only moves pages of bytes.

A record is a chain of text expressions over one row of a task or sample. What they write is to the byte what the reference in
`python.py` writes; a record that SQL cannot write is NULL, and the caller has its page written by the reference instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from .context import LABELLED, SLOT, Context
from .shape import (
    Array,
    Column,
    Format,
    Label,
    LabelId,
    LabelText,
    Lines,
    Moment,
    Prompt,
    Responses,
    Shape,
    Table,
    leaves,
)

COLUMN_OF = {"pk": "id", "project": "project_id"}
NUMBERS = frozenset({"confidence"})
QUOTE_WORTHY = '",\r\n'
FORMULA_STARTS = "=+@\t\r-"


@dataclass(frozen=True)
class Sql:
    """A piece of SQL and its parameters, in the order in which they stand in it."""

    text: str
    params: tuple = ()


@dataclass(frozen=True)
class Record:
    """How a page is put together: the lines with `between` them, and its two ends."""

    line: Sql
    between: str
    before: bytes = b""
    after: bytes = b""


Origin = tuple[int, str, str]  # project, type, locale


@dataclass(frozen=True)
class Scope:
    """What is known of the rows: their table, and each (project, type, locale) among them."""

    table: str
    origins: tuple[Origin, ...]


class NotInSql(Exception):
    """The shape holds something that only the reference writes."""


class Dialect:
    """How one database says it. The text of a row's line is `chain` of constants and expressions."""

    def quoted(self, text: Sql) -> Sql:
        """`text` as a JSON string, or null."""
        raise NotImplementedError

    def object(self, pairs: list[tuple[str, Sql]]) -> Sql | None:
        """A compact JSON object by the database's own function, where that beats a chain; its values are SQL values."""
        return None

    def array(self, values: list[Sql]) -> Sql | None:
        """The same for a list."""
        return None

    def prompted(self, text: Sql) -> Sql:
        """`text` as a JSON string; NULL for NULL, which a prompt is where its row's origin was not foreseen."""
        raise NotImplementedError

    def number(self, column: str) -> str:
        """A float column as JSON writes it; NULL for null."""
        raise NotImplementedError

    def moment(self, column: str) -> str:
        """A timestamp as `2026-05-25T10:05:00Z`; NULL for null."""
        raise NotImplementedError

    element: str  # what an element of a list is called in `list_of`

    def list_of(self, column: str, each: Sql) -> Sql:
        """The JSON list in `column` with `each`, an expression over `element`, for its elements; NULL if one is."""
        raise NotImplementedError

    def holds(self, text: str, characters: str) -> Sql:
        """Whether the text expression holds any of `characters`, the last of which may be "-"."""
        raise NotImplementedError

    def begins(self, text: str, characters: str) -> Sql:
        """Whether it begins with one of them."""
        raise NotImplementedError

    def page(self, separator: str) -> str:
        """The aggregate that joins a page's lines, in their order and with the expression `separator`, into bytes."""
        raise NotImplementedError


class Sqlite(Dialect):
    element = "n.value"

    def object(self, pairs):
        keys_and_values = ", ".join(f"%s, {value.text}" for _, value in pairs)
        params = tuple(param for key, value in pairs for param in (key, *value.params))
        return Sql(f"json_object({keys_and_values})", params)

    def array(self, values):
        return Sql(f"json_array({', '.join(value.text for value in values)})", _params(values))

    def quoted(self, text):
        return Sql(f"json_quote({text.text})", text.params)

    def prompted(self, text):
        return Sql(f"nullif(json_quote({text.text}), 'null')", text.params)

    def number(self, column):
        return f"CASE WHEN {column} IS NOT NULL THEN json_quote({column}) END"

    def moment(self, column):
        return f"replace(substr({column}, 1, 19), ' ', 'T') || 'Z'"

    def list_of(self, column, each):
        written = f"SELECT {each.text} AS i FROM json_each({column}) n ORDER BY n.key"
        joined = "'[' || coalesce(group_concat(i, ','), '') || ']'"
        return Sql(f"(SELECT CASE WHEN count(i) = count(*) THEN {joined} END FROM ({written}) w)", each.params)

    def holds(self, text, characters):
        return Sql(f"{text} GLOB %s", (f"*[{characters}]*",))

    def begins(self, text, characters):
        return Sql(f"{text} GLOB %s", (f"[{characters}]*",))

    def page(self, separator):
        return f"CAST(group_concat(line, {separator}) AS BLOB)"


class Postgres(Dialect):
    element = "n.name"

    def quoted(self, text):
        return Sql(f"coalesce(to_json({text.text})::text, 'null')", text.params)

    def prompted(self, text):
        return Sql(f"to_json({text.text})::text", text.params)

    def number(self, column):
        return f"CASE WHEN {column} = trunc({column}) THEN {column}::text || '.0' ELSE {column}::text END"

    def moment(self, column):
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""

    def list_of(self, column, each):
        names = f"json_array_elements_text({column}::json) WITH ORDINALITY AS n(name, place)"
        joined = "'[' || coalesce(string_agg(i, ',' ORDER BY place), '') || ']'"
        written = f"SELECT {each.text} AS i, n.place AS place FROM {names}"
        return Sql(f"(SELECT CASE WHEN count(i) = count(*) THEN {joined} END FROM ({written}) w)", each.params)

    def holds(self, text, characters):
        return Sql(f"{text} ~ %s", (f"[{characters}]",))

    def begins(self, text, characters):
        return Sql(f"{text} ~ %s", (f"^[{characters}]",))

    def page(self, separator):
        return f"convert_to(string_agg(line, {separator}), 'UTF8')"


DIALECTS: Mapping[str, Dialect] = {"sqlite": Sqlite(), "postgresql": Postgres()}


def compiled(
    format: Format, context: Context, scope: Scope, dialect: Dialect, options: Mapping[str, Any]
) -> Record | None:
    """How `dialect` writes `format`; None for one that only the reference writes."""
    writer = _Writer(context, scope, dialect)
    with suppress(NotInSql):
        match format:
            case Lines():
                return Record(writer.record(format.shape, format.spaced), after=b"\n", between="\n")
            case Array():
                return Record(writer.record(format.shape, False), before=b",", between=",")
            case Table():
                cells = writer.cells(format, guard=options.get("guard_formulas", False))
                return Record(_chain(list(cells)), after=b"\n", between="\n")
    return None


Piece = bytes | Sql


def _params(pieces: Iterable[Sql]) -> tuple:
    return tuple(chain.from_iterable(piece.params for piece in pieces))


def _chain(pieces: list[Piece]) -> Sql:
    """The pieces one after the other; NULL as soon as one of them is."""
    texts: list[str] = []
    params: list[Any] = []
    constant = b""
    for piece in [*pieces, Sql("")]:
        if isinstance(piece, bytes):
            constant += piece
            continue
        if constant:
            texts.append("%s")
            params.append(constant.decode())
            constant = b""
        if piece.text:
            texts.append(piece.text)
            params.extend(piece.params)
    return Sql(" || ".join(texts) or "''", tuple(params))


class _Writer:
    def __init__(self, context: Context, scope: Scope, dialect: Dialect):
        self.context = context
        self.scope = scope
        self.say = dialect

    def record(self, shape: Shape, spaced: bool) -> Sql:
        """The whole record: by the database's own JSON functions where it has them and they do, else as a chain."""
        whole = None if spaced else self.value(shape)
        if whole is None:
            return _chain(list(self.json(shape, spaced)))
        if not any(isinstance(leaf, Prompt) for leaf in leaves(shape)):
            return whole
        foreseen = self.any_of(self.scope.origins)  # a prompt for any other origin would be null, and the record not
        return Sql(f"CASE WHEN {foreseen.text} THEN {whole.text} END", foreseen.params + whole.params)

    def value(self, shape: Shape) -> Sql | None:
        """`shape` as a value for the database's own JSON functions; None where they cannot."""
        match shape:
            case Mapping():
                values = self.values(shape.values())
                return None if values is None else self.say.object(list(zip(shape, values, strict=True)))
            case list() | tuple():
                values = self.values(shape)
                return None if values is None else self.say.array(values)
            case Column(name):
                return Sql(self.column(name))
            case Moment(name):
                return Sql(self.say.moment(self.column(name)))
            case LabelText():
                return Sql(self.column("label_name"))
            case Label():
                one, several = self.column("label_name"), self.column("label_names")
                return Sql(f"CASE WHEN {several} IS NULL THEN {one} ELSE json({several}) END")
            case Prompt():
                return self.prompt(shape)
            case str():
                return Sql("%s", (shape,))
        return None

    def values(self, shapes: Iterable[Shape]) -> list[Sql] | None:
        values = [value for shape in shapes if (value := self.value(shape)) is not None]
        return values if len(values) == len(list(shapes)) else None

    def json(self, shape: Shape, spaced: bool) -> Iterator[Piece]:
        comma, colon = (b", ", b": ") if spaced else (b",", b":")
        match shape:
            case Mapping():
                yield b"{"
                for number, (key, value) in enumerate(shape.items()):
                    yield (comma if number else b"") + orjson.dumps(key) + colon
                    yield from self.json(value, spaced)
                yield b"}"
            case list() | tuple():
                yield b"["
                for number, value in enumerate(shape):
                    yield comma if number else b""
                    yield from self.json(value, spaced)
                yield b"]"
            case Column(name) if name in NUMBERS:
                yield Sql(f"coalesce({self.say.number(self.column(name))}, 'null')")
            case Column(name):
                yield self.say.quoted(Sql(self.column(name)))
            case Moment(name):
                yield Sql(f"""coalesce('"' || {self.say.moment(self.column(name))} || '"', 'null')""")
            case Label():
                one, several = self.say.quoted(Sql(self.column("label_name"))), self.column("label_names")
                yield Sql(f"CASE WHEN {several} IS NULL THEN {one.text} ELSE {several} END")
            case LabelText():
                yield self.say.quoted(Sql(self.column("label_name")))
            case LabelId():
                yield self.label_id("null")
            case Prompt():
                yield self.say.prompted(self.prompt(shape))
            case Responses():
                yield b"[["
                yield self.say.quoted(Sql(f"coalesce({self.column('label_name')}, '')"))
                yield b"]]"
            case _:
                yield orjson.dumps(shape)

    def cells(self, format: Table, *, guard: bool) -> Iterator[Piece]:
        for number, (name, shape) in enumerate(format.shape.items()):
            yield b"," if number else b""
            yield self.cell(shape, always_quoted=name in format.always_quoted, guard=guard)

    def cell(self, shape: Shape, *, always_quoted: bool, guard: bool) -> Piece:
        match shape:
            case Column(name) if name in NUMBERS:
                return self.cell_text(f"coalesce({self.say.number(self.column(name))}, '')", always_quoted, guard)
            case Column(name):
                return self.cell_text(self.column(name), always_quoted, guard)
            case Moment(name):
                return self.cell_text(f"coalesce({self.say.moment(self.column(name))}, '')", always_quoted, guard)
            case Label():
                either = f"coalesce({self.column('label_names')}, {self.column('label_name')}, '')"
                return self.cell_text(either, always_quoted, guard)
            case LabelText():
                return self.cell_text(f"coalesce({self.column('label_name')}, '')", always_quoted, guard)
        raise NotInSql(shape)

    def cell_text(self, text: str, always_quoted: bool, guard: bool) -> Sql:
        mark, params = "", ()
        if guard:
            begins = self.say.begins(text, FORMULA_STARTS)
            mark, params = f"CASE WHEN {begins.text} THEN '''' ELSE '' END || ", begins.params
        quoted = f"""'"' || {mark}replace({text}, '"', '""') || '"'"""
        if always_quoted:
            return Sql(quoted, params)
        holds = self.say.holds(text, QUOTE_WORTHY)
        return Sql(f"CASE WHEN {holds.text} THEN {quoted} ELSE {mark}{text} END", holds.params + params + params)

    def label_id(self, nothing: str) -> Sql:
        """The label's index, the list of several, or `nothing` where the answer is free text or there is none."""
        types = sorted({type for _, type, _ in self.scope.origins} & LABELLED)
        if not types:
            return Sql("%s", (nothing,))
        name, names, type = self.column("label_name"), self.column("label_names"), self.column("type")
        one, several = self.index_of(name), self.say.list_of(names, self.index_of(self.say.element))
        marks = ", ".join(["%s"] * len(types))
        return Sql(
            f"CASE WHEN {name} IS NULL OR {type} NOT IN ({marks}) THEN %s"
            f" WHEN {names} IS NULL THEN {one.text} ELSE {several.text} END",
            (*types, nothing, *one.params, *several.params),
        )

    def index_of(self, name: str) -> Sql:
        """The index of the label called `name`, as text; NULL for one outside the map."""
        labels = self.context.labels
        if not labels:
            return Sql("NULL")
        cases = " ".join([f"WHEN %s THEN '{index}'" for index in labels.values()])
        return Sql(f"CASE {name} {cases} END", tuple(labels))

    def prompt(self, prompt: Prompt) -> Sql:
        """The prompt filled with the content; NULL for an origin that was not foreseen."""
        by_template: dict[str, list[Origin]] = {}
        for origin in self.scope.origins:
            by_template.setdefault(self.context.template(prompt.style, *origin), []).append(origin)
        if not by_template:
            return Sql("NULL")
        cases: list[str] = []
        params: tuple = ()
        for template, origins in by_template.items():
            tests, filled = self.any_of(origins), self.filled(template)
            cases.append(f"WHEN {tests.text} THEN {filled.text}")
            params += tests.params + filled.params
        return Sql(f"CASE {' '.join(cases)} END", tuple(params))

    def any_of(self, origins: Sequence[Origin]) -> Sql:
        """Whether the row comes from one of `origins`."""
        if not origins:
            return Sql("1 = 0")
        test = " AND ".join(f"{self.column(name)} = %s" for name in ("project", "type", "locale"))
        return Sql(" OR ".join([f"({test})"] * len(origins)), tuple(chain.from_iterable(origins)))

    def filled(self, template: str) -> Sql:
        """`template` with the content in its slots."""
        pieces: list[Piece] = []
        for number, words in enumerate(template.split(SLOT)):
            if number:
                pieces.append(Sql(self.column("content")))
            pieces.append(words.encode())
        return _chain(pieces)

    def column(self, name: str) -> str:
        return f'"{self.scope.table}"."{COLUMN_OF.get(name, name)}"'

"""Shapes in SQL: the database writes each record, and Python only moves pages of bytes.

A record is a chain of text expressions over one row of a task or sample. What they write is to the byte what the reference in
`python.py` writes; a record that SQL cannot write is NULL, and the caller has its page written by the reference instead.

Whatever follows the content of a row is as a rule the same for all rows of one label: for the labels known beforehand it
is a constant, found by a CASE, and the long content is copied once or twice instead of by every link of the chain.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from typing import Any

import orjson

from .context import LABELLED, SLOT, Context
from .python import is_formula, needs_quotes, quoted
from .shape import Array, Column, Format, Label, LabelId, LabelText, Lines, Moment, Prompt, Responses, Shape, Table
from .takes import PREFERENCES

COLUMN_OF = {"pk": "id", "project": "project_id"}
NUMBERS = frozenset({"confidence"})
PLAIN = frozenset({"uid", "type"})  # of our own making: nothing in them to quote
FEW = 8  # labels that are looked for one after the other; more are divided in half
MOST_CONSTANTS = 300  # labels whose constants make a statement longer
MOST_LABELS = 10_000  # in one statement; SQLite takes 32,766 parameters
QUOTE_WORTHY = '",\r\n'
BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
FORMULA_STARTS = "=+@\t\r-"


@dataclass(frozen=True)
class Sql:
    """A piece of SQL and its parameters, in the order in which they stand in it; a long one holds the content."""

    text: str
    params: tuple = ()
    is_long: bool = False


@dataclass(frozen=True)
class ByLabel:
    """What the label alone decides: `of` writes it for a row of one label, `sql` for any row.

    `of` gives None for a label it does not know; with `only` it holds for rows of these task types.
    """

    of: Callable[[str], bytes | None]
    sql: Sql
    only: frozenset[str] | None = None


Piece = bytes | Sql | ByLabel


@dataclass(frozen=True)
class Record:
    """How a page is put together: the lines with `between` them, and its two ends."""

    line: Sql
    between: str
    before: bytes = b""
    after: bytes = b""


Origin = tuple[int, str, str]
ORIGIN = ("project", "type", "locale")


@dataclass(frozen=True)
class Scope:
    """What is known of the rows: their table, each (project, type, locale) among them, and labels that many have."""

    table: str
    origins: tuple[Origin, ...] = ()
    labels: tuple[str, ...] = ()


Compile = Callable[[Scope], Record]


class NotInSql(Exception):
    """The shape holds something that only the reference writes."""


class Dialect:
    """How one database says it. The text of a row's line is a chain of constants and expressions."""

    def bytewise(self, text: str) -> str:
        """`text` as something that is compared by its UTF-8 bytes."""
        raise NotImplementedError

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

    def is_plain(self, table: str) -> str | None:
        """The column of `table` that says whether JSON writes the content as it stands; None where there is none."""
        return None

    def number(self, column: str) -> str:
        """A float column as JSON writes it; NULL for null."""
        raise NotImplementedError

    def moment(self, column: str) -> str:
        """A timestamp as `2026-05-25T10:05:00Z`; NULL for null."""
        raise NotImplementedError

    def lookup(self, column: str, values: Mapping[str, str]) -> Sql:
        """The value of the text in `column`; NULL for one that `values` does not hold."""
        if len(values) > MOST_LABELS:
            raise NotInSql(f"{len(values)} labels")
        return self._lookup(column, sorted(values.items(), key=lambda item: item[0].encode()))

    def _lookup(self, column: str, ordered: Sequence[tuple[str, str]]) -> Sql:
        if not ordered:
            return Sql("NULL")
        if len(ordered) <= FEW:
            return Sql(f"CASE {column}{' WHEN %s THEN %s' * len(ordered)} END", tuple(chain.from_iterable(ordered)))
        middle = len(ordered) // 2
        less, more = self._lookup(column, ordered[:middle]), self._lookup(column, ordered[middle:])
        test = f"CASE WHEN {self.bytewise(column)} < %s THEN {less.text} ELSE {more.text} END"
        return Sql(test, (ordered[middle][0], *less.params, *more.params))

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

    def page(self, column: str, separator: str) -> str:
        """The aggregate that joins a page's texts, in their order and with the expression `separator` between them."""
        raise NotImplementedError

    def is_blank(self, column: str) -> Sql:
        """Whether the text in `column` is nothing but white space; most are found not to be by their first bytes."""
        bytewise = self.bytewise(column)
        may_be = f"({bytewise} < '!' OR {bytewise} >= %s AND {bytewise} < %s)"
        return Sql(f"{may_be} AND ltrim({column}, %s) = ''", ("\x80", chr(ord(max(BLANKS)) + 1), BLANKS))

    def within(self, document: str, key: str) -> str:
        """The text under `key` in the JSON object `document`; NULL where there is none."""
        raise NotImplementedError

    def is_rejected_blank(self, table: str) -> Sql:
        """Whether a row of `table` is a preference over nothing but white space; only of preferences the answer is read."""
        types, rejected = sorted(PREFERENCES), self.within(f'"{table}"."answer"', "rejected")
        test = f'CASE WHEN "{table}"."type" IN ({_marks(types)}) THEN ltrim({rejected}, %s) = \'\' END'
        return Sql(test, (*types, BLANKS))

    def label_key(self, table: str, known: Sequence[str]) -> Sql:
        """What a labelled row of `table` is counted by: its label's place among `known`, else its name, or names, in JSON."""
        test, name, names = self.is_labelled(table), f'"{table}"."label_name"', f'"{table}"."label_names"'
        place = self.lookup(name, {label: str(place) for place, label in enumerate(known[:MOST_CONSTANTS])})
        return Sql(
            f"CASE WHEN {test.text} THEN CASE WHEN {names} IS NULL"
            f" THEN coalesce({place.text}, {self.quoted(Sql(name)).text}) ELSE {names} END END",
            (*test.params, *place.params),
        )

    def label_text(self, table: str) -> Sql:
        """The text of a labelled row's label, or labels, as a JSON string; an empty text for every other row."""
        test, name = self.is_labelled(table), self.quoted(Sql(f'"{table}"."label_name"'))
        return Sql(f"CASE WHEN {test.text} THEN {name.text} ELSE '' END", test.params)

    def is_labelled(self, table: str) -> Sql:
        types = sorted(LABELLED)
        return Sql(f'"{table}"."type" IN ({_marks(types)}) AND "{table}"."label_name" IS NOT NULL', tuple(types))


class Sqlite(Dialect):
    element = "n.value"

    def bytewise(self, text):
        return f"{text} COLLATE BINARY"

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

    def within(self, document, key):
        return f"json_extract({document}, '$.{key}')"

    def holds(self, text, characters):
        return Sql(f"{text} GLOB %s", (f"*[{characters}]*",))

    def begins(self, text, characters):
        return Sql(f"{text} GLOB %s", (f"[{characters}]*",))

    def page(self, column, separator):
        return f"CAST(group_concat({column}, {separator}) AS BLOB)"


class Postgres(Dialect):
    element = "n.name"

    def bytewise(self, text):
        return f'{text} COLLATE "C"'

    def quoted(self, text):
        return Sql(f"coalesce(to_json({text.text})::text, 'null')", text.params)

    def prompted(self, text):
        return Sql(f"to_json(({text.text})::text)::text", text.params)

    def is_plain(self, table):
        return f'"{table}"."content_is_plain"'

    def number(self, column):
        return f"CASE WHEN {column} = trunc({column}) THEN {column}::text || '.0' ELSE {column}::text END"

    def moment(self, column):
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""

    def list_of(self, column, each):
        names = f"json_array_elements_text({column}::json) WITH ORDINALITY AS n(name, place)"
        joined = "'[' || coalesce(string_agg(i, ',' ORDER BY place), '') || ']'"
        written = f"SELECT {each.text} AS i, n.place AS place FROM {names}"
        return Sql(f"(SELECT CASE WHEN count(i) = count(*) THEN {joined} END FROM ({written}) w)", each.params)

    def within(self, document, key):
        return f"({document}::json ->> '{key}')"

    def holds(self, text, characters):
        return Sql(f"{text} ~ %s", (f"[{characters}]",))

    def begins(self, text, characters):
        return Sql(f"{text} ~ %s", (f"^[{characters}]",))

    def page(self, column, separator):
        return f"string_agg({column}, {separator})"


DIALECTS: Mapping[str, Dialect] = {"sqlite": Sqlite(), "postgresql": Postgres()}


def compiler(format: Format, context: Context, dialect: Dialect, options: Mapping[str, Any]) -> Compile | None:
    """How `dialect` writes `format`, once it knows the rows; None for a format that only the reference writes."""

    def compile(scope: Scope) -> Record:
        writer = _Writer(context, scope, dialect)
        match format:
            case Lines(then=None):
                return Record(writer.record(format.shape, format.spaced), after=b"\n", between="\n")
            case Array():
                return Record(writer.record(format.shape, False), before=b",", between=",")
            case Table():
                cells = writer.cells(format, guard=options.get("guard_formulas", False))
                return Record(writer.chain(cells), after=b"\n", between="\n")
        raise NotInSql(format)

    try:
        compile(Scope("rows"))
    except NotInSql:
        return None
    return compile


def _marks(values: Sequence) -> str:
    return ", ".join(["%s"] * len(values))


def _params(pieces: Iterable[Sql]) -> tuple:
    return tuple(chain.from_iterable(piece.params for piece in pieces))


def _chain(pieces: Iterable[bytes | Sql]) -> Sql:
    """The pieces one after the other; NULL as soon as one of them is."""
    texts: list[str] = []
    params: list[Any] = []
    for is_constant, run in groupby(pieces, key=lambda piece: isinstance(piece, bytes)):
        if is_constant:
            if constant := b"".join(run):  # type: ignore[arg-type]  # the key says so
                texts.append("%s")
                params.append(constant.decode())
            continue
        for piece in run:
            texts.append(piece.text)  # type: ignore[union-attr]
            params.extend(piece.params)  # type: ignore[union-attr]
    return Sql(" || ".join(texts) or "''", tuple(params))


class _Writer:
    def __init__(self, context: Context, scope: Scope, dialect: Dialect):
        self.context = context
        self.scope = scope
        self.say = dialect
        self.labels = list(islice(dict.fromkeys([*scope.labels, *context.labels]), MOST_CONSTANTS))

    def record(self, shape: Shape, spaced: bool) -> Sql:
        """The whole record: by the database's own JSON functions where it has them and they do, else as a chain."""
        whole = None if spaced else self.value(shape)
        return self.chain(self.json(shape, spaced)) if whole is None else whole

    def chain(self, pieces: Iterable[Piece]) -> Sql:
        """The pieces one after the other; what follows the long one is put together first, for each link copies."""
        folded = list(self.folded(pieces))
        tail = next((place for place in range(len(folded), 0, -1) if getattr(folded[place - 1], "is_long", False)), 0)
        if not 0 < tail < len(folded) - 1:
            return _chain(folded)
        rest = _chain(folded[tail:])
        return _chain([*folded[:tail], Sql(f"({rest.text})", rest.params)])

    def folded(self, pieces: Iterable[Piece]) -> Iterator[bytes | Sql]:
        """The pieces with each run of constants and of what the label decides made one."""
        for is_row_s_own, run in groupby(pieces, key=lambda piece: isinstance(piece, Sql)):
            neighbours = list(run)
            if is_row_s_own or all(isinstance(piece, bytes) for piece in neighbours):
                yield from neighbours  # type: ignore[misc]  # no ByLabel among them
            else:
                yield self.by_label(neighbours)  # type: ignore[arg-type]

    def by_label(self, run: Sequence[bytes | ByLabel]) -> Sql:
        """`run` as a constant for the labels known beforehand; else as the pieces of it say."""
        for_any_row = _chain(piece if isinstance(piece, bytes) else piece.sql for piece in run)
        written: dict[str, bytes] = {}
        for name in self.labels:
            parts = [piece if isinstance(piece, bytes) else piece.of(name) for piece in run]
            if None not in parts:
                written[name] = b"".join(part for part in parts if part is not None)
        if not written:
            return for_any_row
        found = self.say.lookup(self.column("label_name"), {name: data.decode() for name, data in written.items()})
        test, params = f"{self.column('label_names')} IS NULL", ()
        for piece in run:
            if isinstance(piece, ByLabel) and piece.only is not None:
                types = self.one_of("type", sorted(piece.only))
                test, params = f"{test} AND {types.text}", (*params, *types.params)
        return Sql(
            f"coalesce(CASE WHEN {test} THEN {found.text} END, {for_any_row.text})",
            (*params, *found.params, *for_any_row.params),
        )

    def value(self, shape: Shape) -> Sql | None:
        """`shape` as a value for the database's own JSON functions; None where they cannot, or are slower."""
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
            case Column(name) if name in PLAIN:
                yield from (b'"', Sql(self.column(name)), b'"')
            case Column("content"):
                content = Sql(self.column("content"))
                yield self.content(_chain([b'"', content, b'"']), self.say.quoted(content))
            case Column(name):
                yield self.say.quoted(Sql(self.column(name)))
            case Moment(name):
                yield Sql(f"""coalesce('"' || {self.say.moment(self.column(name))} || '"', 'null')""")
            case Label():
                one, several = self.say.quoted(Sql(self.column("label_name"))), self.column("label_names")
                yield ByLabel(orjson.dumps, Sql(f"CASE WHEN {several} IS NULL THEN {one.text} ELSE {several} END"))
            case LabelText():
                yield ByLabel(orjson.dumps, self.say.quoted(Sql(self.column("label_name"))))
            case LabelId():
                yield self.label_id("null")
            case Prompt():
                yield self.prompted(shape)
            case Responses():
                response = self.say.quoted(Sql(f"coalesce({self.column('label_name')}, '')"))
                yield ByLabel(lambda name: b"[[%b]]" % orjson.dumps(name), _chain([b"[[", response, b"]]"]))
            case str() | int() | float() | None:
                yield orjson.dumps(shape)
            case _:
                raise NotInSql(shape)

    def cells(self, format: Table, *, guard: bool) -> Iterator[Piece]:
        for number, (name, shape) in enumerate(format.shape.items()):
            yield b"," if number else b""
            yield from self.cell(shape, always=name in format.always_quoted, guard=guard)

    def cell(self, shape: Shape, *, always: bool, guard: bool) -> Iterator[Piece]:
        match shape:
            case Column(name) if name in NUMBERS:
                number = f"coalesce({self.say.number(self.column(name))}, '')"
                yield from self.cell_of(number, always=always, guard=guard, is_plain=not guard)
            case Column(name):
                is_plain = name in PLAIN and not guard
                yield from self.cell_of(self.column(name), always=always, guard=guard, is_plain=is_plain)
            case Moment(name):
                moment = f"coalesce({self.say.moment(self.column(name))}, '')"
                yield from self.cell_of(moment, always=always, guard=False, is_plain=True)
            case Label():
                either = f"coalesce({self.column('label_names')}, {self.column('label_name')}, '')"
                yield self.label_cell(either, always=always, guard=guard)
            case LabelText():
                text = f"coalesce({self.column('label_name')}, '')"
                yield self.label_cell(text, always=always, guard=guard)
            case _:
                raise NotInSql(shape)

    def label_cell(self, text: str, *, always: bool, guard: bool) -> ByLabel:
        def write(name: str) -> bytes:
            marked = f"'{name}" if guard and is_formula(name) else name
            return (quoted(marked) if always or needs_quotes(marked) else marked).encode()

        pieces = list(self.cell_of(text, always=always, guard=guard, is_plain=False))
        return ByLabel(write, _chain(pieces))

    def cell_of(self, text: str, *, always: bool, guard: bool, is_plain: bool) -> Iterator[bytes | Sql]:
        """A cell with the text expression `text`; a plain one has nothing that asks for quotes."""
        mark, params = "", ()
        if guard:
            begins = self.say.begins(text, FORMULA_STARTS)
            mark, params = f"CASE WHEN {begins.text} THEN '''' ELSE '' END || ", begins.params
        doubled = f"""{mark}replace({text}, '"', '""')"""
        if always:
            yield b'"'
            yield Sql(doubled, params, is_long=True)
            yield b'"'
        elif is_plain:
            yield Sql(text)
        else:
            holds = self.say.holds(text, QUOTE_WORTHY)
            cell = f"""CASE WHEN {holds.text} THEN '"' || {doubled} || '"' ELSE {mark}{text} END"""
            yield Sql(cell, holds.params + params + params)

    def label_id(self, nothing: str) -> Piece:
        """The label's index, the list of several, or `nothing` where the answer is free text or there is none."""
        types = frozenset(type for _, type, _ in self.scope.origins) & LABELLED
        if not types:
            return Sql("%s", (nothing,))
        name, names, of_type = self.column("label_name"), self.column("label_names"), self.one_of("type", sorted(types))
        one, several = self.index_of(name), self.say.list_of(names, self.index_of(self.say.element))
        any_row = Sql(
            f"CASE WHEN {name} IS NULL OR NOT {of_type.text} THEN %s"
            f" WHEN {names} IS NULL THEN {one.text} ELSE {several.text} END",
            (*of_type.params, nothing, *one.params, *several.params),
        )
        labels = self.context.labels
        return ByLabel(lambda name: b"%d" % labels[name] if name in labels else None, any_row, only=types)

    def index_of(self, name: str) -> Sql:
        """The index of the label called `name`, as text; NULL for one outside the map."""
        return self.say.lookup(name, {label: str(index) for label, index in self.context.labels.items()})

    def prompted(self, prompt: Prompt) -> Sql:
        """The prompt filled with the content, as a JSON string; NULL for an origin that was not foreseen."""
        templates = {origin: self.context.template(prompt.style, *origin) for origin in self.scope.origins}
        if not any(SLOT in template for template in templates.values()):  # nothing of the row in it: a constant
            written = {origin: Sql("%s", (orjson.dumps(words).decode(),)) for origin, words in templates.items()}
            return self.by_origin(written, ORIGIN)
        filled = {origin: self.filled(template) for origin, template in templates.items()}
        plain = {origin: self.filled(orjson.dumps(template).decode()) for origin, template in templates.items()}
        return self.content(self.by_origin(plain, ORIGIN), self.say.prompted(self.by_origin(filled, ORIGIN)))

    def content(self, plain: Sql, escaped: Sql) -> Sql:
        """A JSON string that holds the content: `plain` for one that JSON writes as it stands, else `escaped`."""
        if (is_plain := self.say.is_plain(self.scope.table)) is None:
            return replace(escaped, is_long=True)
        either = f"CASE WHEN {is_plain} THEN {plain.text} ELSE {escaped.text} END"
        return Sql(either, (*plain.params, *escaped.params), is_long=True)

    def by_origin(self, values: Mapping[tuple, Sql], columns: Sequence[str]) -> Sql:
        """The value for the row's own `columns`, which are the keys; NULL where there is none."""
        if not columns:
            return values[()]
        branches: dict[Any, dict[tuple, Sql]] = {}
        for (first, *rest), value in values.items():
            branches.setdefault(first, {})[tuple(rest)] = value
        chosen = [(key, self.by_origin(branch, columns[1:])) for key, branch in branches.items()]
        if not chosen:
            return Sql("NULL")
        cases = "".join(f" WHEN %s THEN {value.text}" for _, value in chosen)
        params = tuple(chain.from_iterable((key, *value.params) for key, value in chosen))
        return Sql(f"CASE {self.column(columns[0])}{cases} END", params)

    def one_of(self, column: str, values: Sequence[Any]) -> Sql:
        """Whether the row's `column` is one of `values`."""
        if len(values) == 1:
            return Sql(f"{self.column(column)} = %s", tuple(values))
        return Sql(f"{self.column(column)} IN ({_marks(values)})", tuple(values))

    def filled(self, template: str) -> Sql:
        """`template` with the content in its slots."""
        pieces: list[bytes | Sql] = []
        for number, words in enumerate(template.split(SLOT)):
            if number:
                pieces.append(Sql(self.column("content")))
            pieces.append(words.encode())
        return _chain(pieces)

    def column(self, name: str) -> str:
        return f'"{self.scope.table}"."{COLUMN_OF.get(name, name)}"'

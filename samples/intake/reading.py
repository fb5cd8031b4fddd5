"""A file becomes rows, one at a time: (line in the file, {column: value}), whatever kind of file it is."""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, Protocol

import orjson

from samples.errors import BadFile, BadRow

MAX_LINE_BYTES = 5_000_000  # a longer line is not a row of text; reading stops there instead of filling the memory
BLOCK = 1 << 18
PARQUET_ROWS = 2_000

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}
TABLES = frozenset({"csv", "tsv", "parquet"})  # every row has the same columns

MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (a spreadsheet? save it as CSV)",
    b"\xd0\xcf\x11\xe0": "an old Office document (a spreadsheet? save it as CSV)",
    b"PAR1": "a Parquet file; its name must end in .parquet",
    b"\x1f\x8b": "gzip data; its name must end in .gz",
    b"SQLite format 3": "an SQLite database",
}
UTF16_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

csv.field_size_limit(MAX_LINE_BYTES)


class Readable(Protocol):
    """What a file must do: give the next bytes. (Parquet is read from its end: there it must also seek.)"""

    def read(self, size: int, /) -> bytes: ...


Row = tuple[int, dict[str, Any] | BadRow]  # a row that cannot be read does not end the file


@dataclass(frozen=True)
class Layout:
    """How a file is written, where its name does not say it.

    `quotes` says what a double quote means in a CSV or TSV cell: "always", RFC 4180 (what "auto" is for CSV: cells may
    span lines); "never", an ordinary character; "auto" for TSV: a cell is unquoted if it is quoted correctly from end to
    end within its line, and left as it is otherwise, since real TSV files are written both ways.
    """

    kind: str | None = None
    encoding: str = "utf-8"
    header: bool = True
    delimiter: str | None = None
    quotes: str = "auto"


def kind_of(name: str, layout: Layout) -> str:
    """ "csv", "tsv", "jsonl", "json" or "parquet": what the layout says, else the name's ending (".gz" aside)."""
    known = sorted(set(KINDS.values()))
    if layout.kind is not None:
        if layout.kind not in known:
            raise BadFile(f"unknown kind of file {layout.kind!r}; known: {', '.join(known)}", known=known)
        return layout.kind
    plain = name.lower().removesuffix(".gz")
    for ending, kind in KINDS.items():
        if plain.endswith(ending):
            return kind
    raise BadFile(
        f"{name}: unknown ending; known: {', '.join(KINDS)}, all but the last also with .gz (or say --format)",
        known=list(KINDS),
    )


def read(
    file: Readable, *, name: str, layout: Layout, progress: Callable[[int], object] | None = None
) -> Iterator[Row]:
    """The rows of `file`; BadFile, with the line, where it cannot be read on. `progress` hears how many bytes more."""
    kind = kind_of(name, layout)
    if kind == "parquet":
        rows = _parquet(file, progress)
    else:
        stream = _opened(file, name=name, encoding=layout.encoding, progress=progress)
        if kind == "json":
            rows = _json(stream)
        elif kind == "jsonl":
            rows = _jsonl(stream)
        else:
            rows = _table(stream, kind, layout)
    empty = True
    try:
        for row in rows:
            empty = False
            yield row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadFile(f"{name}: damaged gzip data: {error}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{name} is not {layout.encoding}: {error.reason}") from error
    if empty:
        raise BadFile(f"{name}: there are no rows in it")


# Bytes ----------------------------------------------------------------------------------------------------------------


class _Watched(io.RawIOBase):
    """Bytes of any object with read(), telling `progress` how many went by."""

    def __init__(self, file, progress):
        self.file, self.progress = file, progress

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        if self.progress:
            self.progress(len(data))
        return len(data)


class _Recoded(io.RawIOBase):
    """The same text in UTF-8, whatever it was in, so that everything further on knows one encoding."""

    def __init__(self, file, encoding):
        self.file, self.decoder, self.left = file, codecs.getincrementaldecoder(encoding)(), b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.left:
            data = self.file.read(BLOCK)
            self.left = self.decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
            if not data:
                break
        data, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _buffered(raw) -> io.BufferedReader:
    return io.BufferedReader(raw, BLOCK)


def _opened(file, *, name, encoding, progress) -> io.BufferedReader:
    """A buffered stream of UTF-8 bytes without byte order mark; BadFile where the first bytes are no text."""
    stream = _buffered(_Watched(file, progress))
    if name.lower().endswith(".gz"):
        stream = _buffered(gzip.GzipFile(fileobj=stream))
    try:
        "x".encode(encoding)
    except LookupError as error:
        raise BadFile(f"unknown encoding {encoding!r}") from error
    try:
        head = stream.peek(8192)
        if not head:
            raise BadFile(f"{name} is empty")
        for magic, what in MAGIC.items():
            if head.startswith(magic):
                raise BadFile(f"{name} is not text but {what}")
        if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
            stream = _buffered(_Recoded(stream, encoding))
            head = stream.peek(8192)
        for mark, found in UTF16_MARKS.items():
            if head.startswith(mark):
                raise BadFile(f"{name} is in {found}, not UTF-8: name its encoding (--encoding {found})")
        if b"\0" in head:
            raise BadFile(f"{name} is a binary file: byte {head.index(0)} is NUL")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadFile(f"{name}: damaged gzip data: {error}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{name} is not {encoding}: {error.reason}") from error
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    return stream


def _not_utf8(line: int, offset: int, byte: int) -> BadFile:
    return BadFile(
        f"line {line} is not UTF-8: byte {offset} of the text is 0x{byte:02X}; "
        "name the encoding it is in (--encoding latin-1, cp1252, gb18030, …)",
        line=line,
        offset=offset,
    )


class _Lines:
    """The stream's lines as text. Only "\\n" ends one: U+0085 and U+2028 are characters like any other."""

    def __init__(self, stream: io.BufferedReader):
        self.stream, self.number, self.offset = stream, 0, 0

    def __iter__(self):
        return self

    def __next__(self) -> str:
        line = self.read()
        if not line:
            raise StopIteration
        return self.decoded(line)

    def read(self) -> bytes:
        """The next line as it stands, with its end; nothing after the last."""
        line = self.stream.readline(MAX_LINE_BYTES + 1)
        if line:
            self.number += 1
        if len(line) > MAX_LINE_BYTES:
            raise BadFile(f"line {self.number} is longer than {MAX_LINE_BYTES:,} bytes", line=self.number)
        self.offset += len(line)
        return line

    def decoded(self, line: bytes) -> str:
        """The text of the line just read."""
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            offset = self.offset - len(line) + error.start
            raise _not_utf8(self.number, offset, line[error.start]) from error


# CSV and TSV ----------------------------------------------------------------------------------------------------------


def _table(stream, kind: str, layout: Layout) -> Iterator[Row]:
    """Rows of a table: the first record names the columns, or they are called "1", "2", …"""
    delimiter = layout.delimiter or {"csv": ",", "tsv": "\t"}[kind]
    if len(delimiter) != 1:
        raise BadFile(f"a delimiter is one character, not {delimiter!r}")
    quotes = {"csv": "always", "tsv": "tidy"}[kind] if layout.quotes == "auto" else layout.quotes
    if quotes not in ("always", "never", "tidy"):
        raise BadFile(f"quotes is {layout.quotes!r}; it may be auto, always or never")
    lines = _Lines(stream)
    records = _quoted(lines, delimiter) if quotes == "always" else _plain(lines, delimiter, tidy=quotes == "tidy")
    names: list[str] = []
    for line, cells in records:
        if not names:
            names = _column_names(cells if layout.header else [""] * len(cells))
            if layout.header:
                continue
        if len(cells) != len(names):
            columns = f"{len(names)} column{'s' * (len(names) != 1)}"
            yield line, BadRow(f"{len(cells)} cell{'s' * (len(cells) != 1)} where there are {columns}")
        else:
            yield line, dict(zip(names, cells, strict=True))


def _column_names(cells: list[str]) -> list[str]:
    names = [cell.strip() or str(number) for number, cell in enumerate(cells, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadFile(f"two columns are called {twice[0]!r}", line=1)
    return names


def _quoted(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records after RFC 4180, each with the line it begins on."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begins = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadFile(f"line {begins}: {_plainly(str(error), begins, lines.number)}", line=begins) from error
        if cells:
            yield begins, cells


def _plainly(message: str, begins: int, now: int) -> str:
    """What the csv module's error means to the one who made the file."""
    if message.startswith(("unexpected end", "field larger")):
        return "a quoted cell that begins here is not closed"
    if "expected after" in message:
        where = "" if now == begins else f", up to line {now}"
        return f"a quote inside a quoted cell is not doubled{where}"
    if "new-line character" in message:
        return "a carriage return stands alone; lines end in LF or CR LF"
    return message


def _plain(lines: _Lines, delimiter: str, *, tidy: bool) -> Iterator[tuple[int, list[str]]]:
    """A record a line, cut at every delimiter; `tidy` unwraps cells that are quoted correctly from end to end."""
    for text in lines:
        text = text.rstrip("\r\n")
        if not text:
            continue
        cells = text.split(delimiter)
        if tidy and '"' in text:
            cells = [_unquoted(cell) for cell in cells]
        yield lines.number, cells


def _unquoted(cell: str) -> str:
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"' or '"' in cell[1:-1].replace('""', ""):
        return cell
    return cell[1:-1].replace('""', '"')


# JSON -----------------------------------------------------------------------------------------------------------------


def _no_such_number(text):
    raise ValueError(f"{text} is not JSON")


# The standard decoder knows integers of any size and says what is wrong where; orjson serves where neither is asked.
_decoder = json.JSONDecoder(parse_constant=_no_such_number)
LONG_NUMBER = re.compile(rb"[0-9]{19}")  # orjson makes a float of what 64 bits do not hold
MAY_BE_FLOATS = frozenset({float, list, dict})
SPACE = " \t\r\n"
BLANK = SPACE.encode()


def _jsonl(stream) -> Iterator[Row]:
    lines = _Lines(stream)
    while line := lines.read():
        if not line.strip(BLANK):
            continue
        try:
            value = _value(lines, line)
        except json.JSONDecodeError as error:
            yield lines.number, BadRow(f"not JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:
            yield lines.number, BadRow(f"not JSON: {error}")
        else:
            if isinstance(value, list) and len(value) == 1:  # Qianfan's conversation of one turn
                value = value[0]
            yield lines.number, value if isinstance(value, dict) else BadRow("not a JSON object")


def _value(lines: _Lines, line: bytes) -> Any:
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(line)
        if _has_no_float(value) or not LONG_NUMBER.search(line):
            return value
    return _decoder.decode(lines.decoded(line))


def _has_no_float(value: Any) -> bool:
    """Whether it is an object of texts and whole numbers, as most rows are: to look for long digits takes longer."""
    return isinstance(value, dict) and MAY_BE_FLOATS.isdisjoint(map(type, value.values()))


class _Window:
    """A stretch of the text that moves along the stream: what is decoded from its start is dropped behind it."""

    def __init__(self, stream):
        self.stream, self.decode = stream, codecs.getincrementaldecoder("utf-8")().decode
        self.text, self.at, self.line, self.offset, self.ended = "", 0, 1, 0, False

    def more(self) -> bool:
        """Read on; False at the end of the stream."""
        if self.ended:
            return False
        self.text, self.at = self.text[self.at :], 0
        data = self.stream.read(max(BLOCK, len(self.text)))  # doubling, so that a long object is not tried too often
        self.ended = not data
        try:
            self.text += self.decode(data, self.ended)
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n") + error.object.count(b"\n", 0, error.start)
            # The decoder may have held back up to three bytes of the block before.
            start = self.offset - (len(error.object) - len(data)) + error.start
            raise _not_utf8(line, start, error.object[error.start]) from error
        self.offset += len(data)
        return not self.ended

    def move_to(self, at: int) -> None:
        self.line += self.text.count("\n", self.at, at)
        self.at = at

    def next_mark(self) -> str:
        """The next character that is not white space, left in place; "" at the end."""
        while True:
            at = self.at
            while at < len(self.text) and self.text[at] in SPACE:
                at += 1
            self.move_to(at)
            if at < len(self.text):
                return self.text[at]
            if not self.more():
                return ""

    def next_object(self) -> dict[str, Any]:
        while True:
            try:
                value, end = _decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                line = self.line + self.text.count("\n", self.at, error.pos)
                # An object cut off by the window's edge breaks at the edge, or in a string that runs up to it.
                cut_off = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - 16
                too_long = len(self.text) - self.at > MAX_LINE_BYTES
                if cut_off and too_long:
                    what = f"line {self.line}: an object longer than {MAX_LINE_BYTES:,} bytes begins here"
                    raise BadFile(what, line=self.line) from error
                if not cut_off or not self.more():
                    raise BadFile(f"line {line}: not JSON: {error.msg}", line=line) from error
            except (ValueError, RecursionError) as error:
                raise BadFile(f"line {self.line}: not JSON: {error}", line=self.line) from error
            else:
                self.move_to(end)
                return value


def _json(stream) -> Iterator[Row]:
    """The objects of an array, or, where the file begins with an object, of a row of objects with or without line ends."""
    window = _Window(stream)
    mark = window.next_mark()
    in_array = mark == "["
    if in_array:
        window.move_to(window.at + 1)
        mark = window.next_mark()
        if mark == "]":
            return
    while True:
        if mark != "{":
            found = f"{mark!r} stands" if mark else "the file ends"
            raise BadFile(f"line {window.line}: not JSON: {found} where an object should begin", line=window.line)
        line = window.line
        yield line, window.next_object()
        mark = window.next_mark()
        if not in_array:
            if not mark:
                return
        elif mark == ",":
            window.move_to(window.at + 1)
            mark = window.next_mark()
        elif mark == "]":
            window.move_to(window.at + 1)
            if window.next_mark():
                raise BadFile(f"line {window.line}: not JSON: there is more after the array", line=window.line)
            return
        else:
            found = f"{mark!r} stands" if mark else "the file ends"
            raise BadFile(f"line {window.line}: not JSON: {found} where “,” or “]” should", line=window.line)


# Parquet --------------------------------------------------------------------------------------------------------------


def _parquet(file: Any, progress) -> Iterator[Row]:
    """Rows of a Parquet file, numbered from 1 instead of lines."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BadFile("Parquet needs the extra “parquet”: pip install 'labelhub[parquet]'") from error
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not size:
        raise BadFile("the file is empty")
    try:
        table = pyarrow.parquet.ParquetFile(file)
        number = done = 0
        for batch in table.iter_batches(PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield number, {name: _as_json(value) for name, value in row.items()}
            if progress:
                reached = size * number // table.metadata.num_rows
                progress(reached - done)
                done = reached
    except pyarrow.ArrowException as error:
        raise BadFile(f"not a Parquet file that can be read: {error}") from error


def _as_json(value: Any) -> Any:
    """What JSON has no word for, as text: moments in ISO 8601, decimals with every digit."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return value


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

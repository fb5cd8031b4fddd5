"""Shapes as Parquet, a row group at a time: what has been written is handed on, so memory holds one group."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import orjson
import pyarrow as arrow
from pyarrow import compute
from pyarrow.parquet import ParquetWriter

from .context import LABELLED, Context
from .features import features_of, several
from .python import Columns, soft_labels
from .shape import COLUMNS, Column, Columnar, Label, LabelId, Moment, Page, Shape, SoftLabel

GROUP_ROWS = 10_000
MOMENT = arrow.timestamp("ms", tz="UTC")


class _Sink:
    """A file that can only be written to; `take` empties it."""

    closed = False

    def __init__(self):
        self._chunks: list[bytes] = []

    def write(self, data) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self):
        pass

    def close(self):
        pass

    def take(self) -> Iterator[bytes]:
        chunks, self._chunks = self._chunks, []
        if chunks:
            yield b"".join(chunks)


def encode(format: Columnar, pages: Iterable[Page], context: Context) -> Iterator[bytes]:
    """The Parquet file of `pages`, in chunks of a row group."""
    columns = {name: _arrow(word, context) for name, word in format.columns.items()}
    schema = arrow.schema([(name, type) for name, (type, _) in columns.items()]).with_metadata(
        {"huggingface": orjson.dumps({"info": {"features": features_of(format, context)}})}
    )
    sink = _Sink()
    with ParquetWriter(sink, schema, compression="zstd") as writer:
        for page in _groups(pages):
            values: Columns = dict(zip(COLUMNS, zip(*page, strict=True), strict=True))
            arrays = [read(values) for _, read in columns.values()]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            yield from sink.take()
    yield from sink.take()


def _groups(pages: Iterable[Page]) -> Iterator[Page]:
    """The same rows in groups of GROUP_ROWS, wherever a page ends; the last is smaller."""
    waiting: list[tuple] = []
    for page in pages:
        waiting.extend(page)
        while len(waiting) >= GROUP_ROWS:
            yield waiting[:GROUP_ROWS]
            del waiting[:GROUP_ROWS]
    if waiting:
        yield waiting


Reader = Callable[[Columns], arrow.Array]


def _arrow(word: Shape, context: Context) -> tuple[arrow.DataType, Reader]:
    """The type of a column, and what takes it from a group's rows."""
    match word:
        case Column("confidence"):
            return arrow.float64(), lambda columns: arrow.array(columns["confidence"], arrow.float64())
        case Column(name):
            return arrow.string(), lambda columns: arrow.array(columns[name], arrow.string())
        case Moment(name):
            return MOMENT, lambda columns: _moments(columns[name])
        case Label():
            type = arrow.list_(arrow.string()) if several(context) else arrow.string()
            read = _labels if several(context) else lambda columns: columns["label_name"]
            return type, lambda columns: arrow.array(read(columns), type)
        case LabelId():
            return _label_ids(context)
        case SoftLabel():
            shares, type = soft_labels(context), arrow.list_(arrow.float64())
            return type, lambda columns: arrow.array(shares(columns), type)
    raise TypeError(f"no column for {word}")


def _moments(texts: Sequence[str | None]) -> arrow.Array:
    read = compute.strptime(arrow.array(texts, arrow.string()), format="%Y-%m-%dT%H:%M:%SZ", unit="ms")
    return read.cast(MOMENT)


def _labels(columns: Columns) -> list[list[str] | None]:
    """Every row's labels as a list, for a file in which some rows have several."""
    return [
        (None if name is None else [name]) if names is None else orjson.loads(names)
        for name, names in zip(columns["label_name"], columns["label_names"], strict=True)
    ]


def _label_ids(context: Context) -> tuple[arrow.DataType, Reader]:
    def ids(columns: Columns) -> Iterator[list[int] | None]:
        for type, labels in zip(columns["type"], _labels(columns), strict=True):
            yield None if labels is None or type not in LABELLED else [context.label_id(label) for label in labels]

    if several(context):
        type = arrow.list_(arrow.int64())
        return type, lambda columns: arrow.array(list(ids(columns)), type)
    return arrow.int64(), lambda columns: arrow.array([one and one[0] for one in ids(columns)], arrow.int64())

"""Rows become one file: plain, or a ZIP of train, val and test; counted and hashed as they go by."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from operator import itemgetter
from typing import Any

import orjson
from django.db.models import QuerySet

from . import archive, formats, rows, splits
from .context import context_of
from .formats import COLUMNS, Context, Format, Page
from .formats.context import LABELLED

type_of = itemgetter(COLUMNS.index("type"))
verdict_of = itemgetter(COLUMNS.index("label_name"), COLUMNS.index("label_names"))


class Tally:
    """What has gone by: rows, labels, bytes and their hash."""

    def __init__(self):
        self.rows = 0
        self.bytes = 0
        self._hash = sha256()
        self._verdicts: Counter[tuple] = Counter()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def labels(self) -> dict[str, int]:
        """How many rows carry each label, the most frequent first; nothing for answers in free text."""
        counts: Counter[str] = Counter()
        for (name, names), count in self._verdicts.items():
            if name is not None:
                for label in [name] if names is None else orjson.loads(names):
                    counts[label] += count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def of_rows(self, pages: Iterable[Page]) -> Iterator[Page]:
        for page in pages:
            self.rows += len(page)
            labelled = page
            if not LABELLED.issuperset(map(type_of, page)):
                labelled = [row for row in page if type_of(row) in LABELLED]
            self._verdicts.update(map(verdict_of, labelled))
            yield page

    def of_bytes(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.bytes += len(chunk)
            self._hash.update(chunk)
            yield chunk


class File:
    """One file to be: walk `chunks()` once, then `whole` and `parts` hold what was written.

    `parts` maps "train", "val" and "test" (or, without a split, "whole") to the pages of their rows.
    """

    def __init__(
        self, format: Format, parts: Mapping[str, Iterable[Page]], context: Context, options: Mapping[str, Any]
    ):
        self.format = format
        self.context = context
        self.is_split = set(parts) != {"whole"}
        self.whole = Tally()
        self.parts = {name: Tally() for name in parts} if self.is_split else {"whole": self.whole}
        self._pages = parts
        self._options = options

    @property
    def extension(self) -> str:
        return "zip" if self.is_split else self.format.extension

    @property
    def media_type(self) -> str:
        return archive.MEDIA_TYPE if self.is_split else self.format.media_type

    def member(self, part: str) -> str:
        """The name of a part inside the ZIP."""
        return f"{part}.{self.format.extension}"

    def chunks(self) -> Iterator[bytes]:
        if not self.is_split:
            return self.whole.of_bytes(self._encoded("whole"))
        members = ((self.member(part), tally.of_bytes(self._encoded(part))) for part, tally in self.parts.items())
        return self.whole.of_bytes(archive.zipped(members))

    def _encoded(self, part: str) -> Iterator[bytes]:
        pages = self.parts[part].of_rows(self._pages[part])
        return formats.encode(self.format, pages, self.context, self._options)


def file_of(
    samples: QuerySet,
    *,
    format: str,
    ratios: Any = None,
    seed: str = "0",
    stratify: bool = False,
    options: Mapping[str, Any] | None = None,
) -> File:
    """The file of a queryset of Sample or Task as it stands now; no batch, no claim.

    With a split the rows are dealt first, by id, and each part is read on its own.
    """
    shape = formats.get(format)
    formats.check_options(shape, options or {})
    shares = None if ratios is None else splits.parse(ratios)
    chosen = writable(samples, shape)
    context = context_of(chosen, shape)
    if shares is None:
        return File(shape, {"whole": rows.pages(chosen)}, context, options or {})
    dealt = splits.deal(rows.identities(chosen), shares, seed=seed, stratify=stratify)
    parts = {name: rows.pages_of_ids(chosen, ids) for name, ids in zip(splits.PARTS, dealt, strict=True)}
    return File(shape, parts, context, options or {})


def writable(samples: QuerySet, format: Format) -> QuerySet:
    """The rows that `format` can hold: some only those that have a label."""
    samples = rows.unsliced(samples)
    return samples.exclude(label_name=None) if format.settled_only else samples

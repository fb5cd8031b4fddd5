"""Rows become one file: plain, or a ZIP of train, val and test; counted and hashed as they go by."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import orjson
from django.db.models import QuerySet

from . import archive, formats, rows, splits
from .compression import compressed
from .context import context_of
from .errors import BadCompression
from .formats import Context, Format, sql
from .rows import Walk, Written

Report = Callable[[int, str], None]  # (rows written so far, the part they are in)


class Tally:
    """What has gone by: rows, bytes and their hash; and the labels, where these are counted."""

    def __init__(self):
        self.rows = 0
        self.bytes = 0
        self._hash = sha256()
        self._labels: Counter[bytes] = Counter()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def labels(self) -> dict[str, int]:
        """How many rows carry each label, the most frequent first; nothing for answers in free text."""
        counts: Counter[str] = Counter()
        for key, number in self._labels.items():
            said = orjson.loads(key)
            for name in said if isinstance(said, list) else [said]:
                counts[name] += number
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def count(self, page: Written) -> None:
        self.rows += page.rows
        if page.labels:
            self._labels.update(page.labels.split(b"\n"))

    def of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.bytes += len(chunk)
            self._hash.update(chunk)
            yield chunk


class File:
    """One file to be: walk `chunks()` once, then `whole` and `parts` hold what was written.

    `parts` maps "train", "val" and "test" (or, without a split, "whole") to the walks over their rows.
    """

    def __init__(
        self,
        format: Format,
        parts: Mapping[str, Walk],
        context: Context,
        options: Mapping[str, Any],
        report: Report = lambda rows, part: None,
        *,
        with_labels: bool = False,
        compression: str = "none",
    ):
        self.format = format
        self.context = context
        self.is_archive = set(parts) != {"whole"} or format.is_zipped
        self.whole = Tally()
        plain = not self.is_archive and compression == "none"
        self.parts = {"whole": self.whole} if plain else {name: Tally() for name in parts}
        self.compression = compression
        self._walks = parts
        self._options = options
        self._report = report
        self._with_labels = with_labels

    @property
    def rows(self) -> int:
        """How many rows have been written so far, in all parts."""
        return sum(tally.rows for tally in self.parts.values())

    @property
    def extension(self) -> str:
        return "zip" if self.is_archive else self.format.extension

    @property
    def media_type(self) -> str:
        return archive.MEDIA_TYPE if self.is_archive else self.format.media_type

    def member(self, part: str) -> str:
        """The name of a part inside the ZIP."""
        return f"{'data' if part == 'whole' else part}.{self.format.extension}"

    def chunks(self) -> Iterator[bytes]:
        if not self.is_archive:
            encoded = self._encoded("whole")
            if self.compression != "none":
                encoded = compressed(self.parts["whole"].of(encoded), self.compression)
            return self.whole.of(encoded)
        members = ((self.member(part), tally.of(self._encoded(part))) for part, tally in self.parts.items())
        return self.whole.of(archive.zipped(members))

    def _encoded(self, part: str) -> Iterator[bytes]:
        """The part's bytes, page by page: written by the database where it can, else by the reference in Python."""
        walk = self._walks[part]
        by_hand = formats.page_writer(self.format, self.context, self._options)
        compile = sql.compiler(self.format, self.context, rows.dialect_of(walk), self._options)
        if compile is None:
            written: Iterator[Written] = (
                Written(len(page), by_hand(page), rows.labels_of(page)) for page in rows.pages(walk)
            )
        else:
            written = rows.written(walk, compile, by_hand, with_labels=self._with_labels)
        return formats.framed(self.format, self._counted(written, part))

    def _counted(self, written: Iterable[Written], part: str) -> Iterator[bytes]:
        for page in written:
            self.parts[part].count(page)
            assert page.data is not None
            yield page.data
            self._report(self.rows, part)


def file_of(
    samples: QuerySet,
    *,
    format: str,
    ratios: Any = None,
    seed: str = "0",
    stratify: bool = False,
    options: Mapping[str, Any] | None = None,
    compression: str = "none",
) -> File:
    """The file of a queryset of Sample or Task as it stands now; no batch, no claim.

    With a split the rows are dealt first, by id, and each part is read on its own.
    """
    shape = formats.get(format)
    formats.check_options(shape, options or {})
    shares = None if ratios is None else splits.parse(ratios)
    chosen = writable(samples, shape)
    context = context_of(samples, shape)
    if shares is None:
        return File(shape, {"whole": rows.walk(chosen)}, context, options or {}, compression=compression)
    if compression != "none":
        raise BadCompression("the parts of a split go into a ZIP, which is compressed already: ask for none")
    dealt = splits.deal(rows.identities(chosen), shares, seed=seed, stratify=stratify)
    parts = {name: rows.walk_ids(chosen, ids) for name, ids in zip(splits.PARTS, dealt, strict=True)}
    return File(shape, parts, context, options or {})


def writable(samples: QuerySet, format: Format) -> QuerySet:
    """The rows that `format` can hold: some only those that have a label."""
    samples = rows.unsliced(samples)
    return samples.exclude(label_name=None) if format.settled_only else samples

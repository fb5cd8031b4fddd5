"""Rows become one file: plain, or a ZIP of train, val and test; counted and hashed as they go by."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from django.db.models import Q, QuerySet

from samples import task_types

from . import archive, formats, media, rows, splits
from .context import context_of
from .formats import Columnar, Context, Folders, Format, sql
from .formats.shape import in_sql, resolved
from .rows import Walk

ZIP = "zip"

Report = Callable[[int, str], None]  # (rows written so far, the part they are in)
Member = tuple[str, Iterable[bytes]]
Notes = Callable[["File"], Iterable[Member]]


def no_notes(file: "File") -> Iterable[Member]:
    return ()


class Tally:
    """What has gone by: rows, bytes and their hash."""

    def __init__(self):
        self.rows = 0
        self.bytes = 0
        self._hash = sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.bytes += len(chunk)
            self._hash.update(chunk)
            yield chunk


class File:
    """One file to be: walk `chunks()` once, then `whole` and `parts` hold what was written.

    `parts` maps "train", "val" and "test" (or, without a split, "whole") to the walks over their rows. `notes`, asked
    when the data is written, are the members of a bundle that tell of it.
    """

    def __init__(
        self,
        format: Format,
        parts: Mapping[str, Walk],
        context: Context,
        options: Mapping[str, Any],
        report: Report = lambda rows, part: None,
        notes: "Notes" = no_notes,
    ):
        self.format = replace(format, shape=resolved(format.shape, options))
        self.context = context
        self.is_split = set(parts) != {"whole"}
        self.is_archive = is_archive(format, options, is_split=self.is_split)
        self.whole = Tally()
        self.parts = {name: Tally() for name in parts} if self.is_archive else {"whole": self.whole}
        self._walks = parts
        self._options = options
        self._report = report
        self._notes = notes

    @property
    def rows(self) -> int:
        """How many rows have been written so far, in all parts."""
        return sum(tally.rows for tally in self.parts.values())

    @property
    def extension(self) -> str:
        return ZIP if self.is_archive else self.format.extension

    @property
    def media_type(self) -> str:
        return archive.MEDIA_TYPE if self.is_archive else self.format.media_type

    def member(self, part: str) -> str:
        """The name of a part inside the ZIP: a file, or the folder it is in."""
        if isinstance(self.format, Folders):
            return media.folder(part)
        return f"{'data' if part == 'whole' else part}.{self.format.extension}"

    def chunks(self) -> Iterator[bytes]:
        if not self.is_archive:
            return self.whole.of(self._encoded("whole"))
        return self.whole.of(archive.zipped(self._members()))

    def _members(self) -> Iterator[Member]:
        for part, tally in self.parts.items():
            if isinstance(self.format, Folders):
                yield from media.members(self.format, part, self._pages(part), self._walks[part], self.context, tally)
            else:
                yield self.member(part), tally.of(self._encoded(part))
        yield from self._notes(self)

    def _encoded(self, part: str) -> Iterator[bytes]:
        """The part's bytes, page by page: written by the database where it can, else by the reference in Python."""
        if isinstance(self.format, Columnar):
            return formats.encode(self.format, self._pages(part), self.context)
        walk = self._walks[part]
        by_hand = formats.page_writer(self.format, self.context, self._options)
        record = None
        if in_sql(self.format):
            scope = rows.scope_of(walk, self.format)
            record = sql.compiled(self.format, self.context, scope, rows.dialect_of(walk), self._options)
        if record is None:
            written: Iterator[tuple[int, bytes]] = ((len(page), by_hand(page)) for page in rows.pages(walk))
        else:
            written = rows.written(walk, record, by_hand)
        return formats.framed(self.format, self._counted(written, part))

    def _pages(self, part: str) -> Iterator[formats.Page]:
        """The part's rows, counted as they are asked for."""
        for page in rows.pages(self._walks[part]):
            self.parts[part].rows += len(page)
            yield page
            self._report(self.rows, part)

    def _counted(self, written: Iterable[tuple[int, bytes]], part: str) -> Iterator[bytes]:
        for count, data in written:
            self.parts[part].rows += count
            yield data
            self._report(self.rows, part)


def is_archive(format: Format, options: Mapping[str, Any], *, is_split: bool) -> bool:
    """Whether the file is a ZIP of several."""
    return is_split or bool(options.get("bundle")) or isinstance(format, Folders)


def extension(format: Format, options: Mapping[str, Any], *, is_split: bool) -> str:
    return ZIP if is_archive(format, options, is_split=is_split) else format.extension


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

    With a split the rows are dealt first, by id, and each part is read on its own. A bundle is made of samples only.
    """
    shape = formats.get(format)
    formats.check_options(shape, options or {})
    shares = None if ratios is None else splits.parse(ratios)
    chosen = writable(samples, shape)
    context = context_of(chosen, shape)
    notes = no_notes
    if options and options.get("bundle"):
        from . import bundle  # which tells of files

        dealt_by = None if shares is None else {"ratios": f"{ratios}", "seed": seed, "stratified": stratify}
        notes = partial(bundle.notes_of_rows, chosen, {"split": dealt_by}, options)
    if shares is None:
        return File(shape, {"whole": rows.walk(chosen)}, context, options or {}, notes=notes)
    dealt = splits.deal(rows.identities(chosen), shares, seed=seed, stratify=stratify)
    parts = {name: rows.walk_ids(chosen, ids) for name, ids in zip(splits.PARTS, dealt, strict=True)}
    return File(shape, parts, context, options or {}, notes=notes)


def writable(samples: QuerySet, format: Format) -> QuerySet:
    """The rows that `format` can hold: those of its task types, for some only with a label or with a stored image."""
    samples = rows.unsliced(samples)
    return samples.filter(fitting(samples, format)) if is_choosy(format) else samples


def is_choosy(format: Format) -> bool:
    """Whether there may be rows that `format` cannot hold."""
    return format.settled_only or format.takes is not None


def fitting(samples: QuerySet, format: Format) -> Q:
    """What is true of the rows that `format` can hold."""
    fits = Q()
    if format.settled_only:
        fits &= Q(label_name__isnull=False)
    if format.takes is not None:
        fits &= Q(type__in=sorted(format.takes))
    if isinstance(format, Folders):
        fits &= media.is_stored(samples.model)
    return fits


def taken(format: Format) -> list[str]:
    """The task types that `format` can hold."""
    return [name for name in task_types.names() if format.takes is None or name in format.takes]


def holds(format: Format) -> str:
    """What `format` takes, for a sentence: "coco holds IMAGE_CLASSIFICATION with a stored image"."""
    only = "samples with a label" if format.takes is None else " or ".join(taken(format))
    return f"the format {format.name} holds {only}{' with an image stored here' if isinstance(format, Folders) else ''}"


def left_out(format: Format, number: int, samples: QuerySet) -> str:
    """A warning that `number` samples are not in the file, with the first of them."""
    names = [" ".join(content.split())[:80] for content in samples.values_list("content", flat=True)[:3]]
    return (
        f"left out: {number:,} sample{'s' * (number != 1)}; {holds(format)}: {', '.join(names)}{', …' * (number > 3)}"
    )

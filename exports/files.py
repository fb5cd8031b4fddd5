"""Rows become one file: plain, or a ZIP of train, val and test; counted and hashed as they go by."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

import orjson
from django.db.models import Q, QuerySet

from samples import task_types

from . import archive, formats, media, rows, splits
from .compression import SUFFIXES, compressed
from .context import context_of
from .errors import BadCompression
from .formats import Columnar, Context, Folders, Format, sql
from .formats.shape import resolved
from .rows import Walk, Written

ZIP = "zip"
LEFT_OUT = "left out: "  # begins what is said of a selection, and nothing that is said of a file

Report = Callable[[int, str], None]  # (rows written so far, the part they are in)
Member = tuple[str, Iterable[bytes]]
Notes = Callable[["File"], Iterable[Member]]


def no_notes(file: "File") -> Iterable[Member]:
    return ()


class Tally:
    """What has gone by: rows, bytes and their hash; and the labels, where these are counted."""

    def __init__(self):
        self.rows = 0
        self.bytes = 0
        self._hash = sha256()
        self.blank_contents = self.blank_answers = 0
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
        self.blank_contents += page.blank_contents
        self.blank_answers += page.blank_answers
        self._labels.update(page.labels)

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
        *,
        with_figures: bool = False,
        compression: str = "none",
    ):
        self.format = replace(format, shape=resolved(format.shape, options))
        self.context = context
        self.is_archive = is_archive(format, options, is_split=set(parts) != {"whole"})
        self.whole = Tally()
        plain = not self.is_archive and compression == "none"
        self.parts = {"whole": self.whole} if plain else {name: Tally() for name in parts}
        self.compression = compression
        self._walks = parts
        self._options = options
        self._report = report
        self._notes = notes
        self._with_figures = with_figures

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
            encoded = self._encoded("whole")
            if self.compression != "none":
                encoded = compressed(self.parts["whole"].of(encoded), self.compression)
            return self.whole.of(encoded)
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
        compile = sql.compiler(self.format, self.context, rows.dialect_of(walk), self._options)
        if compile is None:
            written: Iterator[Written] = (rows.figures_of(page, by_hand(page)) for page in rows.pages(walk))
        else:
            written = rows.written(walk, compile, by_hand, with_figures=self._with_figures)
        return formats.framed(self.format, self._counted(written, part))

    def _pages(self, part: str) -> Iterator[formats.Page]:
        """The part's rows, counted as they are asked for."""
        for page in rows.pages(self._walks[part]):
            self.parts[part].count(rows.figures_of(page, None))
            yield page
            self._report(self.rows, part)

    def _counted(self, written: Iterable[Written], part: str) -> Iterator[bytes]:
        for page in written:
            self.parts[part].count(page)
            assert page.data is not None
            yield page.data
            self._report(self.rows, part)


def is_archive(format: Format, options: Mapping[str, Any], *, is_split: bool) -> bool:
    """Whether the file is a ZIP of several."""
    return is_split or bool(options.get("bundle")) or isinstance(format, Folders) or format.is_zipped


def extension(format: Format, options: Mapping[str, Any], *, is_split: bool, compression: str = "none") -> str:
    plain = f"{format.extension}{SUFFIXES[compression]}"
    return ZIP if is_archive(format, options, is_split=is_split) else plain


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

    With a split the rows are dealt first, by id, and each part is read on its own. A bundle is made of samples only.
    """
    shape = formats.get(format)
    formats.check_options(shape, options or {})
    shares = None if ratios is None else splits.parse(ratios)
    chosen = writable(samples, shape)
    context = context_of(samples, shape)
    notes = no_notes
    if options and options.get("bundle"):
        from . import bundle  # which tells of files

        dealt_by = None if shares is None else {"ratios": f"{ratios}", "seed": seed, "stratified": stratify}
        notes = partial(bundle.notes_of_rows, chosen, {"split": dealt_by}, options)
    given, bundled = options or {}, notes is not no_notes
    if is_archive(shape, given, is_split=shares is not None) and compression != "none":
        raise BadCompression("the file is a ZIP, which is compressed already: ask for none")
    if shares is None:
        whole = {"whole": rows.walk(chosen)}
        return File(shape, whole, context, given, notes=notes, with_figures=bundled, compression=compression)
    dealt = splits.deal(rows.identities(rows.walk(chosen)), shares, seed=seed, stratify=stratify)
    parts = {name: rows.walk_ids(chosen, ids) for name, ids in zip(splits.PARTS, dealt, strict=True)}
    return File(shape, parts, context, given, notes=notes, with_figures=bundled)


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
        f"{LEFT_OUT}{number:,} sample{'s' * (number != 1)}; {holds(format)}: {', '.join(names)}{', …' * (number > 3)}"
    )

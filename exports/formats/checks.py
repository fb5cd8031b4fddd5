"""What the consumer of a file would refuse, and what whoever trains on it should know; told before a byte is written.

A format names its checks; each looks at the figures of what is about to be written, never at the rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MOST_NAMED = 10


@dataclass(frozen=True)
class Part:
    """What is known of a part: its rows, how many have no text, how many others no answer, and how many carry each label."""

    rows: int = 0
    blank_contents: int = 0
    blank_answers: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """What is known of a file: each part, and how texts with labels repeat.

    `repeated` rows have the text of another, `shared` texts stand in more than one part, `contradicted` texts have
    different labels. None: there are too many rows to have looked.
    """

    parts: Mapping[str, Part]
    repeated: int | None = None
    shared: int | None = None
    contradicted: int | None = None

    @property
    def learnt(self) -> tuple[str, Part]:
        """The part to train on, and its name."""
        name = "train" if "train" in self.parts else "whole"
        return name, self.parts[name]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts.values())


@dataclass(frozen=True)
class Flaw:
    """What is wrong, in a sentence; `is_fatal` where the consumer would refuse the file."""

    said: str
    is_fatal: bool = False


class Check(Protocol):
    def flaws(self, figures: Figures) -> Iterator[Flaw]: ...


@dataclass(frozen=True)
class AtLeast:
    """So many examples to train on; fewer are refused by the consumer, or only do little for it."""

    number: int
    consumer: str
    is_fatal: bool = True

    def flaws(self, figures):
        name, part = figures.learnt
        if part.rows < self.number:
            where = "" if name == "whole" else f" in {name}"
            takes = "takes" if self.is_fatal else "recommends"
            yield Flaw(
                f"{self.consumer} {takes} at least {self.number} examples to train on; there are {part.rows}{where}",
                self.is_fatal,
            )


@dataclass(frozen=True)
class NothingBlank:
    """Every text and every answer says something."""

    consumer: str
    is_fatal: bool = True

    def flaws(self, figures):
        for what in ("contents", "answers"):
            blank = sum(getattr(part, f"blank_{what}") for part in figures.parts.values())
            if blank:
                yield Flaw(f"{self.consumer} takes no blank {what}; {_many(blank, 'sample')} blank", self.is_fatal)


@dataclass(frozen=True)
class NoEmptyPart:
    """Every part holds something."""

    consumer: str
    is_fatal: bool = True

    def flaws(self, figures):
        for name, part in figures.parts.items():
            if not part.rows:
                yield Flaw(f"{self.consumer} takes no empty file; the {name} part is empty", self.is_fatal)


class WorthKnowing:
    """What no reader refuses and every trainer should know."""

    def flaws(self, figures):
        for name, part in figures.parts.items():
            if not part.rows:
                yield Flaw(f"the {name} part is empty")
        blank = sum(part.blank_contents for part in figures.parts.values())
        if blank:
            yield Flaw(f"{_many(blank, 'sample')} without any text")
        yield from _about_labels(figures)
        if figures.repeated:
            yield Flaw(f"{_many(figures.repeated, 'sample')} a copy of another’s text")
        if figures.contradicted:
            yield Flaw(f"{_many(figures.contradicted, 'text')} there with different labels")
        if figures.shared:
            yield Flaw(f"{_many(figures.shared, 'text')} in more than one part: the test is easier than it looks")


def _about_labels(figures: Figures) -> Iterator[Flaw]:
    name, learnt = figures.learnt
    rare = [label for label, rows in learnt.labels.items() if rows == 1]
    if rare:
        yield Flaw(f"a single example to learn from: {_named(rare)}")
    if learnt.rows and len(learnt.labels) == 1:
        yield Flaw(f"every example to learn from has the same label, {next(iter(learnt.labels))}")
    elsewhere = {label for other, part in figures.parts.items() if other != name for label in part.labels}
    if unlearnt := sorted(elsewhere - learnt.labels.keys()):
        yield Flaw(f"no example to learn from, only to be judged by: {_named(unlearnt)}")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what} is" if number == 1 else f"{number:,} {what}s are"


def _named(labels: list[str]) -> str:
    shown = ", ".join(label if len(label) <= 40 else f"{label[:39]}…" for label in labels[:MOST_NAMED])
    return shown + (f", … ({len(labels)} in all)" if len(labels) > MOST_NAMED else "")


def flaws_of(checks: tuple[Check, ...], figures: Figures) -> list[Flaw]:
    """Everything `checks`, and what is worth knowing of any file, have to say about `figures`; each thing once."""
    found = [flaw for check in (*checks, WorthKnowing()) for flaw in check.flaws(figures)]
    return list({flaw.said: flaw for flaw in found}.values())

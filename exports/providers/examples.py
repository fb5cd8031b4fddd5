"""The texts and answers of a batch, read back from the very file that was exported."""

import re
import zipfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePosixPath

from exports.errors import Unsuitable
from exports.models import BatchItem
from labelhub.facts import Fact
from samples.intake.reading import Layout, read
from samples.intake.recognising import Columns, Recogniser

from .parts import opened

guarded = re.compile(r"'(?=[=+\-@\t\r])")  # what the option guard_formulas puts before a cell


@dataclass
class Examples:
    """Texts, and the labels of each."""

    texts: list[str] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, answer: list[str]) -> None:
        self.texts.append(text)
        self.answers.append(answer)

    def labels(self) -> list[str]:
        """Every label that occurs, in order of appearance."""
        return list(dict.fromkeys(label for answer in self.answers for label in answer))


def train_and_test(batch) -> tuple[Examples, Examples]:
    """What to learn from and what to be judged by: the batch's own parts, or, of a file in one piece, a fifth held out.

    Pictures stand there as the names of their files.
    """
    if batch.project.kind.sample_type == "IMAGE":
        return _pictures(batch)
    with opened(batch) as file:
        if batch.ratios is None and not batch.path.endswith(".zip"):
            return held_out(_examples(file, name=batch.path, batch=batch), seed=batch.seed)
        with zipfile.ZipFile(file) as archive:
            members = {PurePosixPath(name).stem: name for name in archive.namelist()}
            parts = []
            for part in ("train", "test") if batch.ratios else ("data",):
                with archive.open(members[part]) as member:
                    parts.append(_examples(member, name=members[part], batch=batch))
    return (parts[0], parts[1]) if batch.ratios else held_out(parts[0], seed=batch.seed)


def _pictures(batch) -> tuple[Examples, Examples]:
    """The batch's pictures by their places in it: the exported file holds no more than what they are called."""
    parts = {split: Examples() for split in BatchItem.Split}
    columns = ("split", "sample__task__media", "sample__label_name")
    for split, name, label in batch.items.order_by("sample").values_list(*columns).iterator():
        parts[BatchItem.Split(split)].add(name, [label])
    if batch.ratios is None:
        return held_out(parts[BatchItem.Split.WHOLE], seed=batch.seed)
    return parts[BatchItem.Split.TRAIN], parts[BatchItem.Split.TEST]


def held_out(examples: Examples, *, seed: str) -> tuple[Examples, Examples]:
    """All but a fifth of the texts, and that fifth: the same every time, and copies of a text stay together."""
    ranked = sorted(set(examples.texts), key=lambda text: sha256(f"{seed}:{text}".encode()).digest())
    aside = set(ranked[: max(1, round(len(ranked) / 5))])
    train, test = Examples(), Examples()
    for text, answer in zip(examples.texts, examples.answers, strict=True):
        (test if text in aside else train).add(text, answer)
    return train, test


def _examples(file, *, name, batch) -> Examples:
    """Every row with an answer. The importer reads: it knows all our formats, and takes the prompts off again."""
    recogniser = Recogniser(batch.project, columns=Columns(), locale=None, verdicts=True, same_columns=False)
    choices = list(batch.project.labels.values_list("name", flat=True))
    examples = Examples()
    for line, row in read(file, name=name, layout=Layout()):
        try:
            if isinstance(row, Fact):
                raise row
            item = recogniser.item(line, row)
            if item.answer is not None:
                labels = _labels(item.answer, kind=batch.project.kind, choices=choices)
                examples.add(item.content, labels)
        except Fact as fact:
            raise Unsuitable(f"{name}, line {line}: {fact.message}", line=line) from fact
    if batch.options.get("guard_formulas"):
        examples.texts = [guarded.sub("", text, count=1) if guarded.match(text) else text for text in examples.texts]
    return examples


def _labels(answer, *, kind, choices) -> list[str]:
    if not kind.allows_several:
        return [answer]
    if isinstance(answer, str):
        return kind.label_names(kind.from_text(answer, choices=choices))
    return answer

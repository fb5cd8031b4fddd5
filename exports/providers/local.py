"""The local trainer: no account, no GPU, this machine. Every type whose answers are labels, of texts or pictures."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.files.storage import storages

from exports import destinations
from exports.errors import Unsuitable
from labelhub.fields import dump_json

from .base import Followed, Guess, Guesser, Trained, Trainer

# What needs scikit-learn, which takes a second to load, or our models, which import this menu, is imported by the
# functions that use it: only a run and a prediction pay for it.

STORAGE = "default"
METRICS = "metrics.json"
LEAST_WHOLE = 10  # samples in a file in one piece
TRIED = 100  # texts whose probabilities must come back the same from the stored model


@dataclass(frozen=True)
class Hyperparameters:
    """What may be chosen: C, how much a misjudged text costs, and the seed of everything that is dealt or shuffled."""

    C: float = 0.5
    seed: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> "Hyperparameters":
        given = dict(given or {})
        unknown = sorted(given.keys() - {"C", "seed"})
        if unknown:
            raise Unsuitable(f"the local trainer has no hyperparameter {unknown[0]!r}; it has C and seed")
        c, seed = given.get("C", cls.C), given.get("seed", cls.seed)
        if isinstance(c, bool) or not isinstance(c, (int, float)) or not 0 < c <= 1000:
            raise Unsuitable(f"C is a number above 0, at most 1000, not {c!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise Unsuitable(f"seed is a whole number from 0 to {2**32 - 1}, not {seed!r}")
        return cls(float(c), seed)


class Local(Trainer):
    name = "local"
    label = "This machine (linear classifier)"

    def check(self, batch, *, model="", hyperparameters=None, account=None):
        Hyperparameters.of(hyperparameters)
        if model:
            raise Unsuitable(f"the local trainer has one model and starts from nothing; leave out {model!r}")
        kind = batch.project.kind
        if not kind.has_labels:
            raise Unsuitable(f"the local trainer learns labels, and {batch.project.task_type} has answers in free text")
        _check_parts(batch)
        if kind.sample_type == "IMAGE":
            _check_pictures(batch)

    def train(self, finetune, progress: Followed) -> Trained:
        events = _Events(progress)
        events.say(0, "reading the batch’s file")
        from . import linear_model, scores
        from .examples import train_and_test

        batch, chosen = finetune.batch, Hyperparameters.of(finetune.hyperparameters)
        train, test = train_and_test(batch)
        learnt_from, judged_by = items_of(batch, train.texts), items_of(batch, test.texts)
        labels = _labels(train, test, batch)
        several = batch.project.kind.allows_several
        what = "texts" if learnt_from is train.texts else "pictures"
        events.say(5, f"{len(train):,} {what} to learn from, {len(test):,} to be judged by, {len(labels)} labels")

        model = linear_model.fit(
            learnt_from,
            train.answers,
            labels=labels,
            several=several,
            c=chosen.C,
            seed=chosen.seed,
            report=lambda share, doing: progress(5 + int(80 * share), 100, doing),
        )
        events.say(85, "trained; scoring on the test part")
        chances = model.predict_proba(judged_by)
        figures = scores.score(test.answers, model.chosen(chances), chances, labels=labels, several=several)
        known = set(train.texts)
        metrics = {
            **figures,
            "labels": labels,
            "n_train": len(train),
            "n_test": len(test),
            "n_test_also_in_train": sum(text in known for text in test.texts),
            "test": "the batch’s test part" if batch.ratios else "a fifth of the batch, held out by a keyed hash",
            "rare_labels": linear_model.rare(train.answers, labels),
            "unlearnt_labels": sorted(set(test.labels()).difference(labels)),
            "seed": chosen.seed,
            "hyperparameters": {"C": chosen.C},
            "batch": {"uuid": str(batch.uuid), "sha256": batch.sha256},
            "versions": linear_model.versions(),
        }
        events.say(95, "keeping the model")
        folder = f"models/{finetune.uuid}"
        metrics["seconds"] = events.seconds
        keep(folder, {METRICS: dump_json(metrics).encode(), **model.to_files()})
        _check_kept(folder, model, judged_by[:TRIED])
        events.say(100, "done")
        return Trained(metrics=metrics, artefact=folder, events=events.told)

    def check_asking(self, version):
        if not version.artefact:
            raise Unsuitable(f"{version} has no files: there is nothing to ask")

    def guesser(self, version):
        return LocalGuesser(load(version.artefact), of_pictures=version.project.kind.sample_type == "IMAGE")


class LocalGuesser(Guesser):
    """A model in this process."""

    at_once = 2_000
    is_free = True

    def __init__(self, model, *, of_pictures: bool):
        self.model, self.of_pictures = model, of_pictures

    def guess(self, items, told):
        if not self.of_pictures:
            return self._guesses([item.content for item in items])
        import numpy as np

        rows = [self._features(item) for item in items]
        readable = [row for row in rows if row is not None]
        guesses = iter(self._guesses(np.stack(readable)) if readable else [])
        return [Guess(is_unreadable=True) if row is None else next(guesses) for row in rows]

    @staticmethod
    def _features(item):
        """A file that is gone or broken, or kept elsewhere and not fetched, costs its own guess only."""
        try:
            return pictures_of([item.media])[0] if item.media else None
        except Unsuitable:
            return None

    def _guesses(self, asked):
        from . import scores

        chances = self.model.predict_proba(asked)
        margins = scores.margins(chances, several=self.model.several)
        columns = {name: column for column, name in enumerate(self.model.labels)}
        return [
            Guess([(name, float(row[columns[name]])) for name in names], float(margin))
            for row, names, margin in zip(chances, self.model.chosen(chances), margins, strict=True)
        ]


def _check_parts(batch):
    """Refuse what the manifest already shows: nothing to learn from, nothing to be judged by, one label only."""
    parts = {part["part"]: part for part in batch.manifest["parts"]}
    if "whole" in parts:
        if parts["whole"]["rows"] < LEAST_WHOLE:
            raise Unsuitable(
                f"the batch has {parts['whole']['rows']} samples in one file; a fifth is held out to judge the model by,"
                f" so it takes {LEAST_WHOLE}"
            )
    else:
        for name, purpose in (("train", "learn from"), ("test", "judge the model by")):
            if not parts[name]["rows"]:
                raise Unsuitable(f"the batch’s {name} part is empty: there is nothing to {purpose}")
    _check_labels(list(parts.get("whole", parts.get("train"))["labels"]))


def _check_labels(labels):
    if len(labels) < 2:
        raise Unsuitable(f"all texts to learn from are labelled {labels[0]!r}; it takes two labels to tell apart")


def _check_pictures(batch):
    """Refuse a batch with pictures that are not kept here: those at an address elsewhere are not fetched."""
    elsewhere = batch.items.filter(sample__task__media="").count()
    if elsewhere:
        raise Unsuitable(
            f"{elsewhere} of the batch’s {batch.sample_count} pictures are not kept here: the local trainer needs their files"
        )


def items_of(batch, names: list[str]):
    """What a model is asked about: texts as they are; of pictures, called by their files' names, the features."""
    return pictures_of(names) if batch.project.kind.sample_type == "IMAGE" else names


def pictures_of(names: Iterable[str]):
    """The features of pictures kept here, a row for each; Unsuitable naming one that is gone or is no picture."""
    from . import image_features

    def opened():
        for name in names:
            try:
                file = storages[STORAGE].open(name)
            except FileNotFoundError:
                raise Unsuitable(f"the picture {name} is gone") from None
            with file:
                yield name, file

    try:
        return image_features.rows_of(opened())
    except image_features.BadPicture as error:
        raise Unsuitable(str(error)) from error


def _labels(train, test, batch) -> list[str]:
    """The labels to learn, in the project's order; a fifth held out may have taken the last text of one."""
    if not train or not test:
        raise Unsuitable(
            f"the file holds {len(train)} texts to learn from and {len(test)} others to judge the model by"
        )
    order = {name: place for place, name in enumerate(batch.project.labels.values_list("name", flat=True))}
    labels = sorted(train.labels(), key=lambda name: order.get(name, len(order)))
    _check_labels(labels)
    return labels


class _Events:
    """The stages of a run: each is progress, and a line that stays on the fine-tune."""

    def __init__(self, progress: Followed):
        self.progress, self.started = progress, time.monotonic()
        self.told: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 2)

    def say(self, percent: int, message: str) -> None:
        self.told.append({"seconds": self.seconds, "message": message})
        self.progress.tell(self.told)
        self.progress(percent, 100, message)


def keep(folder: str, files: Mapping[str, bytes]) -> None:
    """Write `files`; each appears complete or not at all, and the last of them says that the folder is."""
    for name, content in files.items():
        draft = destinations.draft(storages[STORAGE], f"{folder}/{name}")
        try:
            draft.write(content)
            draft.finish()
        except BaseException:
            draft.abandon()
            raise
        draft.publish()


def load(folder: str):
    """The model kept in `folder` (a LinearModel: `predict_proba(texts)`, `predict(texts)`, `labels`)."""
    from .linear_model import MODEL, WEIGHTS, LinearModel

    files = {}
    for name in (MODEL, WEIGHTS):
        with storages[STORAGE].open(f"{folder}/{name}") as file:
            files[name] = file.read()
    return LinearModel.from_files(files)


def _check_kept(folder, model, texts):
    """Read the model back and ask it again: a file that answers otherwise must not become a version."""
    if not (load(folder).predict_proba(texts) == model.predict_proba(texts)).all():
        raise RuntimeError(f"the model read back from {folder} does not answer like the one that was trained")

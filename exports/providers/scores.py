"""How good a classifier is on texts it has not seen: figures from what it said and what was true. Pure."""

from collections.abc import Collection, Sequence
from math import sqrt
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

BINS = 10  # of the calibration error, equally wide
THRESHOLDS = (
    0.0, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99,
)  # fmt: skip  # of the coverage curve
LEAST_CHANCE = 1e-15  # log-loss of a label that was thought impossible: bad, but not infinite


def score(
    truth: Sequence[Collection[str]],
    guesses: Sequence[Collection[str]],
    chances: np.ndarray | None,
    *,
    labels: Sequence[str],
    several: bool = False,
) -> dict[str, Any]:
    """Accuracy, F1, log-loss, calibration, coverage, a line per label, and, of single labels, the confusion matrix.

    `chances` has a column for each of `labels`; a label in `truth` that is not among them was never learnt, and counts
    as missed. Without `chances` (a model that does not tell them all) nothing is said of log-loss, calibration and
    coverage. Where several labels are allowed, accuracy is the share of texts with all of theirs and no other, and
    log-loss the mean over texts and labels. Macro-F1 is the mean over the labels that occur, as truth or as guess.
    """
    known = [*labels, *sorted({name for names in truth for name in names}.difference(labels))]
    was = np.array([[name in names for name in known] for names in truth])
    said = np.array([[name in names for name in known] for names in guesses])
    precision, recall, f1, support = precision_recall_fscore_support(was, said, average=None, zero_division=0)
    occurs = np.flatnonzero(was.any(axis=0) | said.any(axis=0))
    right = (was == said).all(axis=1)
    figures: dict[str, Any] = {
        "accuracy": _rounded(right.mean()),
        "accuracy_95": [_rounded(end) for end in interval(int(right.sum()), len(right))],
        "macro_f1": _rounded(f1[occurs].mean()),
        "per_label": {
            name: {
                "precision": _rounded(precision[column]),
                "recall": _rounded(recall[column]),
                "f1": _rounded(f1[column]),
                "support": int(support[column]),
            }
            for column, name in enumerate(known)
        },
    }
    if chances is not None:
        chances = np.hstack([chances, np.zeros((len(chances), len(known) - len(labels)))])
        figures |= {
            "log_loss": _rounded(_log_loss(was, chances, several=several)),
            "ece": _rounded(_calibration_error(was, said, chances, several=several)),
            "coverage": _coverage(right, _sureness(said, chances, several=several)),
        }
    if several:
        figures["micro_f1"] = _rounded(f1_score(was, said, average="micro", zero_division=0))
    else:
        matrix = was.T.astype(int) @ said.astype(int)
        figures["confusion"] = {"labels": known, "rows": matrix.tolist()}  # a row per true label, a column per guess
    return figures


def interval(right: int, of: int) -> tuple[float, float]:
    """Where the accuracy lies with 95 % confidence, after Wilson (1927): twenty texts tell little, and this says so."""
    z, share = 1.96, right / of
    middle = share + z * z / (2 * of)
    reach = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    whole = 1 + z * z / of
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)


def _log_loss(was, chances, *, several):
    if not several:
        return -np.log(np.clip(chances[was], LEAST_CHANCE, 1)).mean()
    right = np.where(was, chances, 1 - chances)
    return -np.log(np.clip(right, LEAST_CHANCE, 1)).mean()


def _calibration_error(was, said, chances, *, several):
    """How far stated chances are from what happens, on the average: the expected calibration error (Guo et al. 2017).

    Of single labels the chance of the guess is judged, of several each label's own.
    """
    if several:
        stated, happened = chances.ravel(), was.ravel()
    else:
        stated, happened = _sureness(said, chances, several=False), (was & said).any(axis=1)
    bins = np.minimum((stated * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.abs(np.bincount(bins, stated, BINS) - np.bincount(bins, happened, BINS))
    return gaps.sum() / counts.sum()


def _sureness(said, chances, *, several):
    """How sure the model is of each answer: the chance of its label, or of the label it is least sure about."""
    if several:
        return np.where(said, chances, 1 - chances).min(axis=1)
    return np.where(said, chances, 0).max(axis=1)


def margins(chances: np.ndarray, *, several: bool = False) -> np.ndarray:
    """How far each text's likeliest answer leads: nought where the model is torn, one where it is sure.

    Where several labels are allowed, how far the label that is nearest to a half is from it, doubled; nought where no
    label is likely at all.
    """
    if several:
        return np.where((chances >= 0.5).any(axis=1), np.abs(2 * chances - 1).min(axis=1), 0.0)
    if chances.shape[1] < 2:
        return np.ones(len(chances))
    best = np.partition(chances, -2, axis=1)[:, -2:]
    return np.clip(best[:, 1] - best[:, 0], 0.0, 1.0)


def _coverage(right, sureness) -> list[dict[str, float | None]]:
    """At each threshold, the share of texts whose answer is as sure as that, and how many of those are right.

    What a project reads off how far it may trust a model without a look.
    """
    curve: list[dict[str, float | None]] = []
    for threshold in THRESHOLDS:
        sure = sureness >= threshold
        accuracy = _rounded(right[sure].mean()) if sure.any() else None
        curve.append({"threshold": threshold, "coverage": _rounded(sure.mean()), "accuracy": accuracy})
    return curve


def _rounded(figure) -> float:
    return round(float(figure), 4)

"""A classifier of texts (TF-IDF of words and characters) or pictures: one linear machine per label, calibrated.

Characters are what makes it read Chinese, which writes no spaces. A model is kept as safetensors and JSON, never as a
pickle: reading it back runs nobody's code.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import safetensors
import scipy
import scipy.sparse as sparse
import sklearn
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.svm import LinearSVC

from .image_features import Standard

FOLDS = 3
LAYOUT = 1  # of the stored files; a later layout reads the earlier ones
MODEL, WEIGHTS = "model.json", "model.safetensors"
MOST_TERMS = 100_000  # of words and of characters: beyond that a model only grows
BLOCK = 4096  # texts scored at once, so that memory does not grow with their number

# liblinear deals its rows with one random generator for the whole process: two runs at once would not repeat.
_liblinear = threading.Lock()

Items = Sequence[str] | np.ndarray  # texts, or a row of features for each picture
Report = Callable[[float, str], None]  # (share done, 0 to 1; what is being done)

VIEWS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    "characters": {"analyzer": "char_wb", "ngram_range": (1, 4)},
}


def _vectorizer(view: str, **more) -> TfidfVectorizer:
    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **VIEWS[view], **more)


class Machine(NamedTuple):
    """One label's line: `weights · features + bias` is the score, 1 / (1 + exp(-(slope · score + offset))) the chance."""

    weights: np.ndarray
    bias: float
    slope: float
    offset: float


@dataclass(frozen=True)
class LinearModel:
    """A trained model; `several` says that a text may carry any number of labels, else it carries exactly one.

    `vectorizers` make features of items: those of VIEWS of texts, one Standard of the features of pictures.
    """

    labels: tuple[str, ...]
    several: bool
    vectorizers: tuple[TfidfVectorizer, ...] | tuple[Standard]
    weights: np.ndarray  # a column per label
    bias: np.ndarray
    slope: np.ndarray
    offset: np.ndarray

    @property
    def is_of_pictures(self) -> bool:
        return isinstance(self.vectorizers[0], Standard)

    def predict_proba(self, texts: Items) -> np.ndarray:
        """A row per text, a column per label of `labels`; rows add up to 1 where a text has exactly one label."""
        blocks = [self._chances(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]
        return np.vstack(blocks) if blocks else np.zeros((0, len(self.labels)))

    def _chances(self, texts):
        columns = [vectorizer.transform(texts) for vectorizer in self.vectorizers]
        features = columns[0] if self.is_of_pictures else sparse.hstack(columns, format="csr")
        scores = np.asarray(features @ self.weights, dtype=np.float64) + self.bias
        chances = _sigmoid(self.slope * scores + self.offset)
        return chances if self.several else _shared_out(chances)

    def predict(self, texts: Items) -> list[list[str]]:
        """The labels of each text, likeliest first: one, or, where several are allowed, all above a half, at least one."""
        return self.chosen(self.predict_proba(texts))

    def chosen(self, chances: np.ndarray) -> list[list[str]]:
        """The labels that probabilities of this model come to."""
        picked = []
        for row, order in zip(chances, np.argsort(-chances, axis=1, kind="stable"), strict=True):
            likely = [column for column in order if row[column] >= 0.5] if self.several else []
            picked.append([self.labels[column] for column in likely or order[:1]])
        return picked

    def to_files(self) -> dict[str, bytes]:
        """The model as the files it is kept in, to be written in this order: where the last is, all are."""
        described: dict[str, Any] = {"layout": LAYOUT, "labels": self.labels, "several": self.several}
        tensors = {
            name: np.ascontiguousarray(getattr(self, name))  # safetensors scrambles a Fortran-ordered array in silence
            for name in ("weights", "bias", "slope", "offset")
        }
        if self.is_of_pictures:
            described["pictures"] = True
            standard: Any = self.vectorizers[0]
            tensors |= {"mean": np.ascontiguousarray(standard.mean), "width": np.ascontiguousarray(standard.width)}
        else:
            described["vocabularies"] = {}
            for view, vectorizer in zip(VIEWS, self.vectorizers, strict=True):
                described["vocabularies"][view] = vectorizer.get_feature_names_out().tolist()
                tensors[f"idf_{view}"] = np.ascontiguousarray(vectorizer.idf_, dtype=np.float32)
        return {
            WEIGHTS: write_tensors(tensors),
            MODEL: json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "LinearModel":
        """The model that `to_files` wrote; ValueError for a layout of a later release."""
        described = json.loads(files[MODEL])
        if described["layout"] != LAYOUT:
            raise ValueError(f"a model of layout {described['layout']}; this release reads layout {LAYOUT}")
        tensors = read_tensors(files[WEIGHTS])
        if described.get("pictures"):
            standard = Standard(tensors.pop("mean"), tensors.pop("width"))
            return cls(tuple(described["labels"]), described["several"], (standard,), **tensors)
        vectorizers = []
        for view, terms in described["vocabularies"].items():
            vectorizer = _vectorizer(view, vocabulary={term: column for column, term in enumerate(terms)})
            vectorizer.idf_ = tensors.pop(f"idf_{view}")
            vectorizers.append(vectorizer)
        return cls(tuple(described["labels"]), described["several"], tuple(vectorizers), **tensors)


def rare(answers: Sequence[Collection[str]], labels: Sequence[str]) -> list[str]:
    """The labels with too few examples, or too few counter-examples, to be dealt into every fold."""
    counts = Counter(label for answer in answers for label in answer)
    return [label for label in labels if min(counts[label], len(answers) - counts[label]) < FOLDS]


def fit(
    texts: Items,
    answers: Sequence[Collection[str]],
    *,
    labels: Sequence[str],
    several: bool = False,
    c: float = 0.5,
    seed: int = 0,
    report: Report = lambda share, doing: None,
) -> LinearModel:
    """Learn from `texts` (or pictures) and the label or labels of each; the same input and seed give the same bits.

    Each label's machine is a linear SVM; what its scores are worth as probabilities is learnt from texts it has not
    seen, in three folds (Platt 1999). A rare label cannot be dealt into folds: it gets a logistic regression, which
    gives probabilities of its own.
    """
    vectorizers, features = _vectorized(texts, report)
    truth = np.array([[label in answer for label in labels] for answer in answers])
    unseen = np.full(truth.shape, np.nan)
    for fold, (train, held_out) in enumerate(_folds(answers, seed)):
        step = _part_of(report, 0.2 + 0.2 * fold, 0.4 + 0.2 * fold, f"fold {fold + 1} of {FOLDS}")
        for column, line in _lines(features[train], truth[train], several=several, c=c, seed=seed, report=step):
            unseen[held_out, column] = features[held_out] @ line.weights + line.bias

    step = _part_of(report, 0.8, 1.0, "all texts")
    lines = dict(_lines(features, truth, several=several, c=c, seed=seed, report=step))
    dealt = set(labels) - set(rare(answers, labels))
    machines = []
    for column, label in enumerate(labels):
        if label in dealt and not np.isnan(unseen[:, column]).any():
            machines.append(_calibrated(lines[column], unseen[:, column], truth[:, column]))
        else:
            machines.append(_logistic(features, truth[:, column], seed=seed))
    report(1.0, "trained")
    return LinearModel(
        tuple(labels),
        several,
        vectorizers,
        weights=np.ascontiguousarray(np.stack([machine.weights for machine in machines], axis=1), dtype=np.float32),
        bias=np.array([machine.bias for machine in machines]),
        slope=np.array([machine.slope for machine in machines]),
        offset=np.array([machine.offset for machine in machines]),
    )


def versions() -> dict[str, str]:
    """The libraries that a result depends on to the last bit."""
    return {module.__name__: module.__version__ for module in (sklearn, scipy, np, safetensors)}


def _part_of(report: Report, start: float, end: float, doing: str) -> Report:
    """A report on a step that is the part of the whole from `start` to `end`."""
    return lambda share, detail: report(start + (end - start) * share, f"{doing}{detail and ': '}{detail}")


def _vectorized(texts, report):
    if isinstance(texts, np.ndarray):
        standard = Standard.of(texts)
        report(0.2, "pictures measured")
        return (standard,), standard.transform(texts)
    vectorizers, columns = [], []
    for done, view in enumerate(VIEWS):
        report(0.1 * done, f"counting {view}")
        vectorizer = _vectorizer(view, max_features=MOST_TERMS)
        columns.append(vectorizer.fit_transform(texts))
        # What is stored is what is used from here on: the model in memory and the one read back answer alike.
        vectorizer.idf_ = vectorizer.idf_.astype(np.float32)
        vectorizers.append(vectorizer)
    report(0.2, "words and characters counted")
    return tuple(vectorizers), sparse.hstack(columns, format="csr")


def _folds(answers, seed) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Train and held-out rows, three times; each text is dealt by its rarest label, so that every fold sees it."""
    counts = Counter(label for answer in answers for label in answer)
    strata = [min(answer, key=lambda label: (counts[label], label)) for answer in answers]
    sizes = Counter(strata)
    most, size = max(sizes.items(), key=lambda stratum: (stratum[1], stratum[0]))
    rows = np.zeros(len(answers))
    if size < FOLDS:
        return KFold(min(FOLDS, len(answers)), shuffle=True, random_state=seed).split(rows)
    dealt_as = [stratum if sizes[stratum] >= FOLDS else most for stratum in strata]  # too few to be dealt on their own
    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, dealt_as)


def _lines(features, truth, *, several, c, seed, report) -> Iterator[tuple[int, Machine]]:
    """(column, line) for each label in turn; a label that all texts carry, or none, is left out."""
    varied = [column for column in range(truth.shape[1]) if 0 < truth[:, column].sum() < len(truth)]
    if several or len(varied) < 3:
        for done, column in enumerate(varied):
            report(done / len(varied), f"label {done + 1} of {len(varied)}")
            line = _svm(features, truth[:, column], c=c, seed=seed)
            yield column, Machine(line.coef_[0], float(line.intercept_[0]), 1.0, 0.0)
    else:  # one label against the others, all in one call: the same lines three times as fast
        report(0.0, "")
        together = _svm(features, truth.argmax(axis=1), c=c, seed=seed)
        for row, column in enumerate(together.classes_):
            yield int(column), Machine(together.coef_[row], float(together.intercept_[row]), 1.0, 0.0)


def _svm(features, wanted, *, c, seed) -> LinearSVC:
    with _liblinear:
        return LinearSVC(C=c, random_state=seed).fit(features, wanted)


def _calibrated(line: Machine, scores: np.ndarray, truth: np.ndarray) -> Machine:
    """`line` with the sigmoid that fits its scores on unseen texts; targets are softened as Platt has it."""
    wanted = int(truth.sum())
    target = np.where(truth, (wanted + 1) / (wanted + 2), 1 / (len(truth) - wanted + 2))
    both = np.concatenate([scores, scores])[:, None]
    curve = LogisticRegression(C=1e6, tol=1e-8, solver="newton-cholesky")
    curve.fit(both, np.repeat([True, False], len(scores)), sample_weight=np.concatenate([target, 1 - target]))
    return line._replace(slope=float(curve.coef_[0, 0]), offset=float(curve.intercept_[0]))


def _logistic(features, truth, *, seed) -> Machine:
    """A machine whose score is a probability already; a constant where all texts say the same (rule of succession)."""
    if truth.all() or not truth.any():
        chance = (truth.sum() + 1) / (len(truth) + 2)
        return Machine(np.zeros(features.shape[1]), 0.0, 0.0, float(np.log(chance / (1 - chance))))
    line = LogisticRegression(C=10, max_iter=1000, random_state=seed).fit(features, truth)
    return Machine(line.coef_[0], float(line.intercept_[0]), 1.0, 0.0)


def _sigmoid(scores):
    return 1 / (1 + np.exp(-np.clip(scores, -500, 500)))


def _shared_out(chances):
    """Each row scaled to add up to 1; shared out evenly where every label is ruled out."""
    whole = chances.sum(axis=1, keepdims=True)
    return np.where(whole > 0, chances / np.where(whole > 0, whole, 1), 1 / chances.shape[1])

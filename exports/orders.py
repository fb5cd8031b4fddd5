"""What the order of labelling is worth: a labelled set is labelled once more, in one order and in another. Pure.

A model learns from a few texts, guesses about the rest, and is given the next ones: those it is most torn about (but for
a share at random, as `tasks/next` has it), or any. After each step it is judged by texts that are never learnt from.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from .providers import linear_model, scores

ORDERS = ("margin", "random")
Rows = Sequence[tuple[str, str]]  # a text and its label
Told = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """So many labels at first, so many more at each of `steps`; `random_share` of those taken by margin are drawn."""

    start: int
    step: int
    steps: int
    random_share: float = 0.2

    @property
    def sizes(self) -> list[int]:
        return [self.start + self.step * number for number in range(self.steps + 1)]


def parts(rows: Rows, *, seed: int, test_share: float = 0.25) -> tuple[Rows, Rows]:
    """A pool to label from and texts to judge by, dealt anew for each seed; no text is in both."""
    of_text = dict(rows)
    texts = sorted(of_text)
    random.Random(f"parts:{seed}").shuffle(texts)
    cut = round(len(texts) * test_share)
    dealt = [(text, of_text[text]) for text in texts]
    return dealt[cut:], dealt[:cut]


def run(pool: Rows, test: Rows, plan: Plan, *, order: str, seed: int) -> Iterator[tuple[int, float]]:
    """(labels given, accuracy on `test`) after each step; both orders begin with the same texts."""
    dice = random.Random(f"start:{seed}")
    waiting = list(range(len(pool)))
    dice.shuffle(waiting)
    given = [waiting.pop() for _ in range(min(plan.start, len(waiting)))]
    dice = random.Random(f"{order}:{seed}")
    for size in plan.sizes:
        model = _trained([pool[place] for place in given])
        right = sum(
            guess == [label] for guess, (_, label) in zip(model.predict([t for t, _ in test]), test, strict=True)
        )
        yield len(given), right / len(test)
        if size == plan.sizes[-1] or not waiting:
            return
        chosen = _next(model, pool, waiting, plan, order=order, dice=dice)
        given += chosen
        taken = set(chosen)
        waiting = [place for place in waiting if place not in taken]


def _trained(rows: Rows):
    labels = sorted(Counter(label for _, label in rows))
    return linear_model.fit([text for text, _ in rows], [[label] for _, label in rows], labels=labels)


def _next(model, pool, waiting, plan, *, order, dice) -> list[int]:
    count = min(plan.step, len(waiting))
    if order == "random":
        return dice.sample(waiting, count)
    drawn = dice.sample(waiting, round(count * plan.random_share))
    left = sorted(set(waiting) - set(drawn))
    margins = scores.margins(model.predict_proba([pool[place][0] for place in left]))
    torn = [left[place] for place in margins.argsort(kind="stable")]
    return drawn + torn[: count - len(drawn)]


@dataclass(frozen=True)
class Curve:
    """Of one set and order: the mean accuracy at each number of labels, and how far it varies between seeds."""

    order: str
    sizes: list[int]
    means: list[float]
    spreads: list[float]


def compare(rows: Rows, plan: Plan, *, seeds: Sequence[int], told: Told = lambda said: None) -> list[Curve]:
    """A curve for each order, over all `seeds`; each seed has its own pool, test part and beginning, the same for both."""
    found: dict[str, list[list[tuple[int, float]]]] = {order: [] for order in ORDERS}
    for seed in seeds:
        pool, test = parts(rows, seed=seed)
        for order in ORDERS:
            found[order].append(list(run(pool, test, plan, order=order, seed=seed)))
            told(f"seed {seed}, {order}: {found[order][-1][-1][1]:.3f} after {found[order][-1][-1][0]} labels")
    return [_curve(order, runs) for order, runs in found.items()]


def _curve(order, runs) -> Curve:
    steps = list(zip(*runs, strict=True))
    return Curve(
        order,
        [step[0][0] for step in steps],
        [fmean(accuracy for _, accuracy in step) for step in steps],
        [stdev(accuracy for _, accuracy in step) if len(step) > 1 else 0.0 for step in steps],
    )


def labels_for(curve: Curve, accuracy: float) -> float | None:
    """So many labels until `accuracy` is reached, read off between two steps; None where it never is."""
    before = None
    for size, mean in zip(curve.sizes, curve.means, strict=True):
        if mean >= accuracy:
            if before is None:
                return float(size)
            last_size, last = before
            return last_size + (accuracy - last) / (mean - last) * (size - last_size)
        before = (size, mean)
    return None

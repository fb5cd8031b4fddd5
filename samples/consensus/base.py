"""What every consensus rule is given and gives back. Pure: votes in, outcome out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import ClassVar

ROUNDING = 1e-9  # two shares closer than this are the same: 2/3 of three votes reaches a threshold written 0.6666666667


@dataclass(frozen=True)
class Vote:
    """One annotator's answer, as the text that makes two answers the same, and what his word weighs (0 < weight)."""

    value: str
    weight: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """`winner` is None where there is no verdict; `share` is the largest of `shares`, which sum to 1."""

    winner: str | None
    share: float
    shares: dict[str, float]


class Rule:
    """One way of counting. A subclass is one file; an instance stands on the menu in `__init__.py`."""

    name: ClassVar[str]
    title: ClassVar[str]
    uses_records: ClassVar[bool] = False  # whether the votes should carry each annotator's record as their weight

    def decide(self, votes: Sequence[Vote], *, threshold: float) -> Outcome:
        """The outcome of `votes`: no winner on a tie, or where the best share is under `threshold` (0 to 1)."""
        raise NotImplementedError


def plurality(weighted: Sequence[tuple[str, float]], *, threshold: float) -> Outcome:
    """The value with the largest summed weight, if it stands alone and holds at least `threshold` of the whole."""
    weights: dict[str, list[float]] = defaultdict(list)
    for value, weight in weighted:
        weights[value].append(weight)
    # fsum rounds once, at the end: the order in which people answered cannot tip a tie.
    totals = {value: fsum(parts) for value, parts in weights.items()}
    whole = fsum(weight for _, weight in weighted)
    if not whole:
        return Outcome(None, 0.0, {})
    shares = {value: total / whole for value, total in totals.items()}
    best = max(shares.values())
    winners = [value for value, share in shares.items() if best - share < ROUNDING]
    if len(winners) > 1 or best < threshold - ROUNDING:
        return Outcome(None, best, shares)
    return Outcome(winners[0], best, shares)

"""What every consensus rule is given and gives back. Pure: votes in, outcome out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Vote:
    """One annotator's answer, as the text that makes two answers the same, and what his word weighs (0 < weight)."""

    value: str
    weight: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """`winner` is None where there is no verdict; `shares` sums to 1 and keeps the order of first appearance."""

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
    totals: dict[str, float] = defaultdict(float)
    for value, weight in weighted:
        totals[value] += weight
    whole = sum(totals.values())
    if not whole:
        return Outcome(None, 0.0, {})
    shares = {value: total / whole for value, total in totals.items()}
    best = max(shares.values())
    winners = [value for value, share in shares.items() if best - share < 1e-9]
    if len(winners) > 1 or best < threshold - 1e-9:
        return Outcome(None, best, shares)
    return Outcome(winners[0], best, shares)

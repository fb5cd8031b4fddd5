"""Weighted: an answer counts by its annotator's record, his share of answers that became verdicts."""

from .base import Rule, plurality


class Weighted(Rule):
    name = "weighted"
    title = "Weighted by each annotator’s record"
    uses_records = True

    def decide(self, votes, *, threshold):
        return plurality([(vote.value, vote.weight) for vote in votes], threshold=threshold)


def weight_of(agreed: int, judged: int) -> float:
    """An annotator's weight from his record: Laplace's rule, so a newcomer weighs ½ and nobody 0 or 1."""
    return (agreed + 1) / (judged + 2)

"""Majority: every answer counts the same."""

from .base import Rule, plurality


class Majority(Rule):
    name = "majority"
    title = "Majority"

    def decide(self, votes, *, threshold):
        return plurality([(vote.value, 1.0) for vote in votes], threshold=threshold)

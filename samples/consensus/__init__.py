"""The menu of consensus rules: how several answers to one task become a verdict, or none."""

from .base import Outcome, Rule, Vote
from .majority import Majority
from .weighted import Weighted

__all__ = ["Outcome", "Rule", "Vote", "choices", "get"]

MENU: list[Rule] = [Majority(), Weighted()]
_by_name = {rule.name: rule for rule in MENU}


def get(name: str) -> Rule:
    return _by_name[name]


def choices() -> list[tuple[str, str]]:
    """For a model field: (name, title) in menu order."""
    return [(rule.name, rule.title) for rule in MENU]

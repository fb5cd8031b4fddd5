"""The menu of task types, in the order people see it: what an answer is, how it is asked, how answers are compared."""

from .base import InvalidAnswer, Prompts, Settlement, TaskType
from .binary_choice import BinaryChoice
from .image_classification import ImageClassification
from .multi_label import MultiLabel
from .preference import Preference
from .sentiment_analysis import SentimentAnalysis
from .text_classification import TextClassification
from .text_generation import TextGeneration

__all__ = ["InvalidAnswer", "Prompts", "Settlement", "TaskType", "UnknownTaskType", "choices", "get", "names"]

MENU = [
    SentimentAnalysis(),
    BinaryChoice(),
    TextClassification(),
    MultiLabel(),
    ImageClassification(),
    TextGeneration(),
    Preference(),
]
_by_name = {task_type.name: task_type for task_type in MENU}


class UnknownTaskType(InvalidAnswer):
    code = "invalid_type"


def names() -> list[str]:
    return list(_by_name)


def get(name: str) -> TaskType:
    """The task type called `name`; UnknownTaskType, naming the known ones, where there is none."""
    try:
        return _by_name[name]
    except KeyError:
        raise UnknownTaskType(f"unknown task type {name!r}; known: {', '.join(_by_name)}", known=names()) from None


def choices() -> list[tuple[str, str]]:
    """For a model field: (name, title) in menu order."""
    return [(task_type.name, task_type.title) for task_type in MENU]

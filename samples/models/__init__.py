"""The tables of curation, a file for each place a row passes: projects, datasets, tasks, samples."""

from .assignments import Assignment
from .counts import StatusCount
from .datasets import Dataset, Source
from .doubts import Doubt
from .duplicates import ClusterMember, DuplicateBand
from .projects import Label, Membership, Project, TaskOrder
from .samples import Sample
from .statistics import TextStatistics
from .tasks import Annotation, AnnotationLabel, Prediction, Task, TaskLabel

__all__ = [
    "Annotation",
    "AnnotationLabel",
    "Assignment",
    "ClusterMember",
    "Dataset",
    "Doubt",
    "DuplicateBand",
    "Label",
    "Membership",
    "Prediction",
    "Project",
    "Sample",
    "Source",
    "StatusCount",
    "Task",
    "TaskLabel",
    "TaskOrder",
    "TextStatistics",
]

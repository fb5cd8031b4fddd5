"""The tables of curation, a file for each place a row passes: projects, datasets, tasks, samples."""

from .datasets import Dataset, Source
from .duplicates import ClusterMember, DuplicateBand
from .projects import Label, Membership, Project
from .samples import Sample
from .statistics import TextStatistics
from .tasks import Annotation, AnnotationLabel, Prediction, Task, TaskLabel

__all__ = [
    "Annotation",
    "AnnotationLabel",
    "ClusterMember",
    "Dataset",
    "DuplicateBand",
    "Label",
    "Membership",
    "Prediction",
    "Project",
    "Sample",
    "Source",
    "Task",
    "TaskLabel",
    "TextStatistics",
]

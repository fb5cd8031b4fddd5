"""Curation in the admin: a file for each subject, and one for each page that is more than a list or a form."""

from . import annotate, datasets, doubts, importing, projects, review, samples, tasks

__all__ = ["annotate", "datasets", "doubts", "importing", "projects", "review", "samples", "tasks"]

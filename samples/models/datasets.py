"""Where a project's tasks come from, and named choices of them."""

from django.core.validators import RegexValidator
from django.db import models

from labelhub.accounts.models import new_uid
from labelhub.fields import JSONTextField

from .projects import Project

name_rule = RegexValidator(r"\A[A-Za-z0-9-_]{1,256}\Z", "letters, digits, “-” and “_” only, at most 256 of them")


class Source(models.Model):
    """A channel inside a project: a file someone imports, a mailbox, a program that posts tasks."""

    uid = models.CharField(max_length=16, unique=True, default=new_uid, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="sources")
    name = models.CharField(max_length=256, validators=[name_rule])
    title = models.CharField(max_length=128, blank=True)
    description = models.TextField(max_length=16384, blank=True)
    properties = JSONTextField(default=dict, blank=True, help_text="What an outside contract keeps here, in its words.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["project", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="source_name_once")]

    def __str__(self):
        return f"{self.project.name}/{self.name}"


class Dataset(models.Model):
    """A named choice of sources; models are versions of a dataset."""

    uid = models.CharField(max_length=16, unique=True, default=new_uid, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=256, validators=[name_rule])
    title = models.CharField(max_length=128, blank=True)
    description = models.TextField(max_length=16384, blank=True)
    model_family = models.CharField(max_length=40, default="english")
    has_sentiment = models.BooleanField(default=True)
    sources = models.ManyToManyField(Source, related_name="datasets", blank=True)
    properties = JSONTextField(default=dict, blank=True, help_text="What an outside contract keeps here, in its words.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["project", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="dataset_name_once")]

    def __str__(self):
        return f"{self.project.name}/{self.name}"

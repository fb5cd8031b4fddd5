"""How many tasks and samples are in each state, kept by the database itself: samples/counting.py tells how."""

from django.db import models
from django.db.models import Sum

from .datasets import Source
from .projects import OfProjectQuerySet, Project
from .samples import Sample
from .tasks import Task


class StatusCountQuerySet(OfProjectQuerySet):
    def tasks(self):
        return self.filter(noun=StatusCount.Noun.TASK)

    def samples(self):
        return self.filter(noun=StatusCount.Noun.SAMPLE)

    def open_tasks(self):
        return self.tasks().filter(status__in=Task.OPEN)

    def pending_samples(self):
        return self.samples().filter(status=Sample.Status.PENDING)

    def by_status(self) -> dict[str, int]:
        """How many there are in each state that anything is in."""
        added_up = self.order_by().values_list("status").annotate(of_status=Sum("number"))
        return {status: number for status, number in added_up if number}


class StatusCount(models.Model):
    """So many more (or fewer) tasks of a source, or samples of a project, in a state: rows of one state add up.

    Nobody writes these but the triggers on the tables counted. They hold no foreign keys: what is counted does.
    """

    class Noun(models.TextChoices):
        TASK = "task", "task"
        SAMPLE = "sample", "sample"

    noun = models.CharField(max_length=6, choices=Noun)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    source = models.ForeignKey(
        Source, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    status = models.CharField(max_length=10)
    number = models.BigIntegerField()

    objects = StatusCountQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["project", "noun", "source", "status"], name="status_count_of")]

    def __str__(self):
        return f"{self.number:+} {self.noun} {self.status}"

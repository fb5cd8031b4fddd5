"""Who is looking at which task at the moment, so that no more people are asked than answers are needed."""

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from .tasks import Task


class AssignmentQuerySet(models.QuerySet):
    def live(self):
        """Those that have not run out."""
        return self.filter(until__gt=timezone.now())


class Assignment(models.Model):
    """A task lent to an annotator until a moment. Narrow, and gone with the answer."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="assignments", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="assignments")
    until = models.DateTimeField()

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        ordering = [F("task_id"), F("until")]
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="assignment_once")]

    def __str__(self):
        return f"task {self.task_id} with {self.annotator} until {self.until:%Y-%m-%d %H:%M}"

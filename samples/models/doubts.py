"""Doubts: verdicts that a model would not have given, waiting for somebody to look at them."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from labelhub.accounts.roles import Power
from labelhub.fields import JSONTextField

from .projects import OfProjectQuerySet, Project
from .tasks import Task


class DoubtQuerySet(OfProjectQuerySet):
    seen_with = Power.REVIEW

    def open(self):
        return self.filter(state=Doubt.State.OPEN)

    def standing(self):
        """About the verdict as it is now; one that was changed since is doubted no more."""
        return self.filter(task__label_name=F("verdict"), task__status=Task.Status.COMPLETED)


class Doubt(models.Model):
    """What a model that has not learnt from a verdict says instead of it. The verdict is quoted: it may change."""

    class State(models.TextChoices):
        OPEN = "OPEN", "Open"
        KEPT = "KEPT", "Verdict kept"
        CORRECTED = "CORRECTED", "Model’s label taken"
        REOPENED = "REOPENED", "Reopened"

    task = models.ForeignKey(Task, models.CASCADE, related_name="doubts", db_index=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="doubts", db_index=False)
    model = models.CharField(
        max_length=200, help_text="A model version, as “reviews@3”, or “reviews@cross”: models of the search’s own."
    )
    verdict = models.TextField()
    answer = JSONTextField(help_text="What the model says instead, as the task type writes answers.")
    suggestion = models.TextField(help_text="The same as text.")
    confidence = models.FloatField(help_text="How sure the model is of what it says.")
    trust = models.FloatField(help_text="How likely it takes the verdict to be right.")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    looked_at_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    looked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = DoubtQuerySet.as_manager()

    class Meta:
        ordering = ["trust", "id"]
        verbose_name = "possible label error"
        constraints = [
            models.UniqueConstraint(fields=["task", "model"], name="doubt_once"),
            models.CheckConstraint(
                condition=Q(state__in=["OPEN", "KEPT", "CORRECTED", "REOPENED"]), name="doubt_state_known"
            ),
        ]
        indexes = [models.Index(fields=["project", "state", "trust", "id"], name="doubt_in_order")]

    def __str__(self):
        return f"{self.suggestion} instead of {self.verdict}"

    @property
    def is_open(self) -> bool:
        return self.state == self.State.OPEN

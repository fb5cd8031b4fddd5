"""Samples: verdicts frozen as training records, on their way to approval."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .projects import Label, OfProjectQuerySet, Project
from .tasks import Task
from .verdicts import LABEL_UNLISTED, Verdict


class SampleQuerySet(OfProjectQuerySet):
    def pending(self):
        return self.filter(status=Sample.Status.PENDING)

    def approved(self):
        return self.filter(status=Sample.Status.APPROVED)


class Sample(Verdict):
    """One training record: what a reviewer approves and a batch carries."""

    class Status(models.TextChoices):
        PENDING = "PENDING", "Pending"
        APPROVED = "APPROVED", "Approved"
        REJECTED = "REJECTED", "Rejected"

    class SampleType(models.TextChoices):
        TEXT = "TEXT", "Text"
        IMAGE = "IMAGE", "Image"
        VIDEO_FRAME = "VIDEO_FRAME", "Video frame"

    task = models.OneToOneField(Task, models.PROTECT, related_name="sample")
    project = models.ForeignKey(Project, models.PROTECT, related_name="samples", db_index=False)
    sample_type = models.CharField(max_length=12, choices=SampleType, default=SampleType.TEXT)
    label = models.ForeignKey(Label, models.PROTECT, null=True, blank=True, related_name="samples")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="reviewed_samples",
        db_index=False,
    )
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SampleQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["uid"], name="sample_uid_once"),
            models.CheckConstraint(
                condition=Q(status__in=["PENDING", "APPROVED", "REJECTED"]), name="sample_status_known"
            ),
            models.CheckConstraint(
                condition=Q(sample_type__in=["TEXT", "IMAGE", "VIDEO_FRAME"]), name="sample_type_known"
            ),
            models.CheckConstraint(condition=Q(answer__isnull=False), name="sample_has_answer"),
            models.CheckConstraint(
                condition=Q(status="PENDING") | Q(reviewed_at__isnull=False), name="sample_reviewed_when"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "status", "id"], name="sample_by_status"),
            # The review queue, the least certain first; who has been reviewed leaves it.
            models.Index(
                fields=["project", "confidence", "id"], name="sample_to_review", condition=Q(status="PENDING")
            ),
            # Partial: a sample that waits for review is not written into it.
            models.Index(fields=["reviewed_by"], name="sample_by_reviewer", condition=Q(reviewed_by__isnull=False)),
            # The few that an export's label map cannot know from the project's list.
            models.Index(fields=["project", "type"], name="sample_label_unlisted", condition=LABEL_UNLISTED),
        ]
        permissions = [("review_sample", "Can approve, reject and reopen samples")]

    def __str__(self):
        return self.content if len(self.content) <= 80 else f"{self.content[:79]}…"

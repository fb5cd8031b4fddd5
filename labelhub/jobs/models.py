"""The Job row: what is to be done, who does it now, and until when we believe him."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from labelhub.fields import JSONTextField


class JobQuerySet(models.QuerySet):
    def due(self, *, within=timedelta(0)):
        """Waiting, and not told to wait longer (than `within`)."""
        return self.filter(state=Job.State.QUEUED, run_after__lte=timezone.now() + within)

    def running(self):
        return self.filter(state=Job.State.RUNNING)

    def abandoned(self):
        """Running, says the row, but its worker has not been heard of for a lease."""
        return self.running().filter(lease_until__lt=timezone.now())

    def unfinished(self):
        return self.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING])

    def visible_to(self, user):
        """The user's own jobs; all of them for a superuser."""
        return self if user.is_superuser else self.filter(owner=user)


class Job(models.Model):
    """One piece of background work.

    `token` names the run that holds the job: whoever wants to write progress or an end must still hold it. A run that
    dies leaves `lease_until` to pass, and the sweeper gives the job to the next worker.
    """

    class State(models.TextChoices):
        QUEUED = "QUEUED", "Queued"
        RUNNING = "RUNNING", "Running"
        DONE = "DONE", "Done"
        FAILED = "FAILED", "Failed"
        CANCELLED = "CANCELLED", "Cancelled"

    kind = models.CharField(max_length=60)
    params = JSONTextField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    progress = models.PositiveSmallIntegerField("progress (%)", default=0)
    message = models.CharField(max_length=300, blank=True)
    result = JSONTextField(null=True, blank=True)
    error = models.TextField(blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    run_after = models.DateTimeField(default=timezone.now)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="jobs", db_index=True
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["run_after", "id"], name="job_due", condition=Q(state="QUEUED")),
            models.Index(fields=["lease_until"], name="job_leased", condition=Q(state="RUNNING")),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["QUEUED", "RUNNING", "DONE", "FAILED", "CANCELLED"]), name="job_state_known"
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="job_progress_percent"),
        ]

    def __str__(self):
        return f"{self.kind} #{self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.state in (self.State.DONE, self.State.FAILED, self.State.CANCELLED)

"""Tasks, what people answered, what models guessed."""

from collections.abc import Iterable

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from labelhub.fields import JSONTextField
from labelhub.setwise import Named
from samples import task_types

from .datasets import Source
from .projects import Label, OfProjectQuerySet, Project
from .verdicts import LABEL_UNLISTED, Verdict


class TaskQuerySet(OfProjectQuerySet):
    def pending(self):
        return self.filter(status=Task.Status.PENDING)

    def open(self):
        """Still taking answers."""
        return self.filter(status__in=Task.OPEN)

    def completed(self):
        return self.filter(status=Task.Status.COMPLETED)

    def failed(self):
        """Answered, but without a verdict: a tie, or too small a share."""
        return self.filter(status=Task.Status.FAILED)

    def named(self, pairs: Iterable[tuple[Source, str]]):
        """Those that a source knows by an external id; who names none asks for nothing."""
        keys = [(source.pk, name) for source, name in pairs]
        return self.filter(pk__in=Named(Task, ("source", "external_id"), keys)) if keys else self.none()

    def unanswered_by(self, user):
        return self.exclude(annotations__annotator=user)


class Task(Verdict):
    """One item to label, and once it is settled the verdict on it."""

    class Status(models.TextChoices):
        PENDING = "PENDING", "Pending"
        VALIDATING = "VALIDATING", "Validating"
        COMPLETED = "COMPLETED", "Completed"
        FAILED = "FAILED", "Failed"

    OPEN = (Status.PENDING, Status.VALIDATING)

    project = models.ForeignKey(Project, models.PROTECT, related_name="tasks", db_index=False)
    source = models.ForeignKey(Source, models.PROTECT, related_name="tasks", db_index=False)
    external_id = models.CharField(
        max_length=1024,
        help_text="The item's id where it came from; “content:…”, a hash, for an item that had none.",
    )
    options = JSONTextField(
        null=True, blank=True, help_text="This item's own choices, where they differ from the labels."
    )
    validations_needed = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Answers this item needs before they are counted, where that differs from the project.",
    )
    media = models.FileField(upload_to="tasks/", blank=True)
    metadata = JSONTextField(default=dict, blank=True)
    occurred_at = models.DateTimeField(null=True, blank=True, help_text="When the item came to be, outside.")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    label = models.ForeignKey(Label, models.PROTECT, null=True, blank=True, related_name="tasks", db_index=False)
    labels = models.ManyToManyField(Label, through="TaskLabel", related_name="+")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        db_index=False,
        help_text="The reviewer whose word the verdict is; empty where the answers settled it.",
    )
    margin = models.FloatField(
        null=True,
        blank=True,
        editable=False,
        help_text="How far the likeliest answer leads, says the model that guessed last: 0 torn, 1 sure.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["uid"], name="task_uid_once"),
            models.UniqueConstraint(fields=["source", "external_id"], name="task_once_in_source"),
            models.CheckConstraint(
                condition=Q(status__in=["PENDING", "VALIDATING", "COMPLETED", "FAILED"]), name="task_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="COMPLETED") | Q(answer__isnull=False), name="task_completed_has_answer"
            ),
            models.CheckConstraint(
                condition=Q(validations_needed__isnull=True) | Q(validations_needed__gte=1),
                name="task_needs_an_answer",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "status", "id"], name="task_by_status"),
            # Lists by time are read source by source and their heads merged: a few sources of many cost what they hold.
            models.Index("source", Coalesce("occurred_at", "created_at"), "id", name="task_by_source_time"),
            models.Index(fields=["source", "created_at", "id"], name="task_by_source_creation"),
            # Partial: only projects in which a model has guessed pay for it.
            models.Index(
                fields=["project", "status", "margin", "id"],
                name="task_by_margin",
                condition=Q(margin__isnull=False),
            ),
            # Partial: a text that waits for its label is not written into it.
            models.Index(fields=["label"], name="task_by_label", condition=Q(label__isnull=False)),
            # The few that an export's label map cannot know from the project's list.
            models.Index(fields=["project", "type"], name="task_label_unlisted", condition=LABEL_UNLISTED),
        ]
        permissions = [("annotate_task", "Can answer tasks"), ("import_task", "Can import tasks")]

    def __str__(self):
        return self.content if len(self.content) <= 80 else f"{self.content[:79]}…"

    @property
    def kind(self) -> task_types.TaskType:
        return task_types.get(self.type)

    @property
    def choices(self) -> list[str]:
        """What an answer may be chosen from: the item's own options, else the project's labels in their order."""
        return self.options or list(self.project.labels.order_by("position").values_list("name", flat=True))

    @property
    def is_settled(self) -> bool:
        return self.status == self.Status.COMPLETED


class TaskLabel(models.Model):
    """One of several labels of a task's verdict; only for types that allow several."""

    task = models.ForeignKey(Task, models.CASCADE)
    label = models.ForeignKey(Label, models.PROTECT)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "label"], name="task_label_once")]


class Annotation(models.Model):
    """What one person answered to one task."""

    task = models.ForeignKey(Task, models.PROTECT, related_name="annotations", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="annotations")
    answer = JSONTextField()
    label = models.ForeignKey(Label, models.PROTECT, null=True, blank=True, related_name="annotations")
    labels = models.ManyToManyField(Label, through="AnnotationLabel", related_name="+")
    lead_time_ms = models.PositiveIntegerField("lead time (ms)", null=True, blank=True)
    prefilled_by = models.CharField(
        max_length=200, blank=True, help_text="The model version whose guess stood in the form already, if one did."
    )
    properties = JSONTextField(
        null=True, blank=True, help_text='Said beside the answer, by label: {"sentiments": {"Delivery": "negative"}}.'
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="annotation_once")]

    def __str__(self):
        return f"{self.annotator} on task {self.task_id}"


class AnnotationLabel(models.Model):
    """One of several labels in an answer; only for types that allow several."""

    annotation = models.ForeignKey(Annotation, models.CASCADE)
    label = models.ForeignKey(Label, models.PROTECT)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotation", "label"], name="annotation_label_once")]


class Prediction(models.Model):
    """What a model guessed about a task. The model is named, not referenced: models live downstream, in exports."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="predictions", db_index=False)
    model = models.CharField(max_length=200, help_text="The model version that guessed, as “dataset@3”.")
    label = models.ForeignKey(Label, models.PROTECT, related_name="predictions")
    probability = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Empty where the model does not tell.",
    )
    sentiment = models.FloatField(null=True, blank=True, validators=[MinValueValidator(-1.0), MaxValueValidator(1.0)])
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["task", "model", "label"], name="prediction_once"),
            models.CheckConstraint(
                condition=Q(probability__gte=0, probability__lte=1), name="prediction_probability_is_share"
            ),
        ]

    def __str__(self):
        likely = "" if self.probability is None else f" {self.probability:.2f}"
        return f"{self.model}: {self.label}{likely}"

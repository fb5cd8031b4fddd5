"""Batches of samples, the fine-tunes run on them, the models that come out."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from labelhub.accounts import secrets
from labelhub.accounts.roles import Power
from labelhub.fields import JSONTextField
from labelhub.jobs.models import Job
from samples.models import Dataset, Project, Sample
from samples.models.projects import OfProjectQuerySet

from . import compression, formats, providers
from .errors import UnreadableKey, WrongState


class BatchQuerySet(OfProjectQuerySet):
    seen_with = Power.EXPORT

    def ready(self):
        return self.filter(state=Batch.State.READY)

    def with_files(self):
        """READY, and the files are still kept."""
        return self.ready().filter(files_removed_at=None)

    def half_written(self):
        """FAILED, and some of their shards are whole: kept for `retry`."""
        whole = Shard.objects.written().filter(batch=OuterRef("pk"))
        return self.filter(Exists(whole), state=Batch.State.FAILED)

    def run_of(self, batch: "Batch"):
        """`batch`, where the run that began with `started_at` is its latest and goes on."""
        return self.filter(pk=batch.pk, state=Batch.State.RUNNING, started_at=batch.started_at)


class Batch(models.Model):
    """Rows gathered once and written to one file, and everything needed to explain or repeat it.

    Approved samples, which it claims, as a rule; or tasks as they stand, which it only copies out.
    """

    class Carries(models.TextChoices):
        SAMPLES = "SAMPLES", "Approved samples"
        TASKS = "TASKS", "Tasks as they stand"

    class State(models.TextChoices):
        QUEUED = "QUEUED", "Queued"
        RUNNING = "RUNNING", "Running"
        READY = "READY", "Ready"
        FAILED = "FAILED", "Failed"
        CANCELLED = "CANCELLED", "Cancelled"

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(
        Project, models.PROTECT, null=True, blank=True, related_name="batches", help_text="Empty: several projects."
    )
    dataset = models.ForeignKey(
        Dataset,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="batches",
        help_text="The dataset it is a copy of.",
    )
    carries = models.CharField(max_length=8, choices=Carries, default=Carries.SAMPLES)
    format = models.CharField(max_length=40, choices=formats.choices)
    options = JSONTextField(default=dict, blank=True)
    ratios = JSONTextField(null=True, blank=True, help_text='["0.8", "0.1", "0.1"], or empty for one plain file.')
    seed = models.CharField(max_length=64, default="0", help_text="Deals the samples; the same seed, the same split.")
    is_stratified = models.BooleanField(default=False, help_text="Keep each label's share alike in every part.")
    group_by = JSONTextField(
        default=list,
        blank=True,
        help_text='What no part may share with another: "duplicates", "source", "metadata:KEY".',
    )
    split_name = models.CharField(
        max_length=64, blank=True, help_text="Keep who is in which part under this name, and follow what is kept there."
    )
    dealt = JSONTextField(default=dict, blank=True, editable=False, help_text="How the split came out.")
    allows_reexport = models.BooleanField(default=False, help_text="Take samples that another batch already carries.")
    selection = JSONTextField(default=dict, help_text="What was asked for: explicit ids, or a filter.")
    label_map = JSONTextField(default=dict, editable=False, help_text="Each label's index in the files (label_id).")
    shard_count = models.PositiveSmallIntegerField(
        "shards", null=True, blank=True, help_text="Write each part as so many files; empty: one file for all."
    )
    compression = models.CharField(max_length=8, choices=compression.choices, default="none")
    destination = models.CharField(max_length=40)
    path = models.CharField(max_length=500, blank=True)
    sample_count = models.PositiveIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    manifest = JSONTextField(null=True, blank=True)
    warnings = JSONTextField(default=list, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    error = models.TextField(blank=True)
    job = models.OneToOneField(Job, models.SET_NULL, null=True, blank=True, related_name="+", editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="batches", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    files_removed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the time to keep its files was over."
    )

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["QUEUED", "RUNNING", "READY", "FAILED", "CANCELLED"]), name="batch_state_known"
            ),
            models.CheckConstraint(
                condition=~Q(state="READY") | (~Q(path="") & ~Q(sha256="")), name="batch_ready_has_file"
            ),
            models.CheckConstraint(condition=Q(carries__in=["SAMPLES", "TASKS"]), name="batch_carries_known"),
        ]
        permissions = [("download_batch", "Can download the files of batches")]

    def __str__(self):
        return f"batch {self.short_id}"

    @property
    def short_id(self) -> str:
        """The first eight hex digits of the uuid: what file names carry."""
        return self.uuid.hex[:8]

    def hold(self) -> None:
        """To the end of the transaction no other run of the batch can begin; WrongState where one has, or it was cancelled."""
        if Batch.objects.run_of(self).select_for_update(no_key=True).first() is None:
            raise WrongState(f"{self} was cancelled, or given to another worker, while this one was at it")

    @property
    def is_ready(self) -> bool:
        """Whether its files can be fetched."""
        return self.state == self.State.READY and self.files_removed_at is None

    @property
    def was_written(self) -> bool:
        """Whether it was READY at some time: its rows have left, whatever becomes of its files."""
        return self.sha256 != ""

    @property
    def is_sharded(self) -> bool:
        return self.shard_count is not None


class BatchItemQuerySet(models.QuerySet):
    def claims(self):
        return self.filter(is_claim=True)


class BatchItem(models.Model):
    """A sample's place in a batch. Narrow on purpose: this table is the claim, so that two batches never share a row.

    `is_claim` is true but in batches that were asked to export again; a sample has at most one claim.
    """

    class Split(models.IntegerChoices):
        WHOLE = 0, "whole"
        TRAIN = 1, "train"
        VAL = 2, "val"
        TEST = 3, "test"

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="items", db_index=False)
    sample = models.ForeignKey(Sample, models.PROTECT, related_name="batch_items")
    split = models.PositiveSmallIntegerField(choices=Split, default=Split.WHOLE)
    is_claim = models.BooleanField(default=True)

    objects = BatchItemQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sample"], condition=Q(is_claim=True), name="sample_claimed_once"),
            # `split` is in no index: to deal a batch moves a fifth of its items, and PostgreSQL then changes the row alone.
            models.UniqueConstraint(fields=["batch", "sample"], name="sample_once_in_batch"),
        ]


class BatchTasks(models.Model):
    """The tasks in one part of a batch that carries tasks: their primary keys, packed (`keys.pack`).

    No row a task: a batch of tasks claims nothing, and must neither cost a million rows nor hold a task back from removal.
    """

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="tasks", db_index=False)
    split = models.PositiveSmallIntegerField(choices=BatchItem.Split, default=BatchItem.Split.WHOLE)
    keys = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "split"], name="batch_tasks_once")]


class KeptSplit(models.Model):
    """A project's split that outlives the batch it was dealt for: later batches follow it and deal only what is new."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="kept_splits")
    name = models.CharField(max_length=64)
    seed = models.CharField(max_length=64)
    group_by = JSONTextField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="kept_split_once")]

    def __str__(self):
        return f"split {self.name!r} of {self.project}"


class KeptSide(models.Model):
    """On which side of a kept split a row is, or a group: known by eight bytes of a hash. Narrow, for millions of rows."""

    pk = models.CompositePrimaryKey("kept_split_id", "key")
    kept_split = models.ForeignKey(KeptSplit, models.CASCADE, related_name="sides", db_index=False)
    key = models.BigIntegerField()
    split = models.PositiveSmallIntegerField(choices=BatchItem.Split)
    dealt_for = models.BigIntegerField(
        null=True, help_text="The batch that was dealt then: its number alone, for the side outlives it."
    )


class ShardQuerySet(models.QuerySet):
    def written(self):
        return self.exclude(written_at=None)

    def unwritten(self):
        return self.filter(written_at=None)


class Shard(models.Model):
    """One file of a batch in shards: the rows of a part that lie in a range, and, once it is written, what it holds.

    The range is drawn once, so whoever writes the shard, and however often, writes the same rows.
    """

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="shards", db_index=False)
    split = models.PositiveSmallIntegerField(choices=BatchItem.Split)
    number = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    after = models.BigIntegerField(help_text="The range on the reader's axis: after this, up to that.")
    upto = models.BigIntegerField()
    row_count = models.PositiveIntegerField()
    byte_count = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    labels = JSONTextField(default=dict)
    job = models.OneToOneField(Job, models.SET_NULL, null=True, related_name="shard", editable=False)
    started_at = models.DateTimeField(null=True)
    written_at = models.DateTimeField(null=True)

    objects = ShardQuerySet.as_manager()

    class Meta:
        ordering = ["batch", "split", "number"]
        constraints = [models.UniqueConstraint(fields=["batch", "split", "number"], name="shard_once")]

    def __str__(self):
        return self.name

    @property
    def path(self) -> str:
        return f"{self.batch.path.rpartition('/')[0]}/{self.name}"


class ProviderAccountQuerySet(OfProjectQuerySet):
    seen_with = Power.MANAGE

    def active(self):
        return self.filter(closed_at=None)

    def usable_for(self, project: Project):
        """The project's own, and those of every project."""
        return self.active().filter(Q(project=project) | Q(project=None))


class ProviderAccount(models.Model):
    """An address and a key at a provider of fine-tuning. The key is kept encrypted and never shown."""

    name = models.CharField(max_length=100, unique=True)
    provider = models.CharField(max_length=40, choices=providers.remote_choices)
    project = models.ForeignKey(
        Project,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="provider_accounts",
        help_text="Whose fine-tunes may use it. Empty: every project's.",
    )
    base_url = models.CharField(
        "address", max_length=500, blank=True, help_text="Empty: the provider's own, as https://api.openai.com/v1."
    )
    model = models.CharField(
        "usual base model", max_length=200, blank=True, help_text="What is trained where a fine-tune names no model."
    )
    encrypted_key = models.TextField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ProviderAccountQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    @property
    def key(self) -> str:
        try:
            return secrets.decrypt(self.encrypted_key)
        except secrets.InvalidToken as error:
            raise UnreadableKey(f"the key of “{self}” cannot be read: give it again") from error

    @property
    def is_active(self) -> bool:
        return self.closed_at is None


class FineTuneQuerySet(models.QuerySet):
    def running(self):
        return self.filter(status__in=[FineTune.Status.SUBMITTING, FineTune.Status.RUNNING])

    def under_way(self):
        return self.filter(status__in=FineTune.UNDER_WAY)

    def where(self, user, power: Power):
        return self.filter(batch__in=Batch.objects.where(user, power)) if not user.is_superuser else self

    def visible_to(self, user):
        return self.where(user, Power.FINETUNE)


class FineTune(models.Model):
    """One training run on a batch's files, here or at a provider."""

    class Status(models.TextChoices):
        NOT_STARTED = "NOT_STARTED", "Not started"
        SUBMITTING = "SUBMITTING", "Submitting"
        RUNNING = "RUNNING", "Running"
        SUCCESS = "SUCCESS", "Success"
        FAILED = "FAILED", "Failed"
        CANCELLED = "CANCELLED", "Cancelled"

    UNDER_WAY = (Status.NOT_STARTED, Status.SUBMITTING, Status.RUNNING)

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    batch = models.ForeignKey(Batch, models.PROTECT, related_name="finetunes")
    provider = models.CharField(max_length=40, choices=providers.choices, default="local")
    account = models.ForeignKey(
        ProviderAccount,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="finetunes",
        help_text="Empty: the settings'.",
    )
    model = models.CharField("base model", max_length=200, blank=True)
    hyperparameters = JSONTextField(default=dict, blank=True)
    provider_files = JSONTextField(default=dict, blank=True, help_text="The provider's ids of the parts sent to it.")
    provider_job_id = models.CharField(max_length=200, blank=True)
    provider_status = models.CharField(max_length=60, blank=True, help_text="The provider's own word for it.")
    status = models.CharField(max_length=12, choices=Status, default=Status.NOT_STARTED)
    progress = models.PositiveSmallIntegerField("progress (%)", default=0)
    error = models.TextField(blank=True)
    trouble = models.TextField(blank=True, help_text="Why the provider could not be asked last time.")
    metrics = JSONTextField(null=True, blank=True)
    events = JSONTextField(default=list, blank=True)
    artefact = models.CharField(max_length=500, blank=True, help_text="Folder of the trained model under its storage.")
    job = models.OneToOneField(Job, models.SET_NULL, null=True, blank=True, related_name="+", editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="finetunes", editable=False
    )
    repeats = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="repetitions", help_text="The one it was made from."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    asked_at = models.DateTimeField(
        null=True, blank=True, help_text="When the provider was asked to begin, noted before it was: it may have begun."
    )
    started_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True, help_text="When the provider last said how it goes.")
    quiet_looks = models.PositiveIntegerField(default=0, help_text="How often in a row the provider had no news.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = FineTuneQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "fine-tune"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["NOT_STARTED", "SUBMITTING", "RUNNING", "SUCCESS", "FAILED", "CANCELLED"]),
                name="finetune_status_known",
            ),
            # A double click makes one fine-tune: a batch has at most one under way.
            models.UniqueConstraint(
                fields=["batch"],
                condition=Q(status__in=["NOT_STARTED", "SUBMITTING", "RUNNING"]),
                name="finetune_once_at_a_time",
            ),
        ]

    def __str__(self):
        return f"fine-tune {self.pk} of {self.batch}"

    @property
    def is_under_way(self) -> bool:
        return self.status in self.UNDER_WAY


class ModelVersion(models.Model):
    """A trained model: what a successful fine-tune leaves behind, numbered within its project (and dataset)."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="model_versions")
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, blank=True, related_name="model_versions")
    version = models.PositiveIntegerField()
    finetune = models.OneToOneField(FineTune, models.PROTECT, related_name="model_version")
    metrics = JSONTextField(default=dict, blank=True)
    artefact = models.CharField(max_length=500, blank=True)
    provider_model = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="model_version_once")]

    def __str__(self):
        return f"{self.project.name}@{self.version}"


class ModelTag(models.Model):
    """A name that moves between versions: prod, staging, live."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="model_tags")
    name = models.CharField(max_length=64)
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="tags")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["project", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="model_tag_once")]

    def __str__(self):
        return f"{self.name} → {self.version}"


class PredictionRunQuerySet(OfProjectQuerySet):
    project_lookup = "version__project"
    seen_with = Power.FINETUNE


class PredictionRun(models.Model):
    """A model version asked about a choice of tasks, frozen when it was asked.

    `position` is the place among `keys` up to which guesses are written; it moves with them, in one transaction, so that
    whoever goes on after a death begins there.
    """

    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="runs")
    keys = models.BinaryField(editable=False, help_text="The tasks' primary keys, packed.")
    selection = JSONTextField(default=dict, help_text="What was asked for: explicit ids, or a filter.")
    task_count = models.PositiveIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    guessed_count = models.PositiveIntegerField("guessed", default=0)
    skipped_count = models.PositiveIntegerField(
        "left out", default=0, help_text="Gone by then, with choices of their own, or without a readable file."
    )
    refused_count = models.PositiveIntegerField(
        "no label", default=0, help_text="What the model said is none of the labels, or it would not say."
    )
    refusals = JSONTextField(default=dict, blank=True, help_text="How often it said what else, or why it would not.")
    job = models.OneToOneField(Job, models.SET_NULL, null=True, blank=True, related_name="+", editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = PredictionRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return f"{self.version} on {self.task_count} tasks"

    @property
    def project(self) -> Project:
        return self.version.project

    @property
    def is_done(self) -> bool:
        return self.position >= self.task_count

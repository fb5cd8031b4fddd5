"""Projects, their labels and their members."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from labelhub.accounts.models import new_uid
from labelhub.accounts.roles import Power, Role, roles_with
from labelhub.fields import JSONTextField
from samples import consensus, task_types


class ProjectQuerySet(models.QuerySet):
    def where(self, user, power: Power):
        """The projects in which `user` holds `power`; all of them for a superuser."""
        if user.is_superuser:
            return self
        mine = Membership.objects.filter(user=user, role__in=roles_with(power))
        return self.filter(pk__in=mine.values("project"))

    def visible_to(self, user):
        return self.where(user, Power.VIEW)


class OfProjectQuerySet(models.QuerySet):
    """Rows that belong to a project each: who may reach them follows from his role there; a superuser may."""

    project_lookup = "project"
    seen_with = Power.VIEW

    def where(self, user, power: Power):
        """Those of the projects in which `user` holds `power`; rows of no project are a superuser's."""
        if user.is_superuser:
            return self
        return self.filter(**{f"{self.project_lookup}__in": Project.objects.where(user, power)})

    def visible_to(self, user):
        return self.where(user, self.seen_with)


class TaskOrder(models.TextChoices):
    """Which of the waiting tasks comes first."""

    AGE = "age", "The oldest"
    MARGIN = "margin", "What the model is least sure about"
    RANDOM = "random", "Any"


class Project(models.Model):
    """One labelling effort: a task type, a list of labels, a rule for settling answers, and its people."""

    uid = models.CharField(max_length=16, unique=True, default=new_uid, editable=False)
    name = models.CharField(
        max_length=1024,
        unique=True,
        validators=[
            RegexValidator(
                r"\A[A-Za-z0-9-_.]{1,1024}\Z", "letters, digits, “-”, “_” and “.” only, at most 1024 of them"
            )
        ],
        help_text="The name in paths and commands: letters, digits, - _ and . only.",
    )
    title = models.CharField(max_length=128, blank=True)
    description = models.TextField(max_length=16384, blank=True)
    task_type = models.CharField(max_length=40, choices=task_types.choices)
    locale = models.CharField("default locale", max_length=16, default="en", help_text="en, fr, zh, …")
    guidelines = models.TextField(blank=True, help_text="Shown to annotators beside every task.")
    validations_needed = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="Answers a task needs before they are counted."
    )
    consensus_rule = models.CharField(max_length=40, choices=consensus.choices, default="majority")
    consensus_threshold = models.FloatField(
        default=0.5,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Least share of the votes the winner must hold, 0 to 1.",
    )
    prompts = JSONTextField(
        default=dict,
        blank=True,
        help_text='Overrides of the prompts in exports: {"fr": {"chat": "…{content}", "instruction": "…"}}.',
    )
    task_order = models.CharField(
        max_length=10,
        choices=TaskOrder,
        default=TaskOrder.AGE,
        help_text="Which task an annotator is given next; a margin is known once a model has guessed.",
    )
    random_share = models.FloatField(
        default=0.2,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Of the tasks given by margin, the share drawn at random instead, 0 to 1.",
    )
    shows_suggestions = models.BooleanField(
        default=True, help_text="Whether annotators see what a model guessed, with its probability."
    )
    prefill_model = models.CharField(
        max_length=200, blank=True, editable=False, help_text="The model version whose sure guesses fill in the form."
    )
    prefill_threshold = models.FloatField(
        null=True, blank=True, editable=False, help_text="How likely its guess must be for that."
    )
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="projects")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(validations_needed__gte=1), name="project_needs_an_answer"),
            models.CheckConstraint(
                condition=Q(consensus_threshold__gte=0, consensus_threshold__lte=1), name="project_threshold_is_share"
            ),
            models.CheckConstraint(
                condition=Q(random_share__gte=0, random_share__lte=1), name="project_random_share_is_share"
            ),
            models.CheckConstraint(
                condition=Q(prefill_model="", prefill_threshold__isnull=True)
                | (
                    ~Q(prefill_model="")
                    & Q(prefill_threshold__isnull=False, prefill_threshold__gte=0, prefill_threshold__lte=1)
                ),
                name="project_prefills_above_a_threshold",
            ),
        ]

    def __str__(self):
        return self.title or self.name

    @property
    def kind(self) -> task_types.TaskType:
        """The task type, as the object that knows what an answer is."""
        return task_types.get(self.task_type)

    def prompts_for(self, locale: str) -> task_types.Prompts:
        """The prompts of exports in `locale`, in its language, or in English; the project's own before its type's."""

        def words(style):
            for key in (locale, locale.partition("-")[0], "en"):
                if style in self.prompts.get(key, {}):
                    return self.prompts[key][style]
                if key in self.kind.prompts:
                    return getattr(self.kind.prompts[key], style)

        return task_types.Prompts(words("chat"), words("instruction"))

    def role_of(self, user) -> Role | None:
        found = self.memberships.filter(user=user).first()
        return Role(found.role) if found else None


class Label(models.Model):
    """One answer a project offers. `position` is its index in exports (label_id): dense, from 0, in list order."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="labels")
    name = models.CharField(max_length=256, help_text="A path is written “Parent > Child”.")
    colour = models.CharField(
        max_length=7, default="#1A73E8", validators=[RegexValidator(r"\A#[0-9A-Fa-f]{6}\Z", "write it #RRGGBB")]
    )
    position = models.PositiveIntegerField()

    class Meta:
        ordering = ["project", "position"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="label_name_once"),
            models.UniqueConstraint(fields=["project", "position"], name="label_position_once"),
            models.CheckConstraint(condition=~Q(name=""), name="label_has_name"),
        ]

    def __str__(self):
        return self.name

    @property
    def is_in_use(self) -> bool:
        """Whether answers, verdicts, samples or predictions stand on this label."""
        users = (self.annotations, self.annotationlabel_set, self.tasks, self.tasklabel_set, self.samples)
        return self.pk is not None and any(rows.exists() for rows in (*users, self.predictions))

    def clean(self):
        """Refuse to rename or move a label in use: verdicts and exported files carry its name and its index."""
        kept = Label.objects.filter(pk=self.pk).first()
        if kept and (kept.name, kept.position) != (self.name, self.position) and self.is_in_use:
            raise ValidationError(f"“{kept.name}” is in use: its name and position must stay as they are")


class Membership(models.Model):
    """A user's role in a project."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", F("user_id")]
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self):
        return f"{self.user} is {self.get_role_display().lower()} of {self.project}"

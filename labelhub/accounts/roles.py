"""Roles in a project, and what each may do: the one table every door asks."""

from django.db import models


class Role(models.TextChoices):
    MANAGER = "manager", "Manager"
    REVIEWER = "reviewer", "Reviewer"
    ANNOTATOR = "annotator", "Annotator"
    VIEWER = "viewer", "Viewer"
    BUYER = "buyer", "Buyer"


class Power(models.TextChoices):
    VIEW = "view", "see the project, its tasks and samples"
    ANNOTATE = "annotate", "answer tasks"
    REVIEW = "review", "approve, reject and reopen samples"
    IMPORT = "import", "bring tasks in"
    EXPORT = "export", "make batches and download files"
    FINETUNE = "finetune", "start fine-tunes, tag models and let them guess"
    MANAGE = "manage", "change the project, its labels and members"


POWERS = {
    Role.MANAGER: frozenset(Power),
    Role.REVIEWER: frozenset({Power.VIEW, Power.ANNOTATE, Power.REVIEW}),
    Role.ANNOTATOR: frozenset({Power.VIEW, Power.ANNOTATE}),
    Role.VIEWER: frozenset({Power.VIEW}),
    Role.BUYER: frozenset({Power.VIEW, Power.IMPORT, Power.EXPORT}),
}


def roles_with(power: Power) -> list[Role]:
    """The roles that hold `power`, for a queryset's filter."""
    return [role for role in Role if power in POWERS[role]]

"""Suggesting: what a model guessed is shown to annotators, and where it is sure enough it fills in the form for them.

A guess is never an answer: somebody looks at it and sends it, and the annotation says that it stood there before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from labelhub.accounts import audit
from labelhub.accounts.roles import Power

from .models import Prediction, Project, Task
from .permissions import require


@dataclass(frozen=True)
class Suggestion:
    """What the model that guessed last said of a task: its labels, the likeliest first, and whether they fill the form."""

    model: str
    guesses: Sequence[tuple[str, float | None]]
    fills_in: bool

    @property
    def chances(self) -> dict[str, float | None]:
        return dict(self.guesses)


def suggestion_for(task: Task) -> Suggestion | None:
    """What to show beside `task`; None where its project shows nothing, or nothing was guessed that may be answered."""
    project = task.project
    if not (project.shows_suggestions or project.prefill_model):
        return None
    said = list(Prediction.objects.filter(task=task).select_related("label").order_by("-pk")[:100])
    filling = [guess for guess in said if guess.model == project.prefill_model]
    model = project.prefill_model if filling else said[0].model if said else ""
    guesses = sorted(
        ((guess.label.name, guess.probability) for guess in said if guess.model == model),
        key=lambda guess: -(guess[1] or 0.0),
    )
    if not guesses or (task.options and not {name for name, _ in guesses} <= set(task.options)):
        return None
    fills_in = bool(filling) and _is_sure(guesses, task)
    return Suggestion(model, guesses, fills_in) if fills_in or project.shows_suggestions else None


def _is_sure(guesses, task) -> bool:
    threshold, chance = task.project.prefill_threshold, guesses[0][1]
    return not task.kind.allows_several and threshold is not None and chance is not None and chance >= threshold


def filled_in(task: Task, suggestion: Suggestion | None) -> dict[str, Any]:
    """The answer that stands in the form before anybody has touched it; nothing where the form is empty."""
    return {"label": suggestion.guesses[0][0]} if suggestion and suggestion.fills_in else {}


@transaction.atomic
def fill_in(project: Project, *, model: str, threshold: float, by, reason: str = "") -> Project:
    """From now on, let guesses of `model` that are at least so likely fill in the form of `project`."""
    require(by, Power.MANAGE, project)
    return _set(project, model, threshold, by=by, reason=reason)


@transaction.atomic
def leave_empty(project: Project, *, by) -> bool:
    """Let forms begin empty again; False where they did."""
    require(by, Power.MANAGE, project)
    if not project.prefill_model:
        return False
    _set(project, "", None, by=by)
    return True


def _set(project, model, threshold, *, by, reason=""):
    before = told(project)
    project.prefill_model, project.prefill_threshold = model, threshold
    project.save(update_fields=["prefill_model", "prefill_threshold", "updated_at"])
    audit.record(project, "fill in", by=by, before=before, after=told(project), reason=reason)
    return project


def told(project: Project) -> str:
    """What fills in the forms of `project`, in words."""
    return f"{project.prefill_model} from {project.prefill_threshold:g}" if project.prefill_model else "nothing"

"""Doubting: verdicts that a model would not have given are looked at again; a person says what becomes of each.

Nothing here changes a verdict by itself. Who looks, keeps it, takes the model's word (which waits for approval like any
correction) or puts the sample back among those to review; what was looked at is not raised again.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from labelhub.facts import Fact
from labelhub.fields import dump_json
from labelhub.setwise import Ids, insert_rows

from . import review
from .errors import WrongState
from .models import Doubt, Project, Sample
from .permissions import require
from .review import Reviewed

State = Doubt.State


class Doubted(NamedTuple):
    """A verdict, quoted, what a model says instead, how sure it is of that, and how likely it takes the verdict to be."""

    task: int
    verdict: str
    answer: dict[str, Any]
    suggestion: str
    confidence: float
    trust: float


@transaction.atomic
def raise_doubts(project: Project, *, model: str, found: Iterable[Doubted]) -> int:
    """Put `found` in the place of what `model` doubted before and nobody has looked at; returns how many are open.

    Who has looked at a verdict and a suggestion is not asked about the two again, whichever model comes with them.
    """
    Project.objects.select_for_update().get(pk=project.pk)  # two searches come one after the other
    looked_at = Doubt.objects.filter(project=project).exclude(state=State.OPEN)
    known = set(looked_at.values_list("task_id", "verdict", "suggestion"))
    fresh = [doubt for doubt in found if (doubt.task, doubt.verdict, doubt.suggestion) not in known]
    fresh.sort(key=lambda doubt: (doubt.trust, doubt.task))  # so that a list by key has the surest first
    Doubt.objects.filter(project=project, model=model, state=State.OPEN).delete()
    looked_at.filter(model=model, task__in=Ids(doubt.task for doubt in fresh)).delete()  # of another verdict
    rows = ((*doubt._replace(answer=dump_json(doubt.answer)),) for doubt in fresh)
    same = {"project": project.pk, "model": model, "state": State.OPEN.value, "created_at": timezone.now()}
    insert_rows(Doubt, Doubted._fields, rows, same=same)
    return len(fresh)


# What becomes of one --------------------------------------------------------------------------------------------------


@transaction.atomic
def keep(doubt: Doubt, *, by) -> Doubt:
    """The verdict is right."""
    _hold(doubt, by=by)
    return _close(doubt, State.KEPT, "keep verdict", by=by)


@transaction.atomic
def correct(doubt: Doubt, *, by) -> Doubt:
    """The model is right: the sample takes its word and waits for approval."""
    sample = _hold(doubt, by=by)
    review.revise(sample, by=by, answer=doubt.answer, reason=f"so says {doubt.model}"[:200])
    return _close(doubt, State.CORRECTED, "take model’s label", by=by)


@transaction.atomic
def reopen(doubt: Doubt, *, by) -> Doubt:
    """Somebody else is to decide: the sample goes back among those to review, where it is not there already."""
    sample = _hold(doubt, by=by)
    if sample.status != Sample.Status.PENDING:
        review.reopen(sample, by=by, reason=f"doubted by {doubt.model}"[:200])
    return _close(doubt, State.REOPENED, "reopen", by=by)


def look_at_all(doubts: QuerySet[Doubt], step: Callable[..., Doubt], *, by) -> Reviewed:
    """Take `step` (`keep`, `correct` or `reopen`) with each of `doubts`; those it cannot be taken with are counted by cause."""
    done, causes = 0, dict[str, int]()
    for doubt in doubts.select_related("project", "task__project"):
        try:
            step(doubt, by=by)
            done += 1
        except Fact as fact:
            causes[fact.code] = causes.get(fact.code, 0) + 1
    return Reviewed(done, sum(causes.values()), causes)


def _hold(doubt, *, by) -> Sample:
    """The sample behind `doubt`, whose verdict must still be the one that was doubted."""
    require(by, Power.REVIEW, doubt.project)
    sample = Sample.objects.select_for_update().select_related("task__project", "project").get(task=doubt.task_id)
    doubt.refresh_from_db(from_queryset=Doubt.objects.select_for_update())
    if not doubt.is_open:
        raise WrongState(f"doubt {doubt.pk} was looked at before: {doubt.get_state_display().lower()}", id=doubt.pk)
    if sample.task.label_name != doubt.verdict:
        now = sample.task.label_name or "none"
        raise WrongState(f"the verdict is another by now: {now} instead of {doubt.verdict}", id=doubt.pk)
    return sample


def _close(doubt, state, action, *, by) -> Doubt:
    """Note who looked; other models' doubts of the same kind are answered with it."""
    alike = Doubt.objects.open().filter(task=doubt.task_id, verdict=doubt.verdict, suggestion=doubt.suggestion)
    alike.update(state=state, looked_at_by=by, looked_at=timezone.now())
    audit.record(
        doubt.task, action, by=by, before=doubt.verdict[:200], after=doubt.suggestion[:200], reason=doubt.model
    )
    doubt.refresh_from_db()
    return doubt

"""Review: a reviewer approves, rejects, reopens or revises a sample; one at a time, or a hundred thousand at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, Exists, F, Max, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from labelhub.accounts import audit
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Power
from labelhub.facts import Fact

from .errors import NotAllowed, NotSettled, OwnWork, ReasonMissing, WrongState
from .models import Annotation, Project, Sample, Task
from .permissions import require
from .settling import lock, overrule

Status = Sample.Status


@dataclass(frozen=True)
class Reviewed:
    """What a step over many samples did: `done, refused = approve_all(…)`; `causes` counts the refused by fact code."""

    done: int
    refused: int
    causes: dict[str, int]

    def __iter__(self) -> Iterator[int]:
        return iter((self.done, self.refused))


@dataclass(frozen=True)
class Step:
    """A step of review: the states it leads on from, and the one it leads to."""

    action: str
    leaves: tuple[Status, ...]
    reaches: Status


APPROVE = Step("approve", (Status.PENDING,), Status.APPROVED)
REJECT = Step("reject", (Status.PENDING,), Status.REJECTED)
REOPEN = Step("reopen", (Status.APPROVED, Status.REJECTED), Status.PENDING)


def approve(sample: Sample, *, by) -> Sample:
    """Accept a PENDING sample as training data; OwnWork where nobody but `by`, superuser or not, has annotated it."""
    return _take_one(APPROVE, sample, by=by)


def reject(sample: Sample, *, by, reason: str) -> Sample:
    """Turn a PENDING sample down, saying why."""
    return _take_one(REJECT, sample, by=by, reason=_stated(reason))


def reopen(sample: Sample, *, by, reason: str = "") -> Sample:
    """Put an approved or rejected sample back among the PENDING."""
    return _take_one(REOPEN, sample, by=by, reason=reason)


def approve_all(samples: QuerySet[Sample], *, by) -> Reviewed:
    """Approve those of `samples` that `by` may, and count the others by cause."""
    return _take(APPROVE, samples, by=by)


def reject_all(samples: QuerySet[Sample], *, by, reason: str) -> Reviewed:
    """Reject those of `samples` that `by` may, all for one reason, and count the others by cause."""
    return _take(REJECT, samples, by=by, reason=_stated(reason))


def reopen_all(samples: QuerySet[Sample], *, by, reason: str = "") -> Reviewed:
    """Reopen those of `samples` that `by` may, and count the others by cause."""
    return _take(REOPEN, samples, by=by, reason=reason)


def hindered(step: Step, samples: QuerySet[Sample], *, by) -> dict[str, str]:
    """For each of `samples`, by uid, the code of what keeps `by` from taking `step` with it; "" where nothing does."""
    whens = [When(hindrance, then=Value(fact.code)) for fact, hindrance in _hindrances(step, by)]
    return dict(samples.annotate(cause=Case(*whens, default=Value(""))).values_list("uid", "cause"))


@transaction.atomic
def revise(sample: Sample, *, by, answer: Any, reason: str = "") -> Sample:
    """Correct the answer of a sample and its task; the sample is PENDING again. The same answer changes nothing."""
    require(by, Power.REVIEW, sample.project)
    task = sample.task
    lock(task)
    if task.kind.clean(answer, choices=task.choices) != task.answer:
        overrule(task, by=by, answer=answer, action="revise", reason=reason)
    sample.refresh_from_db()
    return sample


def _stated(reason):
    if not reason.strip():
        raise ReasonMissing("a rejection needs a reason")
    return reason.strip()


def _hindrances(step: Step, by) -> Iterator[tuple[type[Fact], Q]]:
    """What can keep `by` from taking `step` with a sample, the first that applies counting."""
    yield NotAllowed, ~Q(project__in=Project.objects.where(by, Power.REVIEW))
    yield WrongState, ~Q(status__in=step.leaves)
    if step is APPROVE:
        answers = Annotation.objects.filter(task=OuterRef("task"))
        yield OwnWork, Q(Exists(answers.filter(annotator=by))) & ~Q(Exists(answers.exclude(annotator=by)))
    if step is REOPEN:
        yield NotSettled, ~Q(Exists(Task.objects.completed().filter(pk=OuterRef("task"))))


@transaction.atomic
def _take(step: Step, samples: QuerySet[Sample], *, by, reason: str = "") -> Reviewed:
    """Take `step` with every one of `samples` that nothing hinders, in four statements whatever their number.

    The audit trail is written first, from rows held until the end, and the samples it names are then updated: the two
    cannot differ, and `samples` may be sliced, for it is looked up once.
    """
    chosen = Sample.objects.filter(pk__in=samples.values("pk")).order_by("pk")
    counts, free = {"total": Count("pk")}, Q()
    for fact, hindrance in _hindrances(step, by):
        counts[fact.code] = Count("pk", filter=free & hindrance)
        free &= ~hindrance
    causes = chosen.order_by().aggregate(**counts)
    total = causes.pop("total")

    at = timezone.now()
    newest = AuditEntry.objects.aggregate(newest=Max("pk"))["newest"] or 0
    taken = chosen.filter(free).select_for_update()
    done = audit.record_all(
        taken, step.action, by=by, before=F("status"), after=step.reaches.value, reason=reason, at=at
    )
    if done:
        is_review = step is not REOPEN
        entries = AuditEntry.objects.filter(pk__gt=newest, subject="sample", action=step.action, actor=by, at=at)
        Sample.objects.filter(pk__in=entries.values("subject_id")).update(
            status=step.reaches,
            reviewed_by=by if is_review else None,
            reviewed_at=at if is_review else None,
            reason=reason,
            updated_at=at,
        )
    # Rows that changed hands between the count and the step were in the wrong state by then.
    causes["wrong_state"] += total - done - sum(causes.values())
    return Reviewed(done, total - done, {code: count for code, count in causes.items() if count})


def _take_one(step, sample, *, by, reason=""):
    reviewed = _take(step, Sample.objects.filter(pk=sample.pk), by=by, reason=reason)
    sample.refresh_from_db()
    for code in reviewed.causes:
        raise _refusal(code, step, sample, by)
    return sample


def _refusal(code, step, sample, by):
    """The fact called `code`, told of this sample."""
    states = " or ".join(step.leaves)
    facts = {
        NotAllowed: f"{by} may not {Power.REVIEW.label} in {sample.project.name}",
        WrongState: f"sample {sample.pk} is {sample.status}; to {step.action} it must be {states}",
        OwnWork: f"sample {sample.pk} rests on {by}’s answer alone: somebody else must approve it",
        NotSettled: f"the answers behind sample {sample.pk} no longer agree: decide its task first",
    }
    return next(fact(message, id=sample.pk) for fact, message in facts.items() if fact.code == code)

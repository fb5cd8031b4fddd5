"""Writing the audit trail: one entry, or one for each row of a queryset in a single statement."""

from django.db.models import QuerySet, Value

from labelhub.setwise import insert_select

from .models import AuditEntry


def record(subject, action: str, *, by=None, before: str = "", after: str = "", reason: str = "") -> AuditEntry:
    """Note that `by` (None: the hub itself) did `action` to the model instance `subject`."""
    return AuditEntry.objects.create(
        actor=by,
        action=action,
        subject=subject._meta.model_name,
        subject_id=subject.pk,
        before=before,
        after=after,
        reason=reason,
    )


def record_all(subjects: QuerySet, action: str, *, by=None, before="", after="", reason: str = "", at) -> int:
    """The same for every row of `subjects`; `before` and `after` may be expressions over it. Returns how many."""
    columns = {
        "at": Value(at),
        "actor": Value(by.pk if by else None),
        "action": Value(action),
        "subject": Value(subjects.model._meta.model_name),
        "subject_id": "pk",
        "before": Value(before) if isinstance(before, str) else before,
        "after": Value(after) if isinstance(after, str) else after,
        "reason": Value(reason),
    }
    return insert_select(AuditEntry, subjects, columns)

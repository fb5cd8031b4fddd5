"""What an encoder must know about the rows before it meets them: the label map and the projects' own prompts."""

from collections.abc import Collection, Iterable

from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from samples.models import Label, Project
from samples.models.verdicts import LABEL_UNLISTED

from .formats import Columnar, Context, Folders, Format
from .formats.context import LABELLED, check_prompts
from .formats.shape import LabelId, Prompt
from .rows import unsliced


def context_of(rows: QuerySet, format: Format) -> Context:
    """All that `format` asks for about `rows`, a queryset of Task or Sample."""
    asks_for_labels = format.uses(LabelId) or isinstance(format, Folders)
    if not asks_for_labels and not format.uses(Prompt):
        return Context()
    rows = unsliced(rows)
    projects = projects_of(rows)
    return Context(
        labels=label_map(rows, projects) if asks_for_labels else {},
        prompts=prompts_of(projects) if format.uses(Prompt) else {},
        types=types_of(rows) if isinstance(format, Columnar) else frozenset(),
    )


def types_of(rows: QuerySet) -> frozenset[str]:
    return frozenset(rows.order_by().values_list("type", flat=True).distinct())


def projects_of(rows: QuerySet) -> list[int]:
    """The projects the rows belong to: a look into an index for each project there is, where DISTINCT would read all rows."""
    its_own = Exists(rows.order_by().filter(project=OuterRef("pk")))
    return list(Project.objects.filter(its_own).order_by("pk").values_list("pk", flat=True))


def label_map(rows: QuerySet, projects: Collection[int]) -> dict[str, int]:
    """Each label's index: the projects' lists in their order, then labels outside any list by first appearance."""
    listed = Label.objects.filter(project__in=projects).order_by("project_id", "position")
    labels = {name: index for index, name in enumerate(dict.fromkeys(listed.values_list("name", flat=True)))}
    # A verdict on the project's list has its reference; only the others, and those of several labels, need a look. An
    # index holds them; whether there are any is asked of it alone, for with `rows` beside it a planner may read them all.
    unlisted = Q(LABEL_UNLISTED, type__in=sorted(LABELLED))
    if not rows.model._default_manager.filter(unlisted, project__in=projects).exists():
        return labels
    others = rows.filter(unlisted)
    first_seen = others.order_by().values("label_name", "label_names").annotate(first=Min("pk")).order_by("first")
    for name, names in first_seen.values_list("label_name", "label_names").iterator():
        for label in [name] if names is None else names:
            labels.setdefault(label, len(labels))
    return labels


def prompts_of(projects: Iterable[int]) -> dict[int, dict]:
    """The projects' own prompts; BadPrompts where an export could not use them."""
    own: dict[int, dict] = {}
    for pk, name, prompts in Project.objects.filter(pk__in=projects).values_list("pk", "name", "prompts"):
        check_prompts(prompts, project=name)
        own[pk] = prompts
    return own

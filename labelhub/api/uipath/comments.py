"""Comments as the contract sees our tasks: which are asked for, in which order, a page at a time, and what they carry."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, prefetch_related_objects
from django.db.models.functions import Coalesce

from labelhub.heads import first_keys
from labelhub.setwise import Texts
from samples.models import Annotation, AnnotationLabel, Dataset, Prediction, Source, Task, TaskLabel
from samples.syncing import Item

from .cursors import Place, place_of, token_of

KEPT = "uipath_comment"  # the key of Task.metadata under which a comment's own fields wait to go back out
KEPT_FIELDS = ("messages", "user_properties", "thread_id", "attachments", "text_format")

# When a comment happened, and when it came here. One that came through another door may not know the first.
MOMENTS = {"timestamp": Coalesce("occurred_at", "created_at"), "created_at": F("created_at")}

ANNOTATED = Exists(Annotation.objects.filter(task=OuterRef("pk"))) | Q(status=Task.Status.COMPLETED)


@dataclass(frozen=True)
class Page:
    tasks: list[Task]
    continuation: str | None  # None where nothing follows


def sources_of(dataset: Dataset, uids: Iterable[str] | None = None) -> list[int]:
    """The keys of the dataset's sources, or of those that `uids` name."""
    sources = dataset.sources.order_by("pk")
    return list((sources if uids is None else sources.filter(uid__in=uids)).values_list("pk", flat=True))


def of_dataset(dataset: Dataset) -> QuerySet[Task]:
    return Task.objects.filter(source__in=sources_of(dataset))


def of_source(source: Source) -> QuerySet[Task]:
    return Task.objects.filter(source=source)


def between(
    tasks: QuerySet[Task],
    *,
    order_by: str = "timestamp",
    after: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[Task]:
    """Later than `after`, from `since` on, and up to and with `until`."""
    tasks = tasks.alias(moment=MOMENTS[order_by])
    if after is not None:
        tasks = tasks.filter(moment__gt=after)
    if since is not None:
        tasks = tasks.filter(moment__gte=since)
    if until is not None:
        tasks = tasks.filter(moment__lte=until)
    return tasks


def with_uids(tasks: QuerySet[Task], uids: Iterable[str]) -> QuerySet[Task]:
    """Those of `tasks` that `uids` (`<source id>.<comment id>`) name; unknown ones are left out."""
    wanted = [uid.partition(".")[::2] for uid in uids]
    sources = {source.uid: source for source in Source.objects.filter(uid__in=Texts(source for source, _ in wanted))}
    named = Task.objects.named((sources[source], comment) for source, comment in wanted if source in sources)
    return tasks.filter(pk__in=named.values("pk"))


def filtered(tasks: QuerySet[Task], asked: Mapping[str, Any], attributes: Iterable[Mapping[str, Any]] = ()):
    """`tasks` under the contract's `comment_filter` and `attribute_filters`."""
    if asked.get("sources"):
        tasks = tasks.filter(source__uid__in=asked["sources"])
    moments = asked.get("timestamp") or {}
    tasks = between(tasks, since=moments.get("minimum"), until=moments.get("maximum"))
    if asked.get("reviewed"):
        reviewed = asked["reviewed"] == "only_reviewed"
        tasks = tasks.filter(ANNOTATED if reviewed else ~ANNOTATED)
    for attribute in attributes:
        tasks = tasks.filter(carries_one_of(attribute["filter"]["any_of"]))
    return tasks


def carries_one_of(names: list[str]) -> Q:
    """Assigned one of these labels: by the verdict, or before there is one by anybody's answer."""
    settled = Q(status=Task.Status.COMPLETED)
    in_verdict = Q(label__name__in=names) | Exists(TaskLabel.objects.filter(task=OuterRef("pk"), label__name__in=names))
    in_answer = Exists(Annotation.objects.filter(task=OuterRef("pk"), label__name__in=names)) | Exists(
        AnnotationLabel.objects.filter(annotation__task=OuterRef("pk"), label__name__in=names)
    )
    return Q(settled & in_verdict) | Q(~settled & in_answer)


def page_of(
    tasks: QuerySet[Task],
    *,
    sources: Iterable[int] | None = None,
    question: Any,
    limit: int,
    token: str | None = None,
    order_by: str = "timestamp",
    newest_first: bool = False,
    always: bool = False,
) -> Page:
    """The first `limit` of `tasks`, or those after `token`, with what their answers and guesses are.

    Those of `sources` alone, each of which is read by its own index: a page in the depth of a million costs what the
    first does. None where `tasks` are few already. With `always`, even the last page has a continuation: it leads to an
    empty one.

    Rows of one moment follow in the order they came, so one that is inserted between two pages never shifts another.
    """
    order = ("-moment", "-pk") if newest_first else ("moment", "pk")
    tasks = tasks.annotate(moment=MOMENTS[order_by]).order_by(*order)
    parts = [tasks] if sources is None else [tasks.filter(source=source) for source in sources]
    if token is not None:
        place = place_of(token, question=question)
        parts = [beyond for part in parts for beyond in after(place, part, newest_first=newest_first)]
    keys = first_keys(parts, limit + 1, by=("moment", "pk"), newest_first=newest_first)
    found = Task.objects.filter(pk__in=keys).annotate(moment=MOMENTS[order_by]).select_related("source")
    rows: list[Any] = list(found.order_by(*order))
    more = len(rows) > limit
    rows = rows[:limit]
    last = rows[-1] if rows and (more or always) else None
    with_answers(rows)
    return Page(rows, token_of(Place(last.moment, last.pk), question=question) if last else None)


def after(place: Place, tasks: QuerySet[Any], *, newest_first: bool) -> list[QuerySet[Any]]:
    """What follows `place` among `tasks`, in two parts: a range each of the index, however many share the moment."""
    same = tasks.filter(moment=place.moment)
    if newest_first:
        return [same.filter(pk__lt=place.number).order_by("-pk"), tasks.filter(moment__lt=place.moment)]
    return [same.filter(pk__gt=place.number).order_by("pk"), tasks.filter(moment__gt=place.moment)]


def with_answers(tasks: list[Task]) -> list[Task]:
    """Fetch the answers and guesses of `tasks` in one query each."""
    answers = Annotation.objects.order_by("updated_at", "pk")
    guesses = Prediction.objects.exclude(probability=None).select_related("label").order_by("-pk")
    prefetch_related_objects(tasks, Prefetch("annotations", answers), Prefetch("predictions", guesses))
    return tasks


def label_counts(tasks: QuerySet[Task]) -> dict[str, int]:
    """How many of `tasks` carry each label, counted as `carries_one_of` would find them."""
    settled = tasks.filter(status=Task.Status.COMPLETED).order_by().values("pk")
    waiting = tasks.exclude(status=Task.Status.COMPLETED).order_by().values("pk")
    counted = [
        Task.objects.filter(pk__in=settled, label__isnull=False).values_list("label__name").annotate(n=Count("pk")),
        TaskLabel.objects.filter(task__in=settled).values_list("label__name").annotate(n=Count("pk")),
        Annotation.objects.filter(task__in=waiting, label__isnull=False)
        .values_list("label__name")
        .annotate(n=Count("task", distinct=True)),
        AnnotationLabel.objects.filter(annotation__task__in=waiting)
        .values_list("label__name")
        .annotate(n=Count("annotation__task", distinct=True)),
    ]
    counts: dict[str, int] = {}
    for rows in counted:
        for name, count in rows.order_by():
            counts[name] = counts.get(name, 0) + count
    return counts


def item_of(comment: Mapping[str, Any], raw: Mapping[str, Any]) -> Item:
    """The item behind a checked `comment`; of what only passes through, the `raw` form is kept."""
    return Item(
        external_id=comment["id"],
        content=text_of(raw["messages"]),
        occurred_at=comment["timestamp"],
        metadata={KEPT: {name: raw[name] for name in KEPT_FIELDS if raw.get(name) is not None}},
    )


def text_of(messages: Iterable[Mapping[str, Any]]) -> str:
    """What a person or a model reads: each message's subject, where it is a new one, and its body."""
    parts: list[str] = []
    subject = ""
    for message in messages:
        told = message.get("subject", {}).get("text", "").strip()
        if told and told != subject:
            parts.append(told)
            subject = told
        parts.append(message["body"]["text"])
    return "\n\n".join(part for part in parts if part.strip())

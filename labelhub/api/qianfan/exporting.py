"""Exports of a dataset: a batch of its tasks as they stand, which a job writes."""

from collections.abc import Iterable

from django.db.models import Max
from django.http import HttpRequest

from exports import batching
from exports.errors import NotReady
from exports.models import Batch, BatchQuerySet
from labelhub.api.links import link_to
from samples.models import Dataset

from .entities import of_dataset
from .shapes import SOURCE_ONLY, WITH_ANSWERS, template_of

FORMATS = (WITH_ANSWERS, SOURCE_ONLY)
QUERY_SET = 40200


def export(
    dataset: Dataset, *, by, source_only: bool = False, destination: str | None = None, bucket: str = ""
) -> Batch:
    """Have the dataset written to `destination` (None: the hub's own); a set of queries has no answers to write."""
    source_only = source_only or template_of(dataset) == QUERY_SET
    return batching.gather_tasks(
        of_dataset(dataset),
        by=by,
        project=dataset.project,
        dataset=dataset,
        format=SOURCE_ONLY if source_only else WITH_ANSWERS,
        destination=destination,
        selection={"dataset": str(dataset)} | ({"bucket": bucket} if bucket else {}),
    )


def exports_of(dataset: Dataset) -> BatchQuerySet:
    """The dataset's exports of this room, the newest first."""
    return of_room().filter(dataset=dataset)


def newest_exports(datasets: Iterable[Dataset]) -> dict[int, Batch]:
    """The newest export of each dataset that has one, by the dataset's primary key."""
    latest = of_room().filter(dataset__in=list(datasets)).order_by().values("dataset").annotate(latest=Max("pk"))
    return {batch.dataset_id: batch for batch in of_room().filter(pk__in=latest.values("latest")) if batch.dataset_id}


def of_room() -> BatchQuerySet:
    exports = Batch.objects.filter(format__in=FORMATS, carries=Batch.Carries.TASKS)
    return exports.select_related("job", "created_by", "dataset", "project").defer("manifest").order_by("-pk")


def link_of(batch: Batch, request: HttpRequest) -> str:
    """Where the file can be fetched; "" where there is none, yet or any more."""
    try:
        return link_to(batch, request)
    except NotReady:
        return ""

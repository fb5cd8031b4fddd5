"""Their words ↔ our words: what is asked, checked; samples, batches and fine-tunes as they tell them; pages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from exports.models import Batch, FineTune
from labelhub.numbered import keys_at
from samples.models import Sample

from .envelope import Wrong

PAGE_SIZE, MOST_A_PAGE = 20, 100
LAST_PAGE = 10**12  # times MOST_A_PAGE, still a number that a database can count to

Status = FineTune.Status
# The contract knows no time between the call and the provider's answer: what was submitted runs.
FINETUNE_STATUS = {status: status for status in Status.values} | {Status.SUBMITTING: Status.RUNNING}


# What is asked --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paging:
    page: int
    size: int

    def of(self, rows: QuerySet, told: Callable[[Any], dict[str, Any]], *, total: int | None = None) -> dict[str, Any]:
        """A page of `rows`, the first of them first; they are counted where nobody has."""
        total = rows.order_by().count() if total is None else total
        numbers = keys_at(rows, (self.page - 1) * self.size, self.size, total=total)
        shown = {row.pk: row for row in rows.filter(pk__in=numbers)}
        return {
            "items": [told(shown[number]) for number in numbers if number in shown],
            "total": total,
            "page": self.page,
            "pageSize": self.size,
        }


def paging(asked: Mapping[str, str]) -> Paging:
    """`page`, from 1, and `pageSize`; more than a hundred a page are a hundred, and the answer says so."""
    page, size = whole(asked, "page", 1), whole(asked, "pageSize", PAGE_SIZE)
    if page > LAST_PAGE:
        raise Wrong(f"page is at most {LAST_PAGE}")
    return Paging(page, min(size, MOST_A_PAGE))


def whole(asked: Mapping[str, str], name: str, default: int) -> int:
    value = asked.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) <= 20) or int(value) < 1:
        raise Wrong(f"{name} is a whole number from 1 on, not {value[:40]!r}")
    return int(value)


def sample_type_in(asked: Mapping[str, str]) -> str | None:
    value = asked.get("sampleType")
    if value is not None and value not in Sample.SampleType.values:
        raise Wrong(f"sampleType is one of {', '.join(Sample.SampleType.values)}, not {value[:40]!r}")
    return value


def exported_in(asked: Mapping[str, str]) -> bool | None:
    value = asked.get("exported")
    if value not in (None, "true", "false"):
        raise Wrong(f"exported is true or false, not {value[:40]!r}")
    return None if value is None else value == "true"


@dataclass(frozen=True)
class BatchOrder:
    sample_ids: list[int]
    allow_reexport: bool


def batch_order(body: Any) -> BatchOrder:
    """The samples to be exported: each once, all named by their numbers."""
    if not isinstance(body, Mapping):
        raise Wrong("the body is a JSON object with sampleIds")
    ids = body.get("sampleIds")
    if ids in (None, []):
        raise Wrong("sampleIds names no sample", "EMPTY_SAMPLES")
    if not isinstance(ids, list):
        raise Wrong("sampleIds is a list of sample ids, whole numbers")
    strange = [id for id in ids if isinstance(id, bool) or not isinstance(id, int)]
    if strange:
        raise Wrong(f"sampleIds holds {str(strange[0])[:40]!r}; sample ids are whole numbers")
    if len(set(ids)) < len(ids):
        raise Wrong("sampleIds names a sample more than once", "INVALID_SAMPLES")
    allow_reexport = body.get("allowReexport", False)
    if not isinstance(allow_reexport, bool):
        raise Wrong("allowReexport is true or false")
    return BatchOrder(ids, allow_reexport)


# What goes out --------------------------------------------------------------------------------------------------------


def sample(row: Any) -> dict[str, Any]:
    """An approved sample; `row` carries the batch that has it, and its task."""
    return {
        "id": row.pk,
        "sampleType": row.sample_type,
        "status": row.status,
        "exportBatchId": row.export_batch_id,
        "sourceId": row.task.source_id,
        "createdAt": moment(row.created_at),
    }


def new_batch(batch: Batch) -> dict[str, Any]:
    return {
        "id": batch.pk,
        "batchUuid": str(batch.uuid),
        "sampleCount": batch.sample_count,
        "datasetFilePath": batch.path,
        "finetuneStatus": Status.NOT_STARTED,
    }


def listed_batch(batch: Batch) -> dict[str, Any]:
    """A batch of the list, with the last of its fine-tunes."""
    latest = latest_of(batch)
    return {
        "id": batch.pk,
        "batchUuid": str(batch.uuid),
        "sampleCount": batch.sample_count,
        "datasetFilePath": batch.path,
        "glmJobId": latest and job_id(latest),
        "finetuneStatus": FINETUNE_STATUS[latest.status] if latest else Status.NOT_STARTED,
        "createdAt": moment(batch.created_at),
    }


def latest_of(batch: Batch) -> FineTune | None:
    """The last fine-tune of `batch`, whose fine-tunes are at hand."""
    return max(batch.finetunes.all(), key=lambda finetune: finetune.pk, default=None)


def started(finetune: FineTune) -> dict[str, Any]:
    return {"glmJobId": job_id(finetune), "finetuneStatus": FINETUNE_STATUS[finetune.status]}


def status_of(batch: Batch, finetune: FineTune | None) -> dict[str, Any]:
    return {
        "batchId": batch.pk,
        "glmJobId": finetune and job_id(finetune),
        "finetuneStatus": FINETUNE_STATUS[finetune.status] if finetune else Status.NOT_STARTED,
        "progress": finetune.progress if finetune else 0,
        "errorMessage": (finetune.error or finetune.trouble or None) if finetune else None,
    }


def job_id(finetune: FineTune) -> str | None:
    """The provider's name for the job (`local-<uuid>` for one trained here), once it has given one."""
    return finetune.provider_job_id or None


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}"

"""What this room says: our rows as the contract's objects, field for field."""

import math
from datetime import UTC, datetime
from typing import Any

from exports.models import Batch
from samples.models import Dataset, Project

from .figures import Holdings
from .serializers import FORMATS, TEMPLATES

KEPT = "qianfan"  # the key of Dataset.properties under which this room keeps its own
WITH_ANSWERS, SOURCE_ONLY = "qianfan_dataset", "qianfan_source"  # formats; exportType 1 and 2
MEGABYTE = 1024 * 1024
State = Batch.State
EXPORT_STATUS = {State.QUEUED: 1, State.RUNNING: 1, State.READY: 2, State.FAILED: 3, State.CANCELLED: 3}
TASK_STATUS = {1: "Exporting", 2: "ExportFinished", 3: "ExportFailed"}


def moment(at: datetime | None) -> str:
    """UTC without saying so: the SDK compares these, and breaks on a time with a zone."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def version_id(row: Dataset) -> str:
    return f"ds-{row.uid}"


def group_id(row: Project) -> str:
    return f"dg-{row.uid}"


def megabytes(size: int) -> float:
    """Rounded up to the second digit: what is there is not 0."""
    return math.ceil(size / MEGABYTE * 100) / 100


def template_of(row: Dataset) -> int:
    """Prompts with responses, unless it was made as something else or asks for the better of two."""
    return row.properties.get(KEPT, {}).get("template") or (2001 if row.project.kind.form == "pair" else 2000)


def storage_of(row: Dataset) -> dict[str, str]:
    kept = row.properties.get(KEPT, {})
    path = kept.get("path", "")
    return {
        "storageId": kept.get("bucket", ""),
        "storageName": kept.get("bucket", ""),
        "storagePath": path,
        "rawStoragePath": path,
        "region": "",
    }


def types_of(row: Dataset) -> dict[str, int]:
    template = template_of(row)
    project_type, data_type = TEMPLATES[template]
    return {"dataType": data_type, "projectType": project_type, "templateType": template}


def storage_type(row: Dataset) -> str:
    return "usrBos" if row.properties.get(KEPT, {}).get("bucket") else "sysBos"


# Datasets, V1 ---------------------------------------------------------------------------------------------------------


def created(row: Dataset) -> dict[str, Any]:
    return {
        "id": row.pk,
        "groupId": row.project.pk,
        "groupPK": group_id(row.project),
        "datasetId": version_id(row),
        "versionId": 1,
        "groupName": row.project.title,
        "displayName": "",
        "createFrom": 0,
        "bmlDatasetId": version_id(row),
        "userId": row.project.created_by_id or 0,
        **types_of(row),
        "remark": "",
        "storageInfo": storage_of(row),
        "importStatus": -1,
        "importProgress": 0,
        "exportStatus": -1,
        "releaseStatus": 0,
        "status": 0,
        "isUnique": 0,
        "errCode": None,
        "createTime": moment(row.created_at),
        "modifyTime": moment(row.updated_at),
    }


def info(row: Dataset, held: Holdings, newest: Batch | None, exports: int) -> dict[str, Any]:
    told = {
        "groupId": row.project.pk,
        "groupPK": group_id(row.project),
        "name": row.title or row.name,
        "dataType": types_of(row)["dataType"],
    }
    version = {
        "id": row.pk,
        "groupId": row.project.pk,
        "datasetId": row.pk,
        "datasetPK": version_id(row),
        "importRecordCount": 1 if held.entities else 0,
        "exportRecordCount": exports,
        "bmlDatasetId": version_id(row),
        "userId": row.project.created_by_id or 0,
        "versionId": 1,
        "displayName": "",
        **import_status(held),
        **export_status(newest),
        **types_of(row),
        "errCode": None,
        "uniqueType": 0,
        "importErrorInfo": None,
        "createTime": moment(row.created_at),
        "modifyTime": moment(held.changed_at),
        "storageType": storage_type(row),
        "storage": storage_of(row),
        **release_status(held),
        "releaseErrCode": 0,
        "releaseStoragePath": "",
        "remark": "",
        "annotatedEntityCount": held.annotated,
        "entityCount": held.entities,
        "labelCount": held.labels,
        "memorySize": megabytes(held.bytes),
        "characterCount": held.characters,
        "description": row.description,
    }
    return {**told, "versionInfo": version}


def status(held: Holdings, newest: Batch | None) -> dict[str, Any]:
    return {
        **import_status(held),
        **release_status(held),
        **export_status(newest),
        "enhanceStatus": -1,
        "etlStatus": 0,
        "importErrorInfo": None,
        "entityCount": held.entities,
        "annotatedEntityCount": held.annotated,
        "labelCount": held.labels,
        "characterCount": held.characters,
        "modifyTime": moment(held.changed_at),
    }


def import_status(held: Holdings) -> dict[str, int]:
    """Items come in through other doors, whole or not at all: done as soon as there are some."""
    return {"importStatus": 2, "importProgress": 100} if held.entities else {"importStatus": -1, "importProgress": 0}


def release_status(held: Holdings) -> dict[str, int]:
    """There is nothing to release: a dataset with items in it can be used."""
    return {"releaseStatus": 2, "releaseProgress": 100} if held.entities else {"releaseStatus": 0, "releaseProgress": 0}


def export_status(newest: Batch | None) -> dict[str, int]:
    if newest is None:
        return {"exportStatus": -1, "exportProgress": 0}
    return {"exportStatus": EXPORT_STATUS[State(newest.state)], "exportProgress": progress(newest)}


def progress(batch: Batch) -> int:
    if batch.is_ready:
        return 100
    return batch.job.progress if batch.job and batch.state == State.RUNNING else 0


# Exports --------------------------------------------------------------------------------------------------------------


def bucket_of(batch: Batch) -> str:
    """The bucket that was asked for by name, "" for the platform's own storage."""
    return batch.selection.get("bucket", "")


def bucket_path(batch: Batch, bucket: str) -> str:
    return f"bos:/{bucket}/{batch.path}" if bucket else batch.path


def record(batch: Batch, *, link: str) -> dict[str, Any]:
    """`link` is "" where there is no file (yet, or any more)."""
    bucket = bucket_of(batch)
    return {
        "id": batch.pk,
        "creatorName": batch.created_by.get_username() if batch.created_by else "",
        "storageId": bucket,
        "storagePath": bucket_path(batch, bucket),
        "size": megabytes(batch.byte_count),
        "exportFormat": 0,
        "exportType": 2 if batch.format == SOURCE_ONLY else 1,
        "status": {State.QUEUED: 0}.get(State(batch.state), EXPORT_STATUS[State(batch.state)]),
        "recordNum": batch.sample_count,
        "exportTo": 1 if bucket else 0,
        "downloadUrl": link,
        "startTime": moment(batch.created_at),
        "finishTime": moment(batch.finished_at) if batch.is_ready else "",
    }


def export_task(batch: Batch, *, link: str) -> dict[str, Any]:
    """V2; the state's own words and the progress as text."""
    bucket = bucket_of(batch)
    state = TASK_STATUS[EXPORT_STATUS[State(batch.state)]]
    return {
        "taskId": task_id(batch),
        "versionId": batch.dataset and version_id(batch.dataset),
        "storageType": "BOS" if bucket else "sysStorage",
        "storagePath": bucket_path(batch, bucket),
        "sizeMB": megabytes(batch.byte_count),
        "sampleCount": batch.sample_count,
        "exportStatus": state,
        "progress": f"{progress(batch)}%" if progress(batch) else "0",
        "creator": batch.created_by.get_username() if batch.created_by else "",
        "createTime": moment(batch.created_at),
        "finishTime": moment(batch.finished_at) if batch.finished_at else "",
        "downloadUrl": link,
    }


def task_id(batch: Batch) -> str:
    return f"task-{batch.uuid.hex}"


# Datasets, V2 ---------------------------------------------------------------------------------------------------------


def listed(row: Dataset) -> dict[str, Any]:
    return {
        "datasetId": group_id(row.project),
        "versionId": version_id(row),
        "versionNumber": 1,
        "datasetName": row.title or row.name,
        "dataFormat": FORMATS[template_of(row)],
        "storageType": "BOS" if storage_type(row) == "usrBos" else "sysStorage",
        "storagePath": storage_of(row)["storagePath"],
        "creator": row.project.created_by.get_username() if row.project.created_by else "",
        "createTime": moment(row.created_at),
    }


def version(row: Dataset, held: Holdings) -> dict[str, Any]:
    return {
        **listed(row),
        "modifyTime": moment(held.changed_at),
        "description": row.description,
        "importStatus": "ImportFinished" if held.entities else "Created",
        "publishStatus": "Published" if held.entities else "Unpublished",
        "sampleCount": held.entities,
        "annotatedSampleCount": held.annotated,
        "characterCount": held.characters,
        "sizeMB": megabytes(held.bytes),
    }

"""What this room says: our rows as the contract's objects, field for field."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from labelhub.accounts.models import User, new_uid
from labelhub.accounts.roles import Role
from samples.models import Annotation, Dataset, Project, Source, Task

from .comments import KEPT
from .powers import permissions_of

DEFAULT_GROUP = "default"


def moment(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def short_moment(at: datetime) -> str:
    """The same, without a fraction where there is none."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


# Projects, people, sources --------------------------------------------------------------------------------------------


def project(row: Project) -> dict[str, Any]:
    return {
        "id": row.uid,
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
        "user_auto_join": False,
    }


def user(row: User, roles: Mapping[str, Role]) -> dict[str, Any]:
    """`roles`: by project name; what each may do is said in the contract's permission names."""
    return {
        "id": row.uid,
        "username": row.username,
        "email": row.email,
        "created": moment(row.date_joined),
        "verified": row.is_active,
        "global_permissions": [],
        "sso_global_permissions": [],
        "organisation_permissions": {name: permissions_of(role) for name, role in roles.items()},
    }


def source(row: Source) -> dict[str, Any]:
    kept = row.properties
    return {
        "id": row.uid,
        "owner": row.project.name,
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "language": kept.get("language", "en"),
        "should_translate": kept.get("should_translate", False),
        "sensitive_properties": kept.get("sensitive_properties", []),
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
        "last_modified": moment(row.updated_at),
        "bucket_id": kept.get("bucket_id"),
        "email_transform_tag": kept.get("email_transform_tag"),
        "_kind": kept.get("_kind", "unknown"),
    }


# Datasets -------------------------------------------------------------------------------------------------------------


def dataset(row: Dataset) -> dict[str, Any]:
    """Everything any known version of the clients asks for."""
    kept = row.properties
    groups = label_groups(row)
    return {
        "id": row.uid,
        "owner": row.project.name,
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "created": moment(row.created_at),
        "last_modified": moment(row.updated_at),
        "model_family": row.model_family,
        "source_ids": [source.uid for source in row.sources.all()],
        "has_sentiment": row.has_sentiment,
        "entity_defs": kept.get("entity_defs", []),
        "general_fields": kept.get("general_fields", []),
        "label_defs": groups[0]["label_defs"],
        "label_groups": groups,
        "_dataset_flags": kept.get("_dataset_flags", []),
        "_model_config": kept.get("_model_config", {"kind": "cm"}),
        "limited_access": False,
        "_label_properties": kept.get("_label_properties", []),
        "_timezone": kept.get("_timezone", "UTC"),
        "_preferred_locales": kept.get("_preferred_locales", {"default": "en-GB", "preferences": []}),
    }


def label_groups(row: Dataset) -> list[dict[str, Any]]:
    """The groups the dataset was given, the default one first; one made elsewhere shows all labels of its project."""
    given = row.properties.get("label_groups")
    if given is None:
        labels = row.project.labels.all()
        given = {DEFAULT_GROUP: {"label_defs": {label.name: {"external_id": f"{label.pk:016x}"} for label in labels}}}
    return [label_group(name, group) for name, group in given.items()]


def label_group(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    defs = group["label_defs"]
    return {
        "label_collection_name": None,
        "trainable": True,
        "hidden": False,
        "instructions": "",
        **group,
        "name": name,
        "label_defs": [{"name": label, "title": "", "instructions": "", **defs[label]} for label in sorted(defs)],
    }


def entity_def(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": new_uid(), "color": 0, "_entity_def_flags": [], **told}


# Comments and what was said of them -----------------------------------------------------------------------------------


def comment(task: Task) -> dict[str, Any]:
    kept = task.metadata.get(KEPT)
    if not isinstance(kept, dict):
        kept = {"messages": [{"body": {"text": task.content}}], "user_properties": properties_of(task.metadata)}
    told = {
        "id": task.external_id,
        "uid": f"{task.source.uid}.{task.external_id}",
        "source_id": task.source.uid,
        "timestamp": short_moment(task.occurred_at or task.created_at),
        "created_at": moment(task.created_at),
        "last_modified": moment(task.updated_at),
        "context": str(int(task.updated_at.timestamp() * 1000)),
        "messages": kept["messages"],
        "user_properties": kept.get("user_properties", {}),
        "attachments": kept.get("attachments", []),
        "has_annotations": task.is_settled or bool(annotations_of(task)),
        "text_format": kept.get("text_format", "plain"),
    }
    if "thread_id" in kept:
        told["thread_id"] = kept["thread_id"]
    return told


def properties_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The texts and numbers in the metadata of a task that came through another door."""
    kinds = {name: "string" if isinstance(value, str) else "number" for name, value in metadata.items()}
    return {
        f"{kinds[name]}:{name}": value
        for name, value in metadata.items()
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
    }


def annotations_of(task: Task) -> Iterable[Annotation]:
    """The answers to `task`, oldest first, as `comments.with_answers` fetched them."""
    return task.annotations.all()


def assigned(task: Task) -> list[str]:
    """The labels of the verdict; before there is one, every label somebody gave."""
    kind = task.kind
    if not kind.has_labels:
        return []
    answers = [task.answer] if task.is_settled else [annotation.answer for annotation in annotations_of(task)]
    names = [name for answer in answers for name in kind.label_names(answer) or [kind.label_name(answer)]]
    return list(dict.fromkeys(names))


def said_beside(task: Task, what: str) -> dict[str, str]:
    """What people said beside their answers, label by label; the latest word counts."""
    told: dict[str, str] = {}
    for annotation in annotations_of(task):
        told |= (annotation.properties or {}).get(what, {})
    return told


def latest_guesses(task: Task) -> list[Any]:
    """The predictions of the model that guessed last, the likeliest first."""
    guesses = list(task.predictions.all())
    latest = [guess for guess in guesses if guess.model == guesses[0].model]
    return sorted(latest, key=lambda guess: -guess.probability)


def exported(task: Task, *, has_sentiment: bool) -> dict[str, Any]:
    """An item of the export: sentiments only in a dataset that has them."""
    sentiments = said_beside(task, "sentiments")
    labels: list[dict[str, Any]] = [{"name": name} for name in assigned(task)]
    guesses: list[dict[str, Any]] = []
    if has_sentiment:
        labels = [{**label, "sentiment": sentiments.get(label["name"], "positive")} for label in labels]
    for guess in latest_guesses(task):
        told: dict[str, Any] = {"name": guess.label.name, "probability": guess.probability}
        if has_sentiment and guess.sentiment is not None:
            told["sentiment"] = guess.sentiment
        guesses.append(told)
    return {
        "comment": comment(task),
        "annotations": {"labels": {"assigned": labels}},
        "predictions": {"labels": guesses},
    }


def annotated(task: Task, *, with_predictions: bool = True) -> dict[str, Any]:
    """A comment with its labelling, as every other route tells it: an assigned label always has a sentiment."""
    sentiments, dismissed = said_beside(task, "sentiments"), said_beside(task, "dismissed")
    names = assigned(task)
    labelling: dict[str, Any] = {
        "group": DEFAULT_GROUP,
        "assigned": [{"name": name, "sentiment": sentiments.get(name, "positive")} for name in names],
        "dismissed": [{"name": name, "sentiment": told} for name, told in dismissed.items() if name not in names],
    }
    if with_predictions:
        labelling["predicted"] = [
            {"name": guess.label.name, "probability": guess.probability}
            | ({} if guess.sentiment is None else {"sentiment": guess.sentiment})
            for guess in latest_guesses(task)
        ]
    return {"comment": comment(task), "labelling": [labelling]}

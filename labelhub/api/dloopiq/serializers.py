"""Their words ↔ our words: the questions a request asks, checked; a task as they tell it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from exports import splits
from exports.errors import BadSplit, UnknownFormat
from samples import task_types
from samples.models import Task

from .envelope import Wrong

FORMATS = ("json", "jsonl", "csv", "openai", "huggingface", "alpaca")
LOCALES = ("fr", "en", "de", "zh", "es", "ar")
RATIOS = ("trainRatio", "valRatio", "testRatio")
PARAMETERS = ("format", "status", "projectId", "type", "locale", *RATIOS)
FIELDS = ("type", "content", "options", "locale", "maxCents", "projectId", "validationsNeeded")

KEPT = "dloopiq_order"  # the key of Task.metadata under which the price waits to go back out
PRICE_CENTS = 20  # what a task costs where its budget allows it
DEFAULT_VALIDATIONS = 3
MOST = {"maxCents": 1_000_000, "validationsNeeded": 100}

MOMENT = "%Y-%m-%dT%H:%M:%SZ"


# GET /api/v1/exports --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExportQuestion:
    format: str
    status: str
    project: str | None
    type: str | None
    locale: str | None
    ratios: tuple[str, str, str] | None  # None: one plain file


def export_question(asked: Mapping[str, str]) -> ExportQuestion:
    """The parameters of an export; Wrong or a fact where they are not the contract's."""
    known_only(asked, PARAMETERS)
    for name, value in asked.items():
        if not value.strip() or "\0" in value:
            raise Wrong(f"{name} is empty: leave it out, or give it a value", f"INVALID_{CODE_OF.get(name, 'RATIOS')}")
    if "format" not in asked:
        raise Wrong(f"format is missing; it is one of {', '.join(FORMATS)}", "MISSING_FIELDS")
    if asked["format"] not in FORMATS:
        raise UnknownFormat(f"unknown format {asked['format'][:80]!r}; it is one of {', '.join(FORMATS)}")
    status = asked.get("status", Task.Status.COMPLETED)
    if status not in Task.Status.values:
        raise Wrong(f"unknown status {status[:80]!r}; it is one of {', '.join(Task.Status.values)}", "INVALID_STATUS")
    if "type" in asked:
        task_types.get(asked["type"])
    return ExportQuestion(
        asked["format"], status, asked.get("projectId"), asked.get("type"), asked.get("locale"), ratios_in(asked)
    )


CODE_OF = {"format": "FORMAT", "status": "STATUS", "projectId": "PROJECT", "type": "TYPE", "locale": "LOCALE"}


def ratios_in(asked: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The three shares; None for one plain file, which trainRatio alone asks for as well. A share left out is 0."""
    given = [name for name in RATIOS if name in asked]
    if not given:
        return None
    if given == ["trainRatio"]:
        if not splits.is_share(share := asked["trainRatio"].strip()) or Decimal(share) > 1:
            raise BadSplit(f"trainRatio is a number from 0 to 1, not {share[:40]!r}")
        return None
    if "trainRatio" not in asked:
        raise BadSplit(f"{given[0]} takes a trainRatio beside it: the three add up to exactly 1")
    train, val, test = (asked.get(name, "0") for name in RATIOS)
    splits.parse((train, val, test))
    return train, val, test


def known_only(asked: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise Wrong(f"unknown here: {unknown[0][:80]!r}; known: {', '.join(known)}", "UNKNOWN_FIELD")


# POST /api/v1/tasks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """A task as it is asked for."""

    type: str
    content: str
    options: list[str]
    locale: str
    max_cents: int
    project: str | None
    validations_needed: int

    @property
    def cost_cents(self) -> int:
        return min(PRICE_CENTS, self.max_cents)


def order_in(body: Any) -> Order:
    """The order in a request's body; Wrong under the contract's codes where it is none."""
    if not isinstance(body, Mapping):
        raise Wrong("the body is a JSON object with type, content and options", "MISSING_FIELDS")
    missing = [name for name in ("type", "content", "options") if body.get(name) in (None, "")]
    if missing:
        raise Wrong(f"missing: {', '.join(missing)}", "MISSING_FIELDS")
    if not isinstance(body["type"], str) or body["type"] not in asked_types():
        raise Wrong(f"unknown type {str(body['type'])[:80]!r}; it is one of {', '.join(asked_types())}", "INVALID_TYPE")
    options = body["options"]
    if not isinstance(options, list) or len(options) < 2 or not all(isinstance(option, str) for option in options):
        raise Wrong("options is a list of two texts or more", "OPTIONS_REQUIRED")
    known_only(body, FIELDS)
    locale = body.get("locale", "en")
    if locale not in LOCALES:
        raise Wrong(f"unknown locale {str(locale)[:80]!r}; it is one of {', '.join(LOCALES)}", "INVALID_LOCALE")
    return Order(
        type=body["type"],
        content=text(body, "content"),
        options=options,
        locale=locale,
        max_cents=number(body, "maxCents", PRICE_CENTS),
        project=text(body, "projectId") if body.get("projectId") is not None else None,
        validations_needed=number(body, "validationsNeeded", DEFAULT_VALIDATIONS),
    )


def asked_types() -> list[str]:
    """The types whose answer is chosen from options; a free text has none."""
    return [kind.name for kind in task_types.MENU if kind.form != "textarea"]


def text(body: Mapping[str, Any], name: str) -> str:
    if not isinstance(body[name], str) or not body[name].strip():
        raise Wrong(f"{name} is a text that is not empty", "INVALID_TASK")
    return body[name]


def number(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST[name]:
        raise Wrong(f"{name} is a whole number from 1 to {MOST[name]}", "INVALID_TASK")
    return value


# What goes out --------------------------------------------------------------------------------------------------------


def ordered_body(task: Task, *, expected_ms: int) -> dict[str, Any]:
    """The answer to an order."""
    return {
        "taskId": task.uid,
        "status": task.status,
        "type": task.type,
        "costCents": task.metadata[KEPT]["costCents"],
        "estimatedCompletionMs": expected_ms,
    }


def task_body(task: Task) -> dict[str, Any]:
    """A task as the contract tells it; costs are null where it came in through another door."""
    kept = task.metadata.get(KEPT, {})
    return {
        "taskId": task.uid,
        "status": task.status,
        "type": task.type,
        "content": task.content,
        "options": task.choices,
        "locale": task.locale,
        "projectId": task.project.uid,
        "validationsNeeded": task.validations_needed or task.project.validations_needed,
        "maxCents": kept.get("maxCents"),
        "costCents": kept.get("costCents"),
        "label": task.label_name if task.label_names is None else task.label_names,
        "confidence": task.confidence,
        "createdAt": moment(task.created_at),
        "validatedAt": task.validated_at and moment(task.validated_at),
    }


def moment(at: datetime) -> str:
    return f"{at:{MOMENT}}"

"""Which column is what: a row, as its file holds it, becomes an item for a task."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from django.utils.dateparse import parse_date, parse_datetime

from labelhub.fields import dump_json
from samples import task_types
from samples.errors import BadFile, BadRow, InvalidValue
from samples.models import Project

from . import label_studio

# Where nothing else is said, a part of the item is looked for under these names, in this order, whatever their case.
USUAL = {
    "content": ("content", "text", "body", "prompt", "sentence", "instruction"),
    "label": ("label", "labels", "category"),
    "id": ("id", "external_id", "uid"),
    "locale": ("locale",),
    "options": ("options",),
    "metadata": ("metadata",),
    "occurred_at": ("occurred_at", "timestamp"),
    "type": ("type",),
    "confidence": ("confidence",),
    "validated_at": ("validated_at", "validatedat"),
}
# Parts that make a row one of another shape, or that a column of the same name may not hold.
ODD = frozenset({"type", "occurred_at", "messages", "input", "chosen", "completion", "data"})
SURETY = frozenset({"confidence", "validated_at"})
PLAIN = frozenset({"content", "label", "id", "locale"})
USUAL_RESPONSES = ("response", "completion", "output")  # the label where the answer is a text of its own
PLANS_KEPT = 1_000
UID = re.compile(r"[0-9a-f]{16}")
LOCALE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
MOST_EXTERNAL_ID = 1024
SLOT = "{content}"
SHAREGPT_KEYS = {"from": "role", "value": "content"}
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class Columns:
    """The columns that hold the parts of an item, where their names do not say so; "1", "2", … in a file without header.

    `label_map` renames labels as they are read: {"1": "Positive", "0": "Negative"}; one part at a time where an answer
    has several.
    """

    content: str | None = None
    label: str | None = None
    id: str | None = None
    locale: str | None = None
    options: str | None = None
    metadata: str | None = None
    occurred_at: str | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        parts = {part: getattr(self, part) for part in USUAL if part not in ("type", "confidence", "validated_at")}
        return {part: name for part, name in parts.items() if name is not None}


class Item(NamedTuple):
    """What a row says. `answer` is its label cell as it stands (None: the row has no answer), `metadata` JSON text.

    `other_id` is the external id to take where another row asks the same and is answered otherwise: free texts may be.
    """

    line: int
    external_id: str
    other_id: str | None
    uid: str | None
    content: str
    options: list[str] | None
    locale: str
    metadata: str
    occurred_at: datetime | None
    answer: Any
    confidence: float | None
    validated_at: datetime | None


@dataclass(frozen=True)
class _Plan:
    """What the columns of a row mean, worked out once for each set of columns.

    `parts` maps a part of the item to the column that holds it, `rest` are the other columns. A plain row says nothing
    but what the item is, its label, id and locale.
    """

    parts: Mapping[str, str]
    rest: tuple[str, ...]
    is_plain: bool


class Recogniser:
    """Makes items of the rows of one file, for one project."""

    def __init__(self, project: Project, *, columns: Columns, locale: str | None, verdicts: bool, same_columns: bool):
        self.project, self.kind = project, project.kind
        self.named, self.locale = columns.named(), locale
        self.verdicts, self.same_columns = verdicts, same_columns
        self.unseen = set(self.named.values())
        if locale is not None and not is_locale(locale):
            raise InvalidValue(f"{locale!r} is not a locale such as en, fr-CA, zh", field="locale")
        self.usual_locale = locale or project.locale
        self.plans: dict[tuple[str, ...], _Plan] = {}

    def item(self, line: int, row: Mapping[str, Any]) -> Item:
        """The item in `row`; BadRow or InvalidAnswer where it is none."""
        plan = self._plan(tuple(row))
        cell = {part: row[name] for part, name in plan.parts.items()}
        rest = {name: row[name] for name in plan.rest}
        if not plan.is_plain and not ODD.isdisjoint(plan.parts):
            self._unfold(cell, rest, plan.parts)
        content, options, answer, given = cell.get("content"), None, cell.get("label"), cell.get("id")
        if not isinstance(content, str):
            what = "is missing" if content is None else f"is {type(content).__name__}, not text"
            raise BadRow(f"the content {what}", field=plan.parts.get("content", "content"))
        check_text(content, "content")
        if "options" in cell:
            options = _options(cell["options"])
        self.kind.check_content(content, options=options)
        if isinstance(answer, list) and not self.kind.has_labels:
            answer = _innermost(answer)
        if isinstance(answer, str) and not answer.strip():
            answer = None
        settled = self.verdicts and answer is not None
        uid, external_id = _identity(given, content, options)
        may_differ = settled and not self.kind.has_labels and options is None and given in (None, "")
        other_id = content_id(content, answer=str(answer)) if may_differ else None
        locale = self._locale(cell)
        if plan.is_plain:
            metadata = _as_text(rest) if rest else "{}"
            return Item(line, external_id, other_id, uid, content, options, locale, metadata, None, answer, None, None)
        if not settled:  # how sure nobody was, and when, is an ordinary column
            for part in SURETY & plan.parts.keys():
                if cell[part] not in (None, ""):
                    rest[plan.parts[part]] = cell[part]
        return Item(
            line,
            external_id,
            other_id,
            uid,
            content,
            options,
            locale,
            _as_text(_metadata(cell.get("metadata"), rest)),
            _moment(cell.get("occurred_at"), "occurred_at"),
            answer,
            _confidence(cell.get("confidence")) if settled else None,
            _moment(cell.get("validated_at"), "validated_at") if settled else None,
        )

    def check_names(self) -> None:
        """After the last row: a column that was named and never seen is a slip, not a file without labels."""
        if self.unseen:
            raise BadFile(f"no row has a column {min(self.unseen)!r}")

    # A plan is made once for each set of columns ---------------------------------------------------------------------

    def _plan(self, names: tuple[str, ...]) -> _Plan:
        found = self.plans.get(names)
        if found is None:
            if len(self.plans) >= PLANS_KEPT:
                self.plans.clear()
            found = self.plans[names] = self._new_plan(names)
        return found

    def _new_plan(self, names: tuple[str, ...]) -> _Plan:
        missing = self.unseen.difference(names)
        if missing and self.same_columns:
            raise BadFile(f"there is no column {min(missing)!r}; the columns are: {_shown(names)}")
        self.unseen = missing
        plan = {part: name for part, name in self.named.items() if name in names}
        free = {name.strip().lower(): name for name in reversed(names) if name not in self.named.values()}
        for part, usual in self._usual(free).items():
            if part not in self.named:
                name = next((free[one] for one in usual if one in free), None)
                if name is not None:
                    plan[part] = free.pop(name.strip().lower())
        if "content" not in plan and self.same_columns:
            hint = ""
            if len(names) == 1 and (other := next((mark for mark in ";\t|," if mark in names[0]), None)):
                hint = f"; is the delimiter {other!r}?"
            raise BadFile(
                f"which column is the content? Looked for {', '.join(USUAL['content'])}; "
                f"the columns are: {_shown(names)}{hint}"
            )
        taken = set(plan.values())
        return _Plan(plan, tuple(name for name in names if name not in taken), PLAIN.issuperset(plan))

    def _usual(self, free: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Part of the item → the names to look for, beginning with the shapes of chat and instruction files."""
        usual = dict(USUAL)
        if self.locale is not None:  # it overrules a column that only looks like the locale
            del usual["locale"]
        if not self.verdicts:
            del usual["confidence"], usual["validated_at"]
        if "content" in self.named:
            return usual
        if "data" in free and "annotations" in free:
            return usual | {"content": (), "label": (), "data": ("data",), "annotations": ("annotations",)}
        for turns in ("messages", "conversations"):
            if turns in free:
                return usual | {"content": (), "messages": (turns,)}
        if "instruction" in free and "output" in free:
            return usual | {"content": ("instruction",), "input": ("input",), "label": ("output",)}
        if self.kind.name == "PREFERENCE" and {"chosen", "rejected"} <= set(free):
            return usual | {"chosen": ("chosen",), "rejected": ("rejected",)}
        if self.kind.name == "PREFERENCE" and {"input", "preferred_output", "non_preferred_output"} <= set(free):
            return usual | {
                "content": ("input",),
                "chosen": ("preferred_output",),
                "rejected": ("non_preferred_output",),
            }
        if self.kind.has_labels and "prompt" in free and not {"content", "text", "body", "label"} & set(free):
            return usual | {"content": ("prompt",), "completion": ("completion", "response")}
        if not self.kind.has_labels:
            usual["label"] += USUAL_RESPONSES
        return usual

    # Whole records of other shapes ------------------------------------------------------------------------------------

    def _unfold(self, cell: dict[str, Any], rest: dict[str, Any], plan: Mapping[str, str]) -> None:
        """Bring a row with parts of other shapes, or with names that may mean something else, into the usual shape."""
        if "type" in cell:
            self._check_type(cell, rest, plan["type"])
        if "occurred_at" in cell and "occurred_at" not in self.named:
            try:
                cell["occurred_at"] = _moment(cell["occurred_at"], "occurred_at")
            except BadRow:  # a “timestamp” that nobody named and that is no moment is an ordinary column
                rest[plan["occurred_at"]] = cell.pop("occurred_at")
        if "messages" in cell:
            cell["content"], cell["label"], system = _turns(cell.pop("messages"))
            if system is not None:
                rest["system"] = system
            self._strip_prompt(cell)
        if "input" in cell:
            self._join_instruction(cell)
        if "completion" in cell:
            cell["label"] = _innermost(cell.pop("completion"))
            self._strip_prompt(cell)
        if "chosen" in cell:
            chosen, rejected = (_reply(cell.pop(part)) for part in ("chosen", "rejected"))
            cell["options"], cell["label"] = [chosen, rejected], chosen
            self._open_conversation(cell, rest)
        if "data" in cell:
            label_studio.unfold(cell, rest, self.kind)

    def _open_conversation(self, cell: dict[str, Any], rest: dict[str, Any]) -> None:
        """The prompt of a preference, where it is a conversation and not a text."""
        given = cell["content"]
        if isinstance(given, dict):
            given = given.get("messages")
        if isinstance(given, list):
            cell["content"], _, system = _turns(given)
            if system is not None:
                rest["system"] = system
        if isinstance(cell["content"], str):
            self._strip_prompt(cell)

    def _check_type(self, cell: dict[str, Any], rest: dict[str, Any], column: str) -> None:
        """A row that names another task type does not belong here; a “type” that is none is an ordinary column."""
        named = cell.pop("type")
        if named not in task_types.names():
            rest[column] = named
        elif named != self.project.task_type:
            raise BadRow(f"the row is a {named}, the project takes {self.project.task_type}", field="type")

    def _join_instruction(self, cell: dict[str, Any]) -> None:
        """The item of an instruction record: its input, if the instruction is an export's prompt, else both."""
        instruction, given = cell["content"], cell.pop("input")
        if not isinstance(instruction, str) or not isinstance(given, str | None):
            raise BadRow("the instruction and the input are texts", field="instruction")
        if given and self._is_instruction(cell, instruction, given):
            cell["content"] = given
        elif given:
            cell["content"] = f"{instruction}\n\n{given}"

    def _locales(self, cell: Mapping[str, Any]) -> list[str]:
        """Where to look for the prompt that an export put round an item: in the row's locale first, then anywhere."""
        return list(dict.fromkeys([self._locale(cell), *self.kind.prompts, *self.project.prompts]))

    def _strip_prompt(self, cell: dict[str, Any]) -> None:
        text = cell["content"]
        for locale in self._locales(cell):
            template = self.project.prompts_for(locale).chat
            slots, before = template.count(SLOT), template.find(SLOT)
            size = (len(text) - len(template)) // slots + len(SLOT) if slots else 0
            inside = text[before : before + size]
            if size > 0 and template.replace(SLOT, inside) == text:
                cell["content"] = inside
                self._adopt(cell, locale)
                return

    def _is_instruction(self, cell: dict[str, Any], text: Any, given: str) -> bool:
        for locale in self._locales(cell):
            if text == self.project.prompts_for(locale).instruction.replace(SLOT, given):
                self._adopt(cell, locale)
                return True
        return False

    def _adopt(self, cell: dict[str, Any], locale: str) -> None:
        """The prompt's language is the item's, where nothing else says which it is."""
        if self.locale is None and not cell.get("locale"):
            cell["locale"] = locale

    def _locale(self, cell: Mapping[str, Any]) -> str:
        own = cell.get("locale")
        if own is None or own == "":
            return self.usual_locale
        if not isinstance(own, str) or not is_locale(own):
            raise BadRow(f"{str(own)[:40]!r} is not a locale such as en, fr-CA, zh", field="locale")
        return own


@lru_cache(1_000)
def is_locale(text: str) -> bool:
    return len(text) <= 16 and LOCALE.fullmatch(text) is not None


# Cells ----------------------------------------------------------------------------------------------------------------


def _identity(given: Any, content: str, options: list[str] | None) -> tuple[str | None, str]:
    """(the id as a uid, if it is one; the external id: the row's own, else a hash of what is asked)."""
    if given is None or given == "":
        return None, content_id(content, options)
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise BadRow("an id is a text or a whole number", field="id")
    external_id = given if isinstance(given, str) else str(given)
    if len(external_id) > MOST_EXTERNAL_ID:
        raise BadRow(f"the id has {len(external_id):,} characters; {MOST_EXTERNAL_ID} are allowed", field="id")
    check_text(external_id, "id")
    return (external_id if len(external_id) == 16 and UID.fullmatch(external_id) else None), external_id


def content_id(
    content: str, options: Sequence[str] | None = None, media: str = "", *, answer: str | None = None
) -> str:
    """The external id of an item that has none: the same question is the same item."""
    if options is None and not media and answer is None:  # the same as below, in a third of the time
        asked = f'[{encode_basestring_ascii(content)},null,""]'
    else:
        asked = json.dumps([content, options, media] + ([] if answer is None else [answer]), separators=(",", ":"))
    return f"content:{sha256(asked.encode()).hexdigest()[:32]}"


def _options(given: Any) -> list[str] | None:
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except ValueError as error:
            raise BadRow("options are a JSON list of texts", field="options") from error
    if given is None or given == "":
        return None
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(one, str) and one for one in given):
        raise BadRow("options are a list of at least two texts", field="options")
    if len(set(given)) < len(given):
        raise BadRow("an option stands in the list twice", field="options")
    for one in given:
        check_text(one, "options")
    return given


def _metadata(given: Any, rest: dict[str, Any]) -> dict[str, Any]:
    """An object in the metadata column, the columns nobody asked for beside its keys."""
    if not rest and isinstance(given, dict):
        return given
    if isinstance(given, str) and given.lstrip().startswith("{"):
        with suppress(ValueError):  # a text that begins with a brace is still a text
            given = json.loads(given)
    if given is None or given == "":
        return rest
    if not isinstance(given, dict):
        given = {"metadata": given}
    clash = given.keys() & rest.keys()
    if clash:
        raise BadRow(f"{min(clash)!r} is both a column and a key of the metadata", field="metadata")
    return given | rest


def _moment(given: Any, part: str) -> datetime | None:
    """A moment in ISO 8601, UTC where it does not say; or seconds since 1970."""
    if given is None or given == "" or isinstance(given, datetime):
        return given or None
    moment = None
    try:
        if isinstance(given, str):
            day = parse_date(given.strip()) if len(given.strip()) == 10 else None
            moment = datetime(day.year, day.month, day.day) if day else parse_datetime(given.strip())
        elif isinstance(given, (int, float)) and not isinstance(given, bool):
            moment = datetime.fromtimestamp(given, UTC)
        if moment is not None:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise BadRow(f"{str(given)[:40]!r} is not a moment such as 2026-05-25T10:05:00Z", field=part)


def _confidence(given: Any) -> float | None:
    if given is None or given == "":
        return None
    try:
        share = float(given) if isinstance(given, (str, int, float)) and not isinstance(given, bool) else -1.0
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise BadRow(f"confidence {str(given)[:40]!r} is not a number from 0 to 1", field="confidence")
    return share


def _turns(messages: Any) -> tuple[str, str | None, str | None]:
    """(what the user said, what the assistant replied, what the system was told) in a conversation of one exchange."""
    if isinstance(messages, str) and messages.lstrip().startswith("["):
        try:
            messages = json.loads(messages)
        except ValueError:
            messages = None
    said = {}
    for turn in messages if isinstance(messages, list) else []:
        if isinstance(turn, dict):
            turn = {SHAREGPT_KEYS.get(key, key): value for key, value in turn.items()}
            if isinstance(turn.get("content"), str) and isinstance(turn.get("role"), str):
                said[SHAREGPT_ROLES.get(turn["role"], turn["role"])] = turn["content"]
    if len(said) != len(messages or ()) or "user" not in said or said.keys() - {"system", "user", "assistant"}:
        raise BadRow("messages must be one user turn and at most one assistant and one system turn", field="messages")
    return said["user"], said.get("assistant"), said.get("system")


def _reply(given: Any) -> Any:
    """A response, where it is a conversation of one turn and not a text."""
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict):
        return given[0].get("content")
    return given


def _innermost(given: Any) -> Any:
    """The text in Qianfan's [["…"]]."""
    while isinstance(given, list) and len(given) == 1:
        given = given[0]
    return given


def check_text(text: str, part: str) -> None:
    """Refuse what no database column and no file in UTF-8 can hold."""
    if "\0" in text:
        raise BadRow("it holds a NUL character", field=part)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"it holds half of a surrogate pair, U+{ord(text[error.start]):04X}", field=part) from error


def _as_text(metadata: dict[str, Any]) -> str:
    """`metadata` as the JSON text it is kept as."""
    if not metadata:
        return "{}"
    try:
        text = dump_json(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow(f"it cannot be kept as JSON: {error}", field="metadata") from error
    check_text(text, "metadata")
    if "\\u0000" in text and _holds_nul(metadata):
        raise BadRow("it holds a NUL character", field="metadata")
    return text


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_nul(item) for item in value)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name if len(name) <= 40 else f"{name[:39]}…" for name in names[:20])

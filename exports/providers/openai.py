"""The protocol of OpenAI's fine-tuning jobs: OpenAI itself, and every server that speaks as it does.

https://platform.openai.com/docs/api-reference/fine-tuning
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

import structlog

from exports.errors import ProviderDown, Unsuitable

from .base import Number, Remote, Report, State, joined, word_of
from .wire import UPLOAD_SECONDS, half_told, said_by, talking, text_of

log = structlog.get_logger(__name__)

STATES = {
    "succeeded": State.SUCCESS,
    "success": State.SUCCESS,
    "completed": State.SUCCESS,
    "failed": State.FAILED,
    "error": State.FAILED,
    "cancelled": State.CANCELLED,
    "canceled": State.CANCELLED,
}  # any other, known today or not, is on its way
PAGE = 100
MOST_PAGES = 10
NOT_THERE = (404, 405, 501)  # what a server answers that has no such address
MARK = "labelhub_finetune"
step_of = re.compile(r"\bstep (\d+) ?/ ?(\d+)", re.IGNORECASE)

# The names of a figure in the events of OpenAI, GLM and others, the likeliest first.
FIGURES = {
    "step": ("current_steps", "current_step", "step"),
    "steps": ("total_steps",),
    "loss": ("train_loss", "training_loss", "loss"),
    "valid_loss": ("valid_loss", "eval_loss", "full_valid_loss", "validation_loss"),
    "accuracy": ("train_mean_token_accuracy", "train_accuracy", "acc", "accuracy"),
}


class OpenAI(Remote):
    name = "openai"
    label = "OpenAI or compatible"
    address = "https://api.openai.com/v1"
    accepts: ClassVar[Mapping[str, str]] = {"openai": "supervised", "openai-dpo": "dpo"}
    least_examples = 10
    most_bytes = 512_000_000
    parameters: ClassVar[Mapping[str, Number]] = {
        "n_epochs": Number(1, 50, is_whole=True),
        "batch_size": Number(1, 256, is_whole=True),
        "learning_rate_multiplier": Number(1e-6, 100),
        "beta": Number(0, 2),
        "seed": Number(0, 2**31 - 1, is_whole=True, or_auto=False),
    }

    def check(self, batch, *, model="", hyperparameters=None, account=None):
        super().check(batch, model=model, hyperparameters=hyperparameters, account=account)
        if "beta" in (hyperparameters or {}) and self.accepts[batch.format] != "dpo":
            raise Unsuitable("beta is for training on preferences (dpo) alone")

    def talk(self, finetune):
        return talking(self.name, self.connection(finetune.account))

    # Beginning --------------------------------------------------------------------------------------------------------

    def send(self, finetune, name, file) -> str:
        with self.talk(finetune) as client:
            answer = client.files.create(
                purpose="fine-tune", file=(name, file, "application/jsonl"), timeout=UPLOAD_SECONDS
            )
            return _named(answer.id)

    def create(self, finetune):
        with self.talk(finetune) as client:
            return self.report(client.fine_tuning.jobs.create(**self.order(finetune)))

    def order(self, finetune) -> dict[str, Any]:
        """The words in which this server is asked to begin."""
        chosen = dict(finetune.hyperparameters)
        method = self.accepts[finetune.batch.format]
        order: dict[str, Any] = {
            "model": finetune.model,
            "training_file": finetune.provider_files["train"],
            "suffix": chosen.pop("suffix", suffix_of(finetune)),
            "metadata": {MARK: str(finetune.uuid), "labelhub_batch": str(finetune.batch.uuid)},
        }
        if "val" in finetune.provider_files:
            order["validation_file"] = finetune.provider_files["val"]
        if "seed" in chosen:
            order["seed"] = chosen.pop("seed")
        order["method"] = {"type": method, method: {"hyperparameters": chosen} if chosen else {}}
        return order

    def find(self, finetune):
        """Lists the jobs, the newest first, back to a day before ours was asked for."""
        oldest = finetune.asked_at.timestamp() - 86_400
        with self.talk(finetune) as client:
            for job in self._jobs(client, oldest):
                if _is_ours(job, finetune):
                    return self.report(job)
        return None

    def _jobs(self, client, oldest: float) -> Iterable[Any]:
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = client.fine_tuning.jobs.list(limit=PAGE, **after)
            yield from page.data
            if not page.data or not page.has_more or (page.data[-1].created_at or 0) < oldest:
                return
            after = {"after": page.data[-1].id}
        raise ProviderDown(f"{self.name} has more than {MOST_PAGES * PAGE:,} jobs: ours may be among them")

    # How it goes ------------------------------------------------------------------------------------------------------

    def ask(self, finetune):
        with self.talk(finetune) as client:
            job = client.fine_tuning.jobs.retrieve(finetune.provider_job_id)
            besides = partial(
                half_told, finetune=finetune.pk, to=self.name, connection=self.connection(finetune.account)
            )
            events = besides("events", read=lambda: self._events(client, finetune))
            checkpoints = None
            if _state(job) == State.SUCCESS:
                checkpoints = besides("checkpoints", read=lambda: self._checkpoints(client, finetune))
            return self.report(job, events=finetune.events if events is None else events, checkpoints=checkpoints or [])

    def cancel(self, finetune):
        import openai

        with self.talk(finetune) as client:
            try:
                client.fine_tuning.jobs.cancel(finetune.provider_job_id)
            except openai.APIStatusError as error:
                if error.status_code not in (400, 409):  # those say that it has ended: ask how
                    raise
                said = said_by(error, self.connection(finetune.account))
                log.info("finetune_cancel_refused", finetune=finetune.pk, said=said)
        return self.ask(finetune)

    def report(self, job, *, events=None, checkpoints=()) -> Report:
        """`job`, in the words of the hub."""
        state = _state(job)
        events = events or []
        error = text_of(getattr(job, "error", None)) if state == State.FAILED else ""
        if state == State.FAILED and not error:
            told = [event["message"] for event in events if event["level"] == "error"]
            error = told[-1] if told else f"{self.name} gives no reason"
        return Report(
            job_id=_named(job.id),
            state=state,
            status=word_of(getattr(job, "status", None)),
            progress=progress_of(events),
            error=error,
            events=events,
            metrics=_metrics(job, events, checkpoints),
            provider_model=getattr(job, "fine_tuned_model", None) or "",
        )

    def _events(self, client, finetune) -> list[dict[str, Any]]:
        """Those of last time and what was said since, oldest first."""

        def page_of(after: dict[str, str]):
            return client.fine_tuning.jobs.list_events(finetune.provider_job_id, limit=PAGE, **after)

        return gathered(page_of, finetune.events)

    def _checkpoints(self, client, finetune):
        page = if_there(lambda: client.fine_tuning.jobs.checkpoints.list(finetune.provider_job_id, limit=PAGE))
        return [
            {
                "model": point.fine_tuned_model_checkpoint,
                **{name: value for name, value in as_dict(point.metrics).items() if isinstance(value, int | float)},
                "step": point.step_number,
            }
            for point in sorted(page.data if page else [], key=lambda point: point.step_number or 0)
        ]


def if_there(call: Callable[[], Any]) -> Any:
    """What `call` gives; None where this server has no such address."""
    import openai

    try:
        return call()
    except openai.APIStatusError as error:
        if error.status_code not in NOT_THERE:
            raise
        return None


def gathered(page_of: Callable[[dict[str, str]], Any], known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events on the pages of a server, added to those `known`: oldest first, the newest EVENTS_KEPT of them.

    Most servers list the newest first, and a page that is not all new ends the reading. Where the oldest come first, it
    goes on after the last that is known. A server that does not go on where it is told to is read no further.
    """
    found, fresh = {event["id"] for event in known}, []
    after: dict[str, str] = {}
    rises = False
    for _ in range(MOST_PAGES):
        page = if_there(lambda after=after: page_of(after))  # type: ignore[misc]
        told = [event_of(event) for event in (page.data or [])] if page else []
        news = [event for event in told if event["id"] not in found]
        found |= {event["id"] for event in news}
        fresh += news
        if not told or not page.has_more:
            break
        rises = rises or _rises(told) or bool(known and not after and told[0]["at"] < known[-1]["at"])
        if not rises and len(news) < len(told):
            break
        is_behind = rises and known and (not news or told[-1]["at"] < known[-1]["at"])
        last = known[-1] if is_behind else told[-1]
        if _is_made_up(last) or last["id"] == after.get("after"):
            break
        after = {"after": last["id"]}
    if not rises and (not fresh or fresh[0]["at"] >= fresh[-1]["at"]):
        fresh.reverse()  # those of one second as well: sorting leaves them as they are
    return joined(known, fresh)


def _rises(told):
    """Whether these begin with the oldest, as far as can be told: within one second by their steps."""
    steps = [event["step"] for event in told if "step" in event] or [0]
    return (told[0]["at"], steps[0]) < (told[-1]["at"], steps[-1])


def _is_made_up(event):
    """Whether the id of an event is ours: a server that gives none must not be sent one."""
    return event["id"].startswith(f"{event['at']} ")


def event_of(told: Any) -> dict[str, Any]:
    """One event: its moment, what it says, and the figures it carries."""
    told = as_dict(told)
    data = {**told, **as_dict(told.get("data"))}
    message, at = str(told.get("message") or ""), moment(told.get("created_at"))
    figures = {name: _figure(data, names) for name, names in FIGURES.items()}
    if figures["steps"] is None and (said := step_of.search(message)) and figures["step"] in (None, int(said[1])):
        figures["step"], figures["steps"] = int(said[1]), int(said[2])
    # Those of one second that say the same are told apart by their steps.
    made_up = f"{at} {message}" if figures["step"] is None else f"{at} {message} {figures['step']}"
    event: dict[str, Any] = {
        "id": str(told.get("id") or made_up),
        "at": at,
        "level": str(told.get("level") or "info"),
        "message": message,
    }
    return event | {name: value for name, value in figures.items() if value is not None}


def progress_of(events: Iterable[Mapping[str, Any]]) -> int | None:
    """How far the furthest event is, in percent; None where none tells."""
    shares = [100 * event["step"] / event["steps"] for event in events if "step" in event and event.get("steps")]
    return min(99, max(0, int(max(shares)))) if shares else None


def moment(at: Any) -> str:
    """A moment told in seconds, milliseconds or ISO 8601, as ISO 8601."""
    if isinstance(at, int | float):
        return f"{datetime.fromtimestamp(at / 1000 if at > 1e11 else at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return str(at or "")


def as_dict(told: Any) -> dict[str, Any]:
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError:
            return {}
    if hasattr(told, "model_dump"):
        told = told.model_dump()
    return told if isinstance(told, dict) else {}


def _figure(data, names):
    for name in names:
        value = data.get(name)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
            return int(value) if float(value).is_integer() and name not in FIGURES["loss"] else float(value)
    return None


def _metrics(job, events, checkpoints):
    """What is left to say of a run once it is over; nothing that was not told."""
    metrics: dict[str, Any] = {}
    for name in ("loss", "valid_loss", "accuracy"):
        told = [event[name] for event in events if name in event]
        if told:
            metrics[f"last_{name}"] = told[-1]
    if tokens := getattr(job, "trained_tokens", None):
        metrics["trained_tokens"] = tokens
    if chosen := {name: value for name, value in as_dict(getattr(job, "hyperparameters", None)).items() if value}:
        metrics["hyperparameters"] = chosen
    if checkpoints:
        metrics["checkpoints"] = list(checkpoints)
    return metrics


def _state(job) -> State:
    return STATES.get(word_of(getattr(job, "status", None)).lower(), State.RUNNING)


def _named(id):
    if not isinstance(id, str) or not id:
        raise ValueError("it names no id")
    return id


def suffix_of(finetune):
    return f"labelhub-{finetune.uuid.hex[:8]}"


def _is_ours(job, finetune):
    mark = as_dict(getattr(job, "metadata", None)).get(MARK)
    return mark == str(finetune.uuid) or job.training_file == finetune.provider_files.get("train")

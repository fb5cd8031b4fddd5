"""What every fine-tune provider answers for itself, and what one far away answers besides."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any, ClassVar, NamedTuple, Protocol

from django.conf import settings

from exports.errors import Unsuitable

Progress = Callable[[int, int, str], None]  # (done, total, message); calling it is where a run can be stopped


@dataclass(frozen=True)
class Trained:
    """What a finished run leaves: metrics for people and programs, and the folder or the remote name of the model."""

    metrics: dict[str, Any]
    artefact: str = ""
    provider_model: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)


class Item(NamedTuple):
    """A task, as a model is asked about it."""

    pk: int
    type: str
    content: str
    media: str
    locale: str


class Guess(NamedTuple):
    """What a model says of one item: labels with their probabilities (None: it does not tell), none where it says none.

    `margin` is how far the likeliest answer leads, 0 to 1. `refusal` is what it said that is no label, or why it would
    not say; `is_unreadable`, that there was nothing to ask about.
    """

    labels: Sequence[tuple[str, float | None]] = ()
    margin: float | None = None
    refusal: str = ""
    is_unreadable: bool = False


class Guesser(AbstractContextManager):
    """A model that is awake, within a `with`; it is given `at_once` items at a time."""

    at_once: int
    is_free: bool  # asking it again costs nothing

    def guess(self, items: Sequence[Item], told: Callable[[int], None]) -> list[Guess]:
        """A guess for each of `items`; calls `told` with how many are done, where that takes a while."""
        raise NotImplementedError

    def __exit__(self, *_):
        return None


class Provider:
    """A place where models are trained. A subclass is one file; an instance stands on the menu in `__init__.py`."""

    name: ClassVar[str]
    label: ClassVar[str]

    def check(self, batch, *, model: str = "", hyperparameters: Mapping[str, Any] | None = None, account=None) -> None:
        """Raise `Unsuitable`, saying why, where this provider cannot train `model` on `batch` in this way.

        Asked before anything is written down, so it looks at rows and counts and never reads the file.
        """
        raise NotImplementedError

    def check_asking(self, version) -> None:
        """Raise `Unsuitable`, saying why, where the model `version` cannot be asked to guess."""
        raise NotImplementedError

    def guesser(self, version) -> Guesser:
        """The model `version`, ready to guess."""
        raise NotImplementedError


class Followed(Protocol):
    """What a run of training is followed by: its Progress, and what has happened so far, for people to see meanwhile."""

    def __call__(self, done: int, total: int, message: str, /) -> None: ...

    def tell(self, events: list[dict[str, Any]]) -> None: ...


class Trainer(Provider):
    """A provider in this very process."""

    def train(self, finetune, progress: Followed) -> Trained:
        """Train on the batch's file and score on its test part; runs inside a job, tells `progress` as it goes.

        It may be called again for the same fine-tune, when a worker died: it starts over and leaves one model.
        """
        raise NotImplementedError


# Far away -------------------------------------------------------------------------------------------------------------


class State(StrEnum):
    """What a provider's own status comes to."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


EVENTS_KEPT = 1000


def joined(known: list[dict[str, Any]], told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events `known` and those among `told` that are not: oldest first, the newest EVENTS_KEPT of them."""
    ids = {event["id"] for event in known}
    fresh = [event for event in told if event["id"] not in ids]
    return sorted([*known, *fresh], key=lambda event: event["at"])[-EVENTS_KEPT:] if fresh else known


LONGEST_WORD = 60  # the column's


def word_of(told: Any) -> str:
    """A provider's word for a status, as it is kept."""
    return str(told or "")[:LONGEST_WORD]


@dataclass(frozen=True)
class Report:
    """What a provider says about a job of ours.

    `status` is its own word; `progress` a percentage or None where it tells none; an event is a dict of `id`, `at`
    (ISO 8601), `level`, `message`, and where it tells them `step`, `steps`, `loss`, `valid_loss`, `accuracy`.
    """

    job_id: str
    state: State
    status: str
    progress: int | None = None
    error: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    provider_model: str = ""


class Connection(NamedTuple):
    """Where a provider is and how to enter; `is_typed` says that a person typed the address in the admin."""

    base_url: str
    key: str
    is_typed: bool


class Number(NamedTuple):
    """A hyperparameter that is a number in a range; `or_auto` lets the provider choose when told "auto"."""

    least: float
    most: float
    is_whole: bool = False
    or_auto: bool = True

    def check(self, name: str, value: Any) -> None:
        if self.or_auto and value == "auto":
            return
        kinds = int if self.is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.least <= value <= self.most:
            what = "a whole number" if self.is_whole else "a number"
            auto = ' or "auto"' if self.or_auto else ""
            raise Unsuitable(f"{name} is {what} from {self.least:g} to {self.most:g}{auto}, not {value!r}")


class Remote(Provider):
    """A provider that is spoken to over the network. Each method is one exchange, and writes nothing down here.

    They raise ProviderRefused (it said no), ProviderBusy (not done, ask again), ProviderTimeout or ProviderDown (it is not
    known whether it was done).
    """

    address: ClassVar[str]  # where the provider is when nobody says otherwise
    accepts: ClassVar[Mapping[str, str]]  # format of the batch -> method of training
    least_examples: ClassVar[int]
    most_bytes: ClassVar[int]
    parameters: ClassVar[Mapping[str, Number]]

    def upload(self, finetune, progress: Progress) -> dict[str, str]:
        """Send the batch's train part, and its val part if it has one; the provider's ids as {"train": …, "val": …}."""
        from .parts import part_file

        sent = {}
        for number, part in enumerate(("train", "val")):
            progress(number, 3, f"sending the {part} part")
            with part_file(finetune.batch, part) as file:
                if file is not None:
                    sent[part] = self.send(finetune, f"labelhub-{finetune.uuid.hex[:8]}-{part}.jsonl", file)
        return sent

    def send(self, finetune, name: str, file: IO[bytes]) -> str:
        """Send one file under that name; the provider's id of it."""
        raise NotImplementedError

    def create(self, finetune) -> Report:
        """Have the provider begin. It costs money: never tried again here."""
        raise NotImplementedError

    def find(self, finetune) -> Report | None:
        """The job that an earlier `create` of this fine-tune began, if it did: told by the files sent for it alone."""
        raise NotImplementedError

    def ask(self, finetune) -> Report:
        """How the job is getting on. ProviderRefused with status 404 where the provider does not know it (any more)."""
        raise NotImplementedError

    def cancel(self, finetune) -> Report:
        """Have the provider stop; how the job stands after that, which may be that it is still stopping, or has ended."""
        raise NotImplementedError

    # Asking its models ------------------------------------------------------------------------------------------------

    def check_asking(self, version):
        batch, kind = version.finetune.batch, version.project.kind
        if not version.provider_model:
            raise Unsuitable(f"{self.name} has not said what {version} is called there")
        if batch.format != "openai" or not kind.has_labels or kind.sample_type != "TEXT":
            raise Unsuitable(
                f"{version} cannot be asked for labels: it was trained on {version.project.task_type} as {batch.format}"
            )
        if not self.connection(version.finetune.account).key:
            raise Unsuitable(f"there is no account at {self.name} any more")

    def guesser(self, version):
        from .chatting import ChatGuesser

        return ChatGuesser(self, version)

    # What it accepts --------------------------------------------------------------------------------------------------

    def check(self, batch, *, model="", hyperparameters=None, account=None):
        kind = batch.project.kind
        if batch.format not in self.accepts:
            from exports import formats

            known = [name for name in formats.names() if name in self.accepts]
            raise Unsuitable(
                f"{self.name} trains on files in the format {' or '.join(known)}, and {batch} is {batch.format}",
                accepted=known,
            )
        if kind.sample_type != "TEXT":
            raise Unsuitable(f"{self.name} is sent texts, and {batch.project.task_type} has images")
        self._check_size(batch)
        self._check_hyperparameters(hyperparameters or {})
        connection = self.connection(account)
        if not connection.key:
            raise Unsuitable(
                f"there is no account at {self.name}: add a provider account, or set {self.name} up in the environment"
            )
        if not model and not self.usual_model(account):
            raise Unsuitable(f"name the base model that {self.name} is to train")

    def _check_size(self, batch):
        sizes: dict[str, list[int]] = {"train": [0, 0], "val": [0, 0]}
        for part in batch.manifest["parts"]:
            name = "train" if part["part"] == "whole" else part["part"]
            if name in sizes:
                sizes[name] = [sizes[name][0] + part["rows"], sizes[name][1] + part["bytes"]]
        if sizes["train"][0] < self.least_examples:
            raise Unsuitable(
                f"{self.name} wants {self.least_examples} examples to train on, and {batch} has {sizes['train'][0]}",
                least=self.least_examples,
            )
        for name, (_, size) in sizes.items():
            if size > self.most_bytes:
                most = f"{self.most_bytes / 1e6:,.0f} MB"
                raise Unsuitable(f"the {name} part has {size / 1e6:,.0f} MB, and {self.name} takes files up to {most}")

    def _check_hyperparameters(self, given):
        known = [*self.parameters, "suffix"]
        for name, value in given.items():
            if name == "suffix":
                if not isinstance(value, str) or not 0 < len(value) <= 64:
                    raise Unsuitable(f"suffix is a text of at most 64 characters, not {value!r}")
            elif name not in self.parameters:
                raise Unsuitable(f"{self.name} has no hyperparameter {name!r}; it has {', '.join(known)}", known=known)
            else:
                self.parameters[name].check(name, value)

    # Where it is ------------------------------------------------------------------------------------------------------

    def connection(self, account) -> Connection:
        """How to reach it: through `account`, or where there is none as the settings say."""
        if account is not None:
            return Connection(account.base_url or self.address, account.key, is_typed=bool(account.base_url))
        given = settings.FINETUNE_PROVIDERS.get(self.name, {})
        return Connection(given.get("base_url") or self.address, given.get("key", ""), is_typed=False)

    def usual_model(self, account) -> str:
        """The base model where a fine-tune names none; empty where nobody has said."""
        if account is not None:
            return account.model
        return settings.FINETUNE_PROVIDERS.get(self.name, {}).get("model", "")

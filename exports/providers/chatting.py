"""Guesses of a model at a provider: a chat completion for each text, asked in the words it was trained with.

https://platform.openai.com/docs/api-reference/chat
"""

import math
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any

import structlog
from django.conf import settings

from exports.errors import ProviderDown, ProviderRefused
from samples.task_types import InvalidAnswer

from .base import Guess, Guesser
from .reaching import check_resolved
from .wire import client_of, translated

log = structlog.get_logger(__name__)

ROUNDS = 8  # questions a thread answers before they are written down: that many are asked again after a death
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
LOOK_SECONDS = 0.5
WILL_NOT_SAY = ("content_filter", "content_policy_violation", "1301")  # codes of OpenAI and GLM for this text alone
OPTIONAL = ("logprobs", "temperature", "max_tokens")  # what some servers or models do not take


class Stopped(Exception):
    """The block is over before this question was asked."""


class ChatGuesser(Guesser):
    """A chat model, asked a bounded number of questions at once; who is told to wait, waits for all."""

    is_free = False

    def __init__(self, provider, version):
        self.provider, self.version = provider, version
        self.connection = provider.connection(version.finetune.account)
        self.kind = version.project.kind
        self.choices = list(version.project.labels.values_list("name", flat=True))
        self.at_once = ROUNDS * settings.PREDICT_AT_ONCE
        self.options: dict[str, Any] = {
            "temperature": 0,
            "logprobs": True,
            "max_tokens": 16 + self._longest(),
        }
        self._ask_at = 0.0
        self._lock = threading.Lock()

    def _longest(self) -> int:
        """No more tokens than the bytes of the longest answer."""
        sizes = [len(name.encode()) for name in self.choices]
        return sum(sizes) + 2 * len(sizes) if self.kind.allows_several else max(sizes, default=0)

    def __enter__(self):
        from exports import formats
        from exports.batching import context_of

        batch = self.version.finetune.batch
        self.context = context_of(batch, formats.get("openai"))
        system = batch.options.get("system_prompt")
        self.before = [{"role": "system", "content": system}] if system else []
        self.closing = ExitStack()
        with translated(self.provider.name, self.connection):
            self.client = self.closing.enter_context(client_of(self.connection))
        return self

    def __exit__(self, *_):
        self.closing.close()

    def guess(self, items, told):
        if self.connection.is_typed:
            check_resolved(self.connection.base_url)
        stop = threading.Event()
        with ThreadPoolExecutor(settings.PREDICT_AT_ONCE, thread_name_prefix="asking") as pool:
            try:
                asked = [pool.submit(self._ask_or_stop, item, stop) for item in items]
                waiting = set(asked)
                while waiting:
                    done, waiting = wait(waiting, LOOK_SECONDS, FIRST_COMPLETED)
                    for answer in done:  # who only stopped, did so as another met with something
                        if (met := answer.exception()) and not isinstance(met, Stopped):
                            raise met
                    told(len(asked) - len(waiting))
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return [answer.result() for answer in asked]

    # One question -----------------------------------------------------------------------------------------------------

    def messages(self, item) -> list[dict[str, str]]:
        """The conversation up to the answer, as the exported file has it."""
        from exports.formats.context import SLOT

        words = self.context.template("chat", self.version.project_id, item.type, item.locale)
        return [*self.before, {"role": "user", "content": words.replace(SLOT, item.content)}]

    def _ask_or_stop(self, item, stop) -> Guess:
        """The guess for `item`; what keeps it from being asked keeps the others as well."""
        try:
            return self._ask(item, stop)
        except BaseException:
            stop.set()
            raise

    def _ask(self, item, stop) -> Guess:
        """The guess for `item`; waits and asks again where the provider is busy, as long as the settings have patience."""
        messages = self.messages(item)
        until = time.monotonic() + settings.PREDICT_PATIENCE_SECONDS
        for pause in _pauses():
            self._wait_in_line(stop)
            options = dict(self.options)
            try:
                return self._answer(messages, options)
            except ProviderRefused as fact:
                if not self._is_less_asked(fact, options):
                    return self._unsaid(fact)
            except ProviderDown as fact:
                seconds = fact.details.get("retry_after", pause)
                if time.monotonic() + seconds > until:
                    raise
                log.info("provider_waited_for", provider=self.provider.name, said=fact.message, seconds=seconds)
                self._let_all_wait(seconds)
        raise AssertionError("pauses do not end")

    def _answer(self, messages, options) -> Guess:
        with translated(self.provider.name, self.connection):
            answer = self.client.chat.completions.create(
                model=self.version.provider_model, messages=messages, **options
            )
            choice = answer.choices[0]
            text = (choice.message.content or "").strip()
        if choice.finish_reason == "content_filter" or not text:
            return Guess(refusal=getattr(choice.message, "refusal", None) or choice.finish_reason or "nothing said")
        try:
            said = self.kind.from_text(text, choices=self.choices)
        except InvalidAnswer:
            return Guess(refusal=text)
        chance = _chance(choice)
        names = self.kind.label_names(said) or [self.kind.label_name(said)]
        margin = None if chance is None else max(0.0, 2 * chance - 1)  # any other answer has what is left, at most
        return Guess([(name, chance) for name in names], margin)

    def _is_less_asked(self, fact, options) -> bool:
        """Whether the provider minds one of the options that it can be asked without; it is left out from now on."""
        if fact.details.get("status") not in (400, 422):
            return False
        minded = next((name for name in OPTIONAL if name in options and name in fact.message), None)
        if minded is None:
            return False
        with self._lock:
            self.options = {name: value for name, value in self.options.items() if name != minded}
        log.info("provider_asked_without", provider=self.provider.name, option=minded, said=fact.message)
        return True

    def _unsaid(self, fact) -> Guess:
        """A text that the provider will not speak about is counted; any other refusal concerns them all."""
        if fact.details.get("code") in WILL_NOT_SAY:
            return Guess(refusal=fact.details["code"])
        raise fact

    # Waiting ----------------------------------------------------------------------------------------------------------

    def _wait_in_line(self, stop):
        while not stop.is_set():
            with self._lock:
                seconds = self._ask_at - time.monotonic()
            if seconds <= 0:
                return
            stop.wait(min(seconds, LOOK_SECONDS))
        raise Stopped

    def _let_all_wait(self, seconds):
        with self._lock:
            self._ask_at = max(self._ask_at, time.monotonic() + seconds)


def _pauses() -> Iterator[float]:
    """Longer and longer, and not for everybody the same."""
    pause = FIRST_WAIT
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_WAIT)


def _chance(choice) -> float | None:
    """How likely the whole answer was, token by token; None where the provider does not tell."""
    told = getattr(getattr(choice, "logprobs", None), "content", None)
    return min(1.0, math.exp(sum(token.logprob for token in told))) if told else None

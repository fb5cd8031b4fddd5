"""Speaking to providers: the openai client carries the messages, and its exceptions become facts.

https://github.com/openai/openai-python#handling-errors
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from exports.errors import ProviderBusy, ProviderDown, ProviderRefused, ProviderTimeout

from .base import Connection
from .reaching import check_resolved

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

# The client takes a second to load: only a process that speaks to a provider pays for it.

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 10.0
UPLOAD_SECONDS = 600.0
LONGEST_TEXT = 1000


@contextmanager
def talking(to: str, connection: Connection) -> "Iterator[OpenAI]":
    """A client within the block; what goes wrong there is raised as a fact that names the provider, never the key.

    It tries nothing again by itself: a job that was created twice is paid twice.
    """
    if connection.is_typed:
        check_resolved(connection.base_url)
    with translated(to, connection), client_of(connection) as client:
        yield client


def half_told(what: str, finetune: int, to: str, connection: Connection, read: Callable[[], Any]) -> Any:
    """What `read` gives; None where the provider does not say it: how a job stands is known without its `what`."""
    try:
        with translated(to, connection):
            return read()
    except (ProviderDown, ProviderRefused) as fact:
        log.info("finetune_half_told", finetune=finetune, missing=what, said=fact.message)
        return None


def client_of(connection: Connection) -> "OpenAI":
    """The real client, to be closed; several threads may share it."""
    import openai

    # A redirect could lead anywhere, into our own network as well.
    http = openai.DefaultHttpxClient(follow_redirects=False, timeout=_timeout())
    return openai.OpenAI(
        api_key=connection.key, base_url=connection.base_url, max_retries=0, timeout=_timeout(), http_client=http
    )


def _timeout():
    import httpx2

    return httpx2.Timeout(settings.PROVIDER_TIMEOUT, connect=min(CONNECT_SECONDS, settings.PROVIDER_TIMEOUT))


@contextmanager
def translated(to: str, connection: Connection) -> Iterator[None]:
    """Within the block, what the client raises is raised as a fact instead."""
    import httpx2
    import openai

    timeout = _timeout()
    try:
        yield
    except openai.APITimeoutError as error:
        if isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout):
            raise ProviderBusy(f"{to} cannot be reached: no connection within {timeout.connect:g} s") from error
        raise ProviderTimeout(f"{to} did not answer within {timeout.read:g} s") from error
    except openai.APIConnectionError as error:
        fact = ProviderBusy if isinstance(error.__cause__, httpx2.ConnectError) else ProviderDown
        raise fact(f"{to} cannot be reached: {_hidden(str(error.__cause__ or error), connection)}") from error
    except openai.APIStatusError as error:
        raise _refusal(to, error, connection) from error
    except (openai.OpenAIError, ValueError, TypeError, AttributeError, KeyError) as error:
        # Not the protocol: a log-in page, a proxy's notice, half an answer.
        raise ProviderDown(f"{to} gave an answer that cannot be read: {_hidden(str(error), connection)}") from error


def _refusal(to, error, connection):
    """The fact behind an HTTP status of 300 or more."""
    status, text = error.status_code, said_by(error, connection)
    details = {"status": status, "code": code_of(error.body), "request_id": error.request_id}
    if (wait := _seconds(error.response.headers.get("Retry-After"))) is not None:
        details["retry_after"] = wait
    message = f"{to} answered {status}: {text}"
    if status == 429 and details["code"] != "insufficient_quota":
        return ProviderBusy(message, **details)
    if status in (408, 504):
        return ProviderTimeout(message, **details)
    if status >= 500 or status == 425:
        return ProviderDown(message, **details)
    return ProviderRefused(message, **details)


def said_by(error: "APIStatusError", connection: Connection) -> str:
    """The provider's own words in a refusal, without the key."""
    return _hidden(text_of(error.body) or "no reason given", connection)


def _seconds(told: str | None) -> float | None:
    """What Retry-After says, as seconds from now; None where it says nothing that can be read. RFC 9110, 10.2.3."""
    try:
        return max(0.0, float(told)) if told else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(str(told)) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def text_of(told: Any) -> str:
    """What an error of a provider says, in whatever shape it says it."""
    if isinstance(told, dict):
        inner = told.get("error", told)
        said = inner.get("message") or inner.get("msg") if isinstance(inner, dict) else inner
        return str(said or "")[:LONGEST_TEXT]
    if isinstance(told, str):
        return "" if told.lstrip().startswith("<") else told[:LONGEST_TEXT]
    return str(getattr(told, "message", None) or "")[:LONGEST_TEXT]


def code_of(told: Any) -> str:
    inner = told.get("error", told) if isinstance(told, dict) else told
    found = inner.get("code") if isinstance(inner, dict) else getattr(inner, "code", None)
    return str(found or "")


def _hidden(text: str, connection: Connection) -> str:
    """`text` without the key, should a server repeat it."""
    return text.replace(connection.key, "…") if connection.key else text

"""How a refusal leaves a room: a Fact becomes an APIException, passes DRF's handler, and is worded by the room."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import BadRequest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status, views
from rest_framework.response import Response

from labelhub.facts import Fact

Codes = Mapping[type[Fact], int | tuple[int, str]]


@dataclass(frozen=True)
class Refusal:
    """What went wrong, before a room puts it into its own words."""

    status: int
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


Envelope = Callable[[Refusal], dict[str, Any]]


class Refused(exceptions.APIException):
    """A Fact on its way through DRF's own handler, which rolls back before it answers."""

    def __init__(self, fact: Fact, codes: Codes):
        found = next((codes[kind] for kind in type(fact).__mro__ if kind in codes), status.HTTP_400_BAD_REQUEST)
        self.status_code, code = found if isinstance(found, tuple) else (found, fact.code)
        super().__init__(fact.message, code)
        self.details = fact.details


class Busy(exceptions.APIException):
    """Too many wanted to write at once: nothing is broken, and the same request will do a moment later."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "busy"
    default_detail = "The database is busy; try again in a moment."
    wait = 1  # becomes Retry-After
    signs = ("database is locked", "deadlock detected", "couldn't get a connection")


class Conflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


def plain(refusal: Refusal) -> dict[str, Any]:
    """The envelope of our own API, and of whatever no other room has claimed."""
    return {
        "status": "error",
        "code": refusal.code,
        "message": refusal.message,
        "details": dict(refusal.details),
    }


def exception_handler(envelope: Envelope = plain, codes: Codes = {}) -> Callable:  # noqa: B006 (only read)
    """The `get_exception_handler()` of a room: `codes` gives each fact its status (and code), `envelope` its words.

    A fact that `codes` does not name is a 400 under its own code. What is no refusal at all stays an exception, so that
    Django logs it and handler500 answers.
    """

    def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
        if isinstance(error, Fact):
            error = Refused(error, codes)
        elif isinstance(error, OperationalError) and any(sign in str(error) for sign in Busy.signs):
            error = Busy()
        response = views.exception_handler(error, context)  # type: ignore[arg-type]  # its stub wants a plain dict
        if response is not None:
            response.data = envelope(refusal_of(error, response.status_code))
        return response

    return handle


def refusal_of(error: Exception, status_code: int) -> Refusal:
    """The Refusal in an exception that DRF's handler knows; of a form's errors the details say which field."""
    detail = getattr(error, "detail", None)
    if isinstance(error, exceptions.ValidationError):
        fields = detail if isinstance(detail, dict) else {}
        sentences = [f"{where}: {what}" if where else what for where, what in faults(detail)]
        return Refusal(status_code, "invalid", "; ".join(sentences), fields)
    if detail is None:  # Http404 and PermissionDenied are Django's own
        return Refusal(status_code, HTTPStatus(status_code).name.lower(), str(error) or title(status_code))
    if isinstance(detail, dict):  # simplejwt's {"detail": …, "code": …, "messages": […]}
        return Refusal(status_code, str(detail.get("code", "refused")), str(detail.get("detail", title(status_code))))
    code = getattr(detail, "code", None) or "refused"
    return Refusal(status_code, code, str(detail), getattr(error, "details", {}))


def capital_code(refusal: Refusal) -> str:
    """The code of `refusal` as contracts that shout write it: UNAUTHORIZED, NOT_FOUND, BODY_TOO_LARGE."""
    return {401: "UNAUTHORIZED", 403: "FORBIDDEN"}.get(refusal.status, refusal.code.upper())


def faults(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A form's nested errors: where (`field.field[3]`), and what was wrong there."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            where = f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".lstrip(".")
            yield from faults(inner, path if name == "non_field_errors" else where)
    elif isinstance(detail, list):
        nested = any(isinstance(inner, (dict, list)) for inner in detail)
        for place, inner in enumerate(detail):
            yield from faults(inner, f"{path}[{place}]" if nested else path)
    else:
        yield path, str(detail)


def title(status_code: int) -> str:
    """“404 Not Found”."""
    return f"{status_code} {HTTPStatus(status_code).phrase}"


class Doors:
    """Django's handler400, handler403, handler404 and handler500: JSON under the rooms' paths, pages elsewhere.

    `rooms` maps the beginning of a path to the envelope of the room behind it; the longest beginning wins.
    """

    def __init__(self, rooms: Mapping[str, Envelope]):
        self.rooms = sorted(rooms.items(), key=lambda room: -len(room[0]))

    def envelope_for(self, path: str) -> Envelope | None:
        for prefix, envelope in self.rooms:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return envelope
        return None

    def answer(self, request: HttpRequest, status_code: int, message: str = "") -> JsonResponse | None:
        envelope = self.envelope_for(request.path_info)
        if envelope is None:
            return None
        code = HTTPStatus(status_code).name.lower()
        return JsonResponse(envelope(Refusal(status_code, code, message or title(status_code))), status=status_code)

    def bad_request(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        message = str(exception) if isinstance(exception, BadRequest) else ""
        return self.answer(request, 400, message) or defaults.bad_request(request, exception)

    def permission_denied(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return self.answer(request, 403) or defaults.permission_denied(request, exception)

    def page_not_found(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return self.answer(request, 404) or defaults.page_not_found(request, exception)

    def server_error(self, request: HttpRequest) -> HttpResponse:
        return self.answer(request, 500) or defaults.server_error(request)

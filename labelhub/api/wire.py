"""What goes over the wire in every room: JSON in, of a bounded size and fit to be stored; JSON out."""

import json
import math
import time
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from rest_framework import serializers
from rest_framework.exceptions import APIException, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser

# What json can read it cannot always write: the encoder is called from deeper down. No contract nests anything like it.
DEEPEST = 200
MOST_DROPPED = 64 * 1024 * 1024


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "body_too_large"


class JSONBody(BaseParser):
    """A JSON body up to DATA_UPLOAD_MAX_MEMORY_SIZE bytes (DRF's own parser reads past Django's limit).

    Refused besides what is not JSON: NaN and infinities, and text that no database can keep (NUL, half of a surrogate
    pair). Numbers keep their digits.
    """

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes.")
        try:
            value = json.loads(body.decode("utf-8-sig"), parse_constant=refuse_constant, parse_float=finite)
            check_text(value)
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from error
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error
        return value


def refuse_constant(name: str):
    raise ValueError(f"{name} is not a JSON value")


def finite(digits: str) -> float:
    """The number in `digits`, unless it is too large for a float."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is too large")
    return number


def check_text(value: Any) -> None:
    """ValueError for a string, however deep, that cannot be written to a database, and for what is too deep to write."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if "\0" in item:
                    raise ValueError("a text holds a NUL character")
                if not item.isascii():
                    item.encode("utf-8")  # UnicodeEncodeError, a ValueError, for a lone surrogate
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level, depth = below, depth + 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")


class TextAsSent(serializers.CharField):
    """A text to the letter, blank or not; each room says in `to_internal_value` what it refuses, and in which words."""

    def __init__(self, **options):
        super().__init__(**({"allow_blank": True, "trim_whitespace": False} | options))

    def run_validation(self, data=serializers.empty):
        return serializers.Field.run_validation(self, data)  # CharField's own lets "" pass without a look


class Timed:
    """Middleware: every answer says in Server-Timing how many milliseconds it took (a stream: until it began)."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        began = time.perf_counter()
        response = self.get_response(request)
        response["Server-Timing"] = f"total;dur={(time.perf_counter() - began) * 1000:.1f}"
        return response


class ReadToTheEnd:
    """Middleware: what no view wanted of a body is read and dropped.

    A client that is still sending when the connection is closed sees a broken pipe, not the answer that says why. Who
    sends more than 64 MiB in vain does not get to see it.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        left = 0 if hasattr(request, "_body") else MOST_DROPPED
        try:
            while left > 0 and (dropped := request.read(65_536)):
                left -= len(dropped)
        except OSError:  # the client has gone
            pass
        return response


class KnownLength:
    """Middleware: a body in chunks, without a Content-Length, is refused; Django would take it for an empty one."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
        if chunked and not request.META.get("CONTENT_LENGTH"):
            raise BadRequest("The body came in chunks: send it with a Content-Length.")
        return self.get_response(request)


class AlwaysJSON(DefaultContentNegotiation):
    """A view with one renderer answers with it, whatever the Accept header or `?format=` say."""

    def select_renderer(self, request, renderers, format_suffix=None):
        if len(renderers) == 1:
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)

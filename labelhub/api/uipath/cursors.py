"""The continuation token: the place of the last row given out, sealed to the question it answers.

`<timestamp>.<32 hex>`: the row's moment, then its number and a seal of 16 digits each. The next page begins after
that place whatever was inserted or deleted since, also between rows of the same moment.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework.exceptions import ParseError

TOKEN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?)Z\.([0-9a-f]{16})([0-9a-f]{16})", re.ASCII)


class Place(NamedTuple):
    """Where a row stands in an ordered list."""

    moment: datetime
    number: int


def token_of(place: Place, *, question: Any) -> str:
    """The token for what comes after `place` in the answer to `question` (plain data)."""
    head = f"{place.moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z.{place.number:016x}"
    return head + seal(head, question)


def place_of(token: str, *, question: Any) -> Place:
    """The place behind `token`; a 400 for one that was altered, or given out for another question."""
    found = TOKEN.fullmatch(token)
    if found is None or not constant_time_compare(seal(token[:-16], question), found[3]):
        raise ParseError("The continuation is not one that this server gave out for these filters.")
    return Place(datetime.fromisoformat(found[1]).replace(tzinfo=UTC), int(found[2], 16))


def seal(head: str, question: Any) -> str:
    text = f"{head}\n{json.dumps(question, sort_keys=True)}"
    return salted_hmac("labelhub.api.uipath.cursors", text, algorithm="sha256").hexdigest()[:16]

"""Pages by key: each begins after the last row of the one before, so that the ten thousandth costs what the first does."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.pagination import BasePagination
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from labelhub.heads import first_keys

DEFAULT_LIMIT, MOST = 50, 200
OLDEST, NEWEST = "oldest", "newest"


class BadPage(APIException):
    status_code = 400
    default_code = "invalid_page"


class KeysetPagination(BasePagination):
    """`?limit=` (1 to 200) rows after `?cursor=`, in the order of creation; `next` is the address of the next page.

    Rows that come or go meanwhile move none of the others to another page.
    """

    params = ("limit", "cursor", "order")

    def paginate_queryset(self, queryset: Any, request, view: Any = None) -> list[Any]:
        self.address = request.build_absolute_uri()
        limit, newest = limit_of(request.query_params), self.is_newest_first(request.query_params, view)
        rows = queryset
        if cursor := request.query_params.get("cursor"):
            rows = rows.filter(**{"pk__lt" if newest else "pk__gt": key_of(cursor)})
        key = "-pk" if newest else "pk"
        parts = view.streams(rows, view.asked)
        # The joins of a row are looked up for the page alone.
        rows = view.rows().filter(
            pk__in=first_keys(
                [part.order_by(key) for part in ([rows] if parts is None else parts)], limit + 1, newest_first=newest
            )
        )
        page = list(rows.order_by(key)[: limit + 1])
        self.next = None
        if len(page) > limit:
            page.pop()
            self.next = replace_query_param(self.address, "cursor", cursor_of(page[-1].pk))
        return page

    def is_newest_first(self, params, view) -> bool:
        order = params.get("order", NEWEST if view.newest_first else OLDEST)
        if order not in (OLDEST, NEWEST):
            raise BadPage(f"order is {order!r:.40}; it may be {OLDEST} or {NEWEST}.")
        return order == NEWEST

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.next})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {
                    "type": "string",
                    "format": "uri",
                    "nullable": True,
                    "description": "The address of the next page; null on the last.",
                },
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        first = NEWEST if view.newest_first else OLDEST
        return [
            parameter(
                "limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT}, "Rows a page."
            ),
            parameter("cursor", {"type": "string"}, "Where to go on; take it from `next`."),
            parameter(
                "order", {"type": "string", "enum": [OLDEST, NEWEST], "default": first}, "Which rows come first."
            ),
        ]


def parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def limit_of(params) -> int:
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise BadPage(f"limit is {text!r:.40}; it is a whole number from 1 to {MOST}.")
    return int(text)


def cursor_of(key: int) -> str:
    return urlsafe_b64encode(b"after:%d" % key).decode().rstrip("=")


def key_of(cursor: str) -> int:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (NotBase64, ValueError):
        text = b""
    if not (found := re.fullmatch(rb"after:([0-9]{1,18})", text)):
        raise BadPage("The cursor is not one that this server gave out.")
    return int(found[1])

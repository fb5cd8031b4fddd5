"""POST /api/v1/tasks belongs to two rooms: which of them is meant stands in the body."""

import json
from collections.abc import Callable

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

View = Callable[..., HttpResponseBase]


def by_body(*, native: View, dloopiq: View) -> View:
    """A view that hands a POST whose body has a `project`, or is a list, to `native`, and any other to `dloopiq`.

    DLoopIQ's bodies have type, content and options, and name a project, if any, as `projectId`. Other methods are `native`'s.
    """

    @csrf_exempt  # each room checks for itself, as DRF does: only where a session is what lets the caller in
    def door(request: HttpRequest, *args, **kwargs) -> HttpResponseBase:
        is_dloopiq = request.method == "POST" and not _names_project(request)
        return (dloopiq if is_dloopiq else native)(request, *args, **kwargs)

    return door


def _names_project(request: HttpRequest) -> bool:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError, RequestDataTooBig):  # whichever room it was for refuses it
        return False
    return isinstance(body, list) or (isinstance(body, dict) and "project" in body)

"""/api/v1/tasks belongs to two rooms: a POST to the one its body speaks to; one task is told in the words of both."""

import json
from collections.abc import Callable
from functools import wraps

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from labelhub.api.dloopiq import views as dloopiq
from labelhub.api.dloopiq.serializers import task_body
from labelhub.api.native.views.tasks import TaskViews

View = Callable[..., HttpResponseBase]


def by_body(*, native: View, dloopiq: View) -> View:
    """A view that hands a POST whose body has a `project` to `native`, and any other to `dloopiq`.

    DLoopIQ's bodies have type, content and options, and name a project, if any, as `projectId`. Other methods are `native`'s.
    """

    @wraps(native)  # so that the OpenAPI document finds it
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
    return isinstance(body, dict) and "project" in body


class Tasks(TaskViews):
    """Our own view of tasks, which leaves DLoopIQ's orders to its room and adds its words to what is said of a task."""

    @classmethod
    def as_view(cls, actions=None, **initkwargs):
        view = super().as_view(actions, **initkwargs)
        if (actions or {}).get("post") == "create":
            return by_body(native=view, dloopiq=dloopiq.Tasks.as_view())
        return view

    def retrieve(self, request, *args, **kwargs):
        """One of them."""
        answer = super().retrieve(request, *args, **kwargs)
        said = {name: value for name, value in answer.data.items() if value is not None}
        answer.data = {**answer.data, **task_body(answer.data.serializer.instance), **said}
        return answer

"""The endpoints, a class each: read, call the domain, shape."""

from collections.abc import Iterator

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.response import Response

from exports.files import File, file_of
from labelhub.accounts.roles import Power
from labelhub.api.errors import exception_handler
from samples.models import Task

from .envelope import CODES, DLoopIQView, shared_error
from .orders import expected_ms, place
from .serializers import export_question, order_in, ordered_body


class Exports(DLoopIQView):
    """GET: the caller's tasks as one file, written while it is sent; with three ratios a ZIP of train, val and test."""

    def get(self, request):
        asked = export_question(request.query_params)
        tasks = Task.objects.where(request.user, Power.EXPORT).filter(status=asked.status)
        if asked.project is not None:
            tasks = tasks.filter(project=self.project(asked.project, Power.EXPORT))
        if asked.type is not None:
            tasks = tasks.filter(type=asked.type)
        if asked.locale is not None:
            tasks = tasks.filter(locale=asked.locale)
        file = file_of(tasks, format=asked.format, ratios=asked.ratios)
        return as_sent(file, with_body=request.method != "HEAD")


def as_sent(file: File, *, with_body: bool) -> HttpResponseBase:
    """The answer that carries `file`; what goes wrong before its first page is still an answer of its own."""
    headers = {
        "Content-Type": file.media_type,
        "Content-Disposition": f'attachment; filename="export.{file.extension}"',
        "Cache-Control": "private, no-store",
        "Content-Encoding": "identity",  # keeps the gzip middleware away: it is slower than the database
    }
    if not with_body:
        return HttpResponse(headers=headers)
    chunks = file.chunks()
    return StreamingHttpResponse(begun(next(chunks, b""), chunks), headers=headers)


def begun(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class Tasks(DLoopIQView):
    """POST: ask for a label."""

    def get_exception_handler(self):
        return exception_handler(shared_error, CODES)

    def post(self, request):
        order = order_in(request.data)
        project = None if order.project is None else self.project(order.project, Power.IMPORT)
        task = place(order, by=request.user, project=project)
        answer = Response(ordered_body(task, expected_ms=expected_ms(task.project)), status=201)
        answer["Location"] = f"{request.path}/{task.uid}"
        return answer

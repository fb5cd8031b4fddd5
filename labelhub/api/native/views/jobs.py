"""Background work: how far it is, what came of it, and a way to stop it."""

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.response import Response

from labelhub.api.native import filters, serializers
from labelhub.api.native.envelope import ListRows, NativeViews, ShowRow
from labelhub.jobs import queue
from labelhub.jobs.models import Job


def started(job: Job) -> Response:
    """202: `job` does it, and its address says how far it is."""
    data = serializers.JobRow(job).data
    return Response(data, status=202, headers={"Location": reverse("jobs-detail", args=[job.pk])})


def cancelled(done: bool) -> Response:
    return Response(serializers.Cancelled({"cancelled": done}).data)


class JobViews(ListRows, ShowRow, NativeViews):
    """The caller's own; all of them for a superuser."""

    tag = "jobs"
    joined = Job.objects.select_related("owner")
    serializer_class = serializers.JobRow
    filterset_class = filters.JobFilters
    lookup_value_regex = "[0-9]{1,18}"
    newest_first = True

    def scoped(self, rows):
        return rows.visible_to(self.request.user)

    @extend_schema(request=None, responses={200: serializers.Cancelled})
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk):
        """Stop it: at once where it waits, at its next progress report where it runs."""
        return cancelled(queue.cancel(self.get_object()))

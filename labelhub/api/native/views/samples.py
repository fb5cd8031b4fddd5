"""Samples: read them, correct them, and the steps of review, one or ten thousand at a time."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.response import Response

from labelhub.accounts.roles import Power
from labelhub.api.native import filters, serializers
from labelhub.api.native.envelope import ListRows, NativeViews, ShowRow
from labelhub.api.native.streams import by_status
from samples import review
from samples.errors import NotAllowed
from samples.models import Sample

from .tasks import UID


class SampleViews(ListRows, ShowRow, NativeViews):
    tag = "samples"
    joined = Sample.objects.select_related("project", "reviewed_by")
    serializer_class = serializers.SampleRow
    filterset_class = filters.SampleFilters
    lookup_field = "uid"
    lookup_value_regex = UID

    def streams(self, rows, asked):
        return by_status(self, rows, asked, states=Sample.Status.values)

    @extend_schema(request=serializers.Revision, responses=serializers.SampleRow)
    def partial_update(self, request, uid):
        """Correct the answer; another answer sets the sample back to PENDING."""
        asked = self.read(serializers.Revision)
        with transaction.atomic():
            sample = self.get_object()
            Sample.objects.select_for_update().get(pk=sample.pk)
            self.check_unchanged(sample)
            return self.shown(review.revise(sample, by=request.user, **asked))

    # One -------------------------------------------------------------------------------------------------------------

    @extend_schema(request=None, responses=serializers.SampleRow)
    @action(detail=True, methods=["post"], url_path="approve")
    def approve_one(self, request, uid):
        """Accept one as training data."""
        return self.shown(review.approve(self.get_object(), by=request.user))

    @extend_schema(request=serializers.Reason, responses=serializers.SampleRow)
    @action(detail=True, methods=["post"], url_path="reject")
    def reject_one(self, request, uid):
        """Turn one down, saying why."""
        return self.shown(review.reject(self.get_object(), by=request.user, **self.read(serializers.Reason)))

    @extend_schema(request=serializers.PerhapsReason, responses=serializers.SampleRow)
    @action(detail=True, methods=["post"], url_path="reopen")
    def reopen_one(self, request, uid):
        """Put one back among the pending."""
        return self.shown(review.reopen(self.get_object(), by=request.user, **self.read(serializers.PerhapsReason)))

    # Many ------------------------------------------------------------------------------------------------------------

    @extend_schema("samples_approve_many", request=serializers.Selection, responses={200: serializers.ReviewedSamples})
    @action(detail=False, methods=["post"])
    def approve(self, request):
        """Accept those that can be; the others are counted by cause, and named where they were asked for by ids."""
        return self.step(review.APPROVE, review.approve_all, self.read(serializers.Selection))

    @extend_schema("samples_reject_many", request=serializers.Rejection, responses={200: serializers.ReviewedSamples})
    @action(detail=False, methods=["post"])
    def reject(self, request):
        """Turn down those that can be, all for one reason."""
        return self.step(review.REJECT, review.reject_all, self.read(serializers.Rejection))

    @extend_schema("samples_reopen_many", request=serializers.Reopening, responses={200: serializers.ReviewedSamples})
    @action(detail=False, methods=["post"])
    def reopen(self, request):
        """Put approved or rejected ones back among the pending."""
        return self.step(review.REOPEN, review.reopen_all, self.read(serializers.Reopening))

    @transaction.atomic
    def step(self, step: review.Step, verb: Callable[..., review.Reviewed], asked: dict[str, Any]) -> Response:
        ids, wanted = asked.pop("ids", None), asked.pop("filter", None)
        chosen = Sample.objects.visible_to(self.request.user)
        refused: list[tuple[str, str]] = []
        if ids is not None:
            chosen = chosen.filter(uid__in=ids)
            refused = refused_of(step, chosen, ids, by=self.request.user)
        else:
            self.project(wanted["project"], Power.REVIEW)
            chosen = filters.found_by(filters.SampleFilters, wanted, chosen, self.request)
        reviewed = verb(chosen, by=self.request.user, **asked)
        if not reviewed.done and set(reviewed.causes) == {NotAllowed.code}:
            raise NotAllowed(f"{self.request.user} may not {Power.REVIEW.label} here", power=Power.REVIEW.value)
        causes = dict(reviewed.causes)
        if missing := sum(code == NOT_FOUND for _, code in refused):
            causes[NOT_FOUND] = missing
        told = {
            "done": reviewed.done,
            "refused": reviewed.refused + missing,
            "causes": causes,
            "refused_samples": [{"id": uid, "code": code} for uid, code in refused],
        }
        return Response(serializers.ReviewedSamples(told).data)


NOT_FOUND = "not_found"


def refused_of(step: review.Step, chosen: QuerySet[Sample], ids: list[str], *, by) -> list[tuple[str, str]]:
    """(id, code) of those of `ids` that the step will leave as they are, in the order of `ids`."""
    codes = review.hindered(step, chosen, by=by)
    return [(uid, code) for uid in dict.fromkeys(ids) if (code := codes.get(uid, NOT_FOUND))]

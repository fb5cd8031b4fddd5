"""Doubts: verdicts that a model would not have given, to be looked at."""

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action

from labelhub.api.native import filters, serializers
from labelhub.api.native.envelope import ListRows, NativeViews, ShowRow
from samples import doubting
from samples.models import Doubt


class DoubtViews(ListRows, ShowRow, NativeViews):
    """Of the projects in which the caller may review."""

    tag = "doubts"
    joined = Doubt.objects.select_related("task__project", "project", "looked_at_by")
    serializer_class = serializers.DoubtRow
    filterset_class = filters.DoubtFilters
    lookup_value_regex = "[0-9]{1,18}"

    def scoped(self, rows):
        return rows.visible_to(self.request.user)

    @extend_schema(request=None, responses=serializers.DoubtRow)
    @action(detail=True, methods=["post"])
    def keep(self, request, pk):
        """The verdict is right; the model is not asked about it again."""
        return self.shown(doubting.keep(self.get_object(), by=request.user))

    @extend_schema(request=None, responses=serializers.DoubtRow)
    @action(detail=True, methods=["post"])
    def correct(self, request, pk):
        """The model is right: the sample takes its word, and waits for approval."""
        return self.shown(doubting.correct(self.get_object(), by=request.user))

    @extend_schema(request=None, responses=serializers.DoubtRow)
    @action(detail=True, methods=["post"])
    def reopen(self, request, pk):
        """Somebody else is to decide: the sample goes back among those to review."""
        return self.shown(doubting.reopen(self.get_object(), by=request.user))

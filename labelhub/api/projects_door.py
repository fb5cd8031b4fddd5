"""GET /api/v1/projects is told in the words of two rooms: our own page, and beside it the list UiPath's clients know."""

from labelhub.api.native.views.projects import ProjectViews
from labelhub.api.uipath import shapes
from samples.models import Project


class Projects(ProjectViews):
    """Our own view of projects; asked without a word of ours, its list has theirs beside it."""

    def list(self, request, *args, **kwargs):
        """A page of them."""
        answer = super().list(request, *args, **kwargs)
        if not request.query_params:
            visible = Project.objects.visible_to(request.user)
            answer.data = {**answer.data, "projects": [shapes.project(row) for row in visible], "status": "ok"}
        return answer

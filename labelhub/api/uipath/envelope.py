"""How this room answers: `{"status": "ok", …}`, or `{"status": "error", "message": …}`; and who may come how far."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.exceptions import MethodNotAllowed, NotFound, PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from labelhub.api.errors import Codes, Refusal, exception_handler, faults, title
from labelhub.facts import Fact
from samples import errors
from samples.models import Dataset, Project, Source

from .powers import PERMISSIONS

CODES: Codes = {
    errors.NotAllowed: 403,
    errors.NameTaken: 409,
    errors.AlreadyThere: 409,
    errors.StillNeeded: 409,
    errors.WrongState: 409,
    errors.LabelInUse: 409,
    Fact: 400,
}


def error(refusal: Refusal) -> dict[str, Any]:
    """The sentence first, as clients search for its beginning; the field it is about after it."""
    message = refusal.message
    if refusal.code == "invalid":
        message = (
            "; ".join(f"{what} ({where})" if where else what for where, what in faults(refusal.details)) or message
        )
    return {"status": "error", "message": message}


def ok(**payload) -> Response:
    return Response({**payload, "status": "ok"})


class UiPathView(APIView):
    """One endpoint; `needs` names the contract's permission for each method that is bound to a project."""

    http_method_names = ["get", "post", "put", "delete", "head"]
    needs: ClassVar[Mapping[str, str]] = {}

    def get_exception_handler(self):
        return exception_handler(error, CODES)

    def http_method_not_allowed(self, request, *args, **kwargs):
        raise MethodNotAllowed(request.method, title(405))

    def read(self, form, data=None) -> dict[str, Any]:
        """The request's body (or `data`) as the serializer class `form` understands it; a 400 where it does not."""
        given = form(data=self.request.data if data is None else data)
        given.is_valid(raise_exception=True)
        return given.validated_data

    def projects(self) -> QuerySet[Project]:
        return Project.objects.visible_to(self.request.user)

    def project(self, name: str) -> Project:
        """The project called `name`: 404 where the caller cannot see it, 403 where he may not do this in it."""
        project = self.projects().filter(name=name).first()
        if project is None:
            raise NotFound(f"No such project: {name}")
        return self.permitted(project)

    def dataset(self, project: str = "", name: str = "", uid: str = "") -> Dataset:
        return self._owned(Dataset, project, name, uid)

    def source(self, project: str = "", name: str = "", uid: str = "") -> Source:
        return self._owned(Source, project, name, uid)

    def _owned(self, model, project: str, name: str, uid: str):
        """The row of `model` at `project`/`name`, or of that id, under the same rules as a project."""
        kind = model._meta.verbose_name
        rows = model.objects.filter(project__in=self.projects()).select_related("project")
        if uid:
            row = rows.filter(uid=uid).first()
            if row is None:
                raise NotFound(f"No such {kind}: {uid}")
        else:
            row = rows.filter(project__name=project, name=name).first()
            if row is None:
                self.project(project)
                raise NotFound(f"No such {kind}: {project}/{name}")
        self.permitted(row.project)
        return row

    def permitted(self, project: Project) -> Project:
        method = "GET" if self.request.method == "HEAD" else self.request.method
        permission = self.needs.get(method or "")
        if permission is None:
            return project
        power = PERMISSIONS[permission]
        if not Project.objects.where(self.request.user, power).filter(pk=project.pk).exists():
            raise PermissionDenied(f"This needs the permission {permission} in the project {project.name}.")
        return project

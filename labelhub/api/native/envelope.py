"""What every view of this room shares: who may come how far, how facts become codes, how a row says that it changed."""

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.utils.cache import get_conditional_response
from django.utils.http import parse_etags
from rest_framework.exceptions import APIException, MethodNotAllowed, NotFound
from rest_framework.metadata import BaseMetadata
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from exports import errors as export_errors
from labelhub.accounts.roles import Power
from labelhub.api.errors import Codes, exception_handler
from labelhub.facts import Fact
from samples import errors as sample_errors
from samples.models import Project
from samples.permissions import require

from .filters import Filters
from .pagination import KeysetPagination

CODES: Codes = {
    sample_errors.NotAllowed: 403,
    sample_errors.OwnWork: 403,
    sample_errors.NameTaken: 409,
    sample_errors.AlreadyThere: 409,
    sample_errors.StillNeeded: 409,
    sample_errors.WrongState: 409,
    sample_errors.NotSettled: 409,
    sample_errors.LabelInUse: 409,
    export_errors.WrongState: 409,
    export_errors.NotReady: 409,
    export_errors.NotApproved: 409,
    export_errors.NoCurve: 409,
    export_errors.OutOfReach: 409,
    export_errors.AlreadyExported: 409,
    export_errors.AlreadyStarted: 409,
    export_errors.ProviderRefused: 502,
    export_errors.UnreadableKey: 502,
    export_errors.ProviderDown: 502,
    export_errors.ProviderTimeout: 504,
    export_errors.ProviderBusy: 503,
    Fact: 400,
}


class Changed(APIException):
    """If-Match named another state of the row than the one it is in."""

    status_code = 412
    default_code = "precondition_failed"
    default_detail = "It has changed since you read it: read it again, then decide."


class Methods(BaseMetadata):
    """What OPTIONS says: the methods there are. The rest is in /api/schema."""

    def determine_metadata(self, request, view):
        return {"methods": view.allowed_methods}


class NativeViews(GenericViewSet):
    """The views of one noun.

    `joined` carries the joins a row needs, `scoped` cuts it down to what the caller may see, `lookup_field` is the row's
    name in addresses.
    """

    metadata_class = Methods
    renderer_classes = [JSONRenderer]
    pagination_class = KeysetPagination
    filter_backends = [Filters]
    joined: ClassVar[QuerySet[Any]]
    tag: ClassVar[str]
    newest_first = False
    asked: Mapping[str, Any] = {}  # what the filters understood

    def get_exception_handler(self):
        return exception_handler(codes=CODES)

    def http_method_not_allowed(self, request, *args, **kwargs):
        allowed = ", ".join(self.allowed_methods)
        raise MethodNotAllowed(request.method, f"{request.method} is not possible here; {allowed} are.")

    # Rows -------------------------------------------------------------------------------------------------------------

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.joined.none()
        return self.scoped(self.rows())

    def rows(self) -> QuerySet[Any]:
        """Everybody's rows, with the joins that their shape needs."""
        return self.joined.all()

    def scoped(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Those of `rows` that the caller may see."""
        return rows if self.sees_all else rows.filter(project__in=self.visible)

    @property
    def sees_all(self) -> bool:
        return self.request.user.is_superuser

    @cached_property
    def visible(self) -> list[int]:
        """The ids of the projects the caller can see: looked up once, so that lists join nothing for it."""
        return list(Project.objects.visible_to(self.request.user).order_by().values_list("pk", flat=True))

    def all_projects(self) -> list[int]:
        """The ids of every project there is, for who sees them all."""
        return list(Project.objects.order_by().values_list("pk", flat=True))

    def project(self, name: str, power: Power | None = None) -> Project:
        """The project called `name`: 404 where the caller cannot see it, 403 where he lacks `power` in it."""
        project = Project.objects.visible_to(self.request.user).filter(name=name).first()
        if project is None:
            raise NotFound(f"There is no project {name!r}.")
        if power is not None:
            require(self.request.user, power, project)
        return project

    def lookup(self, rows: QuerySet[Any], **named: Any) -> Any:
        """The one of `rows` that is `named` so; a 404 that says what there is none of."""
        row = rows.filter(**named).first()
        if row is None:
            raise NotFound(f"There is no {rows.model._meta.verbose_name} {next(iter(named.values()))!r}.")
        return row

    def streams(self, rows: QuerySet[Any], asked: Mapping[str, Any]) -> list[QuerySet[Any]] | None:
        """`rows` in parts that an index gives in the order of their keys; None where the table itself will do."""
        return None

    # Bodies -----------------------------------------------------------------------------------------------------------

    def read(self, form: type[Serializer], **context: Any) -> dict[str, Any]:
        """The request's body as `form` understands it; a 400 where it does not."""
        given = form(data=self.request.data, context={"request": self.request, "view": self, **context})
        given.is_valid(raise_exception=True)
        return given.validated_data

    def shown(self, row: Model, status: int = 200, **headers: str) -> Response:
        """`row` as the answer, read again with the joins its shape needs."""
        return Response(self.get_serializer(self.rows().get(pk=row.pk)).data, status=status, headers=headers)

    # Conditional requests ---------------------------------------------------------------------------------------------

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.action in ("retrieve", "partial_update") and response.status_code == 200:
            response.render()
            response["ETag"] = etag_of(response.content)
            response["Cache-Control"] = "private, no-cache"
            if self.action == "retrieve":
                return get_conditional_response(request, etag=response["ETag"], response=response)
        return response

    def check_unchanged(self, row: Model) -> None:
        """Changed (412), where If-Match names other states of `row` than the present one."""
        wanted = self.request.headers.get("If-Match", "").strip()
        if not wanted or wanted == "*":
            return
        # Compressing an answer makes its tag a weak one; what it stands for is the same.
        known = {tag.removeprefix("W/") for tag in parse_etags(wanted)}
        shown = self.rows().get(pk=row.pk)
        if etag_of(JSONRenderer().render(self.get_serializer(shown).data)) not in known:
            raise Changed


def etag_of(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:32]}"'


class ListRows:
    """GET on the noun: a page of rows."""

    def list(self, request, *args, **kwargs):
        """A page of them."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))  # type: ignore[attr-defined]
        return self.get_paginated_response(self.get_serializer(page, many=True).data)  # type: ignore[attr-defined]


class ShowRow:
    """GET on one row."""

    def retrieve(self, request, *args, **kwargs):
        """One of them."""
        return Response(self.get_serializer(self.get_object()).data)  # type: ignore[attr-defined]

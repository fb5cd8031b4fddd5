"""The OpenAPI document: what the views cannot say of themselves: who may enter, how everything is refused, what is kept."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from .idempotency import HEADER
from .serializers import ErrorBody

ENTERING = "authentication"
READING = {
    400: "A parameter is wrong; the details say which.",
    401: "No token, or one that is not (or no longer) good.",
    404: "There is none of that name, or none that the caller can see.",
    503: "The database is busy; ask again a moment later.",
}
WRITING = {
    400: "The body or a parameter is wrong; the details say which field.",
    403: "The caller's role in the project does not reach that far.",
    409: "It does not go with the state things are in, or one of that name is there.",
    413: "The body is larger than DATA_UPLOAD_MAX_BYTES.",
    415: "The body is of another type than JSON.",
}
ASKING = {502: "The provider cannot be reached, or refused.", 504: "The provider did not answer in time."}
UNCHANGED = {412: "It has changed since the state that If-Match names."}
REUSED = {422: f"The {HEADER} came with another request before."}


class Described(AutoSchema):
    """drf-spectacular's reading of a view, with the room's refusals, headers and tags."""

    def get_tags(self) -> list[str]:
        return [getattr(self.view, "tag", ENTERING)]

    def get_summary(self) -> str | None:
        [noun] = self.get_tags()
        if self.action() == "list":
            return f"A page of {noun}."
        if self.action() == "retrieve":
            return f"One of the {noun}."
        return super().get_description().partition("\n")[0]

    def get_description(self) -> str:  # type: ignore[override]
        return super().get_description().partition("\n")[2].strip()

    def get_override_parameters(self) -> list[Any]:
        return [*super().get_override_parameters(), *self.headers()]

    def headers(self) -> list[OpenApiParameter]:
        place: Any = OpenApiParameter.HEADER
        if self.is_idempotent():
            text = "1 to 128 characters of your own; the same request with the same key does its work once, for a day."
            return [OpenApiParameter(HEADER, str, place, description=text)]
        if self.action() == "retrieve":
            return [OpenApiParameter("If-None-Match", str, place, description="An ETag: 304 where it still is so.")]
        if self.action() == "partial_update":
            return [OpenApiParameter("If-Match", str, place, description="An ETag: 412 where it is no longer so.")]
        return []

    def action(self) -> str:
        return getattr(self.view, "action", None) or ""

    def is_idempotent(self) -> bool:
        return hasattr(getattr(self.view, self.action(), None), "is_idempotent")

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        for status, text in self.refusals().items():
            bodies.setdefault(str(status), self._get_response_for_code(OpenApiResponse(ErrorBody, text), str(status)))
        if self.action() == "retrieve":
            bodies["304"] = {"description": "It is as If-None-Match says."}
        return dict(sorted(bodies.items()))

    def refusals(self) -> dict[int, str]:
        found = dict(READING)
        if self.get_tags() == [ENTERING]:
            found |= {429: "Too many failed log-ins; Retry-After says when to come back."}
        if self.method != "GET":
            found |= WRITING
        elif self.action() == "file" or self.action() == "manifest":
            found[409] = "It has no file, not yet or not any more."
        if self.action() == "refresh":
            found |= ASKING
        if self.action() == "file":
            found[416] = "The range begins where the file has ended."
        if self.action() == "partial_update":
            found |= UNCHANGED
        if self.is_idempotent():
            found |= REUSED
        return dict(sorted(found.items()))


class Bearer(OpenApiAuthenticationExtension):
    target_class = "labelhub.api.authentication.BearerAuthentication"
    name = "bearer"
    priority = 1

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        text = "A JWT from /api/auth/token, or an access key as `<id>.<secret>`."
        return {"type": "http", "scheme": "bearer", "description": text}


def ours_only(endpoints, **kwargs):
    """The rooms of outside contracts are described by their contracts, not here."""
    ours = ("labelhub.api.native.", "labelhub.api.tasks_door", "labelhub.api.projects_door", "labelhub.api.tokens")
    return [endpoint for endpoint in endpoints if endpoint[3].cls.__module__.startswith(ours)]

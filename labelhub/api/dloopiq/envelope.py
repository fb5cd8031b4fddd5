"""How this room answers: what was asked for as it is, or `{"code": "INVALID_TYPE", "message": "…"}`."""

from typing import Any

from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.views import APIView

from exports import errors as exports
from labelhub.accounts.roles import Power
from labelhub.api.errors import Codes, Refusal, capital_code, exception_handler
from samples import errors as samples
from samples.models import Project
from samples.task_types import InvalidAnswer, UnknownTaskType

CODES: Codes = {
    UnknownTaskType: (400, "INVALID_TYPE"),
    InvalidAnswer: (400, "INVALID_TASK"),
    samples.InvalidValue: (400, "INVALID_TASK"),
    samples.NotAllowed: (403, "FORBIDDEN"),
    exports.UnknownFormat: (400, "INVALID_FORMAT"),
    exports.BadSplit: (400, "INVALID_RATIOS"),
    exports.BadPrompts: (409, "INVALID_PROMPTS"),
}


class Wrong(APIException):
    """A 400 under one of the contract's codes: Wrong("…", "MISSING_FIELDS")."""

    status_code = 400


def error(refusal: Refusal) -> dict[str, Any]:
    return {"code": capital_code(refusal), "message": refusal.message}


def shared_error(refusal: Refusal) -> dict[str, Any]:
    """The same at the address that our own API shares: its clients find their words in it too."""
    return {**error(refusal), "status": "error", "details": dict(refusal.details)}


class DLoopIQView(APIView):
    metadata_class = None  # OPTIONS is 405 like any other method that is not there

    def get_exception_handler(self):
        return exception_handler(error, CODES)

    def project(self, named: str, power: Power) -> Project:
        """The project of that id or name: 404 where the caller cannot see it, 403 where he does not hold `power` in it."""
        visible = Project.objects.visible_to(self.request.user)
        found = visible.filter(uid=named).first() or visible.filter(name=named).first()
        if found is None:
            raise NotFound(f"No such project: {named[:80]}")
        if not Project.objects.where(self.request.user, power).filter(pk=found.pk).exists():
            raise PermissionDenied(f"You may not {power.label} in the project {found.name}.")
        return found

"""How this room answers: `{"code": "SUCCESS", "data": …}`, or `{"code": "EMPTY_SAMPLES", "message": "…"}`; who may enter."""

from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from exports import errors
from labelhub.api.errors import Codes, Refusal, capital_code, exception_handler
from labelhub.api.words import LABEL_BACKEND, powers
from samples.errors import NotAllowed
from samples.models import Project

ADMIN = powers(LABEL_BACKEND)["ADMIN"]

CODES: Codes = {
    errors.EmptyBatch: (400, "INVALID_SAMPLES"),
    errors.NotApproved: (400, "INVALID_SAMPLES"),
    errors.AlreadyExported: (400, "INVALID_SAMPLES"),
    errors.AlreadyStarted: (409, "FINETUNE_ALREADY_STARTED"),
    errors.NotReady: (409, "BATCH_NOT_READY"),
    errors.Unsuitable: (409, "BATCH_UNSUITABLE"),
    errors.DestinationRefused: (502, "STORAGE_REFUSED"),
    errors.ProviderRefused: (502, "PROVIDER_REFUSED"),
    errors.ProviderDown: (502, "PROVIDER_DOWN"),
    errors.ProviderTimeout: (504, "PROVIDER_TIMEOUT"),
    errors.ProviderBusy: (503, "PROVIDER_BUSY"),
    errors.UnsafeAddress: (502, "PROVIDER_REFUSED"),
    errors.UnreadableKey: (502, "PROVIDER_REFUSED"),
    errors.UnknownProvider: (500, "PROVIDER_UNKNOWN"),
    NotAllowed: (403, "FORBIDDEN"),
}


class Wrong(APIException):
    """A 400: Wrong("…", "EMPTY_SAMPLES")."""

    status_code = 400
    default_code = "INVALID_PARAMETER"


def error(refusal: Refusal) -> dict[str, Any]:
    return {"code": capital_code(refusal), "message": refusal.message}


def success(data: Any, *, status: int = 200) -> Response:
    return Response({"code": "SUCCESS", "data": data}, status=status)


class IsAdministrator(BasePermission):
    """A superuser, or who manages a project."""

    message = "This is for administrators: it takes the role of manager in a project."

    def has_permission(self, request, view):
        return request.user.is_superuser or Project.objects.where(request.user, ADMIN).exists()


class LabelBackendView(APIView):
    metadata_class = None  # OPTIONS is 405 like any other method that is not there
    permission_classes = [IsAuthenticated, IsAdministrator]

    def get_exception_handler(self):
        return exception_handler(error, CODES)

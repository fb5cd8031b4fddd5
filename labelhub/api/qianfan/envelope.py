"""How this room answers, in V1 and in V2, and who may enter: the holder of an access key that signed, or of a bearer token."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from exports.errors import DestinationRefused
from labelhub.accounts import keys
from labelhub.accounts.models import new_uid
from labelhub.accounts.roles import Power
from labelhub.api.authentication import BearerAuthentication
from labelhub.api.errors import Codes, Refusal, exception_handler
from labelhub.facts import Fact
from samples import errors
from samples.models import Dataset, Project

from . import signature

# Of the request itself: an HTTP error under the platform's own code, in V1 and V2 alike.
# code: message, and the header's words where the clients look for them to say which key is wrong.
GATEWAY: Mapping[str, tuple[str, str]] = {
    "AccessDenied": ("Access denied.", ""),
    "InvalidAccessKeyId": (
        "The Access Key ID you provided does not exist in our records.",
        "NotFound, cause: Could not find credential.",
    ),
    "SignatureDoesNotMatch": (
        "The request signature we calculated does not match the signature you provided. "
        "Check your Secret Access Key and signing method.",
        "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
    ),
    "RequestExpired": ("Request has expired.", ""),
    "InvalidHTTPAuthHeader": ("The HTTP authorization header is invalid.", ""),
    "MalformedJSON": ("The JSON you provided was not well-formed.", ""),
    "InvalidHTTPRequest": ("The HTTP request is not one of this API.", ""),
    "InvalidURI": ("There is nothing at this address.", ""),
    "EntityTooLarge": ("The body is too large.", ""),
    "TooManyRequests": ("Too many requests.", ""),
    "ServiceUnavailable": ("The service is busy; try again in a moment.", ""),
    "InternalError": ("We encountered an internal error. Please try again.", ""),
}
BY_STATUS = {
    400: "InvalidHTTPRequest",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "InvalidURI",
    405: "InvalidHTTPRequest",
    413: "EntityTooLarge",
    415: "InvalidHTTPRequest",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
BY_CODE = {"parse_error": "MalformedJSON"}

INTERNAL, PARAM_INVALID, NO_ACCESS = 500000, 500001, 500002
V1_SAYS = {INTERNAL: "internal server error", PARAM_INVALID: "param invalid", NO_ACCESS: "auth failed, no access"}


class UnknownKey(Fact):
    """No active access key of that id."""

    code = "unknown_key"


class NoSuchThing(APIException):
    """No dataset, entity or task of that id among what the caller may see: a wrong parameter, says the platform."""

    status_code = 400
    default_code = "no_such_thing"


CODES: Codes = {
    UnknownKey: (403, "InvalidAccessKeyId"),
    signature.Mismatch: (400, "SignatureDoesNotMatch"),
    signature.Expired: (400, "RequestExpired"),
    signature.Malformed: (400, "InvalidHTTPAuthHeader"),
    errors.NotAllowed: (403, "no_access"),
    DestinationRefused: (400, "param_invalid"),
    Fact: (400, "param_invalid"),
}
OF_PARAMETERS = {
    "invalid": PARAM_INVALID,
    "param_invalid": PARAM_INVALID,
    "no_such_thing": PARAM_INVALID,
    "no_access": NO_ACCESS,
}


class SignatureAuthentication(BaseAuthentication):
    """`Authorization: bce-auth-v1/…`: whoever holds the secret of the access key that it names."""

    def authenticate(self, request):
        header = request.META.get("HTTP_AUTHORIZATION", "").strip()
        if not header.startswith("bce-auth-"):
            return None
        authorization = signature.parse(header)
        found = keys.key_that_signs(authorization.key_id)
        if found is None:
            raise UnknownKey("the access key is unknown, revoked or expired")
        key, secret = found
        signed = signature.Signed(
            method=request.method,
            path=request.path_info,  # the clients sign the path without the prefix of their base URL
            query=request.META.get("QUERY_STRING", ""),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        signature.check(authorization, secret=secret, request=signed, now=timezone.now())
        keys.touch(key)
        return key.user, key


# Answers --------------------------------------------------------------------------------------------------------------


def request_id() -> str:
    """Sixteen digits that name this request in our log too: its `request_id` begins with them."""
    logged = str(structlog.contextvars.get_contextvars().get("request_id", "")).replace("-", "")
    return logged[:16] if re.match(r"[0-9a-f]{16}", logged) else new_uid()


def ok(result: Any) -> Response:
    return Response({"log_id": request_id(), "result": result, "status": 200, "success": True})


def ok_v2(result: Any) -> Response:
    return Response({"requestId": request_id(), "result": result})


def gateway_error(refusal: Refusal) -> dict[str, Any]:
    """What is wrong with the request itself, for V1 and V2; the reason follows the platform's own words."""
    code = BY_CODE.get(refusal.code, refusal.code if refusal.code in GATEWAY else BY_STATUS.get(refusal.status))
    code = code or "InternalError"
    message, _ = GATEWAY[code]
    hides_more = code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InternalError")
    told = message if hides_more or refusal.message in message else f"{message} {refusal.message}"
    return {"requestId": request_id(), "code": code, "message": told}


def error(refusal: Refusal) -> dict[str, Any]:
    """V1: the shape of an answer, without a result; of the request itself, the platform's."""
    code = INTERNAL if refusal.status == 500 else OF_PARAMETERS.get(refusal.code)
    if code is None:
        return gateway_error(refusal)
    said = V1_SAYS[code] if code == INTERNAL else f"{V1_SAYS[code]}: {refusal.message}"
    return {
        "log_id": request_id(),
        "result": None,
        "status": {INTERNAL: 500, NO_ACCESS: 403}.get(code, 400),
        "success": False,
        "code": code,
        "message": said,
    }


def error_v2(refusal: Refusal) -> dict[str, Any]:
    """V2: one shape for everything."""
    if refusal.code not in OF_PARAMETERS:
        return gateway_error(refusal)
    if refusal.code == "no_access":
        return {"requestId": request_id(), "code": "AccessDenied", "message": f"Access denied. {refusal.message}"}
    fields = [name for name in refusal.details if name != "non_field_errors"] if refusal.code == "invalid" else []
    named = f"param[{fields[0]}] invalid. " if fields else ""
    message = "The JSON you provided was well-formed and valid, but not appropriate for this operation."
    return {
        "requestId": request_id(),
        "code": "InappropriateJSON",
        "message": f"{message} {named}{refusal.message}",
    }


def handler(envelope: Callable[[Refusal], dict[str, Any]]) -> Callable:
    """The room's exception handler: V1 says with HTTP 200 what is wrong with parameters; the rest has headers of its own."""
    handle = exception_handler(envelope, CODES)

    def answer(failure: Exception, context: Mapping[str, Any]) -> Response | None:
        response = handle(failure, context)
        if response is None:
            return None
        told = response.data
        if "log_id" in told:
            response.status_code = 200
            return response
        response["x-bce-request-id"] = told["requestId"]
        response["X-Bce-Error-Code"] = told["code"]
        words = GATEWAY.get(told["code"], ("", ""))[1] or told["message"]
        response["X-Bce-Error-Message"] = re.sub(r"[^ -~]+", "?", words)[:500]
        return response

    return answer


class QianfanView(APIView):
    """One endpoint of V1: POST, JSON in and out."""

    authentication_classes = (SignatureAuthentication, BearerAuthentication)
    http_method_names = ["post"]
    envelope = staticmethod(error)

    def get_exception_handler(self):
        return handler(self.envelope)

    def read(self, form) -> dict[str, Any]:
        """The request's body as the serializer class `form` understands it."""
        if not isinstance(self.request.data, dict):
            raise ValidationError(f"the body is not an object: {self.request.data!r:.80}")
        given = form(data=self.request.data)
        given.is_valid(raise_exception=True)
        return given.validated_data

    def projects(self) -> QuerySet[Project]:
        return Project.objects.visible_to(self.request.user)

    def datasets(self) -> QuerySet[Dataset]:
        return Dataset.objects.filter(project__in=self.projects()).select_related("project")

    def dataset(self, asked: str | int, power: Power = Power.VIEW) -> Dataset:
        """The dataset of that id, `ds-…` or the older number; refused where the caller may not do this in its project."""
        found = self.datasets().filter(uid=asked[3:]) if isinstance(asked, str) else self.datasets().filter(pk=asked)
        row = found.first()
        if row is None:
            raise NoSuchThing(f"no such dataset: {asked}")
        if power != Power.VIEW:
            self.permitted(row.project, power)
        return row

    def permitted(self, project: Project, power: Power) -> None:
        if not Project.objects.where(self.request.user, power).filter(pk=project.pk).exists():
            raise PermissionDenied(f"you may not {power.label} in {project.name}", "no_access")

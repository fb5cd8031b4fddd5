"""Idempotency-Key: the same request sent twice does its work once, and both are told the same.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from labelhub.accounts.models import IdempotencyKey

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
PATIENCE = timedelta(seconds=60)  # who has not answered by then is taken for dead
LONGEST = 128


class BadKey(APIException):
    status_code = 400
    default_code = "invalid_idempotency_key"
    default_detail = f"{HEADER} is 1 to {LONGEST} visible ASCII characters."


class KeyReused(APIException):
    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = f"This {HEADER} came with another request before: take a new one."


class StillRunning(APIException):
    status_code = 409
    default_code = "still_running"
    default_detail = "The same request is being answered at the moment; ask again in a second."
    wait = 1  # becomes Retry-After


def idempotent(handler: Callable) -> Callable:
    """Let a view's method that starts work heed Idempotency-Key.

    What it did and what it answered are committed together. A refusal is not kept: nothing was done, and the same
    request may fare better later.
    """

    @wraps(handler)
    def heeding(self, request, *args, **kwargs):
        key = request.headers.get(HEADER)
        if key is None:
            return handler(self, request, *args, **kwargs)
        if not 1 <= len(key) <= LONGEST or not all("!" <= letter <= "~" for letter in key):
            raise BadKey
        kept, token = _begin(request, key)
        if token is None:
            return _again(kept)
        try:
            with transaction.atomic():
                response = handler(self, request, *args, **kwargs)
                _keep(kept, token, response)
        except BaseException:
            _mine(kept, token).delete()
            raise
        return response

    heeding.is_idempotent = True  # type: ignore[attr-defined]  # read by schema.py
    return heeding


def _begin(request, key: str) -> tuple[IdempotencyKey, Any]:
    """The row of `key`, and the mark under which it is now this request's; None where it was answered before."""
    now = timezone.now()
    IdempotencyKey.objects.filter(created_at__lt=now - KEPT).delete()
    asked = {"route": f"{request.method} {request.path}"[:300], "fingerprint": fingerprint(request)}
    mark = now + PATIENCE
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(user=request.user, key=key, busy_until=mark, **asked), mark
    except IntegrityError:
        kept = IdempotencyKey.objects.filter(user=request.user, key=key).first()
    if kept is None:  # refused, and forgotten, this very moment
        raise StillRunning
    if (kept.route, kept.fingerprint) != (asked["route"], asked["fingerprint"]):
        raise KeyReused
    if kept.status is not None:
        return kept, None
    if not IdempotencyKey.objects.filter(pk=kept.pk, status=None, busy_until__lt=now).update(busy_until=mark):
        raise StillRunning
    return kept, mark


def _mine(kept: IdempotencyKey, mark):
    return IdempotencyKey.objects.filter(pk=kept.pk, status=None, busy_until=mark)


def _keep(kept: IdempotencyKey, mark, response: Response) -> None:
    body = JSONRenderer().render(response.data).decode()
    location = response.headers.get("Location", "")
    if not _mine(kept, mark).update(status=response.status_code, body=body, location=location):
        raise StillRunning  # it took too long, and another request took over: undo this one


def _again(kept: IdempotencyKey) -> Response:
    response = Response(json.loads(kept.body) if kept.body else None, status=kept.status)
    response["Idempotency-Replayed"] = "true"
    if kept.location:
        response["Location"] = kept.location
    return response


def fingerprint(request) -> str:
    """What two requests must share to be the same: the body as it was understood, files by their content."""
    seen = sha256()
    files = request.FILES
    data = request.data
    fields = {name: data.getlist(name) for name in data if name not in files} if hasattr(data, "getlist") else data
    seen.update(json.dumps(fields, sort_keys=True, default=str).encode())
    for name in sorted(files):
        seen.update(f"\n{name} {files[name].name} {files[name].size}\n".encode())
        for chunk in files[name].chunks():
            seen.update(chunk)
        files[name].seek(0)
    return seen.hexdigest()

"""Addresses that open one file for a while, for programs that carry no key: presigned by the store, or signed here."""

from typing import Any

from django.conf import settings
from django.core import signing
from django.http import Http404, HttpRequest
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from exports import batching, downloads
from exports.errors import NotReady
from exports.models import Batch

SALT = "labelhub.api.links"


def token_of(kind: str, what: Any) -> str:
    """A token for `what` (plain data), good for LINK_SECONDS; it opens doors of that `kind` only."""
    return signing.dumps(what, salt=f"{SALT}.{kind}", compress=True)


def opened(kind: str, token: str) -> Any:
    """What `token` was made for; 404 where it was not made here for that kind, or its time is over."""
    try:
        return signing.loads(token, salt=f"{SALT}.{kind}", max_age=settings.LINK_SECONDS)
    except signing.SignatureExpired:
        raise Http404("The link has expired.") from None
    except (signing.BadSignature, ValueError):
        raise Http404("There is no such link.") from None


def link_to(batch: Batch, request: HttpRequest) -> str:
    """Where a batch's file can be fetched; whether the one who asks may have it, was asked before."""
    if presigned := batching.link_to(batch):
        return presigned
    name = batching.download_name(batch)
    return request.build_absolute_uri(reverse("link-to-batch", args=[token_of("batch", batch.pk), name]))


@require_safe
def batch_file(request, token: str, name: str):
    """The file behind a link made by `link_to`."""
    batch = Batch.objects.ready().filter(pk=opened("batch", token)).select_related("project").first()
    try:
        if batch is None:
            raise NotReady("the batch is gone")
        return downloads.serve(request, batch)
    except NotReady as fact:
        raise Http404(fact.message) from fact


urlpatterns = [path("batches/<str:token>/<str:name>", batch_file, name="link-to-batch")]

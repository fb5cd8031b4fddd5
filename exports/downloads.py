"""A batch's file on its way to whoever asked for it: the whole, or a range of it, in constant memory.

Whether the visitor may have the file is asked before, by the door. A store that can sign links serves the file itself
(`batching.link_to`); everything else, and every store without links, goes through here.
"""

import re

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header

from . import batching, formats
from .compression import MEDIA_TYPES, SUFFIXES
from .models import Batch

# One range of bytes (RFC 9110, 14.1.2). Of several at once we send the whole, as the RFC allows.
is_range = re.compile(r"\Abytes=[ \t]*(?P<first>[0-9]{0,19})-(?P<last>[0-9]{0,19})[ \t]*\Z").match


def download(request: HttpRequest, batch: Batch, name: str | None = None) -> HttpResponseBase:
    """The batch's file (of one in shards, that called `name`): by a link to its store where there is one, else by us."""
    if link := batching.link_to(batch, name):
        return HttpResponseRedirect(link, headers={"Cache-Control": "no-store"})
    return serve(request, batch, name)


def serve(request: HttpRequest, batch: Batch, name: str | None = None) -> HttpResponseBase:
    """The file as a stream: 200, 206 for a range of it, 416 for a range beyond it, 304 to who has it already.

    NotReady where there is no file (yet, or any more).
    """
    path, size, sha256 = batching.stored_file(batch, name)
    etag = f'"{sha256}"'
    if unchanged := get_conditional_response(request, etag=etag):
        return unchanged
    start, stop, status = _asked(request, size, etag)
    if status == 416:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"})
    headers = {
        "Content-Type": media_type(batch, path),
        "Content-Length": str(stop - start),
        "Content-Disposition": content_disposition_header(True, batching.download_name(batch, name)) or "attachment",
        "Content-Encoding": "identity",  # as it is: compressing it on the way would change length and ETag
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-cache",
    }
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers)
    return StreamingHttpResponse(batching.open_range(batch, start, stop, name), status=status, headers=headers)


def _asked(request, size, etag) -> tuple[int, int, int]:
    """(start, stop, status): which bytes are wanted. A range that we cannot read is none, and the whole is sent."""
    whole = (0, size, 200)
    asked = is_range(request.headers.get("Range", ""))
    if request.method != "GET" or asked is None or request.headers.get("If-Range", etag) != etag:
        return whole
    first, last = asked["first"], asked["last"]
    if not first:  # the last so many bytes
        if not last:
            return whole
        return (max(0, size - int(last)), size, 206) if size and int(last) else (0, 0, 416)
    if last and int(last) < int(first):
        return whole
    if int(first) >= size:
        return 0, 0, 416
    return int(first), min(int(last) + 1, size) if last else size, 206


def media_type(batch: Batch, path: str) -> str:
    if path.endswith(".zip"):
        return "application/zip"
    return MEDIA_TYPES.get(SUFFIXES[batch.compression]) or formats.get(batch.format).media_type

"""bce-auth-v1: what an access key signs of a request, and whether it did. Pure: no request object, no clock, no database.

https://cloud.baidu.com/doc/Reference/s/njwvz1yfu
"""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from labelhub.facts import Fact

SCHEME = "bce-auth-v1"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
KEY_ID = re.compile(r"[!-~]{1,128}")
SECONDS = re.compile(r"[1-9]\d{0,8}", re.ASCII)
SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
CLOCKS_DIFFER = timedelta(minutes=15)  # how far ahead of ours a client's clock may be
IMPLIED = ("content-length", "content-md5", "content-type", "host")  # signed, with x-bce-*, where the header names none


class Malformed(Fact):
    """The Authorization header is not one of this scheme."""

    code = "signature_malformed"


class Mismatch(Fact):
    """The signature is not that of this request under this secret."""

    code = "signature_mismatch"


class Expired(Fact):
    """The signature is older than it says it may be, or from a time that is still far ahead."""

    code = "signature_expired"


@dataclass(frozen=True)
class Authorization:
    """The parts of `bce-auth-v1/{key_id}/{timestamp}/{seconds}/{signed headers}/{signature}`."""

    key_id: str
    timestamp: str
    seconds: str
    signed_headers: frozenset[str]
    signature: str

    @property
    def prefix(self) -> str:
        """What the signing key is derived from: the header's first four parts, as they came."""
        return f"{SCHEME}/{self.key_id}/{self.timestamp}/{self.seconds}"

    @property
    def signed_at(self) -> datetime:
        return datetime.strptime(self.timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    @property
    def expires_at(self) -> datetime:
        return self.signed_at + timedelta(seconds=int(self.seconds))


@dataclass(frozen=True)
class Signed:
    """The parts of a request that a signature covers: `path` without the prefix the hub is mounted under, `query` raw."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # by lower-case name


def parse(header: str) -> Authorization:
    """The parts of an Authorization header; Malformed where it does not have all six, or one is not what it should be."""
    parts = header.strip().split("/")
    if len(parts) != 6 or parts[0] != SCHEME:
        raise Malformed(f"write {SCHEME}/access key/timestamp/seconds/signed headers/signature")
    _, key_id, timestamp, seconds, names, signature = parts
    if not KEY_ID.fullmatch(key_id):
        raise Malformed("an access key is 1 to 128 visible ASCII characters")
    if not SECONDS.fullmatch(seconds):
        raise Malformed("the expiry is a whole number of seconds, 1 or more")
    if not SIGNATURE.fullmatch(signature):
        raise Malformed("a signature is 64 lower-case hexadecimal digits")
    signed_headers = frozenset(name.strip().lower() for name in names.split(";") if name.strip())
    if signed_headers and "host" not in signed_headers:
        raise Malformed("the header host must be signed")
    authorization = Authorization(key_id, timestamp, seconds, signed_headers, signature)
    try:
        if not TIMESTAMP.fullmatch(timestamp):
            raise ValueError
        authorization.expires_at  # noqa: B018  (must exist: 2023-02-30 has the form, and the year 9999 has an end)
    except (ValueError, OverflowError):
        raise Malformed("a timestamp is written 2016-04-06T08:23:49Z") from None
    return authorization


def check(authorization: Authorization, *, secret: str, request: Signed, now: datetime) -> None:
    """Pass where `secret` signed `request` and the signature is still good at `now`; else Mismatch or Expired.

    The same request may come twice within its time: the scheme has no nonce.
    """
    expected = [signature(authorization, secret, form) for form in forms(request)]
    if not any(hmac.compare_digest(authorization.signature, one) for one in expected):
        raise Mismatch("the signature does not match the request")
    if now > authorization.expires_at or authorization.signed_at > now + CLOCKS_DIFFER:
        raise Expired(f"signed at {authorization.timestamp} for {authorization.seconds} seconds")


def forms(request: Signed) -> Sequence[Signed]:
    """The request as it came, and with its host as the Go and Java clients sign it: without the port they send."""
    host = request.headers.get("host", "")
    bare = re.sub(r":\d+\Z", "", host)
    return [request, Signed(request.method, request.path, request.query, {**request.headers, "host": bare})]


def signature(authorization: Authorization, secret: str, request: Signed) -> str:
    """The signature that the owner of `secret` gives `request`; the signing key is itself written in hexadecimal."""
    signing_key = _digest(secret, authorization.prefix)
    return _digest(signing_key, canonical_request(request, authorization.signed_headers))


def _digest(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def canonical_request(request: Signed, signed_headers: Iterable[str]) -> str:
    """Method, path, query and headers, a line each; the headers that are signed, whatever order they are named in."""
    return "\n".join(
        [
            request.method.upper(),
            request.path,
            canonical_query(request.query),
            canonical_headers(request.headers, signed_headers),
        ]
    )


def canonical_query(query: str) -> str:
    """The sorted parameters of a raw query string; the signature itself may travel there and is left out."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(
        sorted(f"{encoded(name)}={encoded(value)}" for name, value in pairs if name.lower() != "authorization")
    )


def canonical_headers(headers: Mapping[str, str], signed_headers: Iterable[str]) -> str:
    """The signed headers that have a value, a line each, the lines sorted."""
    names = set(signed_headers) or {name for name in headers if name in IMPLIED or name.startswith("x-bce-")}
    values = {name: headers.get(name, "").strip() for name in names}
    return "\n".join(sorted(f"{encoded(name)}:{encoded(value)}" for name, value in values.items() if value))


def encoded(text: str) -> str:
    """`text` with everything but letters, digits and `-._~` percent-encoded, the slash too."""
    return quote(text, safe="-._~")

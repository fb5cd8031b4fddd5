"""Which addresses the hub calls on behalf of people who typed them: none that leads into its own network."""

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings

from exports.errors import UnsafeAddress


def check_address(url: str) -> None:
    """Refuse, with UnsafeAddress, what is not https to a named public host, nor to one of PROVIDER_HOSTS."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnsafeAddress(f"{url!r} is not an address such as https://api.example.org/v1") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UnsafeAddress(f"{url!r} is not an address such as https://api.example.org/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UnsafeAddress("an address has no password, question mark or # in it; the key has a field of its own")
    if _is_allowed(host, port):
        return
    if parts.scheme != "https":
        raise UnsafeAddress(f"the address must begin with https:// (or {host} be named in PROVIDER_HOSTS)")
    if _is_number(host) or "." not in host or host.endswith((".local", ".internal", ".localhost")):
        raise UnsafeAddress(f"{host} is not a public host name (name it in PROVIDER_HOSTS if it is meant to be called)")


def check_resolved(url: str) -> None:
    """`check_address`, and refuse a public name that stands for an address of a private network."""
    check_address(url)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_allowed(host, parts.port):
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return  # not known here: a proxy may know it, and without one nothing is reached
    inside = sorted(str(address) for address in found if not ip_address(str(address).partition("%")[0]).is_global)
    if inside:
        raise UnsafeAddress(f"{host} leads to {inside[0]}, which is no public address")


def _is_allowed(host: str, port: int | None) -> bool:
    allowed = {entry.strip().lower() for entry in settings.PROVIDER_HOSTS}
    return host in allowed or (port is not None and f"{host}:{port}" in allowed)


def _is_number(host: str) -> bool:
    """Whether `host` is an IP address, in any of the ways to write one (127.1, 0x7f000001, [::1])."""
    try:
        ip_address(host)
    except ValueError:
        return host.replace(".", "").isdigit() or host.startswith("0x") or host.rpartition(".")[2].isdigit()
    return True

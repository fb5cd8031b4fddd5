"""A streamed body that breaks off takes its connection with it: what is cut short must not look complete.

PEP 3333 leaves it to the server what to do when a body raises after its status has gone out. gunicorn closes the
connection. Granian (2.8) ends the chunked body as if it were complete: half a training file with a 200 and no sign of it.
So the connection is shut down here before the server hears of the error. Granian does not tell on which connection a
request came; all those from its address to this process are cut. Whoever else is behind that address (a proxy) asks again.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import structlog

log = structlog.get_logger(__name__)

OPEN_FILES = "/proc/self/fd"  # Linux; elsewhere nothing is found here, and the server's own manners remain


class HangingUp:
    """WSGI middleware around `application`."""

    def __init__(self, application: Callable[..., Any]):
        self._application = application

    def __call__(self, environ, start_response):
        response = self._application(environ, start_response)
        if not getattr(response, "streaming", False):
            return response
        return Unbroken(response, environ.get("REMOTE_ADDR", ""))


class Unbroken:
    """The chunks of `body`; should it raise, the connections from `peer` are cut before the error goes on."""

    def __init__(self, body: Iterable[bytes], peer: str):
        self._body, self._peer = body, peer
        self._chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException:
            log.error("body_broke_off", peer=self._peer, connections_cut=cut_connections(self._peer))
            raise

    def close(self) -> None:
        if close := getattr(self._body, "close", None):
            close()


def cut_connections(peer: str) -> int:
    """Shut down what came in from the address `peer` to a port that this process listens on; returns how many."""
    ours = list(_sockets())
    try:
        ports = {name[1] for one in ours if _is_listening(one) and (name := _internet(one.getsockname))}
        cut = 0
        for one in ours:
            here, there = _internet(one.getsockname), _internet(one.getpeername)
            if here and there and here[1] in ports and there[0] == peer:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                    cut += 1
        return cut
    finally:
        for one in ours:
            one.close()


def _sockets() -> Iterator[socket.socket]:
    """A second handle on every socket this process has open."""
    try:
        numbers = os.listdir(OPEN_FILES)
    except OSError:
        return
    for number in numbers:
        with suppress(OSError):
            copy = os.dup(int(number))
            try:
                found = socket.socket(fileno=copy)
            except OSError:  # a file, a pipe
                os.close(copy)
                continue
            yield found


def _is_listening(one: socket.socket) -> bool:
    try:
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _internet(asked: Callable[[], Any]) -> tuple | None:
    """The (address, port, …) that `asked` answers; None where there is none, or it is no internet address."""
    try:
        name = asked()
    except OSError:
        return None
    return name if isinstance(name, tuple) else None

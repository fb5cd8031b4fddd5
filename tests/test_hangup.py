"""A body that breaks off takes its connection with it, and nothing else."""

import socket
from contextlib import ExitStack

import pytest
from django.http import HttpResponse, StreamingHttpResponse

from labelhub.hangup import HangingUp, cut_connections


@pytest.fixture
def connect():
    """A function: a client at an address of this machine and the server's end of its connection."""
    with ExitStack() as open_ones:
        listener = open_ones.enter_context(socket.create_server(("127.0.0.1", 0)))

        def connected(address):
            client = open_ones.enter_context(socket.socket())
            client.settimeout(5)
            client.bind((address, 0))
            client.connect(listener.getsockname())
            server = open_ones.enter_context(listener.accept()[0])
            server.settimeout(5)
            return client, server

        yield connected


def test_only_what_came_in_from_that_address_is_cut(connect):
    lost, _ = connect("127.0.0.2")
    kept, server = connect("127.0.0.3")
    assert cut_connections("127.0.0.2") == 1
    assert lost.recv(1) == b""
    server.sendall(b"x")
    assert kept.recv(1) == b"x"


def test_a_connection_that_goes_out_is_not_cut(connect):
    """As that to a database on the same machine: its other end is where the clients are, too."""
    out, server = connect("127.0.0.4")
    assert cut_connections("127.0.0.1") == 0
    server.sendall(b"x")
    assert out.recv(1) == b"x"


def breaking():
    yield b"half"
    raise RuntimeError("the rest is not there")


def test_a_body_that_raises_is_cut_first_and_raises_on(connect):
    client, _ = connect("127.0.0.5")
    body = HangingUp(lambda environ, start: StreamingHttpResponse(breaking()))({"REMOTE_ADDR": "127.0.0.5"}, None)
    assert next(body) == b"half"
    with pytest.raises(RuntimeError):
        next(body)
    assert client.recv(1) == b""


def test_a_body_that_ends_is_handed_on_and_closed():
    class Body(list):
        streaming, is_closed = True, False

        def close(self):
            self.is_closed = True

    response = Body([b"a", b"b"])
    body = HangingUp(lambda environ, start: response)({"REMOTE_ADDR": "127.0.0.6"}, None)
    assert list(body) == [b"a", b"b"] and not response.is_closed
    body.close()
    assert response.is_closed


def test_an_answer_in_one_piece_is_left_as_it_is():
    response = HttpResponse(b"x")
    assert HangingUp(lambda environ, start: response)({}, None) is response

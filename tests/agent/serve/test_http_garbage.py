"""Whatever bytes a client sends, in whatever pieces: an answer or the end, never an exception."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kns.agent.serve import netexec
from kns.agent.serve.http_server import HTTPConnection
from kns.agent.serve.messages import Peer, Request, Response
from kns.compile.listeners import Identity

WHO = Identity("pod1", "default", "pod1", "node1", "web")

PIECES = st.sampled_from(
    [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"CONNECT ",
        b"OPTIONS * ",
        b"/hostname",
        b"/echo?msg=a&code=204",
        b"/echo?msg=a&code=304",
        b"/bytes?size=70000",
        b"/redirect?location=%0d%0aX",
        b"/header?key=%00",
        b"/%ff%zz?&&=&%",
        b"http://[::1",
        b"//[",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/9.9\r\n",
        b"Host: h\r\n",
        b"Host: \xff\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"a=b",
        b"\x00\xff",
    ]
)


class FakeTransport(asyncio.Transport):
    """Keeps nothing of what is written, says when it is closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 2)})
        self.closed = False

    def write(self, data: Any) -> None:
        assert data
        assert not self.closed

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        assert not self.closed


def answer(request: Request, peer: Peer) -> Response:
    return netexec.answer(WHO, request, peer, lambda: (("HOSTNAME", "pod1"),))


def receive(connection: HTTPConnection, piece: bytes) -> None:
    """Let the connection read the bytes, as asyncio's transport does."""
    if piece:
        connection.get_buffer(len(piece))[: len(piece)] = piece
        connection.buffer_updated(len(piece))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=25), st.booleans())
def test_no_bytes_make_an_exception(pieces: list[bytes], ends: bool) -> None:  # noqa: FBT001
    async def body() -> None:
        connections: set[HTTPConnection] = set()
        connection = HTTPConnection(answer, connections)
        transport = FakeTransport()
        connection.connection_made(transport)
        for piece in pieces:
            if not transport.closed:
                receive(connection, piece)
                await asyncio.sleep(0)
        if ends and not transport.closed:
            connection.eof_received()
        transport.closed = True
        connection.connection_lost(None)
        assert connections == set()

    asyncio.run(body())

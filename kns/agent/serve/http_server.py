"""The HTTP front end: one h11 state machine a connection, all in the agent's one event loop.

What a client does wrong costs its own connection and nothing else: a header that is too large, a
request that never ends, an answer that is never read. Limits in seconds are below.

A client that sends more than is being answered, or reads less than it is sent, is not read from
until that has changed, so that the kernel makes it wait: no buffer here grows with what it sends.
Of requests that come in one go each waits for a turn of the loop, in which others are served.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from kns.agent.serve.messages import TEXT, Peer, Request, Response, http_date, peer_of

#: a request's header must be whole after this many seconds, and so must each part of its body
REQUEST_SECONDS = 10.0
#: an idle connection is kept so long
KEEP_ALIVE_SECONDS = 60.0
#: a client that does not read for so long is dropped
WRITE_SECONDS = 60.0
#: after an error the client's remaining bytes are read for so long: closing at once would make
#: the kernel send a reset, which takes the answer away before the client has read it
LINGER_SECONDS = 2.0
MAX_HEADER = 16 * 1024
#: a form's body is read as far as this; the rest of a larger body is thrown away
MAX_FORM = 64 * 1024
#: connections that one server has at a time, as many as an nginx worker; further ones are closed
MAX_CONNECTIONS = 4096
_CHUNK = 64 * 1024
_FILLER = b"k" * _CHUNK
#: chunks that are written in one turn of the loop to a client that reads as fast as we write
_BURST = 16
#: where the kernel puts what has come: emptied before the loop serves the next connection
_RECEIVED = memoryview(bytearray(_CHUNK))
_FORM = "application/x-www-form-urlencoded"
_BODILESS = (204, 304)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

Answer = Callable[[Request, Peer], Response]
Connections = set["HTTPConnection"]


class HTTPConnection(asyncio.BufferedProtocol):
    """One client. `answer` is asked at each request, so that it may change in between."""

    __slots__ = (
        "_answer",
        "_body",
        "_busy",
        "_connections",
        "_deadline",
        "_draining",
        "_filler",
        "_h11",
        "_idle",
        "_lingering",
        "_loop",
        "_peer",
        "_request",
        "_timer",
        "_transport",
        "_unread",
    )

    def __init__(self, answer: Answer, connections: Connections) -> None:
        self._answer = answer
        self._connections = connections
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._filler = 0
        self._busy = False  # an answer is under way, or it's the others' turn: the client waits
        self._unread = False  # the client doesn't read: the transport's buffer is full
        self._lingering = False
        self._idle = False  # between two requests
        self._draining = False  # the answer that is under way is the last one

    # -- what the transport calls --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = peer_of(self._transport)
        if len(self._connections) >= MAX_CONNECTIONS:
            self.abort()
        self._connections.add(self)
        self._allow(REQUEST_SECONDS)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the bytes go that have come."""
        return _RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._lingering:
            return
        if self._idle:
            self._idle = False
            self._allow(REQUEST_SECONDS)
        self._h11.receive_data(bytes(_RECEIVED[:nbytes]))
        self._advance()
        if self._holds_more() and (self._busy or self._unread):
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has sent all that it will; an answer that is under way still goes out."""
        if self._lingering:
            return False
        self._h11.receive_data(b"")
        self._advance()
        return self._busy

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._unread = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._unread = False
        if self._filler:
            self._allow(WRITE_SECONDS)
            self._pump()
        elif not self._busy:
            self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The connection is gone."""
        self._busy = True  # an answer that was delayed finds nobody
        self._filler = 0
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """End the connection at once, as the end of a container does."""
        self._transport.abort()

    def drain(self) -> None:
        """Answer what was asked, and then end, as Go's `http.Server.Shutdown` does."""
        self._draining = True
        if self._request is None and not self._transport.is_closing():
            self._transport.close()

    # -- reading --

    def _holds_more(self) -> bool:
        """True if bytes have come that are no part of a request that was taken."""
        return bool(self._h11.trailing_data[0])

    def _take_turn(self) -> None:
        """Go on with what the client had sent before the last answer was written."""
        self._busy = False
        if self._holds_more():
            self._idle = False
            self._allow(REQUEST_SECONDS)
        self._read_on()

    def _read_on(self) -> None:
        self._advance()
        if not (self._busy or self._unread or self._transport.is_closing()):
            self._transport.resume_reading()

    def _can_advance(self) -> bool:
        waits = self._busy or self._unread or self._lingering
        return not waits and not self._transport.is_closing()

    def _advance(self) -> None:
        while self._can_advance():
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return
            if not isinstance(event, h11.Event):  # NEED_DATA or PAUSED
                if self._h11.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[]))
                return
            self._take(event)

    def _take(self, event: h11.Event) -> None:
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
            self._allow(REQUEST_SECONDS)
        elif isinstance(event, h11.Data):
            self._allow(REQUEST_SECONDS)
            room = MAX_FORM - len(self._body)
            self._body += event.data[: max(room, 0)]
        elif isinstance(event, h11.EndOfMessage):
            self._respond()
        else:
            self._transport.close()

    def _respond(self) -> None:
        if self._request is None:  # unreachable by h11's state machine
            return
        try:
            request = parse(self._request, bytes(self._body))
            if request.method == "CONNECT":  # with 2xx the connection would be a tunnel
                response = Response("this is no proxy\n", status=405)
            else:
                response = self._answer(request, self._peer)
        except ValueError as error:
            response = Response(f"bad request: {error}\n", status=400)
        except Exception:
            logging.getLogger(__name__).exception("no answer to %r", self._request.target)
            response = Response("internal error\n", status=500)
        self._busy = True
        if response.delay:
            self._allow(response.delay + WRITE_SECONDS)
            self._loop.call_later(response.delay, self._send_late, response)
        else:
            self._send(response)

    # -- writing --

    def _send_late(self, response: Response) -> None:
        if not self._transport.is_closing():
            self._send(response)

    def _send(self, response: Response) -> None:
        body = response.body.encode()
        self._filler = response.filler
        silent = self._request is not None and self._request.method == b"HEAD"
        if silent or response.status in _BODILESS:
            body, self._filler = (b"", 0)
        if self._draining:
            response = replace(response, headers=(*response.headers, ("Connection", "close")))
        self._allow(WRITE_SECONDS)
        self._transport.write(
            _joined(self._h11.send(_head(response)), self._h11.send(h11.Data(data=body)))
        )
        self._pump()

    def _pump(self) -> None:
        for _ in range(_BURST):
            if not self._filler or self._unread or self._transport.is_closing():
                break
            piece = _FILLER[: self._filler]
            self._filler -= len(piece)
            self._write(h11.Data(data=piece))
        if self._transport.is_closing():
            return
        if not self._filler:
            self._finish()
        elif not self._unread:
            self._loop.call_soon(self._pump)

    def _finish(self) -> None:
        self._write(h11.EndOfMessage())
        is_done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if is_done and not self._draining:
            self._h11.start_next_cycle()
            self._request = None
            self._idle = True
            self._allow(KEEP_ALIVE_SECONDS)
            self._loop.call_soon(self._take_turn)
        else:
            self._transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = Response(f"{reason}\n", status=status, headers=(("Connection", "close"),))
            self._write(_head(response))
            self._write(h11.Data(data=response.body.encode()))
            self._write(h11.EndOfMessage())
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._lingering = True
        self._allow(LINGER_SECONDS)

    def _write(self, event: h11.Event) -> None:
        piece = self._h11.send(event)
        if piece:
            self._transport.write(piece)

    # -- patience --

    def _allow(self, seconds: float) -> None:
        """From now on the client has so long; the timer is moved only when it fires too early."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif self._request is None or self._busy or self._lingering:
            self._transport.abort()
        else:
            self._refuse(408, "the request did not end in time")


def parse(request: h11.Request, body: bytes) -> Request:
    """The request with its query and form decoded. Raises ValueError if they can't be."""
    target = request.target.decode("latin-1")
    parts = urlsplit(target if target.startswith("/") else _origin_form(target))
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers.raw_items()
    )
    values = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=1000)
    content_type = next((v for k, v in headers if k.lower() == "content-type"), "")
    if body and content_type.split(";")[0].strip().lower() == _FORM:
        form = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=1000)
        values = [*form, *values]
    first: dict[str, str] = {}
    for name, value in values:
        first.setdefault(name, value)
    return Request(
        method=request.method.decode("ascii"),
        target=target,
        path=unquote(parts.path),
        values=first,
        headers=headers,
    )


def _origin_form(target: str) -> str:
    """The path of `GET http://host/path`, which a client that thinks it talks to a proxy sends."""
    parts = urlsplit(target)
    return f"{parts.path or '/'}?{parts.query}"


def _head(response: Response) -> h11.Response:
    length = len(response.body.encode()) + response.filler
    headers = [
        ("Date", http_date(time.time())),
        ("Content-Type", response.content_type or TEXT),
        *response.headers,
    ]
    if response.status not in _BODILESS:
        headers.append(("Content-Length", str(length)))
    reason = _PHRASES.get(response.status, "")
    return h11.Response(status_code=response.status, headers=headers, reason=reason)


def _joined(*pieces: bytes | None) -> bytes:
    return b"".join(piece for piece in pieces if piece)

"""Connections that stay open: a heartbeat is an HTTP request on each, a tenth of a second apart.

One that breaks is opened again with its next heartbeat, as a client would; how it broke is told.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from kns.probe.load.answers import Reply, cause_of, take_answer
from kns.probe.load.connections import CHUNK, begin_connect, tcp_socket
from kns.probe.load.model import Break, BreakCause, Cause, Exchange, Kind, Load, Told

Tell = Callable[[Told], None]
_CAUSES = {
    BreakCause.RESET: Cause.RESET,
    BreakCause.CLOSED: Cause.CLOSED,
    BreakCause.SILENCE: Cause.TIMEOUT,
}


@dataclass(slots=True)
class _Beat:
    planned: float
    #: None: it waits for the connection
    sent: float | None = None


class HeldConnection:
    """One connection that is kept open. `stream` is its number."""

    def __init__(self, load: Load, stream: int, tell: Tell) -> None:
        self._load = load
        self._stream = stream
        self._tell = tell
        self._request = load.request(keep=True)
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._connected = False
        self._beats: deque[_Beat] = deque()
        self._buffer = bytearray()
        self._opened = self._heard = 0.0
        self._who = Reply()

    def beat(self, planned: float) -> None:
        """Send the heartbeat that was due at `planned`; open the connection if there is none."""
        self._give_up_if_silent()
        self._beats.append(_Beat(planned))
        if self._sock is None:
            self._open()
        elif self._connected:
            self._send_waiting()

    def close(self) -> None:
        """The end of the run, a timeout after the last heartbeat: what waits still is lost."""
        if self._beats:
            self._break(BreakCause.SILENCE)
        self._drop()

    # -- opening --

    def _open(self) -> None:
        self._sock = tcp_socket(self._load)
        self._buffer.clear()
        self._who = Reply()
        number = begin_connect(self._sock, self._load)
        if number:
            self._never_opened(cause_of(number))
        else:
            self._loop.add_writer(self._sock, self._on_connected)

    def _on_connected(self) -> None:
        if self._sock is None:
            return
        self._loop.remove_writer(self._sock)
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._never_opened(cause_of(number))
            return
        self._connected = True
        self._opened = self._heard = self._loop.time()
        self._loop.add_reader(self._sock, self._on_readable)
        self._send_waiting()

    def _never_opened(self, cause: Cause) -> None:
        self._drop()
        self._lose(cause)

    # -- heartbeats --

    def _send_waiting(self) -> None:
        for beat in self._beats:
            if beat.sent is None and self._sock is not None:
                beat.sent = self._loop.time()
                try:
                    self._sock.send(self._request)
                except BlockingIOError:  # nothing is taken off any more: silence will tell
                    return
                except OSError:
                    self._break(BreakCause.RESET)
                    return

    def _on_readable(self) -> None:
        if self._sock is None:
            return
        try:
            piece = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            is_timeout = cause_of(error.errno or 0) is Cause.TIMEOUT
            self._break(BreakCause.SILENCE if is_timeout else BreakCause.RESET)
            return
        if not piece:
            self._break(BreakCause.CLOSED)
            return
        self._buffer += piece
        self._heard = self._loop.time()
        while self._beats and (answer := take_answer(self._buffer)) is not None:
            self._who = answer
            self._answered(self._beats.popleft(), answer)

    def _answered(self, beat: _Beat, answer: Reply) -> None:
        now = self._loop.time()
        cause = answer.cause
        if cause is None and now - beat.planned > self._load.timeout:
            cause = Cause.TIMEOUT
        self._tell(self._exchange(beat, cause, answer, answer.detail))

    def _exchange(self, beat: _Beat, cause: Cause | None, who: Reply, detail: str) -> Exchange:
        sent = beat.planned if beat.sent is None else beat.sent
        now = self._loop.time()
        words = (who.backend, who.server, who.client, detail)
        return Exchange(Kind.HELD, self._stream, beat.planned, sent, now, cause, *words)

    # -- breaking --

    def _give_up_if_silent(self) -> None:
        if self._beats and self._loop.time() - self._beats[0].planned > self._load.silence:
            if self._connected:
                self._break(BreakCause.SILENCE)
            else:
                self._never_opened(Cause.TIMEOUT)

    def _break(self, how: BreakCause) -> None:
        if self._connected:
            who, now = self._who, self._loop.time()
            words = (who.backend, who.server)
            self._tell(Break(self._stream, self._opened, self._heard, now, how, *words))
        self._drop()
        self._lose(_CAUSES[how])

    def _lose(self, cause: Cause) -> None:
        while self._beats:
            self._tell(self._exchange(self._beats.popleft(), cause, Reply(), ""))

    def _drop(self) -> None:
        self._connected = False
        if self._sock is not None:
            self._loop.remove_writer(self._sock)
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None

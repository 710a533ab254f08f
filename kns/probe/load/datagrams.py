"""UDP: flows, which keep their source port, and queries, each from a port of its own.

Conntrack keeps a flow's backend as long as datagrams come, so a flow whose backend is gone tells
whether kube-proxy cleans up; a query is always a new choice.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import Callable

from kns.probe.load.answers import Reply, cause_of, datagram_answer
from kns.probe.load.connections import CHUNK, family_of
from kns.probe.load.model import Cause, Exchange, Kind, Load

Tell = Callable[[Exchange], None]


class DatagramFlow:
    """One UDP socket. Each datagram bears a number, which the reply repeats."""

    def __init__(self, load: Load, kind: Kind, stream: int, tell: Tell) -> None:
        self._load = load
        self._kind = kind
        self._stream = stream
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._waiting: dict[str, tuple[float, float, asyncio.TimerHandle]] = {}
        self._sock = socket.socket(family_of(load), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._refused = _connect(self._sock, load)
        self._loop.add_reader(self._sock, self._on_readable)

    def send(self, planned: float) -> None:
        """Send the datagram that was due at `planned`."""
        number = str(next(self._numbers))
        now = self._loop.time()
        timer = self._loop.call_later(self._load.timeout, self._end, number, Cause.TIMEOUT)
        self._waiting[number] = (planned, now, timer)
        if self._refused:
            # the route may be back
            self._refused = _connect(self._sock, self._load)
        if self._refused:
            self._fail(self._refused)
            return
        try:
            self._sock.send(f"whoami {number}".encode())
        except BlockingIOError:  # the queue of the link is full: the datagram is lost
            return
        except OSError as error:
            self._fail(error.errno or 0)

    @property
    def is_idle(self) -> bool:
        """True if no datagram waits for its reply."""
        return not self._waiting

    def close(self) -> None:
        """Close the socket; datagrams that wait for a reply still are nobody's loss."""
        for _planned, _sent, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _on_readable(self) -> None:
        try:
            reply = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error.errno or 0)
            return
        found = datagram_answer(reply)
        if found is not None:
            number, answer = found
            self._end(number, None, answer)

    def _fail(self, number: int) -> None:
        """An ICMP error is of the socket, not of a datagram: none that waits gets a reply."""
        cause = cause_of(number)
        if cause is not Cause.TIMEOUT:  # else the timer tells
            for waiting in tuple(self._waiting):
                self._end(waiting, cause, detail=errno.errorcode.get(number, ""))

    def _end(
        self, number: str, cause: Cause | None, answer: Reply | None = None, detail: str = ""
    ) -> None:
        found = self._waiting.pop(number, None)
        if found is None:  # a reply that came too late
            return
        planned, sent, timer = found
        timer.cancel()
        who = answer or Reply()
        words = (who.backend, who.server, who.client, detail if cause is Cause.OTHER else "")
        now = self._loop.time()
        self._tell(Exchange(self._kind, self._stream, planned, sent, now, cause, *words))


def _connect(sock: socket.socket, load: Load) -> int:
    """Connect, so that ICMP errors of the flow are heard; the errno if there is no route."""
    try:
        return sock.connect_ex((load.address, load.udp_port))
    except OSError as error:
        return error.errno or errno.EINVAL


class Queries:
    """A socket for each datagram."""

    def __init__(self, load: Load, tell: Tell) -> None:
        self._load = load
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._open: set[DatagramFlow] = set()

    def send(self, planned: float) -> None:
        """Send the query that was due at `planned`."""

        def told(exchange: Exchange) -> None:
            self._tell(exchange)
            # not within the call that told: the socket is in use there
            self._loop.call_soon(self._close, flow)

        flow = DatagramFlow(self._load, Kind.QUERY, 0, told)
        self._open.add(flow)
        flow.send(planned)

    def _close(self, flow: DatagramFlow) -> None:
        if flow in self._open:
            self._open.discard(flow)
            flow.close()

    def close(self) -> None:
        """Close every socket."""
        for flow in tuple(self._open):
            self._close(flow)

"""New connections, a request on each. The sockets are of the calling thread's netns."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from kns.probe.load.answers import Reply, cause_of, last_answer
from kns.probe.load.model import Cause, Exchange, Kind, Load

Tell = Callable[[Exchange], None]
#: what is read in one go
CHUNK = 1 << 16


def tcp_socket(load: Load) -> socket.socket:
    """A TCP socket of the target's family that never blocks."""
    return socket.socket(family_of(load), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def family_of(load: Load) -> socket.AddressFamily:
    """The family of the target's address."""
    return socket.AF_INET6 if ":" in load.address else socket.AF_INET


def begin_connect(sock: socket.socket, load: Load) -> int:
    """0 if the connection is on its way, else the errno that the kernel refuses it with."""
    try:
        number = sock.connect_ex((load.address, load.tcp_port))
    except OSError as error:  # the address itself is refused
        return error.errno or errno.EINVAL
    return 0 if number == errno.EINPROGRESS else number


class Connections:
    """Opens a connection for each request; `tell` gets what came of it."""

    def __init__(self, load: Load, tell: Tell) -> None:
        self.load = load
        self.tell = tell
        self.request = load.request()
        self.loop = asyncio.get_running_loop()
        self.under_way: set[_Connection] = set()

    def send(self, planned: float) -> None:
        """Begin one that was due at `planned`."""
        _Connection(self, planned).begin()

    async def drained(self) -> None:
        """Wait until the fate of all is known: the longest of them takes the timeout."""
        while self.under_way:
            await asyncio.sleep(0.01)


class _Connection:
    __slots__ = ("_buffer", "_fd", "_owner", "_planned", "_sent", "_sock", "_timer")

    def __init__(self, owner: Connections, planned: float) -> None:
        self._owner = owner
        self._planned = planned
        self._buffer = bytearray()

    def begin(self) -> None:
        owner = self._owner
        self._sent = owner.loop.time()
        self._sock = tcp_socket(owner.load)
        self._fd = self._sock.fileno()
        self._timer = owner.loop.call_later(owner.load.timeout, self._fail, Cause.TIMEOUT)
        owner.under_way.add(self)
        number = begin_connect(self._sock, owner.load)
        if number:
            self._fail_with(number)
        else:
            # from netns to netns the handshake is often over when connect returns
            self._send_request()

    def _send_request(self) -> None:
        loop = self._owner.loop
        try:
            self._sock.send(self._owner.request)
        except BlockingIOError:
            loop.add_writer(self._fd, self._on_connected)
        except OSError as error:
            self._fail_with(error.errno or 0)
        else:
            loop.add_reader(self._fd, self._on_readable)

    def _on_connected(self) -> None:
        self._owner.loop.remove_writer(self._fd)
        # an ICMP error that comes while connect still runs is told here alone (sk_err_soft)
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail_with(number)
        else:
            self._send_request()

    def _on_readable(self) -> None:
        try:
            piece = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(cause_of(error.errno or 0))
            return
        if piece:
            self._buffer += piece
        else:
            self._finish(Cause.CLOSED)

    def _finish(self, ending: Cause) -> None:
        """The connection is over: an answer that is whole counts, however it ended."""
        answer = last_answer(self._buffer)
        if answer is None:
            self._fail(ending)
        else:
            self._end(answer.cause, answer, answer.detail)

    def _fail_with(self, number: int) -> None:
        self._fail(cause_of(number), errno.errorcode.get(number, str(number)))

    def _fail(self, cause: Cause, detail: str = "") -> None:
        self._end(cause, Reply(), detail if cause is Cause.OTHER else "")

    def _end(self, cause: Cause | None, answer: Reply, detail: str) -> None:
        owner = self._owner
        self._timer.cancel()
        owner.loop.remove_writer(self._fd)
        owner.loop.remove_reader(self._fd)
        self._sock.close()
        owner.under_way.discard(self)
        owner.tell(
            Exchange(
                Kind.CONNECTION,
                0,
                self._planned,
                self._sent,
                owner.loop.time(),
                cause,
                answer.backend,
                answer.server,
                answer.client,
                detail,
            )
        )

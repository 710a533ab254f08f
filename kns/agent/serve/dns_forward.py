"""Questions that are handed on: from inside a netns, to the servers outside the cluster.

    client ── 53/UDP ──▶ DNS pod ── same bytes, an id of our own ──▶ upstream
                                 ◀─ matched by id and question ──

A socket belongs to the netns in which it was opened, so that a query leaves by the DNS pod's own
link and is masqueraded like any packet of a pod. By UDP one socket serves all questions to a
server; by TCP each question has its own.

The UDP socket is not connected: a connected one keeps the address that the pod had when it was
connected, and no reply would ever reach it once the pod has another. IP_RECVERR lets a refusal come
back as an error all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Callable, Sequence

from kns.addresses import IPAddress
from kns.kernel import netns
from kns.kinds.common import DNS_PORT

#: a question that nobody answered for so long is SERVFAIL; all upstream servers together
TIMEOUT = 2.0
#: linux/in.h and in6.h; Python's socket module has no names for them
_RECVERR = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
#: replies that are read in one go before the event loop serves somebody else
_BURST = 64
_LENGTH = struct.Struct("!H")
#: after the header comes the question, which ends with type and class
_HEADER_SIZE = 12


class NoAnswerError(Exception):
    """No upstream server answered in time, or there is none."""


class Forwarder:
    """Hands questions on to the servers that `servers` names at that moment, in order.

    They are asked from inside the netns `name`, all together for at most `timeout` seconds.
    """

    def __init__(
        self,
        name: str,
        servers: Callable[[], Sequence[IPAddress]],
        *,
        port: int = DNS_PORT,
        timeout: float = TIMEOUT,
    ) -> None:
        self._netns = name
        self._servers = servers
        self._port = port
        self._timeout = timeout
        self._channels: dict[IPAddress, _Channel] = {}

    async def ask(self, wire: bytes, *, tcp: bool = False) -> bytes:
        """The reply to the message, with the message's own id; NoAnswerError if there is none."""
        servers = self._servers()
        share = self._timeout / max(len(servers), 1)
        for server in servers:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(share):
                    return await (self._by_tcp(server, wire) if tcp else self._by_udp(server, wire))
        raise NoAnswerError

    def close(self) -> None:
        """Close the sockets; whoever still waits gets NoAnswerError."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    async def _by_udp(self, server: IPAddress, wire: bytes) -> bytes:
        channel = self._channels.get(server)
        if channel is None or channel.closed:
            sock = await self._opened(server, socket.SOCK_DGRAM)
            # while we waited another question may have opened one
            channel = self._channels.get(server)
            if channel is None or channel.closed:
                channel = self._channels[server] = _Channel(sock, (str(server), self._port))
            else:
                sock.close()
        return await channel.ask(wire)

    async def _by_tcp(self, server: IPAddress, wire: bytes) -> bytes:
        sock = await self._opened(server, socket.SOCK_STREAM)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (str(server), self._port))
            reader, writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            writer.write(_LENGTH.pack(len(wire)) + wire)
            await writer.drain()
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            return await reader.readexactly(length)
        finally:
            writer.close()

    async def _opened(self, server: IPAddress, kind: socket.SocketKind) -> socket.socket:
        family = socket.AF_INET if server.version == 4 else socket.AF_INET6
        flags = kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        return await asyncio.get_running_loop().run_in_executor(
            None, netns.call_in, self._netns, socket.socket, family, flags
        )


class _Channel:
    """A UDP socket for one server, and the questions under way on it by their id there."""

    def __init__(self, sock: socket.socket, server: tuple[str, int]) -> None:
        level, option = _RECVERR[sock.family]
        sock.setsockopt(level, option, 1)
        self._sock = sock
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self.closed = False
        self._loop.add_reader(sock, self._on_readable)

    async def ask(self, wire: bytes) -> bytes:
        """Send the message with an id that is free here, and wait for the reply to it."""
        identifier = secrets.randbits(16)
        while identifier in self._waiting:
            identifier = secrets.randbits(16)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[identifier] = (_question(wire), future)
        try:
            self._sock.sendto(_LENGTH.pack(identifier) + wire[2:], self._server)
            reply = await future
        finally:
            del self._waiting[identifier]
        return wire[:2] + reply[2:]

    def close(self) -> None:
        """Give up: who waits gets an error."""
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._fail(ConnectionAbortedError())

    def _on_readable(self) -> None:
        for _ in range(_BURST):
            try:
                reply, sender = self._sock.recvfrom(65535)
            except BlockingIOError:
                break
            except OSError as error:  # an ICMP error: the server's port is closed, or no way there
                self._fail(error)
            else:
                if sender[:2] == self._server:
                    self._take(reply)
        # the socket stays readable as long as the errors' packets wait there, too
        with contextlib.suppress(OSError):
            for _ in range(_BURST):
                self._sock.recvmsg(0, 0, socket.MSG_ERRQUEUE)

    def _take(self, reply: bytes) -> None:
        found = self._waiting.get(_LENGTH.unpack_from(reply)[0]) if len(reply) > 1 else None
        # a late reply to another question that had this id is not ours
        if found and not found[1].done() and _question(reply) == found[0]:
            found[1].set_result(reply)

    def _fail(self, error: OSError) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)


def _question(wire: bytes) -> bytes:
    """Name, type and class of a message's question, the name in lower case."""
    position = _HEADER_SIZE
    while position < len(wire) and wire[position]:
        position += wire[position] + 1
    return wire[_HEADER_SIZE : position + 1].lower() + wire[position + 1 : position + 5]

"""UDP servers, and SCTP's: one message, one reply.

A UDP server is bound to the wildcard address, and its reply must leave from the address that the
question was sent to: otherwise the kernel takes the address of the link by which the reply
leaves, and the client (or its conntrack) throws it away. IP_PKTINFO tells the one and sets the
other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import cast

from kns.agent.serve.messages import Peer, peer_of

#: linux/in.h; Python's socket module has no name for it
IP_PKTINFO = 8
_IN_PKTINFO = struct.Struct("=I4s4s")
_IN6_PKTINFO = struct.Struct("=16sI")
_MAX_DATAGRAM = 65535
#: datagrams that are read in one go before the event loop serves somebody else
_BURST = 64
#: an SCTP client that says nothing is dropped after so many seconds
_PATIENCE = 60.0

Reply = Callable[[bytes, Peer], bytes | None]
#: as socket.recvmsg gives and sendmsg takes it: level, type, content
Ancillary = list[tuple[int, int, bytes]]


class DatagramServer:
    """Answers on one UDP socket. `reply` is asked at each message, so that it may change."""

    __slots__ = ("_loop", "_port", "_reply", "_sock")

    def __init__(self, sock: socket.socket, reply: Reply) -> None:
        ask_for_destination(sock)
        self._sock = sock
        self._port: int = sock.getsockname()[1]
        self._reply = reply
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_readable)

    def close(self) -> None:
        """Stop and close the socket."""
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _on_readable(self) -> None:
        for _ in range(_BURST):
            try:
                message, ancillary, _flags, client = self._sock.recvmsg(_MAX_DATAGRAM, 128)
            except OSError:  # nothing more, or an ICMP error that belongs to an earlier reply
                return
            address, control = destination(ancillary)
            peer = Peer(client[0].split("%")[0], client[1], address, self._port)
            reply = self._reply(message, peer)
            if reply is not None:
                # a reply that can't be sent is a datagram that is lost, as any may be
                with contextlib.suppress(OSError):
                    self._sock.sendmsg([reply], control, 0, client)


def ask_for_destination(sock: socket.socket) -> None:
    """Let each message carry the address that it was sent to."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def destination(ancillary: Ancillary) -> tuple[str, Ancillary]:
    """The address a message was sent to, and what makes the reply leave from there."""
    for level, kind, content in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _link, local, _header = _IN_PKTINFO.unpack(content)
            # link 0: the reply's way is the routing table's choice, not that of the question
            control = _IN_PKTINFO.pack(0, local, b"\0\0\0\0")
            return socket.inet_ntop(socket.AF_INET, local), [(level, kind, control)]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            local, link = _IN6_PKTINFO.unpack(content)
            link_local = local[0] == 0xFE and local[1] & 0xC0 == 0x80
            control = _IN6_PKTINFO.pack(local, link if link_local else 0)
            return socket.inet_ntop(socket.AF_INET6, local), [(level, kind, control)]
    return "", []


class MessageConnection(asyncio.Protocol):
    """One SCTP association as netexec serves it: a message, its reply, the end."""

    __slots__ = ("_connections", "_reply", "_timer", "_transport")

    def __init__(self, reply: Reply, connections: set[MessageConnection]) -> None:
        self._reply = reply
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self.abort)

    def data_received(self, data: bytes) -> None:
        """The message has come."""
        reply = self._reply(data, peer_of(self._transport))
        if reply:
            self._transport.write(reply)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The association is gone."""
        self._timer.cancel()
        self._connections.discard(self)

    def abort(self) -> None:
        """End the association at once."""
        self._transport.abort()

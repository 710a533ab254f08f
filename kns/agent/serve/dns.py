"""The DNS server in the DNS pods, and the one of the lab's internet.

    socket ── 53/UDP, 53/TCP ──▶ DNSServer ── zones in turn ──▶ reply
                                     │ None from all: not ours
                                     └── Forwarder ──▶ upstream ──▶ its reply, as it came

One server stands for one pod and serves any number of sockets. It asks `zones` at each question,
so that records follow the cluster with no restart. A UDP question that was seen before, byte for
byte, is answered by the bytes of then, with the addresses in turn: what CoreDNS' cache and
loadbalance plugins do. A new tuple of zones empties that store.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import dns.exception
import dns.flags
import dns.message

from kns.agent.serve.datagrams import ask_for_destination, destination
from kns.agent.serve.dns_forward import Forwarder, NoAnswerError
from kns.agent.serve.dns_wire import (
    Query,
    UnanswerableError,
    WireAnswer,
    failure,
    question_wire,
    read_query,
    response,
    wire_records,
)
from kns.cluster.records import Answer, Rcode, Zone

Zones = tuple[Zone, ...]

#: replies to different questions that are kept
STORE_MAX = 10_000
#: orders of the addresses that are kept for one question
TURNS_MAX = 16
#: datagrams that are read in one go before the event loop serves somebody else
BURST = 64
#: an idle TCP connection is closed after so many seconds (CoreDNS' own default)
IDLE_SECONDS = 10.0
_LENGTH = struct.Struct("!H")


@dataclass(slots=True)
class DNSCounters:
    """What a server has done since it was started."""

    questions: int = 0
    forwarded: int = 0
    unanswered: int = 0


@dataclass(slots=True)
class _Stored:
    """The replies to one question without their ids, one for each order of the addresses.

    Each is written when its turn comes for the first time.
    """

    query: Query
    answer: WireAnswer
    turns: int
    bodies: list[bytes] = field(default_factory=list)
    turn: int = -1

    def next(self) -> bytes:
        """The reply whose turn it is."""
        self.turn = (self.turn + 1) % self.turns
        if self.turn == len(self.bodies):
            self.bodies.append(response(self.query, self.answer, turn=self.turn)[2:])
        return self.bodies[self.turn]


class DNSServer:
    """Answers from `zones` and hands what they do not know to `forwarder`.

    Without a forwarder such a question is refused, as by any authoritative server.
    """

    def __init__(self, zones: Callable[[], Zones], forwarder: Forwarder | None = None) -> None:
        self.counters = DNSCounters()
        self._zones = zones
        self._forwarder = forwarder
        self._store: dict[bytes, _Stored] = {}
        self._store_of: Zones = ()
        self._turns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[DNSListener] = set()

    def serve_udp(self, sock: socket.socket) -> DNSListener:
        """Answer on a bound UDP socket until the listener or the server is closed."""
        return DNSListener(self, _Datagrams(self, sock))

    async def serve_tcp(self, sock: socket.socket) -> DNSListener:
        """Answer on a listening TCP socket until the listener or the server is closed."""
        streams = _Streams(self)
        await streams.start(sock)
        return DNSListener(self, streams)

    def close(self) -> None:
        """Close every socket and drop what is under way."""
        for listener in tuple(self._open):
            listener.close()
        for task in self._tasks:
            task.cancel()
        if self._forwarder is not None:
            self._forwarder.close()

    # -- questions ---------------------------------------------------------------------------------

    def answer_stored(self, wire: bytes) -> bytes | None:
        """The reply to a UDP question that was answered before; None if it must be worked out."""
        self._current_zones()
        stored = self._store.get(wire[2:])
        if stored is None:
            return None
        self.counters.questions += 1
        return wire[:2] + stored.next()

    def answer_now(self, wire: bytes, *, tcp: bool = False) -> bytes | Coroutine[Any, Any, bytes]:
        """The reply (empty: none), or a coroutine that gets it from another server."""
        self.counters.questions += 1
        try:
            query = read_query(wire, tcp=tcp)
        except UnanswerableError as error:
            return error.reply
        answer = self._lookup(query)
        if answer is None:
            return self._forwarded(query, wire, tcp=tcp)
        if answer.pending:
            return self._completed(query, answer, tcp=tcp)
        encoded = WireAnswer.of(answer)
        if tcp:
            self._turns += 1
            return response(query, encoded, turn=self._turns)
        if len(self._store) >= STORE_MAX:
            self._store.clear()
        turns = min(encoded.turns, TURNS_MAX)
        stored = self._store[wire[2:]] = _Stored(query, encoded, turns)
        return wire[:2] + stored.next()

    def _current_zones(self) -> Zones:
        zones = self._zones()
        if zones is not self._store_of:
            self._store.clear()
            self._store_of = zones
        return zones

    def _lookup(self, query: Query) -> Answer | None:
        for zone in self._current_zones():
            answer = zone.lookup(query.name, query.type)
            if answer is not None:
                return answer
        return None if self._forwarder is not None else Answer(Rcode.REFUSED)

    async def _forwarded(self, query: Query, wire: bytes, *, tcp: bool) -> bytes:
        """What the upstream says, unchanged: its flags, and TC if it does not fit."""
        self.counters.forwarded += 1
        if self._forwarder is None:
            return failure(query)
        try:
            return await self._forwarder.ask(wire, tcp=tcp)
        except NoAnswerError:
            self.counters.unanswered += 1
            return failure(query)

    async def _completed(self, query: Query, answer: Answer, *, tcp: bool) -> bytes:
        """An ExternalName: its CNAME, and what the upstream says of the target.

        A target that nobody answers for leaves NODATA, one that does not exist the bare CNAME:
        so does CoreDNS (plugin/backend_lookup.go).
        """
        self.counters.forwarded += 1
        wire = question_wire(answer.pending, query.type, query.id)
        forwarder = self._forwarder
        if forwarder is None:
            return response(query, self._no_data(query))
        try:
            found = dns.message.from_wire(await forwarder.ask(wire, tcp=tcp))
        except (NoAnswerError, dns.exception.DNSException):
            self.counters.unanswered += 1
            return response(query, self._no_data(query))
        truncated = bool(found.flags & dns.flags.TC)
        more = wire_records(found.answer)
        return response(query, WireAnswer.of(answer), more=more, truncated=truncated)

    def _no_data(self, query: Query) -> WireAnswer:
        """The answer to an existing name that lacks the type: as for a type that no name has."""
        answer = self._lookup(replace(query, type="HINFO"))
        return WireAnswer.of(answer or Answer(Rcode.NOERROR))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end beside the event loop's other work."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def opened(self, listener: DNSListener) -> None:
        """A listener that `close` closes too."""
        self._open.add(listener)

    def closed(self, listener: DNSListener) -> None:
        """A listener that has been closed."""
        self._open.discard(listener)


class DNSListener:
    """One socket of a DNS server."""

    def __init__(self, server: DNSServer, listening: _Datagrams | _Streams) -> None:
        self._server = server
        self._listening = listening
        server.opened(self)

    def close(self) -> None:
        """Stop and close the socket, with its connections."""
        self._listening.close()
        self._server.closed(self)


class _Datagrams:
    """Answers on a UDP socket, each reply from the address to which the question was sent."""

    def __init__(self, server: DNSServer, sock: socket.socket) -> None:
        ask_for_destination(sock)
        sock.setblocking(False)
        self._server = server
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_readable)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _on_readable(self) -> None:
        for _ in range(BURST):
            try:
                wire, ancillary, _flags, client = self._sock.recvmsg(65535, 128)
            except OSError:  # nothing more, or an ICMP error that belongs to an earlier reply
                return
            reply = self._server.answer_stored(wire) or self._server.answer_now(wire)
            control = destination(ancillary)[1]
            if isinstance(reply, bytes):
                self._send(reply, control, client)
            else:
                self._server.start(self._send_later(reply, control, client))

    async def _send_later(
        self, reply: Coroutine[Any, Any, bytes], control: list[tuple[int, int, bytes]], client: Any
    ) -> None:
        self._send(await reply, control, client)

    def _send(self, reply: bytes, control: list[tuple[int, int, bytes]], client: Any) -> None:
        # a reply that can't be sent is a datagram that is lost, as any may be
        if reply:
            with contextlib.suppress(OSError):
                self._sock.sendmsg([reply], control, 0, client)


class _Streams:
    """Answers on a TCP socket; a connection may carry many questions (RFC 7766)."""

    def __init__(self, server: DNSServer) -> None:
        self._server = server
        self._acceptor: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, sock: socket.socket) -> None:
        self._acceptor = await asyncio.start_server(self._serve, sock=sock)

    def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                    wire = await reader.readexactly(length)
                reply = self._server.answer_now(wire, tcp=True)
                body = reply if isinstance(reply, bytes) else await reply
                if not body:
                    return
                writer.write(_LENGTH.pack(len(body)) + body)
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

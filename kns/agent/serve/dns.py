"""The DNS server in the DNS pods, and the one of the lab's internet.

    socket ── 53/UDP, 53/TCP ──▶ DNSServer ── zones in turn ──▶ reply
                                     │ None from all: not ours
                                     └── Forwarder ──▶ upstream ──▶ its reply, as it came

One server stands for one pod and serves any number of sockets. It asks `zones` at each question,
so that records follow the cluster with no restart. A UDP question that was seen before is answered
from a cache, which a new tuple of zones empties.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

import dns.exception
import dns.flags
import dns.message

from kns.agent.serve.datagrams import Ancillary, ask_for_destination, destination
from kns.agent.serve.dns_cache import ReplyCache
from kns.agent.serve.dns_forward import Forwarder, NoAnswerError
from kns.agent.serve.dns_wire import (
    Query,
    UnanswerableError,
    WireAnswer,
    failure,
    question_wire,
    read_query,
    refusal,
    response,
    wire_records,
)
from kns.cluster.records import Rcode, Zone, ZoneAnswer

Zones = tuple[Zone, ...]

#: a reply, or what gets it from another server
Reply = bytes | Coroutine[object, None, bytes]

#: questions that a server hands on at a time; kubeadm's Corefile: `max_concurrent 1000`
MAX_FORWARDED = 1000
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


class DNSServer:
    """Answers from `zones` and hands what they do not know to `forwarder`.

    Without a forwarder such a question is refused, as by any authoritative server.
    """

    def __init__(self, zones: Callable[[], Zones], forwarder: Forwarder | None = None) -> None:
        self.counters = DNSCounters()
        self._zones = zones
        self._forwarder = forwarder
        self._cache = ReplyCache()
        self._cache_of: Zones = ()
        self._turns = 0
        self._under_way = 0
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

    def answer_cached(self, wire: bytes) -> bytes | None:
        """The reply to a UDP question that was answered before; None if it must be worked out."""
        self._current_zones()
        reply = self._cache.get(wire)
        if reply is not None:
            self.counters.questions += 1
        return reply

    def answer_now(self, wire: bytes, *, tcp: bool = False) -> Reply:
        """The reply (empty: none), or a coroutine that gets it from another server."""
        self.counters.questions += 1
        try:
            query = read_query(wire, tcp=tcp)
        except UnanswerableError as error:
            return error.reply
        answer = self._lookup(query)
        if answer is None or answer.pending:
            if self._under_way >= MAX_FORWARDED:
                return refusal(query)
            return self._counted(
                self._forwarded(query, wire, tcp=tcp)
                if answer is None
                else self._completed(query, answer, tcp=tcp)
            )
        encoded = WireAnswer.of(answer)
        if tcp:
            self._turns += 1
            return response(query, encoded, turn=self._turns)
        return self._cache.put(wire, query, encoded)

    def _current_zones(self) -> Zones:
        zones = self._zones()
        if zones is not self._cache_of:
            self._cache.clear()
            self._cache_of = zones
        return zones

    def _lookup(self, query: Query) -> ZoneAnswer | None:
        for zone in self._current_zones():
            answer = zone.lookup(query.name, query.type)
            if answer is not None:
                return answer
        return None if self._forwarder is not None else ZoneAnswer(Rcode.REFUSED)

    async def _counted(self, reply: Coroutine[object, None, bytes]) -> bytes:
        self._under_way += 1
        try:
            return await reply
        finally:
            self._under_way -= 1

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

    async def _completed(self, query: Query, answer: ZoneAnswer, *, tcp: bool) -> bytes:
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
        return WireAnswer.of(answer or ZoneAnswer(Rcode.NOERROR))

    def start(self, work: Coroutine[object, None, None]) -> None:
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
            reply = self._server.answer_cached(wire) or self._server.answer_now(wire)
            control = destination(ancillary)[1]
            if isinstance(reply, bytes):
                self._send(reply, control, client)
            else:
                self._server.start(self._send_later(reply, control, client))

    async def _send_later(
        self, reply: Coroutine[object, None, bytes], control: Ancillary, client: tuple[object, ...]
    ) -> None:
        self._send(await reply, control, client)

    def _send(self, reply: bytes, control: Ancillary, client: tuple[object, ...]) -> None:
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
                # a client that sends thousands of questions at once waits as the others do
                await asyncio.sleep(0)
                writer.write(_LENGTH.pack(len(body)) + body)
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

"""`kns dns`: resolves a name as the C library in a pod does, and keeps what was sent and came back.

    resolv.conf, hosts of the source ──▶ search order ──▶ A and AAAA at once, from one socket,
    inside the source's netns ──▶ next server, next attempt, TCP ──▶ DNSTrace

Only real queries are in the trace: they leave by the pod's link, meet kube-proxy's rules, and are
answered (or not) by whoever the rules choose. Source of the rules: glibc's resolv/res_send.c and
res_query.c.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from kns.cluster.podfiles import ResolvConf
from kns.cluster.records import Record
from kns.kernel import netns
from kns.kinds.common import DNS_PORT
from kns.probe.ask.dns_model import (
    DNSQuery,
    DNSTrace,
    ResolutionOutcome,
    ResolverOptions,
    hosts_addresses,
    search_order,
)

ADDRESS_TYPES = ("A", "AAAA")
#: seconds for a name, however often the C library would go on to ask servers that are silent
LIMIT = 6.0
#: with these a server has answered; after any other code the next one is asked (res_send.c)
_ANSWERS = {"NOERROR", "NXDOMAIN"}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH}


@dataclass(frozen=True, slots=True)
class DNSSource:
    """Where a name is resolved: the netns, and the texts of its resolv.conf and hosts file."""

    label: str
    netns: str
    conf: ResolvConf
    hosts: str = ""

    @staticmethod
    def at(label: str, netns_name: str, etc: Path | None) -> DNSSource:
        """The source as it is on this machine now; without files of its own it has no servers."""
        if etc is None:
            return DNSSource(label, netns_name, ResolvConf())
        conf = ResolvConf.parse(_text(etc / "resolv.conf"))
        return DNSSource(label, netns_name, conf, _text(etc / "hosts"))


def trace_name(source: DNSSource, name: str, rdtype: str = "") -> DNSTrace:
    """Resolve `name` at the source. Without a type: as a program that wants addresses does.

    Waits as the C library would, but not for longer than LIMIT: it may take a minute to give up.
    """
    options = ResolverOptions.of(source.conf)
    types = (rdtype,) if rdtype else ("A",) if options.no_aaaa else ADDRESS_TYPES
    known = () if rdtype else hosts_addresses(source.hosts, name)
    if known:
        resolved = ResolutionOutcome.RESOLVED
        return DNSTrace(source.label, name, types, source.conf, resolved, from_hosts=known)
    if not source.conf.nameservers:
        return DNSTrace(source.label, name, types, source.conf, ResolutionOutcome.NO_SERVER)
    resolver = _Resolver(source.conf.nameservers, options, types)
    outcome = netns.call_in(source.netns, resolver.search, search_order(name, source.conf), name)
    queries, cut = tuple(resolver.queries), resolver.left <= 0
    return DNSTrace(source.label, name, types, source.conf, outcome, queries=queries, cut_short=cut)


@dataclass(slots=True)
class _Resolver:
    """One name's resolution, in a thread inside the source's netns."""

    servers: tuple[str, ...]
    options: ResolverOptions
    types: tuple[str, ...]
    queries: list[DNSQuery] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until nobody is asked any more."""
        return self.started + LIMIT - time.monotonic()

    def search(self, names: Sequence[str], name: str) -> ResolutionOutcome:
        """Try the names until one has an answer (res_query.c, __res_context_search)."""
        outcomes: set[ResolutionOutcome] = set()
        rest = list(names)
        while rest and (self.left > 0 or not outcomes):
            outcome = self._ask_servers(rest.pop(0))
            if outcome in {ResolutionOutcome.RESOLVED, ResolutionOutcome.REFUSED}:
                return outcome
            outcomes.add(outcome)
            if outcome is ResolutionOutcome.TIMEOUT:
                # no other domain is tried, but the name itself is, if that was to come at the end
                rest = [item for item in rest[-1:] if item.rstrip(".") == name]
        for outcome in (
            ResolutionOutcome.TIMEOUT,
            ResolutionOutcome.SERVFAIL,
            ResolutionOutcome.NODATA,
        ):
            if outcome in outcomes:
                return outcome
        return ResolutionOutcome.NXDOMAIN

    def _ask_servers(self, name: str) -> ResolutionOutcome:
        """Ask for one name: each server in turn, `attempts` times over (res_send.c)."""
        last: tuple[DNSQuery, ...] = ()
        for _ in range(self.options.attempts):
            for index, server in enumerate(self.servers):
                if last and self.left <= 0:
                    return _outcome(last)
                last = self._ask(server, name, min(self._patience(index), max(self.left, 0.1)))
                self.queries += last
                if any(query.found for query in last):
                    return ResolutionOutcome.RESOLVED
                if all(query.rcode in _ANSWERS for query in last):
                    return _outcome(last)
        return _outcome(last)

    def _patience(self, index: int) -> float:
        """Seconds to wait for a server: the later ones share the time, but none gets under one."""
        if index == 0:
            return float(self.options.timeout)
        return max(1.0, (self.options.timeout << index) / len(self.servers))

    def _ask(self, server: str, name: str, patience: float) -> tuple[DNSQuery, ...]:
        """All types, from one socket unless told otherwise; truncated answers again by TCP."""
        question = _Question(server, name, patience, edns=self.options.edns0)
        if self.options.use_vc:
            return tuple(_by_tcp(question, rdtype) for rdtype in self.types)
        batches: list[tuple[str, ...]] = [(rdtype,) for rdtype in self.types]
        if not self.options.single_request:
            batches = [self.types]
        found = [query for batch in batches for query in _by_udp(question, batch)]
        again = [_by_tcp(question, query.type) for query in found if query.truncated]
        return (*found, *again)


@dataclass(frozen=True, slots=True)
class _Question:
    """A name to ask a server for, and how many seconds to wait for its answer."""

    server: str
    name: str
    patience: float
    edns: bool

    def message(self, rdtype: str) -> dns.message.Message:
        """The query on the wire; glibc sends EDNS only when told to."""
        return dns.message.make_query(self.name, rdtype, use_edns=0 if self.edns else -1)

    def query(
        self,
        rdtype: str,
        protocol: str,
        start: float,
        reply: dns.message.Message | None,
        rcode: str = "TIMEOUT",
    ) -> DNSQuery:
        """What is kept of it: the reply, or the code that says why there is none."""
        if reply is None:
            return DNSQuery(self.name, rdtype, self.server, protocol, rcode)
        return DNSQuery(
            self.name,
            rdtype,
            self.server,
            protocol,
            dns.rcode.to_text(reply.rcode()),
            _records(reply),
            truncated=bool(reply.flags & dns.flags.TC),
            latency_ms=round((time.monotonic() - start) * 1000, 3),
        )


def _by_udp(question: _Question, types: Sequence[str]) -> tuple[DNSQuery, ...]:
    """One query a type, all sent before the first answer is read, as glibc does."""
    family = socket.AF_INET6 if ":" in question.server else socket.AF_INET
    pending = {message.id: (rdtype, message) for rdtype, message in _messages(question, types)}
    done: dict[str, DNSQuery] = {}
    start = time.monotonic()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        error = _send_all(sock, question.server, [message for _, message in pending.values()])
        while pending and not error:
            left = start + question.patience - time.monotonic()
            if left <= 0 or not select.select([sock], [], [], left)[0]:
                break
            reply, error = _receive(sock)
            if reply is not None and reply.id in pending:
                rdtype, message = pending[reply.id]
                if message.is_response(reply):
                    del pending[reply.id]
                    done[rdtype] = question.query(rdtype, "udp", start, reply)
    for rdtype, _ in pending.values():
        done[rdtype] = question.query(rdtype, "udp", start, None, error or "TIMEOUT")
    return tuple(done[rdtype] for rdtype in types)


def _messages(
    question: _Question, types: Sequence[str]
) -> Iterator[tuple[str, dns.message.Message]]:
    """The queries, with ids that differ."""
    used: set[int] = set()
    for rdtype in types:
        message = question.message(rdtype)
        while message.id in used:
            message = question.message(rdtype)
        used.add(message.id)
        yield rdtype, message


def _send_all(sock: socket.socket, server: str, messages: Sequence[dns.message.Message]) -> str:
    """Connect and send; the kernel's word if it refuses."""
    try:
        sock.connect((server, DNS_PORT))
        for message in messages:
            sock.send(message.to_wire())
    except OSError as error:
        return _word_of(error)
    return ""


def _receive(sock: socket.socket) -> tuple[dns.message.Message | None, str]:
    """A message, or the kernel's word for the ICMP error that came instead."""
    try:
        wire = sock.recv(65535)
    except OSError as error:
        return None, _word_of(error)
    try:
        return dns.message.from_wire(wire, ignore_trailing=True), ""
    except dns.exception.DNSException:
        return None, ""


def _by_tcp(question: _Question, rdtype: str) -> DNSQuery:
    message = question.message(rdtype)
    start = time.monotonic()
    try:
        reply = dns.query.tcp(message, question.server, question.patience, DNS_PORT)
    except dns.exception.Timeout:
        return question.query(rdtype, "tcp", start, None)
    except (OSError, EOFError) as error:
        word = _word_of(error) if isinstance(error, OSError) else "CONNREFUSED"
        return question.query(rdtype, "tcp", start, None, word)
    except dns.exception.DNSException:
        return question.query(rdtype, "tcp", start, None, "FORMERR")
    return question.query(rdtype, "tcp", start, reply)


def _word_of(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "CONNREFUSED"
    return (
        "UNREACHABLE"
        if error.errno in _UNREACHABLE
        else errno.errorcode.get(error.errno or 0, "ERROR")
    )


def _outcome(queries: Sequence[DNSQuery]) -> ResolutionOutcome:
    """What the last answers to one name amount to."""
    rcodes = {query.rcode for query in queries if not query.truncated}
    if any(query.found for query in queries):
        return ResolutionOutcome.RESOLVED
    if rcodes & {"CONNREFUSED", "UNREACHABLE"}:
        return ResolutionOutcome.REFUSED
    if "TIMEOUT" in rcodes:
        return ResolutionOutcome.TIMEOUT
    if rcodes - _ANSWERS:
        return ResolutionOutcome.SERVFAIL
    return ResolutionOutcome.NODATA if "NOERROR" in rcodes else ResolutionOutcome.NXDOMAIN


def _records(message: dns.message.Message) -> tuple[Record, ...]:
    return tuple(
        Record(
            rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype), rrset.ttl, rdata.to_text()
        )
        for rrset in message.answer
        for rdata in rrset
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""

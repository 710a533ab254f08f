"""DNS messages: a question off the wire, an Answer onto it.

    bytes ──read_query()──▶ Query ──Zone.lookup()──▶ Answer ──response()──▶ bytes
                                                               fits the client's size, or TC is set

Names keep the client's upper and lower case, which dnspython's own rendering would fold: here a
name is compressed only against one that is equal letter for letter, as CoreDNS does.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from kns.cluster.records import Rcode, Record, ZoneAnswer

#: RFC 1035 4.2.1: what a client without EDNS takes by UDP
PLAIN_SIZE = 512
#: what we say that we take, and more than which we never send by UDP (RFC 6891 6.2.5 and the DNS
#: flag day 2020: an answer that needs no IP fragment; a client may ask for more, up to this)
OWN_PAYLOAD = 1232
MAX_UDP = 4096
MAX_TCP = 65535
HEADER = struct.Struct("!HHHHHH")
_LENGTH = struct.Struct("!H")
_TYPE_CLASS = struct.Struct("!HH")
_FIXED = struct.Struct("!HHI")
_SRV = struct.Struct("!HHH")
_SOA_NUMBERS = struct.Struct("!IIIII")
#: OPT: the root as owner, type, payload size, extended rcode and flags, no options (RFC 6891)
_OPT = struct.Struct("!BHHIH")
_OPT_SIZE = _OPT.size
_ADDRESS_TYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_TYPES = {
    text: dns.rdatatype.from_text(text)
    for text in ("A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT")
}
_RCODES = {rcode: dns.rcode.from_text(rcode) for rcode in Rcode}
#: a pointer has 14 bits
_POINTER_MAX = 0x4000


@dataclass(frozen=True, slots=True)
class Query:
    """A question that can be answered.

    `limit` is how many bytes the client takes, `flags` are those that a reply repeats (RD, CD).
    """

    id: int
    name: str
    type: str
    labels: tuple[bytes, ...]
    rdtype: int
    flags: int
    limit: int
    has_edns: bool = False
    dnssec_ok: bool = False


class WireRecord(NamedTuple):
    """A record in wire format, but for its owner, which is compressed where it is written."""

    labels: tuple[bytes, ...]
    type: int
    #: type, class, TTL
    fixed: bytes
    rdata: bytes


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """An Answer in wire format, made once for all the replies that carry it."""

    rcode: Rcode
    answer: tuple[WireRecord, ...]
    authority: tuple[WireRecord, ...]
    additional: tuple[WireRecord, ...]

    @staticmethod
    def of(answer: ZoneAnswer) -> WireAnswer:
        """Encode the records."""
        return WireAnswer(
            answer.rcode,
            tuple(map(_wire_record, answer.answer)),
            tuple(map(_wire_record, answer.authority)),
            tuple(map(_wire_record, answer.additional)),
        )

    @property
    def count(self) -> int:
        """How many records it has."""
        return len(self.answer) + len(self.authority) + len(self.additional)

    @property
    def turns(self) -> int:
        """In how many orders the addresses can be given."""
        return max(1, sum(record.type in _ADDRESS_TYPES for record in self.answer))


class UnanswerableError(Exception):
    """A message that gets `reply` and no lookup; an empty reply means that it gets none at all."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__()
        self.reply = reply


def read_query(wire: bytes, *, tcp: bool = False) -> Query:
    """Parse a message from a client; UnanswerableError with the error reply if it is no question.

    What is not a query gets no answer at all, lest two servers answer each other for ever.
    """
    if len(wire) < HEADER.size:
        raise UnanswerableError
    identifier, flags, *_counts = HEADER.unpack_from(wire)
    if flags & dns.flags.QR:
        raise UnanswerableError
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except dns.exception.DNSException as error:
        raise UnanswerableError(_bare_reply(identifier, flags, dns.rcode.FORMERR)) from error
    if message.opcode() != dns.opcode.QUERY:
        raise UnanswerableError(_bare_reply(identifier, flags, dns.rcode.NOTIMP))
    if len(message.question) != 1:
        raise UnanswerableError(_bare_reply(identifier, flags, dns.rcode.FORMERR))
    question = message.question[0]
    if message.edns > 0:
        raise UnanswerableError(_error_reply(message, dns.rcode.BADVERS))
    if question.rdclass != dns.rdataclass.IN:
        raise UnanswerableError(_error_reply(message, dns.rcode.REFUSED))
    return Query(
        id=identifier,
        name=question.name.to_text(),
        type=dns.rdatatype.to_text(question.rdtype),
        labels=question.name.labels,
        rdtype=int(question.rdtype),
        flags=flags & (dns.flags.RD | dns.flags.CD),
        limit=MAX_TCP if tcp else _limit(message),
        has_edns=message.edns >= 0,
        dnssec_ok=bool(message.ednsflags & dns.flags.DO),
    )


def response(
    query: Query,
    answer: WireAnswer,
    *,
    turn: int = 0,
    more: Iterable[WireRecord] = (),
    truncated: bool = False,
) -> bytes:
    """The reply to a query; `more` are records that another server gave for `answer.pending`.

    `turn` says which address comes first. Records that don't fit into the client's size are left
    out and TC says so; additional ones are left out in silence (RFC 2181 section 9).
    """
    flags = dns.flags.QR | query.flags
    if answer.rcode is not Rcode.REFUSED:
        flags |= dns.flags.AA
    out = _Writer(query)
    authority = additional = 0
    count, whole = out.add((*rotated(answer.answer, turn), *more))
    if whole:
        authority, whole = out.add(answer.authority)
    if whole:
        additional, _ = out.add(answer.additional)
    if truncated or not whole:
        flags |= dns.flags.TC
    return out.finish(flags | _RCODES[answer.rcode], (count, authority, additional))


def failure(query: Query) -> bytes:
    """SERVFAIL: nobody answered the question that we handed on."""
    return _without_records(query, dns.rcode.SERVFAIL)


def refusal(query: Query) -> bytes:
    """REFUSED: more questions are handed on at the moment than we take."""
    return _without_records(query, dns.rcode.REFUSED)


def _without_records(query: Query, rcode: dns.rcode.Rcode) -> bytes:
    flags = dns.flags.QR | dns.flags.RA | (query.flags & dns.flags.RD)
    return _Writer(query).finish(flags | rcode, (0, 0, 0))


def question_wire(name: str, rdtype: str, identifier: int) -> bytes:
    """A query of our own to another server."""
    message = dns.message.make_query(name, rdtype, use_edns=0, payload=OWN_PAYLOAD)
    message.id = identifier
    return message.to_wire()


def rotated(records: tuple[WireRecord, ...], turn: int) -> tuple[WireRecord, ...]:
    """CoreDNS' loadbalance plugin: CNAMEs first, then the rest, then the addresses in turn."""
    addresses = [record for record in records if record.type in _ADDRESS_TYPES]
    aliases = [record for record in records if record.type == dns.rdatatype.CNAME]
    others = {dns.rdatatype.CNAME, *_ADDRESS_TYPES}
    rest = [record for record in records if record.type not in others]
    if addresses:
        start = turn % len(addresses)
        addresses = addresses[start:] + addresses[:start]
    return (*aliases, *rest, *addresses)


class _Writer:
    """A reply under construction, from the header and question to the last record that fits."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._limit = query.limit - (_OPT_SIZE if query.has_edns else 0)
        self._buffer = bytearray(HEADER.size)
        self._names: dict[tuple[bytes, ...], int] = {}
        self._add_name(query.labels)
        self._buffer += _TYPE_CLASS.pack(query.rdtype, dns.rdataclass.IN)

    def add(self, records: Iterable[WireRecord]) -> tuple[int, bool]:
        """Append a section: how many of its records fitted, and whether all did."""
        count = 0
        for record in records:
            before = len(self._buffer)
            self._add_name(record.labels)
            self._buffer += record.fixed
            self._buffer += _LENGTH.pack(len(record.rdata)) + record.rdata
            if len(self._buffer) > self._limit:
                del self._buffer[before:]
                return count, False
            count += 1
        return count, True

    def finish(self, flags: int, counts: tuple[int, int, int]) -> bytes:
        """The message, with an OPT record if the client sent one."""
        answer, authority, additional = counts
        if self._query.has_edns:
            dnssec_ok = dns.flags.DO if self._query.dnssec_ok else 0
            self._buffer += _OPT.pack(0, dns.rdatatype.OPT, OWN_PAYLOAD, dnssec_ok, 0)
            additional += 1
        HEADER.pack_into(self._buffer, 0, self._query.id, flags, 1, answer, authority, additional)
        return bytes(self._buffer)

    def _add_name(self, labels: tuple[bytes, ...]) -> None:
        """Write the name, its end as a pointer to where the same end was written before."""
        while labels[0]:
            position = self._names.get(labels)
            if position is not None:
                self._buffer += _LENGTH.pack(0xC000 | position)
                return
            if len(self._buffer) < _POINTER_MAX:
                self._names[labels] = len(self._buffer)
            self._buffer.append(len(labels[0]))
            self._buffer += labels[0]
            labels = labels[1:]
        self._buffer.append(0)


def wire_records(rrsets: Iterable[dns.rrset.RRset]) -> tuple[WireRecord, ...]:
    """The records of a message that was received, to be put into another."""
    return tuple(
        WireRecord(
            rrset.name.labels,
            rrset.rdtype,
            _FIXED.pack(rrset.rdtype, rrset.rdclass, rrset.ttl),
            rdata.to_wire() or b"",
        )
        for rrset in rrsets
        for rdata in rrset
    )


def _wire_record(record: Record) -> WireRecord:
    rdtype = _TYPES[record.type]
    fixed = _FIXED.pack(rdtype, dns.rdataclass.IN, record.ttl)
    return WireRecord(_labels(record.name), rdtype, fixed, _rdata(record))


def _rdata(record: Record) -> bytes:
    """The record's RDATA; the types of a cluster by hand, as dnspython's parser is slow."""
    words = record.data.split()
    match record.type, words:
        case "A", [address]:
            return socket.inet_pton(socket.AF_INET, address)
        case "AAAA", [address]:
            return socket.inet_pton(socket.AF_INET6, address)
        case "CNAME" | "NS" | "PTR", [name]:
            return _name(name)
        case "SRV", [priority, weight, port, target]:
            return _SRV.pack(int(priority), int(weight), int(port)) + _name(target)
        case "SOA", [server, mailbox, *numbers] if len(numbers) == 5:
            packed = _SOA_NUMBERS.pack(*(int(number) for number in numbers))
            return _name(server) + _name(mailbox) + packed
    rdata = dns.rdata.from_text(dns.rdataclass.IN, record.type, record.data)
    return rdata.to_wire() or b""


def _name(name: str) -> bytes:
    """A name inside RDATA, not compressed: not every type may be (RFC 3597 section 4)."""
    return b"".join(bytes([len(label)]) + label for label in _labels(name))


def _labels(name: str) -> tuple[bytes, ...]:
    """The labels of an absolute name, the empty one of the root included."""
    if name == "." or "\\" in name or not name.isascii():
        return dns.name.from_text(name).labels
    return tuple(name.encode("ascii").split(b"."))


def _limit(message: dns.message.Message) -> int:
    if message.edns < 0:
        return PLAIN_SIZE
    return min(max(message.payload, PLAIN_SIZE), MAX_UDP)


def _bare_reply(identifier: int, flags: int, rcode: int) -> bytes:
    """A reply with no question: for what could not be read."""
    opcode_and_rd = flags & (0x7800 | dns.flags.RD)
    return HEADER.pack(identifier, dns.flags.QR | opcode_and_rd | rcode, 0, 0, 0, 0)


def _error_reply(message: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes:
    reply = dns.message.make_response(message, our_payload=OWN_PAYLOAD)
    reply.set_rcode(rcode)
    return reply.to_wire()

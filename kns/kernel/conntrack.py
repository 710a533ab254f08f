"""Connection tracking entries, by ctnetlink: which UDP flows lead to a backend that is gone.

A UDP "connection" lives in the table as long as its client keeps sending, and with it the backend
that was chosen for its first packet. So when an endpoint vanishes, the entry must go, or the
client's packets go nowhere for ever. TCP entries stay: their ends notice for themselves, and a
terminating backend may still be serving them.

Source: kube-proxy pkg/proxy/conntrack/cleanup.go (CleanStaleEntries).
"""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from kns.kernel.rtnetlink import Message, Socket, attr, parse_attributes
from kns.plan.ops import CleanConntrack
from kns.state.model import Family, IPAddress, UdpFlow

NETLINK_NETFILTER = 12
# from linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
_GET, _DELETE = 0x0101, 0x0102
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY = 1, 2
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
NLA_F_NESTED = 0x8000
CTA_PROTOINFO, CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE = 4, 1, 1
TCP_CONNTRACK_ESTABLISHED = 3
TCP, UDP = 6, 17
_GENERIC = struct.Struct("=BBH")


@dataclass(frozen=True, slots=True)
class Entry:
    """A tracked UDP flow: where its client sent it, and who answers."""

    family: Family
    destination: IPAddress
    port: int
    backend: IPAddress
    backend_port: int
    #: the original tuple as the kernel wrote it, which names the entry
    key: bytes


def clean_here(op: CleanConntrack) -> int:
    """Delete the stale entries in the calling thread's netns; how many there were."""
    deleted = 0
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        for entry in list_here(sock):
            if is_stale(entry, op.flows, op.service_cidrs):
                deleted += _delete(sock, entry)
    return deleted


def is_stale(entry: Entry, flows: Iterable[UdpFlow], service_cidrs: Iterable[object]) -> bool:
    """True if the entry's address is a service's, and its backend none of the service's.

    A node port is a flow without an address. An address of the service network that is no
    service's any more leads nowhere.
    """
    to_service = False
    for flow in flows:
        if flow.port != entry.port or flow.address not in (None, entry.destination):
            continue
        # an untranslated packet to some other local program's port is none of ours
        if flow.address is None and entry.backend == entry.destination:
            continue
        to_service = True
        if (entry.backend, entry.backend_port) in flow.backends:
            return False
    if to_service:
        return True
    translated = entry.backend != entry.destination
    return translated and any(_holds(cidr, entry.destination) for cidr in service_cidrs)


def _holds(cidr: object, address: IPAddress) -> bool:
    return getattr(cidr, "version", 0) == address.version and address in cidr  # type: ignore[operator]


def list_here(sock: Socket) -> Iterator[Entry]:
    """The UDP entries of the calling thread's netns."""
    for family in Family:
        for data in _dump(sock, family):
            entry = _entry(family, data)
            if entry is not None:
                yield entry


def _dump(sock: Socket, family: Family) -> list[bytes]:
    """All entries of a family; none where the kernel has no ctnetlink."""
    try:
        found = sock.dump(_GET, _GENERIC.pack(family, 0, 0))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
            return []
        raise
    return [data for data in found if data[0] == family]


def count_service_connections_here(service_cidrs: Iterable[object]) -> int:
    """Established TCP connections to service addresses, in the calling thread's netns."""
    cidrs = tuple(service_cidrs)
    count = 0
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        for family in Family:
            for data in _dump(sock, family):
                parts = parse_attributes(data, _GENERIC.size)
                sent = _tuple(parts.get(CTA_TUPLE_ORIG, b""), TCP)
                if sent is None or not _is_established(parts):
                    continue
                count += any(_holds(cidr, sent.destination) for cidr in cidrs)
    return count


def _is_established(parts: Mapping[int, bytes]) -> bool:
    tcp = parse_attributes(parts.get(CTA_PROTOINFO, b"")).get(CTA_PROTOINFO_TCP, b"")
    state = parse_attributes(tcp).get(CTA_PROTOINFO_TCP_STATE)
    return state == bytes((TCP_CONNTRACK_ESTABLISHED,))


def _entry(family: Family, data: bytes) -> Entry | None:
    parts = parse_attributes(data, _GENERIC.size)
    original = parts.get(CTA_TUPLE_ORIG, b"")
    sent, answered = _tuple(original, UDP), _tuple(parts.get(CTA_TUPLE_REPLY, b""), UDP)
    if sent is None or answered is None:
        return None
    return Entry(
        family, sent.destination, sent.port, answered.source, answered.source_port, original
    )


@dataclass(frozen=True, slots=True)
class _Tuple:
    source: IPAddress
    source_port: int
    destination: IPAddress
    port: int


def _tuple(data: bytes, number: int) -> _Tuple | None:
    parts = parse_attributes(data)
    address = parse_attributes(parts.get(CTA_TUPLE_IP, b""))
    protocol = parse_attributes(parts.get(CTA_TUPLE_PROTO, b""))
    if protocol.get(CTA_PROTO_NUM) != bytes((number,)):
        return None
    source = address.get(CTA_IP_V4_SRC) or address[CTA_IP_V6_SRC]
    destination = address.get(CTA_IP_V4_DST) or address[CTA_IP_V6_DST]
    return _Tuple(
        _address(source),
        int.from_bytes(protocol[CTA_PROTO_SRC_PORT], "big"),
        _address(destination),
        int.from_bytes(protocol[CTA_PROTO_DST_PORT], "big"),
    )


def _address(raw: bytes) -> IPAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


def _delete(sock: Socket, entry: Entry) -> int:
    body = _GENERIC.pack(entry.family, 0, 0) + attr(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.key)
    (number,) = sock.request([Message(_DELETE, 0, body)])
    return int(number == 0)  # one that has expired in the meantime is gone as well

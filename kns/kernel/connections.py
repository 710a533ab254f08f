"""The connections that a netns remembers (ctnetlink): who asked whom, and who answers whom.

An entry holds two tuples. Where they are not each other's mirror image, NAT is at work: the
answer comes from another address than was asked, or goes to another than asked.

Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from kns.addresses import IPAddress, IPFamily
from kns.kernel import netns
from kns.kernel.rtnetlink import Socket, parse_attributes

NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_GET = 0x0101
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO = 1, 2, 3, 4
CTA_TIMEOUT, CTA_MARK = 7, 8
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT, CTA_PROTO_ICMP_ID = 1, 2, 3, 4
CTA_PROTO_ICMPV6_ID = 7
CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE = 1, 1
#: enum tcp_conntrack
TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
    "TIME_WAIT", "CLOSE", "SYN_SENT2",
)  # fmt: skip
IPS_SEEN_REPLY = 1 << 1
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction of a connection. Of ICMP both ports are the echo's id."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    @property
    def reverse(self) -> Tuple:
        """The same seen from the other end."""
        return Tuple(self.destination, self.destination_port, self.source, self.source_port)


@dataclass(frozen=True, slots=True)
class Connection:
    """An entry: `original` as the first packet came in, `reply` as its answers are expected."""

    protocol: str
    original: Tuple
    reply: Tuple
    #: of TCP alone
    state: str = ""
    answered: bool = False
    #: seconds until it is forgotten
    timeout: int = 0
    family: IPFamily = IPFamily.IPV4
    #: the original tuple as the kernel wrote it, which names the entry
    key: bytes = b""


def list_connections(name: str) -> tuple[Connection, ...]:
    """All entries of the netns; none where the kernel has no ctnetlink."""
    return netns.call_in(name, list_here)


def list_here() -> tuple[Connection, ...]:
    """The same of the calling thread's netns."""
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        return tuple(
            item for family in IPFamily for item in _connections(family, _dump(sock, family))
        )


def _dump(sock: Socket, family: IPFamily) -> list[bytes]:
    try:
        return sock.dump(IPCTNL_MSG_CT_GET, bytes((family.af, 0, 0, 0)))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
            return []
        raise


def _connections(family: IPFamily, bodies: list[bytes]) -> Iterator[Connection]:
    for body in bodies:
        parts = parse_attributes(body, 4)
        original = parse_tuple(parts.get(CTA_TUPLE_ORIG, b""))
        reply = parse_tuple(parts.get(CTA_TUPLE_REPLY, b""))
        if body[0] != family.af or original is None or reply is None:
            continue
        number = _protocol(parts[CTA_TUPLE_ORIG])
        tcp = parse_attributes(
            parse_attributes(parts.get(CTA_PROTOINFO, b"")).get(CTA_PROTOINFO_TCP, b"")
        )
        state = tcp.get(CTA_PROTOINFO_TCP_STATE)
        yield Connection(
            protocol=PROTOCOLS.get(number, str(number)),
            original=original,
            reply=reply,
            state=TCP_STATES[state[0]] if state and state[0] < len(TCP_STATES) else "",
            answered=bool(_number(parts.get(CTA_STATUS, b"")) & IPS_SEEN_REPLY),
            timeout=_number(parts.get(CTA_TIMEOUT, b"")),
            family=family,
            key=parts[CTA_TUPLE_ORIG],
        )


def parse_tuple(data: bytes) -> Tuple | None:
    """A CTA_TUPLE_*; None where it has no address."""
    parts = parse_attributes(data)
    addresses = parse_attributes(parts.get(CTA_TUPLE_IP, b""))
    source = addresses.get(1) or addresses.get(3)
    destination = addresses.get(2) or addresses.get(4)
    if source is None or destination is None:
        return None
    protocol = parse_attributes(parts.get(CTA_TUPLE_PROTO, b""))
    echo = protocol.get(CTA_PROTO_ICMP_ID) or protocol.get(CTA_PROTO_ICMPV6_ID)
    return Tuple(
        _address(source),
        _number(echo or protocol.get(CTA_PROTO_SRC_PORT, b"")),
        _address(destination),
        _number(echo or protocol.get(CTA_PROTO_DST_PORT, b"")),
    )


def _protocol(data: bytes) -> int:
    protocol = parse_attributes(parse_attributes(data).get(CTA_TUPLE_PROTO, b""))
    return _number(protocol.get(CTA_PROTO_NUM, b""))


def _address(raw: bytes) -> IPAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")

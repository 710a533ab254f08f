"""The connections that a netns remembers (ctnetlink): who asked whom, and who answers whom.

Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from pyroute2.netlink import NETLINK_NETFILTER, NLM_F_DUMP
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_CTNETLINK
from pyroute2.netlink.nfnetlink.nfctsocket import (
    IPCTNL_MSG_CT_GET,
    IPS_SEEN_REPLY,
    TCP_CONNTRACK_TO_NAME,
    nfct_msg,
)

from kns.addresses import IPAddress, IPFamily
from kns.kernel import netns
from kns.kernel.netlink import BODY, Socket, attributes, wanted
from kns.kernel.shapes import encoded, request
from kns.state.connection import Connection, Tuple

#: a message's type is its subsystem's number, then its own
SUBSYSTEM = NFNL_SUBSYS_CTNETLINK << 8
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
#: state 9, which pyroute2 calls LISTEN, has been SYN_SENT2 since Linux 2.6.31
_TCP_STATES = {0: "NONE", **TCP_CONNTRACK_TO_NAME, 9: "SYN_SENT2"}

#: struct nfgenmsg: family, version, resource
_ATTRIBUTES = BODY + 4
_ENTRY = wanted(
    nfct_msg, "CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY", "CTA_STATUS", "CTA_PROTOINFO", "CTA_TIMEOUT"
)
_TUPLE = wanted(nfct_msg.cta_tuple, "CTA_TUPLE_IP", "CTA_TUPLE_PROTO")
_IP = wanted(
    nfct_msg.cta_tuple.cta_ip, "CTA_IP_V4_SRC", "CTA_IP_V4_DST", "CTA_IP_V6_SRC", "CTA_IP_V6_DST"
)
_PROTO = wanted(
    nfct_msg.cta_tuple.cta_proto,
    "CTA_PROTO_NUM",
    "CTA_PROTO_SRC_PORT",
    "CTA_PROTO_DST_PORT",
    "CTA_PROTO_ICMP_ID",
    "CTA_PROTO_ICMPV6_ID",
)
_INFO = wanted(nfct_msg.cta_protoinfo, "CTA_PROTOINFO_TCP")
_TCP = wanted(nfct_msg.cta_protoinfo.cta_protoinfo_tcp, "CTA_PROTOINFO_TCP_STATE")
#: of both families: the kernel walks the hash table of all netns for each dump
_GET = encoded(
    request(nfct_msg, SUBSYSTEM | IPCTNL_MSG_CT_GET, NLM_F_DUMP, nfgen_family=socket.AF_UNSPEC)
)
_FAMILIES = {family.af: family for family in IPFamily}


def list_connections(name: str) -> tuple[Connection, ...]:
    """All entries of the netns; none where the kernel has no ctnetlink."""
    return netns.call_in(name, list_here)


def list_here() -> tuple[Connection, ...]:
    """The same of the calling thread's netns."""
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        return tuple(_connections(_dump(sock)))


def _dump(sock: Socket) -> list[bytes]:
    try:
        return sock.dump(_GET)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
            return []
        raise


def _connections(messages: list[bytes]) -> Iterator[Connection]:
    for message in messages:
        parts = attributes(message, _ENTRY, _ATTRIBUTES)
        original = _tuple(parts.get("CTA_TUPLE_ORIG", b""))
        reply = _tuple(parts.get("CTA_TUPLE_REPLY", b""))
        family = _FAMILIES.get(message[BODY])
        if family is None or original is None or reply is None:
            continue
        number = _protocol(parts["CTA_TUPLE_ORIG"])
        info = attributes(parts.get("CTA_PROTOINFO", b""), _INFO)
        state = attributes(info.get("CTA_PROTOINFO_TCP", b""), _TCP).get("CTA_PROTOINFO_TCP_STATE")
        yield Connection(
            protocol=_PROTOCOLS.get(number, str(number)),
            original=original,
            reply=reply,
            state=_TCP_STATES.get(state[0], "") if state else "",
            answered=bool(_number(parts.get("CTA_STATUS", b"")) & IPS_SEEN_REPLY),
            timeout=_number(parts.get("CTA_TIMEOUT", b"")),
            family=family,
        )


def _tuple(data: bytes) -> Tuple | None:
    """A CTA_TUPLE_*; None where it has no address."""
    parts = attributes(data, _TUPLE)
    addresses = attributes(parts.get("CTA_TUPLE_IP", b""), _IP)
    source = addresses.get("CTA_IP_V4_SRC") or addresses.get("CTA_IP_V6_SRC")
    destination = addresses.get("CTA_IP_V4_DST") or addresses.get("CTA_IP_V6_DST")
    if source is None or destination is None:
        return None
    protocol = attributes(parts.get("CTA_TUPLE_PROTO", b""), _PROTO)
    echo = protocol.get("CTA_PROTO_ICMP_ID") or protocol.get("CTA_PROTO_ICMPV6_ID")
    return Tuple(
        _address(source),
        _number(echo or protocol.get("CTA_PROTO_SRC_PORT", b"")),
        _address(destination),
        _number(echo or protocol.get("CTA_PROTO_DST_PORT", b"")),
    )


def _protocol(data: bytes) -> int:
    protocol = attributes(attributes(data, _TUPLE).get("CTA_TUPLE_PROTO", b""), _PROTO)
    return _number(protocol.get("CTA_PROTO_NUM", b""))


def _address(raw: bytes) -> IPAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")

"""rtnetlink dumps of one netns as values of `kns.state`: links, addresses, routes, neighbors.

Each function asks on a socket that was opened inside the netns. Links of kinds that kns never
makes (the kernel's fallback tunnels, which it puts into every netns) are not listed.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    rt_proto,
    rt_type,
)
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NTF_SELF, NUD_PERMANENT, ndmsg
from pyroute2.netlink.rtnl.rtmsg import RTNH_F_ONLINK, rtmsg

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kernel.netlink import BODY, Socket, attributes, wanted
from kns.kernel.shapes import encoded, request
from kns.state.model import (
    Address,
    Bridge,
    Dummy,
    FdbEntry,
    Link,
    LinkKind,
    Neighbor,
    NextHop,
    PolicyRule,
    Route,
    RouteType,
    VethPeer,
    Vxlan,
    loopback,
)

RT_TABLE_LOCAL = 255
#: `ip route` and ours. The kernel's own, router advertisements' and a routing daemon's (BIRD) are
#: theirs to keep
OURS = (rt_proto["boot"], rt_proto["static"])
RTPROT_BIRD = rt_proto["bird"]
#: ip rule's own three: local, main, default
OWN_RULES = frozenset({0, 32766, 32767})
_NAMES_OF_TYPES = {rt_type[kind]: kind for kind in RouteType}

#: a message's body is a struct, then attributes
_IFINFO, _IFADDR = struct.Struct("=BxHiII"), struct.Struct("=BBBBI")
_ROUTE, _NEIGHBOR = struct.Struct("=BBBBBBBBI"), struct.Struct("=BxxxiHBB")
_NEXT_HOP = struct.Struct("=HBBi")

_LINK = wanted(
    ifinfmsg,
    "IFLA_ADDRESS",
    "IFLA_IFALIAS",
    "IFLA_IFNAME",
    "IFLA_LINK",
    "IFLA_LINKINFO",
    "IFLA_LINK_NETNSID",
    "IFLA_MASTER",
    "IFLA_MTU",
)
_INFO = wanted(ifinfmsg.ifinfo, "IFLA_INFO_KIND", "IFLA_INFO_DATA", "IFLA_INFO_SLAVE_DATA")
_PORT = wanted(ifinfmsg.ifinfo.bridge_slave_data, "IFLA_BRPORT_MODE")
_VXLAN = wanted(
    ifinfmsg.ifinfo.data_map["vxlan"],
    "IFLA_VXLAN_ID",
    "IFLA_VXLAN_LINK",
    "IFLA_VXLAN_LOCAL",
    "IFLA_VXLAN_LOCAL6",
    "IFLA_VXLAN_PORT",
)
_ADDRESS = wanted(ifaddrmsg, "IFA_ADDRESS", "IFA_LOCAL")
_ROUTE_PARTS = wanted(
    rtmsg,
    "RTA_DST",
    "RTA_GATEWAY",
    "RTA_MULTIPATH",
    "RTA_OIF",
    "RTA_PREFSRC",
    "RTA_PRIORITY",
    "RTA_TABLE",
)
_NEIGHBOR_PARTS = wanted(ndmsg, "NDA_DST", "NDA_LLADDR")

_GET_LINKS = encoded(request(ifinfmsg, RTM_GETLINK, NLM_F_DUMP))
_GET_ADDRESSES = encoded(request(ifaddrmsg, RTM_GETADDR, NLM_F_DUMP))
_GET_ROUTES = encoded(request(rtmsg, RTM_GETROUTE, NLM_F_DUMP, family=socket.AF_UNSPEC))
_GET_NEIGHBORS = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP))
_GET_FDB = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP, family=socket.AF_BRIDGE))
_GET_RULES = {
    family: encoded(request(fibmsg, RTM_GETRULE, NLM_F_DUMP, family=family.af))
    for family in IPFamily
}


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A link as dumped. Of a veth: the far end's ifindex there, and what this netns calls there.

    `peer_nsid` is None where the far end is in the same netns.
    """

    link: Link
    index: int
    peer_index: int = 0
    peer_nsid: int | None = None


# -- links -----------------------------------------------------------------------------------------


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def links(sock: Socket) -> list[FoundLink]:
    """Every link of a kind that kns makes."""
    raw = [_raw_link(data) for data in sock.dump(_GET_LINKS)]
    names = {index: _text(parts["IFLA_IFNAME"]) for index, _flags, parts in raw}
    found = []
    for index, flags, parts in raw:
        item = _link(index, flags, parts, names)
        if item is not None:
            found.append(item)
    return found


def _raw_link(data: bytes) -> tuple[int, int, dict[str, bytes]]:
    _family, _type, index, flags, _change = _IFINFO.unpack_from(data, BODY)
    return index, flags, attributes(data, _LINK, BODY + _IFINFO.size)


def _link(
    index: int, flags: int, parts: Mapping[str, bytes], names: Mapping[int, str]
) -> FoundLink | None:
    name = names[index]
    up = bool(flags & IFF_UP)
    if name == "lo":
        return FoundLink(loopback(up=up), index)
    info = attributes(parts.get("IFLA_LINKINFO", b""), _INFO)
    kind = _kind(info, names)
    if kind is None:
        return None
    port = attributes(info.get("IFLA_INFO_SLAVE_DATA", b""), _PORT)
    link = Link(
        name,
        kind,
        mac=_mac(parts.get("IFLA_ADDRESS", b"")),
        mtu=_number(parts["IFLA_MTU"]),
        master=names.get(_number(parts.get("IFLA_MASTER", b"")), ""),
        hairpin=port.get("IFLA_BRPORT_MODE", b"\0") == b"\1",
        alias=_text(parts.get("IFLA_IFALIAS", b"")),
        up=up,
    )
    if link.peer is None:
        return FoundLink(link, index)
    nsid = _number(parts["IFLA_LINK_NETNSID"]) if "IFLA_LINK_NETNSID" in parts else None
    return FoundLink(link, index, _number(parts.get("IFLA_LINK", b"")), nsid)


def _kind(info: Mapping[str, bytes], names: Mapping[int, str]) -> LinkKind | None:
    """The kind; of a veth without its peer, which only the other netns' dump tells."""
    match _text(info.get("IFLA_INFO_KIND", b"")):
        case Bridge.type:
            return Bridge()
        case Dummy.type:
            return Dummy()
        case VethPeer.type:
            return VethPeer("", "")
        case Vxlan.type:
            return _vxlan(attributes(info.get("IFLA_INFO_DATA", b""), _VXLAN), names)
        case _:
            return None


def _vxlan(details: Mapping[str, bytes], names: Mapping[int, str]) -> Vxlan:
    local = details.get("IFLA_VXLAN_LOCAL") or details.get("IFLA_VXLAN_LOCAL6") or bytes(4)
    return Vxlan(
        vni=_number(details["IFLA_VXLAN_ID"]),
        local=_ip(local),
        device=names.get(_number(details.get("IFLA_VXLAN_LINK", b"")), ""),
        port=int.from_bytes(details["IFLA_VXLAN_PORT"], "big"),
    )


# -- addresses, routes, neighbors ------------------------------------------------------------------


def _ip(raw: bytes) -> IPAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


def _network(family: int, raw: bytes | None, length: int) -> IPNetwork:
    if family == socket.AF_INET:
        return IPv4Network((raw or bytes(4), length))
    return IPv6Network((raw or bytes(16), length))


def addresses(sock: Socket, names: Mapping[int, str]) -> tuple[Address, ...]:
    """Addresses but for the kernel's own loopback and link-local ones."""
    found = []
    for data in sock.dump(_GET_ADDRESSES):
        _family, length, _flags, _scope, index = _IFADDR.unpack_from(data, BODY)
        parts = attributes(data, _ADDRESS, BODY + _IFADDR.size)
        ip = _ip(parts.get("IFA_LOCAL") or parts["IFA_ADDRESS"])
        if ip.is_loopback or ip.is_link_local or index not in names:
            continue
        found.append(Address(names[index], ip_interface((ip, length))))
    return tuple(found)


def routes(
    sock: Socket, names: Mapping[int, str], protocols: Collection[int] = OURS
) -> tuple[Route, ...]:
    """Routes of those who call themselves so (linux/rtnetlink.h RTPROT_*); never the kernel's own.

    A routing daemon's routes are not kns' to mend, and are left out unless they are asked for.
    """
    found = []
    for data in sock.dump(_GET_ROUTES):
        family, length, _src, _tos, table, protocol, _scope, kind, flags = _ROUTE.unpack_from(
            data, BODY
        )
        if protocol not in protocols or kind not in _NAMES_OF_TYPES:
            continue
        if family not in (socket.AF_INET, socket.AF_INET6):
            continue
        parts = attributes(data, _ROUTE_PARTS, BODY + _ROUTE.size)
        number = _number(parts["RTA_TABLE"]) if "RTA_TABLE" in parts else table
        if number == RT_TABLE_LOCAL:
            continue
        metric = _number(parts.get("RTA_PRIORITY", b""))
        source = parts.get("RTA_PREFSRC")
        found.append(
            Route(
                destination=_network(family, parts.get("RTA_DST"), length),
                hops=_hops(parts, flags, names, kind),
                table=number,
                type=_NAMES_OF_TYPES[kind],
                source=_ip(source) if source else None,
                # the kernel gives IPv6 routes that were added without a metric 1024
                metric=0 if family == socket.AF_INET6 and metric == 1024 else metric,
            )
        )
    return tuple(found)


def _hops(
    parts: Mapping[str, bytes], flags: int, names: Mapping[int, str], kind: int
) -> tuple[NextHop, ...]:
    if kind != 1:
        return ()
    if "RTA_MULTIPATH" not in parts:
        return (_hop(parts, flags, _number(parts.get("RTA_OIF", b"")), names),)
    hops = []
    data = parts["RTA_MULTIPATH"]
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, hop_flags, _hops, index = _NEXT_HOP.unpack_from(data, offset)
        inner = attributes(data[offset : offset + length], _ROUTE_PARTS, _NEXT_HOP.size)
        hops.append(_hop(inner, hop_flags, index, names))
        offset += (length + 3) & ~3
    return tuple(hops)


def _hop(parts: Mapping[str, bytes], flags: int, index: int, names: Mapping[int, str]) -> NextHop:
    gateway = parts.get("RTA_GATEWAY")
    return NextHop(
        gateway=_ip(gateway) if gateway else None,
        ifname=names.get(index, ""),
        onlink=bool(flags & RTNH_F_ONLINK),
    )


def neighbors(sock: Socket, names: Mapping[int, str]) -> tuple[Neighbor, ...]:
    """Permanent ARP and NDP entries."""
    found = []
    for data in sock.dump(_GET_NEIGHBORS):
        family, index, state, _flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
        if not state & NUD_PERMANENT or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        parts = attributes(data, _NEIGHBOR_PARTS, BODY + _NEIGHBOR.size)
        if index in names and "NDA_LLADDR" in parts:
            address = _ip(parts["NDA_DST"])
            found.append(Neighbor(names[index], address, _mac(parts["NDA_LLADDR"])))
    return tuple(found)


def fdb(sock: Socket, devices: set[int], names: Mapping[int, str]) -> tuple[FdbEntry, ...]:
    """Forwarding entries of the VXLAN devices with the indexes `devices`."""
    found = []
    for data in sock.dump(_GET_FDB):
        _family, index, _state, flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
        parts = attributes(data, _NEIGHBOR_PARTS, BODY + _NEIGHBOR.size)
        if index in devices and flags & NTF_SELF and "NDA_DST" in parts:
            mac = _mac(parts["NDA_LLADDR"])
            found.append(FdbEntry(names[index], mac, _ip(parts["NDA_DST"])))
    return tuple(found)


def policy_rules(sock: Socket) -> tuple[PolicyRule, ...]:
    """Routing rules but for the three that every netns has."""
    found = []
    for family in IPFamily:
        for data in sock.dump(_GET_RULES[family]):
            rule = fibmsg(data)
            rule.decode()
            priority = rule.get_attr("FRA_PRIORITY") or 0
            if priority in OWN_RULES or rule["family"] != family.af:
                continue
            found.append(
                PolicyRule(
                    priority=priority,
                    table=rule.get_attr("FRA_TABLE") or rule["table"],
                    source=_rule_network(rule.get_attr("FRA_SRC"), rule["src_len"]),
                    destination=_rule_network(rule.get_attr("FRA_DST"), rule["dst_len"]),
                    mark=rule.get_attr("FRA_FWMARK") or 0,
                    family=family,
                )
            )
    return tuple(found)


def _rule_network(address: str | None, length: int) -> IPNetwork | None:
    return None if address is None else ip_network((address, length))

"""rtnetlink dumps of one netns as values of `kns.state`: links, addresses, routes, neighbors.

Each function asks on a socket that was opened inside the netns. Links of kinds that kns never
makes (the kernel's fallback tunnels, which it puts into every netns) are not listed.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kernel.links import (
    AF_BRIDGE,
    FRA_DST,
    FRA_FWMARK,
    FRA_PRIORITY,
    FRA_SRC,
    FRA_TABLE,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_BRPORT_MODE,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_VXLAN_ID,
    IFLA_VXLAN_LINK,
    IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
    NDA_DST,
    NDA_LLADDR,
    NTF_SELF,
    NUD_PERMANENT,
    ROUTE_TYPES,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTNH_F_ONLINK,
)
from kns.kernel.rtnetlink import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    Socket,
    parse_attributes,
)
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
    VethPeer,
    Vxlan,
    loopback,
)

RT_TABLE_LOCAL = 255
RT_TABLE_MAIN = 254
#: `ip route` (boot) and ours (static). The kernel's own, router advertisements' and a routing
#: daemon's (BIRD: 12) are theirs to keep
OURS = (3, 4)
RTPROT_BIRD = 12
#: ip rule's own three: local, main, default
OWN_RULES = frozenset({0, 32766, 32767})
_NAMES_OF_TYPES = {number: kind for kind, number in ROUTE_TYPES.items()}


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
    raw = [_raw_link(data) for data in sock.dump(RTM_GETLINK, bytes(16))]
    names = {index: _text(attributes[IFLA_IFNAME]) for index, _flags, attributes in raw}
    found = []
    for index, flags, attributes in raw:
        item = _link(index, flags, attributes, names)
        if item is not None:
            found.append(item)
    return found


def _raw_link(data: bytes) -> tuple[int, int, dict[int, bytes]]:
    _family, _type, index, flags, _change = struct.unpack_from("=BxHiII", data)
    return index, flags, parse_attributes(data, 16)


def _link(
    index: int, flags: int, attributes: dict[int, bytes], names: Mapping[int, str]
) -> FoundLink | None:
    name = names[index]
    up = bool(flags & IFF_UP)
    if name == "lo":
        return FoundLink(loopback(up=up), index)
    info = parse_attributes(attributes.get(IFLA_LINKINFO, b""))
    kind = _kind(info, names)
    if kind is None:
        return None
    port = parse_attributes(info.get(IFLA_INFO_SLAVE_DATA, b""))
    link = Link(
        name,
        kind,
        mac=_mac(attributes.get(IFLA_ADDRESS, b"")),
        mtu=_number(attributes[IFLA_MTU]),
        master=names.get(_number(attributes.get(IFLA_MASTER, b"")), ""),
        hairpin=port.get(IFLA_BRPORT_MODE, b"\0") == b"\1",
        alias=_text(attributes.get(IFLA_IFALIAS, b"")),
        up=up,
    )
    if link.peer is None:
        return FoundLink(link, index)
    nsid = _number(attributes[IFLA_LINK_NETNSID]) if IFLA_LINK_NETNSID in attributes else None
    return FoundLink(link, index, _number(attributes.get(IFLA_LINK, b"")), nsid)


def _kind(info: Mapping[int, bytes], names: Mapping[int, str]) -> LinkKind | None:
    """The kind; of a veth without its peer, which only the other netns' dump tells."""
    match _text(info.get(IFLA_INFO_KIND, b"")):
        case Bridge.type:
            return Bridge()
        case Dummy.type:
            return Dummy()
        case VethPeer.type:
            return VethPeer("", "")
        case Vxlan.type:
            return _vxlan(parse_attributes(info.get(IFLA_INFO_DATA, b"")), names)
        case _:
            return None


def _vxlan(details: Mapping[int, bytes], names: Mapping[int, str]) -> Vxlan:
    local = details.get(IFLA_VXLAN_LOCAL) or details.get(IFLA_VXLAN_LOCAL6) or bytes(4)
    return Vxlan(
        vni=_number(details[IFLA_VXLAN_ID]),
        local=_ip(local),
        device=names.get(_number(details.get(IFLA_VXLAN_LINK, b"")), ""),
        port=int.from_bytes(details[IFLA_VXLAN_PORT], "big"),
    )


# -- addresses, routes, neighbors ------------------------------------------------------------------


def _ip(raw: bytes) -> IPAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


def _network(family: int, raw: bytes | None, length: int) -> IPNetwork:
    if family == IPFamily.IPV4.af:
        return IPv4Network((raw or bytes(4), length))
    return IPv6Network((raw or bytes(16), length))


def addresses(sock: Socket, names: Mapping[int, str]) -> tuple[Address, ...]:
    """Addresses but for the kernel's own loopback and link-local ones."""
    found = []
    for data in sock.dump(RTM_GETADDR, bytes(8)):
        _family, length, _flags, _scope, index = struct.unpack_from("=BBBBI", data)
        attributes = parse_attributes(data, 8)
        ip = _ip(attributes.get(IFA_LOCAL) or attributes[IFA_ADDRESS])
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
    for data in sock.dump(RTM_GETROUTE, bytes(12)):
        family, length, _src, _tos, table, protocol, _scope, kind, flags = struct.unpack_from(
            "=BBBBBBBBI", data
        )
        if protocol not in protocols or kind not in _NAMES_OF_TYPES:
            continue
        if family not in (IPFamily.IPV4.af, IPFamily.IPV6.af):
            continue
        attributes = parse_attributes(data, 12)
        number = _number(attributes[RTA_TABLE]) if RTA_TABLE in attributes else table
        if number == RT_TABLE_LOCAL:
            continue
        metric = _number(attributes.get(RTA_PRIORITY, b""))
        source = attributes.get(RTA_PREFSRC)
        found.append(
            Route(
                destination=_network(family, attributes.get(RTA_DST), length),
                hops=_hops(attributes, flags, names, kind),
                table=number,
                type=_NAMES_OF_TYPES[kind],
                source=_ip(source) if source else None,
                # the kernel gives IPv6 routes that were added without a metric 1024
                metric=0 if family == IPFamily.IPV6.af and metric == 1024 else metric,
            )
        )
    return tuple(found)


def _hops(
    attributes: Mapping[int, bytes], flags: int, names: Mapping[int, str], kind: int
) -> tuple[NextHop, ...]:
    if kind != 1:
        return ()
    if RTA_MULTIPATH not in attributes:
        return (_hop(attributes, flags, _number(attributes.get(RTA_OIF, b"")), names),)
    hops = []
    data = attributes[RTA_MULTIPATH]
    offset = 0
    while offset + 8 <= len(data):
        length, hop_flags, _hops, index = struct.unpack_from("=HBBi", data, offset)
        inner = parse_attributes(data[offset : offset + length], 8)
        hops.append(_hop(inner, hop_flags, index, names))
        offset += (length + 3) & ~3
    return tuple(hops)


def _hop(
    attributes: Mapping[int, bytes], flags: int, index: int, names: Mapping[int, str]
) -> NextHop:
    gateway = attributes.get(RTA_GATEWAY)
    return NextHop(
        gateway=_ip(gateway) if gateway else None,
        ifname=names.get(index, ""),
        onlink=bool(flags & RTNH_F_ONLINK),
    )


def neighbors(sock: Socket, names: Mapping[int, str]) -> tuple[Neighbor, ...]:
    """Permanent ARP and NDP entries."""
    found = []
    for data in sock.dump(RTM_GETNEIGH, bytes(12)):
        family, index, state, _flags, _kind = struct.unpack_from("=BxxxiHBB", data)
        if not state & NUD_PERMANENT or family not in (IPFamily.IPV4.af, IPFamily.IPV6.af):
            continue
        attributes = parse_attributes(data, 12)
        if index in names and NDA_LLADDR in attributes:
            address = _ip(attributes[NDA_DST])
            found.append(Neighbor(names[index], address, _mac(attributes[NDA_LLADDR])))
    return tuple(found)


def fdb(sock: Socket, wanted: set[int], names: Mapping[int, str]) -> tuple[FdbEntry, ...]:
    """Forwarding entries of the VXLAN devices with the `wanted` indexes."""
    found = []
    request = struct.pack("=BxxxiHBB", AF_BRIDGE, 0, 0, 0, 0)
    for data in sock.dump(RTM_GETNEIGH, request):
        _family, index, _state, flags, _kind = struct.unpack_from("=BxxxiHBB", data)
        attributes = parse_attributes(data, 12)
        if index in wanted and flags & NTF_SELF and NDA_DST in attributes:
            mac = _mac(attributes[NDA_LLADDR])
            found.append(FdbEntry(names[index], mac, _ip(attributes[NDA_DST])))
    return tuple(found)


def policy_rules(sock: Socket) -> tuple[PolicyRule, ...]:
    """Routing rules but for the three that every netns has."""
    found = []
    for family in IPFamily:
        for data in sock.dump(RTM_GETRULE, struct.pack("=BBBBBBBBI", family.af, *([0] * 8))):
            kind, to, source, _tos, table, *_rest = struct.unpack_from("=BBBBBBBBI", data)
            attributes = parse_attributes(data, 12)
            priority = _number(attributes.get(FRA_PRIORITY, b""))
            if priority in OWN_RULES or kind != family.af:
                continue
            raw_from, raw_to = attributes.get(FRA_SRC), attributes.get(FRA_DST)
            found.append(
                PolicyRule(
                    priority=priority,
                    table=_number(attributes[FRA_TABLE]) if FRA_TABLE in attributes else table,
                    source=_network(family.af, raw_from, source) if raw_from else None,
                    destination=_network(family.af, raw_to, to) if raw_to else None,
                    mark=_number(attributes.get(FRA_FWMARK, b"")),
                    family=family,
                )
            )
    return tuple(found)

"""Ops on links, addresses, routes and neighbors as rtnetlink messages.

Pure but for the file descriptor of a veth's other netns, which the caller passes in. Attribute
numbers are those of linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h and fib_rules.h.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from kns.addresses import IPAddress, IPFamily
from kns.kernel.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    Message,
    attr,
    attr_text,
    attr_u8,
    attr_u16be,
    attr_u32,
    nest,
)
from kns.state.model import (
    Address,
    Bridge,
    Dummy,
    FdbEntry,
    Link,
    Neighbor,
    NextHop,
    PolicyRule,
    Route,
    RouteType,
    Vxlan,
)

AF_UNSPEC = 0
AF_BRIDGE = 7
IFF_UP = 0x1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_NET_NS_FD, IFLA_LINK_NETNSID = 18, 20, 28, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE = 4
IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING = 1, 3, 4, 7
IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6 = 15, 17

IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD = 0x02

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_MULTIPATH = 1, 4, 5, 6, 7, 9
RTA_TABLE = 15
RTNH_F_ONLINK = 4
RTPROT_STATIC = 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
ROUTE_TYPES = {RouteType.UNICAST: 1, RouteType.BLACKHOLE: 6, RouteType.UNREACHABLE: 7}

NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT = 0x80
NTF_SELF = 0x02

FRA_DST, FRA_SRC, FRA_PRIORITY, FRA_FWMARK, FRA_TABLE, FRA_FWMASK = 1, 2, 6, 10, 15, 16
FR_ACT_TO_TBL = 1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTNEXTHOP = struct.Struct("=HBBi")
_NDMSG = struct.Struct("=BxHiHBB")

NEW = NLM_F_CREATE | NLM_F_EXCL


def _ifinfo(index: int, *, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFO.pack(AF_UNSPEC, 0, index, flags, change)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def create_link(link: Link, index: int, indexes: Mapping[str, int]) -> Message:
    """Make a bridge, VXLAN or dummy device with a chosen index, down."""
    match link.kind:
        case Bridge():
            info = attr(IFLA_INFO_KIND, b"bridge")
        case Vxlan() as kind:
            info = attr(IFLA_INFO_KIND, b"vxlan") + nest(IFLA_INFO_DATA, *_vxlan(kind, indexes))
        case Dummy():
            info = attr(IFLA_INFO_KIND, b"dummy")
        case _:
            msg = f"{link.name} is not made on its own"
            raise TypeError(msg)
    parts = [attr_text(IFLA_IFNAME, link.name), attr_u32(IFLA_MTU, link.mtu)]
    if link.mac:
        parts.append(attr(IFLA_ADDRESS, _mac(link.mac)))
    parts.append(nest(IFLA_LINKINFO, info))
    return Message(RTM_NEWLINK, NEW, _ifinfo(index) + b"".join(parts))


def _vxlan(vxlan: Vxlan, indexes: Mapping[str, int]) -> list[bytes]:
    kind = IFLA_VXLAN_LOCAL if vxlan.local.version == 4 else IFLA_VXLAN_LOCAL6
    return [
        attr_u32(IFLA_VXLAN_ID, vxlan.vni),
        attr_u32(IFLA_VXLAN_LINK, indexes[vxlan.device]),
        attr(kind, vxlan.local.packed),
        attr_u8(IFLA_VXLAN_LEARNING, 0),
        attr_u16be(IFLA_VXLAN_PORT, vxlan.port),
    ]


def create_veth(
    link: Link, peer: Link, index: int, peer_index: int, master: int, peer_fd: int
) -> Message:
    """Make both ends of a pair: ours up and with its master, the other down in netns `peer_fd`.

    The other can't come up with it: the kernel opens it before the two ends know each other
    (ENOTCONN).
    """
    peer_body = (
        _ifinfo(peer_index)
        + attr_text(IFLA_IFNAME, peer.name)
        + attr(IFLA_ADDRESS, _mac(peer.mac))
        + attr_u32(IFLA_MTU, peer.mtu)
        + attr_u32(IFLA_NET_NS_FD, peer_fd)
    )
    parts = [
        attr_text(IFLA_IFNAME, link.name),
        attr(IFLA_ADDRESS, _mac(link.mac)),
        attr_u32(IFLA_MTU, link.mtu),
        *([attr_u32(IFLA_MASTER, master)] if master else []),
        nest(
            IFLA_LINKINFO,
            attr(IFLA_INFO_KIND, b"veth"),
            nest(IFLA_INFO_DATA, nest(VETH_INFO_PEER, peer_body)),
        ),
    ]
    return Message(RTM_NEWLINK, NEW, _ifinfo(index, flags=IFF_UP, change=IFF_UP) + b"".join(parts))


def change_link(
    link: Link, fields: tuple[str, ...], index: int, indexes: Mapping[str, int]
) -> Message:
    """Set attributes of a link that exists."""
    flags = change = 0
    if "up" in fields:
        flags, change = (IFF_UP if link.up else 0), IFF_UP
    parts: list[bytes] = []
    if "mtu" in fields:
        parts.append(attr_u32(IFLA_MTU, link.mtu))
    if "mac" in fields and link.mac:
        parts.append(attr(IFLA_ADDRESS, _mac(link.mac)))
    if "alias" in fields:
        parts.append(attr(IFLA_IFALIAS, link.alias.encode()))
    if "master" in fields:
        parts.append(attr_u32(IFLA_MASTER, indexes.get(link.master, 0)))
    if "hairpin" in fields and link.master:
        parts.append(_port_mode(hairpin=link.hairpin))
    return Message(RTM_NEWLINK, 0, _ifinfo(index, flags=flags, change=change) + b"".join(parts))


def _port_mode(*, hairpin: bool) -> bytes:
    return nest(
        IFLA_LINKINFO,
        attr(IFLA_INFO_SLAVE_KIND, b"bridge"),
        nest(IFLA_INFO_SLAVE_DATA, attr_u8(IFLA_BRPORT_MODE, int(hairpin))),
    )


def delete_link(index: int) -> Message:
    """Remove a link."""
    return Message(RTM_DELLINK, 0, _ifinfo(index))


def _address(kind: int, flags: int, address: Address, index: int) -> Message:
    interface = address.interface
    family = IPFamily.of(interface)
    # no duplicate address detection: for a second nothing could bind to the address
    nodad = IFA_F_NODAD if family is IPFamily.IPV6 else 0
    body = _IFADDR.pack(family.af, interface.network.prefixlen, nodad, 0, index)
    packed = interface.ip.packed
    return Message(kind, flags, body + attr(IFA_LOCAL, packed) + attr(IFA_ADDRESS, packed))


def add_address(address: Address, index: int) -> Message:
    """Put an address on the link with that index."""
    return _address(RTM_NEWADDR, NEW, address, index)


def delete_address(address: Address, index: int) -> Message:
    """Take an address off the link with that index."""
    return _address(RTM_DELADDR, 0, address, index)


def _route(
    kind: int, flags: int, route: Route, indexes: Mapping[str, int], *, protocol: int, scope: int
) -> Message:
    destination = route.destination
    hops = route.hops
    rtm_flags = RTNH_F_ONLINK if len(hops) == 1 and hops[0].onlink else 0
    body = _RTMSG.pack(
        IPFamily.of(destination).af,
        destination.prefixlen,
        0,
        0,
        min(route.table, 255) if route.table < 256 else 0,
        protocol,
        scope,
        ROUTE_TYPES[route.type],
        rtm_flags,
    )
    parts = [body, attr_u32(RTA_TABLE, route.table)]
    if destination.prefixlen:
        parts.append(attr(RTA_DST, destination.network_address.packed))
    if route.metric:
        parts.append(attr_u32(RTA_PRIORITY, route.metric))
    if route.source is not None:
        parts.append(attr(RTA_PREFSRC, route.source.packed))
    if len(hops) == 1:
        parts += _hop(hops[0], indexes)
    elif hops:
        parts.append(attr(RTA_MULTIPATH, b"".join(_next_hop(hop, indexes) for hop in hops)))
    return Message(kind, flags, b"".join(parts))


def _hop(hop: NextHop, indexes: Mapping[str, int]) -> list[bytes]:
    parts = []
    if hop.gateway is not None:
        parts.append(attr(RTA_GATEWAY, hop.gateway.packed))
    if hop.ifname:
        parts.append(attr_u32(RTA_OIF, indexes[hop.ifname]))
    return parts


def _next_hop(hop: NextHop, indexes: Mapping[str, int]) -> bytes:
    gateway = attr(RTA_GATEWAY, hop.gateway.packed) if hop.gateway is not None else b""
    flags = RTNH_F_ONLINK if hop.onlink else 0
    index = indexes[hop.ifname] if hop.ifname else 0
    return _RTNEXTHOP.pack(_RTNEXTHOP.size + len(gateway), flags, 0, index) + gateway


def add_route(route: Route, indexes: Mapping[str, int]) -> Message:
    """Add a route."""
    direct = len(route.hops) == 1 and route.hops[0].gateway is None
    link = direct and IPFamily.of(route.destination) is IPFamily.IPV4
    scope = RT_SCOPE_LINK if link else RT_SCOPE_UNIVERSE
    return _route(RTM_NEWROUTE, NEW, route, indexes, protocol=RTPROT_STATIC, scope=scope)


def delete_route(route: Route, indexes: Mapping[str, int]) -> Message:
    """Remove a route, whoever added it: protocol and scope match any."""
    return _route(RTM_DELROUTE, 0, route, indexes, protocol=0, scope=RT_SCOPE_NOWHERE)


def _policy_rule(kind: int, flags: int, rule: PolicyRule) -> Message:
    source_length = rule.source.prefixlen if rule.source is not None else 0
    destination_length = rule.destination.prefixlen if rule.destination is not None else 0
    family = rule.family.af
    body = _RTMSG.pack(family, destination_length, source_length, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    parts = [body, attr_u32(FRA_PRIORITY, rule.priority), attr_u32(FRA_TABLE, rule.table)]
    if rule.source is not None:
        parts.append(attr(FRA_SRC, rule.source.network_address.packed))
    if rule.destination is not None:
        parts.append(attr(FRA_DST, rule.destination.network_address.packed))
    if rule.mark:
        parts += [attr_u32(FRA_FWMARK, rule.mark), attr_u32(FRA_FWMASK, 0xFFFFFFFF)]
    return Message(kind, flags, b"".join(parts))


def add_rule(rule: PolicyRule) -> Message:
    """Add a policy routing rule."""
    return _policy_rule(RTM_NEWRULE, NEW, rule)


def delete_rule(rule: PolicyRule) -> Message:
    """Remove a policy routing rule."""
    return _policy_rule(RTM_DELRULE, 0, rule)


def _neighbor(
    kind: int, flags: int, index: int, destination: IPAddress, mac: str, *, fdb: bool
) -> Message:
    family = AF_BRIDGE if fdb else IPFamily.of(destination).af
    body = _NDMSG.pack(family, 0, index, NUD_PERMANENT, NTF_SELF if fdb else 0, 0)
    parts = attr(NDA_DST, destination.packed) + attr(NDA_LLADDR, _mac(mac))
    return Message(kind, flags, body + parts)


def add_neighbor(neighbor: Neighbor, index: int) -> Message:
    """Add or replace a permanent neighbor entry."""
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return _neighbor(RTM_NEWNEIGH, flags, index, neighbor.address, neighbor.mac, fdb=False)


def delete_neighbor(neighbor: Neighbor, index: int) -> Message:
    """Remove a neighbor entry."""
    return _neighbor(RTM_DELNEIGH, 0, index, neighbor.address, neighbor.mac, fdb=False)


def add_fdb(entry: FdbEntry, index: int) -> Message:
    """Add or replace a VXLAN forwarding entry."""
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return _neighbor(RTM_NEWNEIGH, flags, index, entry.destination, entry.mac, fdb=True)


def delete_fdb(entry: FdbEntry, index: int) -> Message:
    """Remove a VXLAN forwarding entry."""
    return _neighbor(RTM_DELNEIGH, 0, index, entry.destination, entry.mac, fdb=True)

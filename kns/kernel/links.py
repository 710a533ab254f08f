"""Ops on links, addresses, routes and neighbors as pyroute2's rtnetlink messages, encoded.

Pure but for the file descriptor of a veth's other netns, which the caller passes in. What comes
once per netns or more is `@filled`; the rest is encoded as it is.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, nlmsg
from pyroute2.netlink.rtnl import (
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
    rt_proto,
    rt_scope,
    rt_type,
)
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL, fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NTF_SELF, NUD_PERMANENT, ndmsg
from pyroute2.netlink.rtnl.rtmsg import RTNH_F_ONLINK, rtmsg

from kns.addresses import IPAddress, IPFamily
from kns.kernel.shapes import Mac, encoded, filled, request
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

NEW = NLM_F_CREATE | NLM_F_EXCL
SET = NLM_F_CREATE | NLM_F_REPLACE
_UNIVERSE, _LINK, _HOST = (int(rt_scope[name]) for name in ("universe", "link", "host"))

#: attributes of a message: pyroute2's name and value
Attributes = list[tuple[str, object]]


def _present(*attributes: tuple[str, object]) -> Attributes:
    return [(name, value) for name, value in attributes if value is not None]


# -- links -----------------------------------------------------------------------------------------


def create_link(link: Link, index: int, indexes: Mapping[str, int]) -> bytes:
    """Make a bridge, VXLAN or dummy device with a chosen index, down."""
    match link.kind:
        case Bridge() | Dummy():
            info: Attributes = [("IFLA_INFO_KIND", link.kind.type)]
        case Vxlan() as kind:
            data = {"attrs": _vxlan(kind, indexes)}
            info = [("IFLA_INFO_KIND", kind.type), ("IFLA_INFO_DATA", data)]
        case _:
            msg = f"{link.name} is not made on its own"
            raise TypeError(msg)
    attributes = _present(
        ("IFLA_IFNAME", link.name),
        ("IFLA_MTU", link.mtu),
        ("IFLA_ADDRESS", link.mac or None),
        ("IFLA_LINKINFO", {"attrs": info}),
    )
    return encoded(request(ifinfmsg, RTM_NEWLINK, NEW, attributes, index=index))


def _vxlan(vxlan: Vxlan, indexes: Mapping[str, int]) -> Attributes:
    local = "IFLA_VXLAN_LOCAL" if vxlan.local.version == 4 else "IFLA_VXLAN_LOCAL6"
    return [
        ("IFLA_VXLAN_ID", vxlan.vni),
        ("IFLA_VXLAN_LINK", indexes[vxlan.device]),
        (local, str(vxlan.local)),
        ("IFLA_VXLAN_LEARNING", 0),
        ("IFLA_VXLAN_PORT", vxlan.port),
    ]


def create_veth(
    link: Link, peer: Link, index: int, peer_index: int, master: int, peer_fd: int
) -> bytes:
    """Make both ends of a pair: ours up and with its master, the other down in netns `peer_fd`.

    The other can't come up with it: the kernel opens it before the two ends know each other
    (ENOTCONN).
    """
    here = (index, link.name, Mac(link.mac), link.mtu, master or None)
    return _veth(*here, peer_index, peer.name, Mac(peer.mac), peer.mtu, peer_fd)


@filled
def _veth(  # noqa: PLR0913, PLR0917 - one for each attribute
    index: int,
    name: str,
    mac: Mac,
    mtu: int,
    master: int | None,
    peer_index: int,
    peer_name: str,
    peer_mac: Mac,
    peer_mtu: int,
    peer_fd: int,
) -> nlmsg:
    peer_attributes = [
        ("IFLA_IFNAME", peer_name),
        ("IFLA_ADDRESS", peer_mac),
        ("IFLA_MTU", peer_mtu),
        ("IFLA_NET_NS_FD", peer_fd),
    ]
    peer = {"index": peer_index, "attrs": peer_attributes}
    data = {"attrs": [("VETH_INFO_PEER", peer)]}
    attributes = _present(
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_MASTER", master),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}),
    )
    up = {"flags": IFF_UP, "change": IFF_UP}
    return request(ifinfmsg, RTM_NEWLINK, NEW, attributes, index=index, **up)


def change_link(
    link: Link, fields: tuple[str, ...], index: int, indexes: Mapping[str, int]
) -> bytes:
    """Set attributes of a link that exists."""
    mtu = link.mtu if "mtu" in fields else None
    mac = Mac(link.mac) if "mac" in fields and link.mac else None
    alias = link.alias if "alias" in fields else None
    master = indexes.get(link.master, 0) if "master" in fields else None
    hairpin = link.hairpin if "hairpin" in fields and link.master else None
    up = link.up if "up" in fields else None
    return _change(index, mtu, mac, alias, master, up=up, hairpin=hairpin)


@filled
def _change(  # noqa: PLR0913 - one for each attribute
    index: int,
    mtu: int | None,
    mac: Mac | None,
    alias: str | None,
    master: int | None,
    *,
    up: bool | None,
    hairpin: bool | None,
) -> nlmsg:
    attributes = _present(
        ("IFLA_MTU", mtu),
        ("IFLA_ADDRESS", mac),
        ("IFLA_IFALIAS", alias),
        ("IFLA_MASTER", master),
    )
    if hairpin is not None:
        port = {"attrs": [("IFLA_BRPORT_MODE", int(hairpin))]}
        info = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", port)]
        attributes.append(("IFLA_LINKINFO", {"attrs": info}))
    state = {} if up is None else {"flags": IFF_UP if up else 0, "change": IFF_UP}
    return request(ifinfmsg, RTM_NEWLINK, 0, attributes, index=index, **state)


def delete_link(index: int) -> bytes:
    """Remove a link."""
    return encoded(request(ifinfmsg, RTM_DELLINK, 0, index=index))


# -- addresses -------------------------------------------------------------------------------------


def add_address(address: Address, index: int) -> bytes:
    """Put an address on the link with that index."""
    return _address_request(address, index, RTM_NEWADDR, NEW)


def delete_address(address: Address, index: int) -> bytes:
    """Take an address off the link with that index."""
    return _address_request(address, index, RTM_DELADDR, 0)


def _address_request(address: Address, index: int, kind: int, flags: int) -> bytes:
    interface = address.interface
    scope = rt_scope["host" if interface.is_loopback else "universe"]
    length = interface.network.prefixlen
    return _address(index, interface.ip, kind=kind, flags=flags, prefixlen=length, scope=scope)


@filled
def _address(
    index: int, ip: IPAddress, *, kind: int, flags: int, prefixlen: int, scope: int
) -> nlmsg:
    family = IPFamily.of(ip)
    # no duplicate address detection: for a second nothing could bind to the address
    nodad = IFA_F_NODAD if family is IPFamily.IPV6 else 0
    attributes = [("IFA_LOCAL", str(ip)), ("IFA_ADDRESS", str(ip))]
    head = {"family": family.af, "prefixlen": prefixlen, "flags": nodad, "scope": scope}
    return request(ifaddrmsg, kind, flags, attributes, **head, index=index)


# -- routes ----------------------------------------------------------------------------------------


#: types that say what becomes of a packet, not where it goes
NOWHERE = frozenset(
    {RouteType.UNREACHABLE, RouteType.BLACKHOLE, RouteType.PROHIBIT, RouteType.THROW}
)
#: what `ip route add` needs beside a route's text to make it as the kernel does
KERNEL_ROUTE = "proto kernel"


def scope_of(route: Route) -> int:
    """The scope of an IPv4 route as `ip route` chooses it; IPv6 knows none."""
    if route.destination.version == 4 and route.type is RouteType.LOCAL:
        return _HOST
    if route.destination.version == 4 and len(route.hops) == 1 and not route.hops[0].gateway:
        return _LINK
    return _UNIVERSE


def add_route(route: Route, indexes: Mapping[str, int]) -> bytes:
    """Add a route."""
    return _new_route(route, indexes, NEW, "static")


def replace_route(route: Route, indexes: Mapping[str, int]) -> bytes:
    """Put a route in the place of the one with its destination, table and metric, if any."""
    return _new_route(route, indexes, SET, "static")


def add_kernel_route(route: Route, indexes: Mapping[str, int]) -> bytes:
    """Add a route as the kernel makes it for an address, with which it will go."""
    return _new_route(route, indexes, NEW, "kernel")


def _new_route(route: Route, indexes: Mapping[str, int], flags: int, protocol: str) -> bytes:
    proto, scope = rt_proto[protocol], scope_of(route)
    head = {"kind": RTM_NEWROUTE, "flags": flags, "proto": proto, "scope": scope}
    return _route(route, indexes, head)


def delete_route(route: Route, indexes: Mapping[str, int]) -> bytes:
    """Remove a route, whoever added it: protocol and scope match any."""
    head = {"kind": RTM_DELROUTE, "flags": 0, "proto": 0, "scope": rt_scope["nowhere"]}
    return _route(route, indexes, head)


def _route(route: Route, indexes: Mapping[str, int], head: Mapping[str, int]) -> bytes:
    destination, hops = route.destination, route.hops
    shape = {
        **head,
        "family": IPFamily.of(destination).af,
        "prefixlen": destination.prefixlen,
        "type_": rt_type[route.type],
    }
    network = destination.network_address if destination.prefixlen else None
    common = (network, route.table, route.metric or None, route.source)
    if len(hops) > 1:
        paths = [_path(hop, indexes) for hop in hops]
        return encoded(_route_message(*common, None, None, paths=paths, **shape))
    hop = hops[0] if hops else NextHop()
    index = indexes[hop.ifname] if hop.ifname else None
    return _filled_route(*common, hop.gateway, index, onlink=hop.onlink, **shape)


def _path(hop: NextHop, indexes: Mapping[str, int]) -> dict[str, object]:
    """One next hop of a multipath route, as pyroute2 takes it."""
    return {
        "flags": RTNH_F_ONLINK if hop.onlink else 0,
        "oif": indexes[hop.ifname] if hop.ifname else 0,
        "attrs": _present(("RTA_GATEWAY", _text(hop.gateway))),
    }


def _route_message(  # noqa: PLR0913 - one for each attribute
    destination: IPAddress | None,
    table: int,
    metric: int | None,
    source: IPAddress | None,
    gateway: IPAddress | None,
    index: int | None,
    *,
    kind: int,
    flags: int,
    family: int,
    prefixlen: int,
    proto: int,
    scope: int,
    type_: int,
    onlink: bool = False,
    paths: list[dict[str, object]] | None = None,
) -> nlmsg:
    attributes = _present(
        ("RTA_TABLE", table),
        ("RTA_DST", _text(destination)),
        ("RTA_PRIORITY", metric),
        ("RTA_PREFSRC", _text(source)),
        ("RTA_GATEWAY", _text(gateway)),
        ("RTA_OIF", index),
        ("RTA_MULTIPATH", paths),
    )
    fixed = {"family": family, "dst_len": prefixlen, "proto": proto, "scope": scope}
    flag = RTNH_F_ONLINK if onlink else 0
    return request(rtmsg, kind, flags, attributes, **fixed, type=type_, flags=flag)


_filled_route = filled(_route_message)


def _text(ip: IPAddress | None) -> str | None:
    return None if ip is None else str(ip)


# -- policy rules ----------------------------------------------------------------------------------


def add_rule(rule: PolicyRule) -> bytes:
    """Add a policy routing rule."""
    return _rule(RTM_NEWRULE, NEW, rule)


def delete_rule(rule: PolicyRule) -> bytes:
    """Remove a policy routing rule."""
    return _rule(RTM_DELRULE, 0, rule)


def _rule(kind: int, flags: int, rule: PolicyRule) -> bytes:
    source, destination = rule.source, rule.destination
    attributes = _present(
        ("FRA_PRIORITY", rule.priority),
        ("FRA_TABLE", rule.table),
        ("FRA_SRC", _text(source.network_address) if source else None),
        ("FRA_DST", _text(destination.network_address) if destination else None),
        ("FRA_FWMARK", rule.mark or None),
        ("FRA_FWMASK", 0xFFFFFFFF if rule.mark else None),
    )
    fixed = {
        "family": rule.family.af,
        "src_len": source.prefixlen if source else 0,
        "dst_len": destination.prefixlen if destination else 0,
        "action": FR_ACT_TO_TBL,
    }
    return encoded(request(fibmsg, kind, flags, attributes, **fixed))


# -- neighbors -------------------------------------------------------------------------------------


def add_neighbor(neighbor: Neighbor, index: int) -> bytes:
    """Add or replace a permanent neighbor entry."""
    return _neighbor(index, neighbor.address, Mac(neighbor.mac), kind=RTM_NEWNEIGH, fdb=False)


def delete_neighbor(neighbor: Neighbor, index: int) -> bytes:
    """Remove a neighbor entry."""
    return _neighbor(index, neighbor.address, Mac(neighbor.mac), kind=RTM_DELNEIGH, fdb=False)


def add_fdb(entry: FdbEntry, index: int) -> bytes:
    """Add or replace a VXLAN forwarding entry."""
    return _neighbor(index, entry.destination, Mac(entry.mac), kind=RTM_NEWNEIGH, fdb=True)


def delete_fdb(entry: FdbEntry, index: int) -> bytes:
    """Remove a VXLAN forwarding entry."""
    return _neighbor(index, entry.destination, Mac(entry.mac), kind=RTM_DELNEIGH, fdb=True)


@filled
def _neighbor(index: int, ip: IPAddress, mac: Mac, *, kind: int, fdb: bool) -> nlmsg:
    fixed = {
        "family": socket.AF_BRIDGE if fdb else IPFamily.of(ip).af,
        "ifindex": index,
        "state": NUD_PERMANENT,
        "flags": NTF_SELF if fdb else 0,
    }
    flags = SET if kind == RTM_NEWNEIGH else 0
    return request(ndmsg, kind, flags, [("NDA_DST", str(ip)), ("NDA_LLADDR", mac)], **fixed)

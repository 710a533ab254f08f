"""Links of a netns, by one dump."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_GETLINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg

from kns.kernel import neighbor_tables, settings, values
from kns.kernel.netlink import BODY, Socket, attributes, wanted
from kns.kernel.settings import LinkSettings
from kns.kernel.shapes import encoded, request
from kns.state.model import (
    Bridge,
    Dummy,
    Link,
    LinkKind,
    Stray,
    VethPeer,
    Vxlan,
    loopback,
)

#: a message's body is a struct, then attributes
_IFINFO = struct.Struct("=BxHiII")
_LINK = wanted(
    ifinfmsg,
    "IFLA_ADDRESS",
    "IFLA_AF_SPEC",
    "IFLA_IFALIAS",
    "IFLA_IFNAME",
    "IFLA_LINK",
    "IFLA_LINKINFO",
    "IFLA_LINK_NETNSID",
    "IFLA_MASTER",
    "IFLA_MTU",
    "IFLA_OPERSTATE",
)
_EVERY = {**_LINK, **settings.LINK, **settings.XDP, **settings.ALTNAMES}
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
#: within IFLA_AF_SPEC: families, and linux/if_link.h IFLA_INET6_*
_FAMILIES = {2: "inet", 10: "inet6"}
_INET6 = {1: "flags", 2: "conf", 8: "addr_gen_mode"}
#: net/if_inet6.h IF_READY: addrconf has set the link up
_IF_READY = 0x80000000
#: where the MTU stands among IPv6's values (linux/ipv6.h DEVCONF_MTU6 is 2, each has four bytes)
_MTU6 = 8
#: and its DEVCONF_DISABLE_IPV6, which is 26
_DISABLE_IPV6 = 104
#: linux/rtnetlink.h RTEXT_FILTER_SKIP_STATS: what a link has counted costs half of the dump
_GET_LINKS = encoded(request(ifinfmsg, RTM_GETLINK, NLM_F_DUMP, [("IFLA_EXT_MASK", 1 << 3)]))


@dataclass(frozen=True, slots=True)
class Conf:
    """The values of a link's own sysctls, as one string of bytes for each group of them.

    `mtu` of IPv6 is apart: it follows the link's; 0 where there is no IPv6.
    """

    groups: Mapping[str, bytes] = field(default_factory=dict)
    mtu: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A link as dumped. Of a veth: the far end's ifindex there, and what this netns calls there.

    `peer_nsid` is None where the far end is in the same netns. `ipv6`: the kernel has set IPv6 up
    on it; `eui64`: its link-local address is made of its MAC address.
    """

    link: Link
    index: int
    peer_index: int = 0
    peer_nsid: int | None = None
    ipv6: bool = False
    eui64: bool = False
    settings: LinkSettings = field(default_factory=LinkSettings)
    conf: Conf = field(default_factory=Conf)


def read(sock: Socket, fallback: Collection[str] = (), *, whole: bool = False) -> list[FoundLink]:
    """Every link but hardware, and but the fallback tunnels that the kernel puts into a netns.

    `whole`: with how it looks for neighbors, for which the kernel walks all links of all netns.
    """
    raw = [_raw_link(data) for data in sock.dump(_GET_LINKS)]
    neighbors = neighbor_tables.read(sock) if whole else {}
    names = {index: values.text(parts["IFLA_IFNAME"]) for index, _flags, parts in raw}
    found = []
    for index, flags, parts in raw:
        if names[index] not in fallback:
            item = _link(index, flags, parts, names, neighbors.get(index, {}))
            if item is not None:
                found.append(item)
    return found


def _raw_link(data: bytes) -> tuple[int, int, dict[str, bytes]]:
    _family, _type, index, flags, _change = _IFINFO.unpack_from(data, BODY)
    return index, flags, attributes(data, _EVERY, BODY + _IFINFO.size)


def _link(
    index: int,
    flags: int,
    parts: Mapping[str, bytes],
    names: Mapping[int, str],
    neighbors: Mapping[str, bytes],
) -> FoundLink | None:
    name = names[index]
    up = bool(flags & IFF_UP)
    families = attributes(parts.get("IFLA_AF_SPEC", b""), _FAMILIES)
    inet6 = attributes(families.get("inet6", b""), _INET6)
    common = {
        "ipv6": _has_ipv6(inet6),
        "eui64": not values.number(inet6.get("addr_gen_mode", b"")),
    }
    set_to = settings.read(flags, parts, lo=name == "lo")
    conf = _conf(families, inet6, neighbors)
    if name == "lo":
        return FoundLink(loopback(up=up), index, settings=set_to, conf=conf, **common)
    info = attributes(parts.get("IFLA_LINKINFO", b""), _INFO)
    kind = _kind(info, names)
    if kind is None:
        return None
    port = attributes(info.get("IFLA_INFO_SLAVE_DATA", b""), _PORT)
    link = Link(
        name,
        kind,
        mac=values.mac(parts.get("IFLA_ADDRESS", b"")),
        mtu=values.number(parts["IFLA_MTU"]),
        master=names.get(values.number(parts.get("IFLA_MASTER", b"")), ""),
        hairpin=port.get("IFLA_BRPORT_MODE", b"\0") == b"\1",
        alias=values.text(parts.get("IFLA_IFALIAS", b"")),
        up=up,
    )
    far, nsid = 0, None
    if link.peer is not None:
        far = values.number(parts.get("IFLA_LINK", b""))
        if "IFLA_LINK_NETNSID" in parts:
            nsid = values.number(parts["IFLA_LINK_NETNSID"])
    return FoundLink(link, index, far, nsid, settings=set_to, conf=conf, **common)


def _has_ipv6(inet6: Mapping[str, bytes]) -> bool:
    """Whether IPv6 is set up on a link: ready, which it also is where its MTU has risen but off."""
    is_off = values.number(inet6.get("conf", b"")[_DISABLE_IPV6 : _DISABLE_IPV6 + 4])
    return bool(values.number(inet6.get("flags", b"")) & _IF_READY) and not is_off


def _conf(
    families: Mapping[str, bytes], inet6: Mapping[str, bytes], neighbors: Mapping[str, bytes]
) -> Conf:
    """The arrays of both families' values."""
    v4 = attributes(families.get("inet", b""), {1: "conf"}).get("conf", b"")
    v6 = inet6.get("conf", b"")
    mtu = values.number(v6[_MTU6 : _MTU6 + 4])
    groups = {"ipv4/conf": v4, "ipv6/conf": v6[:_MTU6] + v6[_MTU6 + 4 :]}
    return Conf({**groups, **neighbors}, mtu)


def _kind(info: Mapping[str, bytes], names: Mapping[int, str]) -> LinkKind | None:
    """The kind; of a veth without its peer, which only the other netns' dump tells."""
    match values.text(info.get("IFLA_INFO_KIND", b"")):
        case Bridge.type:
            return Bridge()
        case Dummy.type:
            return Dummy()
        case VethPeer.type:
            return VethPeer("", "")
        case Vxlan.type:
            return _vxlan(attributes(info.get("IFLA_INFO_DATA", b""), _VXLAN), names)
        case "":
            return None
        case other:
            return Stray(other)


def _vxlan(details: Mapping[str, bytes], names: Mapping[int, str]) -> Vxlan:
    local = details.get("IFLA_VXLAN_LOCAL") or details.get("IFLA_VXLAN_LOCAL6") or bytes(4)
    return Vxlan(
        vni=values.number(details["IFLA_VXLAN_ID"]),
        local=values.ip(local),
        device=names.get(values.number(details.get("IFLA_VXLAN_LINK", b"")), ""),
        port=int.from_bytes(details["IFLA_VXLAN_PORT"], "big"),
    )

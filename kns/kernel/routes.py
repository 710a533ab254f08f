"""Routes of a netns: those that a lab can have as values, all that is amiss as what to undo.

Three kinds are told apart: the kernel's own, of which some may be gone; a routing daemon's, which
are its own to keep; all others, of which a Route says what a lab's routes have.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_GETROUTE, rt_proto, rt_scope, rt_type
from pyroute2.netlink.rtnl.rtmsg import RTNH_F_ONLINK, rtmsg

from kns.addresses import IPNetwork
from kns.kernel import links, values
from kns.kernel.addresses import Addresses
from kns.kernel.netlink import BODY, Socket, attributes, readdressed, wanted, without
from kns.kernel.shapes import encoded, request
from kns.plan.shell import route_text
from kns.state import own_routes
from kns.state.model import Address, Deviation, NextHop, Route, RouteType

RTPROT_BIRD = rt_proto["bird"]
_RTPROT_KERNEL = rt_proto["kernel"]
#: linux/rtnetlink.h and linux/nexthop.h, which pyroute2 has no names for: nexthop objects
_GET_NEXTHOP, _DEL_NEXTHOP, _NHA_ID, _RTA_NH_ID = 106, 105, 1, 30
_NEXTHOP = 8  # struct nhmsg
#: linux/rtnetlink.h RTM_F_CLONED: an entry of a cache, no route
_CLONED = 0x200
_PAUSE = 0.01
#: metrics of the kernel's own routes: IPv4, addrconf's, "unreachable default"
_OWN_METRICS = frozenset({0, own_routes.METRIC_OF_PREFIXES, 0xFFFFFFFF})
_TYPES = {rt_type[kind]: kind for kind in RouteType}

_ROUTE, _NEXT_HOP = struct.Struct("=BBBBBBBBI"), struct.Struct("=HBBi")
_PARTS = wanted(
    rtmsg,
    "RTA_DST",
    "RTA_GATEWAY",
    "RTA_MULTIPATH",
    "RTA_OIF",
    "RTA_PREFSRC",
    "RTA_PRIORITY",
    "RTA_TABLE",
)
#: what no lab's route has
_UNUSUAL = wanted(
    rtmsg, "RTA_SRC", "RTA_IIF", "RTA_METRICS", "RTA_FLOW", "RTA_VIA", "RTA_ENCAP", "RTA_PREF"
)
#: what a route that is no unusual one can have; a preference may be 0, weights may differ
_USUAL = frozenset({*_PARTS.values(), "RTA_PREF"} - {"RTA_MULTIPATH"})
_EVERY = {**_PARTS, **_UNUSUAL, _RTA_NH_ID: "nhid"}
_METRICS = wanted(
    rtmsg.metrics, *(row[0] for row in rtmsg.metrics.nla_map if row[0] != "RTAX_UNSPEC")
)
#: where a nexthop object says where to, the kernel tells a gateway, but takes none
_SAID_BY_OBJECT = frozenset(
    wanted(rtmsg, "RTA_OIF", "RTA_GATEWAY", "RTA_MULTIPATH", "RTA_VIA", "RTA_ENCAP")
)

_GET_ROUTES = encoded(request(rtmsg, RTM_GETROUTE, NLM_F_DUMP, family=socket.AF_UNSPEC))
_GET_NEXTHOPS = readdressed(bytes(_NEXTHOP), _GET_NEXTHOP, NLM_F_DUMP)


@dataclass(frozen=True, slots=True)
class _Found:
    """A route as dumped; `unusual` are the words of what a Route can't say."""

    route: Route
    protocol: int
    unusual: str
    data: bytes


def read(
    sock: Socket,
    names: Mapping[int, str],
    addresses: Addresses,
    ready: Collection[str],
    learned: Collection[IPNetwork] = (),
) -> tuple[tuple[Route, ...], tuple[Deviation, ...]]:
    """The routes that are not the kernel's own, and what to undo.

    The kernel's own follow from the addresses and the links that are `ready`: up, those of IPv6
    as far as the kernel has set it up there (`NAME/6`).
    A routing daemon's routes into `learned` are left out.
    """
    possible = {key for address in addresses.every for key in own_routes.possible(address)}
    required = tuple(_required(addresses.usual, ready))
    routes: list[Route] = []
    own: set[own_routes.Key] = set()
    undone: list[Deviation] = []
    for item in _settled(sock, names, required, addresses.settled):
        if item.protocol == _RTPROT_KERNEL and not item.unusual and _is_own(item.route, possible):
            own.add(own_routes.key(item.route))
        elif item.protocol == RTPROT_BIRD and _is_within(item.route.destination, learned):
            continue
        elif item.protocol == _RTPROT_KERNEL or item.unusual:
            undone.append(_deletion(item))
        else:
            routes.append(item.route)
    indexes = {name: index for index, name in names.items()}
    undone += [
        Deviation(
            f"{_ip(route.destination)} route add {route_text(route)} {links.KERNEL_ROUTE}",
            links.add_kernel_route(route, indexes),
        )
        for route in required
        if own_routes.key(route) not in own
    ]
    return tuple(routes), (*undone, *_nexthops(sock))


def learned(sock: Socket, names: Mapping[int, str]) -> tuple[Route, ...]:
    """The routes that BIRD has put into the netns."""
    return tuple(item.route for item in _dump(sock, names) if item.protocol == RTPROT_BIRD)


def _is_own(route: Route, possible: Collection[own_routes.Key]) -> bool:
    if route.metric not in _OWN_METRICS:
        return False
    if route.type is RouteType.UNREACHABLE:
        return route.destination.prefixlen == 0  # IPv6 before Linux 5.?: the end of each table
    return own_routes.key(route) in possible or route.destination == own_routes.MULTICAST


def _required(addresses: Iterable[Address], ready: Collection[str]) -> Iterator[Route]:
    for address in addresses:
        suffix = "/6" if address.interface.version == 6 else ""
        if address.ifname + suffix in ready:
            yield from own_routes.required(address)
    for name in ready:
        if name.endswith("/6") and name != "lo/6":
            yield own_routes.multicast(name.removesuffix("/6"))


def _is_within(destination: IPNetwork, networks: Iterable[IPNetwork]) -> bool:
    return any(
        destination.version == network.version and network.supernet_of(destination)  # type: ignore[arg-type]
        for network in networks
    )


def _ip(destination: IPNetwork) -> str:
    return "ip" if destination.version == 4 else "ip -6"


def _deletion(item: _Found) -> Deviation:
    body = item.data[BODY:]
    if "nhid" in item.unusual:
        body = without(body, _SAID_BY_OBJECT, _ROUTE.size)
    words = " ".join(filter(None, (route_text(item.route), item.unusual)))
    command = f"{_ip(item.route.destination)} route del {words}"
    return Deviation(command, readdressed(body, RTM_DELROUTE))


# -- the dump --------------------------------------------------------------------------------------


def _settled(
    sock: Socket, names: Mapping[int, str], required: Iterable[Route], until: float
) -> list[_Found]:
    """The routes once those are there which the kernel makes of IPv6 addresses, or at `until`.

    An address without duplicate address detection is there at once, what leads to it is not: it is
    made by addrconf_dad_work (net/ipv6/addrconf.c), in the queue of a kernel thread.
    """
    awaited = {own_routes.key(route) for route in required if route.destination.version == 6}
    while True:
        found = list(_dump(sock, names))
        if awaited <= {own_routes.key(item.route) for item in found}:
            return found
        if time.monotonic() > until:
            return found
        time.sleep(_PAUSE)


def _dump(sock: Socket, names: Mapping[int, str]) -> Iterator[_Found]:
    for data in sock.dump(_GET_ROUTES):
        family, length, *_rest, flags = _ROUTE.unpack_from(data, BODY)
        if family in (socket.AF_INET, socket.AF_INET6) and not flags & _CLONED:
            yield _found(data, family, length, names)


def _found(data: bytes, family: int, length: int, names: Mapping[int, str]) -> _Found:
    _family, _length, from_length, tos, table, protocol, scope, kind, flags = _ROUTE.unpack_from(
        data, BODY
    )
    parts = attributes(data, _EVERY, BODY + _ROUTE.size)
    metric = values.number(parts.get("RTA_PRIORITY", b""))
    source = parts.get("RTA_PREFSRC")
    route = Route(
        destination=values.network(family, parts.get("RTA_DST"), length),
        hops=() if "nhid" in parts else _hops(parts, flags, names, kind),
        table=values.number(parts["RTA_TABLE"]) if "RTA_TABLE" in parts else table,
        type=_TYPES.get(kind, RouteType.UNICAST),
        source=values.ip(source) if source else None,
        # the kernel gives IPv6 routes that were added without a metric 1024
        metric=0 if family == socket.AF_INET6 and metric == 1024 else metric,
    )
    usual = (
        not (tos or from_length)
        and parts.keys() <= _USUAL
        and not any(parts.get("RTA_PREF", b""))
        and (family == socket.AF_INET6 or scope == links.scope_of(route))
    )
    unusual = "" if usual else " ".join(_unusual(parts, route, tos, scope, from_length))
    return _Found(route, protocol, unusual, data)


def _unusual(
    parts: Mapping[str, bytes], route: Route, tos: int, scope: int, from_length: int
) -> Iterator[str]:
    """What a Route can't say, in the words of `ip route`."""
    if tos:
        yield f"tos {tos:#x}"
    if from_length:
        yield f"from {values.ip(parts['RTA_SRC'])}/{from_length}"
    if route.destination.version == 4 and scope != links.scope_of(route):
        yield f"scope {rt_scope.get(scope, scope)}"
    if "nhid" in parts:
        yield f"nhid {values.number(parts['nhid'])}"
    for name, raw in attributes(parts.get("RTA_METRICS", b""), _METRICS).items():
        shown = values.text(raw) if name == "RTAX_CC_ALGO" else values.number(raw)
        yield f"{name.removeprefix('RTAX_').lower()} {shown}"
    if values.number(parts.get("RTA_PREF", b"")):
        yield "pref high" if parts["RTA_PREF"] == b"\1" else "pref low"
    if "RTA_FLOW" in parts:
        yield f"realms {values.number(parts['RTA_FLOW'])}"
    if "RTA_VIA" in parts:
        yield "via another family"
    if "RTA_ENCAP" in parts:
        yield "encap"
    yield from _weights(parts.get("RTA_MULTIPATH", b""))


def _hops(
    parts: Mapping[str, bytes], flags: int, names: Mapping[int, str], kind: int
) -> tuple[NextHop, ...]:
    if _TYPES.get(kind) in links.NOWHERE:
        return ()
    if "RTA_MULTIPATH" not in parts:
        return (_hop(parts, flags, values.number(parts.get("RTA_OIF", b"")), names),)
    return tuple(
        _hop(inner, hop_flags, index, names)
        for hop_flags, _weight, index, inner in _paths(parts["RTA_MULTIPATH"])
    )


def _weights(data: bytes) -> Iterator[str]:
    weights = [weight + 1 for _flags, weight, _index, _inner in _paths(data)]
    if any(weight != 1 for weight in weights):
        yield f"weights {' '.join(map(str, weights))}"


def _paths(data: bytes) -> Iterator[tuple[int, int, int, dict[str, bytes]]]:
    """Flags, weight - 1, ifindex and attributes of each next hop of a multipath route."""
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, flags, weight, index = _NEXT_HOP.unpack_from(data, offset)
        inner = attributes(data[offset : offset + length], _PARTS, _NEXT_HOP.size)
        yield flags, weight, index, inner
        offset += (length + 3) & ~3


def _hop(parts: Mapping[str, bytes], flags: int, index: int, names: Mapping[int, str]) -> NextHop:
    gateway = parts.get("RTA_GATEWAY")
    return NextHop(
        gateway=values.ip(gateway) if gateway else None,
        ifname=names.get(index, ""),
        onlink=bool(flags & RTNH_F_ONLINK),
    )


def _nexthops(sock: Socket) -> Iterator[Deviation]:
    """No lab has nexthop objects. A kernel before Linux 5.3 has none either."""
    found: list[bytes] = []
    with contextlib.suppress(OSError):
        found = sock.dump(_GET_NEXTHOPS)
    for data in found:
        raw = attributes(data, {_NHA_ID: "id"}, BODY + _NEXTHOP)["id"]
        body = bytes(_NEXTHOP) + struct.pack("=HH", 8, _NHA_ID) + raw
        command = f"ip nexthop del id {values.number(raw)}"
        yield Deviation(command, readdressed(body, _DEL_NEXTHOP))

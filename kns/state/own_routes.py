"""The routes that the kernel makes of itself for an address or a link.

    10.244.0.2/24 on eth0    local 10.244.0.2          table local
                             10.244.0.0/24 dev eth0    table main
                             broadcast 10.244.0.255    table local

Sources: net/ipv4/fib_frontend.c fib_add_ifaddr, net/ipv6/addrconf.c addrconf_prefix_route and
addrconf_add_mroute.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from ipaddress import IPv6Network, ip_network

from kns.addresses import IPNetwork
from kns.state.model import Address, NextHop, Route, RouteType

TABLE_LOCAL, TABLE_MAIN = 255, 254
#: linux/ipv6_route.h IP6_RT_PRIO_ADDRCONF
METRIC_OF_PREFIXES = 256
MULTICAST = IPv6Network("ff00::/8")

#: what tells one of these routes from another: destination, ifname, table
Key = tuple[IPNetwork, str, int]


def key(route: Route) -> Key:
    """The key of a route with one hop."""
    return route.destination, route.hops[0].ifname if route.hops else "", route.table


@functools.lru_cache(1 << 14)
def required(address: Address) -> tuple[Route, ...]:
    """The routes that must be there while the address is, and its link is up."""
    return tuple(_required(address))


def _required(address: Address) -> Iterator[Route]:
    interface, ifname = address.interface, address.ifname
    network = interface.network
    v4 = interface.version == 4
    source = interface.ip if v4 else None
    hops = (NextHop(ifname=ifname),)
    own = ip_network(interface.ip)
    yield Route(own, hops, TABLE_LOCAL, RouteType.LOCAL, source)
    if network.prefixlen == network.max_prefixlen:
        return
    if not v4:
        yield Route(network, hops, metric=METRIC_OF_PREFIXES)
    elif ifname == "lo":
        yield Route(network, hops, TABLE_LOCAL, RouteType.LOCAL, source)
    else:
        yield Route(network, hops, source=source)
    if v4 and network.prefixlen < 31:
        broadcast = ip_network(network.broadcast_address)
        yield Route(broadcast, hops, TABLE_LOCAL, RouteType.BROADCAST, source)


def multicast(ifname: str) -> Route:
    """What leads all multicast of IPv6 to a link."""
    hops = (NextHop(ifname=ifname),)
    return Route(MULTICAST, hops, TABLE_LOCAL, RouteType.MULTICAST, metric=METRIC_OF_PREFIXES)


def possible(address: Address) -> Iterator[Key]:
    """The keys of all routes that kernels make for the address, some of them in some releases."""
    network = address.interface.network
    for route in required(address):
        yield key(route)
    # subnet-router anycast; the lowest address of an IPv4 network before Linux 5.14
    yield ip_network(network.network_address), address.ifname, TABLE_LOCAL
    yield network, address.ifname, TABLE_MAIN

"""What the network outside the cluster knows of LoadBalancer addresses, by mode.

    l2      the router takes the pool to be on the underlay and asks there by ARP or NDP; the
            agent's speaker answers for the elected node
    bgp     nothing here: BIRD at the nodes announces, BIRD at the router puts routes into the
            kernel, which spreads flows over them by a hash of addresses and ports
    proxy   the pool is behind the host cloud-lb, which has the addresses and runs HAProxy

The kernel's routes of BIRD carry its own protocol number, and are nobody else's to mend.
"""

from __future__ import annotations

from ipaddress import ip_interface

from kns.addresses import IPAddress, IPNetwork
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.cables import default_routes, family_sysctls, uplink
from kns.state.model import Address, Netns, NextHop, Route, Sysctl, loopback

#: the host on which a cloud's load balancer runs
CLOUD_LB = "cloud-lb"


def mode(cluster: Cluster) -> str:
    """`l2`, `bgp`, `proxy`, or nothing."""
    options = cluster.network.load_balancer
    return options.mode if options is not None else ""


def cloud_lb_addresses(cluster: Cluster) -> tuple[IPAddress, ...]:
    """cloud-lb's own addresses: the second of each internet network, after the router's."""
    return tuple(cidr.network_address + 2 for cidr in cluster.network.internet_cidrs)


def pools(cluster: Cluster) -> tuple[IPNetwork, ...]:
    """The pools of addresses, one a family at most."""
    options = cluster.network.load_balancer
    return options.pools if options is not None else ()


def router_routes(cluster: Cluster) -> tuple[Route, ...]:
    """The router's routes to the pools; a pool that is part of the node subnet needs none."""
    inside = cluster.network.node_cidrs
    outer = [
        pool
        for pool in pools(cluster)
        if not any(pool.version == cidr.version and cidr.supernet_of(pool) for cidr in inside)  # type: ignore[arg-type]
    ]
    match mode(cluster):
        case "l2":
            return tuple(Route(pool, (NextHop(ifname="underlay"),)) for pool in outer)
        case "proxy":
            gateways = {address.version: address for address in cloud_lb_addresses(cluster)}
            return tuple(
                Route(pool, (NextHop(gateways[pool.version], "internet0"),)) for pool in outer
            )
        case _:
            return ()


def learned(cluster: Cluster) -> tuple[IPNetwork, ...]:
    """The networks to which the router's BIRD makes routes."""
    return pools(cluster) if mode(cluster) == "bgp" else ()


def router_sysctls(cluster: Cluster) -> tuple[Sysctl, ...]:
    """ECMP by the flow, not by the address pair: one client's connections spread over nodes."""
    if mode(cluster) != "bgp":
        return ()
    return (Sysctl("ipv4/fib_multipath_hash_policy", "1"),)


def has_cloud_lb(cluster: Cluster) -> bool:
    """True if the lab has the host cloud-lb."""
    return mode(cluster) == "proxy"


def hosts(cluster: Cluster) -> tuple[Netns, ...]:
    """The hosts outside the cluster that a load balancer has of its own."""
    return (_cloud_lb(cluster),) if has_cloud_lb(cluster) else ()


def _cloud_lb(cluster: Cluster) -> Netns:
    """The host cloud-lb: on the internet's network, with every proxied address on its lo."""
    network = cluster.network
    name = names.netns_of_internet(cluster.name, CLOUD_LB)
    own = tuple(
        Address("eth0", ip_interface((address, cidr.prefixlen)))
        for address, cidr in zip(cloud_lb_addresses(cluster), network.internet_cidrs, strict=True)
    )
    proxied = dict.fromkeys(
        Address("lo", ip_interface(point.ip))
        for service in cluster.services
        for point in service.load_balancer_ingress
        if point.ip is not None and point.ip_mode == "Proxy"
    )
    return Netns(
        name=name,
        links=(loopback(), uplink(cluster, name, CLOUD_LB)),
        addresses=(*own, *proxied),
        routes=default_routes(network.internet_cidrs),
        sysctls=family_sysctls(network),
    )

"""BIRD 2's configuration: nodes announce LoadBalancer addresses, the router spreads over them.

    node     AS 64512   a blackhole route per address that it may take, exported, not put into its
                        own kernel; a BGP session with the router, watched by BFD
    router   AS 64513   takes routes of the pool alone, merges equal ones into one multipath route

BFD notices a lost node in 0.6 s; BGP's own hold timer alone would take 3 s at the least.
Source: BIRD 2 user's guide; the announcements are MetalLB's (one host route an address).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.load_balancer import announced_by
from kns.cluster.model import Cluster
from kns.compile.cables import gateway
from kns.kinds.node import Node

NODE_AS, ROUTER_AS = 64512, 64513
#: milliseconds between BFD packets, and how many may be missed
BFD_INTERVAL, BFD_MULTIPLIER = 200, 3
_CHANNELS = {IPFamily.IPV4: "ipv4", IPFamily.IPV6: "ipv6"}


def node_config(cluster: Cluster, node: Node) -> str:
    """What a node's BIRD reads."""
    lines = [*_head(_router_id(node.addresses)), *_bfd("eth0")]
    announced = announced_by(cluster, node.name)
    for family, cidr in _families(cluster):
        own = node.address(family)
        if own is None:
            continue
        routes = [
            f"  route {address}/{address.max_prefixlen} blackhole;"
            for address in announced
            if address.version == family.version
        ]
        lines += [
            f"protocol static announce_{family.version} {{",
            f"  {_CHANNELS[family]};",
            *routes,
            "}",
            *_session(f"router_{family.version}", own, NODE_AS, gateway(cidr), ROUTER_AS),
            f"  {_CHANNELS[family]} {{",
            "    import none;",
            f'    export where proto = "announce_{family.version}";',
            "    next hop self;",
            "  };",
            "}",
        ]
    return "\n".join(lines) + "\n"


def router_config(cluster: Cluster) -> str:
    """What the router's BIRD reads."""
    own = tuple(gateway(cidr) for _family, cidr in _families(cluster))
    lines = [*_head(_router_id(own)), *_bfd("underlay")]
    for family, cidr in _families(cluster):
        channel = _CHANNELS[family]
        lines += [
            f"protocol kernel kernel_{family.version} {{",
            "  merge paths on limit 64;",
            f"  {channel} {{ import none; export where source = RTS_BGP; }};",
            "}",
        ]
        pools = ", ".join(f"{pool}+" for pool in _pools(cluster, family))
        for index, node in enumerate(cluster.nodes):
            address = node.address(family)
            if address is None or not pools:
                continue
            name = f"node{index + 1}_{family.version}"
            lines += [
                *_session(name, gateway(cidr), ROUTER_AS, address, NODE_AS),
                f"  {channel} {{ import where net ~ [ {pools} ]; export none; }};",
                "}",
            ]
    return "\n".join(lines) + "\n"


def _families(cluster: Cluster) -> Iterator[tuple[IPFamily, IPNetwork]]:
    for cidr in cluster.network.node_cidrs:
        yield IPFamily.of(cidr), cidr


def _pools(cluster: Cluster, family: IPFamily) -> tuple[IPNetwork, ...]:
    options = cluster.network.load_balancer
    pools = options.pools if options is not None else ()
    return tuple(pool for pool in pools if pool.version == family.version)


def _router_id(addresses: Iterable[IPAddress]) -> str:
    """An IPv4 address, which a router id looks like; without one, the end of an IPv6 address."""
    first = next(iter(sorted(addresses, key=lambda item: item.version)))
    if first.version == 4:
        return str(first)
    low = int(first) & 0xFFFF
    return f"10.0.{low >> 8}.{low & 0xFF}"


def _head(router_id: str) -> list[str]:
    return [f"router id {router_id};", "log stderr all;", "protocol device {", "}"]


def _bfd(interface: str) -> list[str]:
    return [
        "protocol bfd {",
        f'  interface "{interface}" {{',
        f"    interval {BFD_INTERVAL} ms;",
        f"    multiplier {BFD_MULTIPLIER};",
        "  };",
        "}",
    ]


def _session(name: str, own: IPAddress, own_as: int, other: IPAddress, other_as: int) -> list[str]:
    return [
        f"protocol bgp {name} {{",
        f"  local {own} as {own_as};",
        f"  neighbor {other} as {other_as};",
        "  hold time 3;",
        "  keepalive time 1;",
        "  connect retry time 1;",
        "  connect delay time 0;",
        "  error wait time 1, 2;",
        "  bfd on;",
    ]

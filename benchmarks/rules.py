"""kube-proxy's rules in iptables mode: the first sync of many services, and one endpoint's change.

    python -m benchmarks.rules [--services 1000] [--endpoints 10] [--rounds 3]

In a netns of its own each round: compile and load everything into an empty netns, then give one
service another endpoint, compile what that changes and load only those chains, as kube-proxy does.
The real kube-proxy (v1.30.3, iptables-nft 1.8.9, two cores, 1,000 services with ten endpoints each)
took 6.2 to 7.2 s for the first and 0.10 to 0.16 s for the other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from kns.addresses import IPFamily
from kns.cluster.model import KubeProxyOptions
from kns.compile.proxy.iptables import Compilation, recompile
from kns.kernel import iptables, netns
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import Service, ServicePort
from kns.plan.ops import RestoreIptables
from kns.state.iptables import table_changes
from kns.state.model import IptablesTable

NETNS = "bench-rules"
PODS = IPv4Network("10.244.0.0/16")
NODE = Node("node1", (IPv4Address("172.18.0.2"),), (IPv4Network("10.244.0.0/24"),))
#: seconds of the real kube-proxy, the best of its runs: first sync, one endpoint
KUBE_PROXY = (6.2, 0.10)


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round."""

    full: float
    change: float


def main() -> int:
    options = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("error: this needs root\nhint: make bench")
    services, slices = objects(options.services, options.endpoints)
    rounds = [run(services, slices) for _ in range(options.rounds)]
    full = statistics.median(item.full for item in rounds)
    change = statistics.median(item.change for item in rounds)
    print(
        f"iptables rules: {options.services} services x {options.endpoints} endpoints,"
        f" medians of {options.rounds}\n"
    )
    print(f"first sync: compile and load   {full:8.2f} s")
    print(f"one endpoint's change          {change:8.2f} s   {change / full:.2f} of the first sync")
    if (options.services, options.endpoints) == (1000, 10):
        print(
            f"the real kube-proxy            {KUBE_PROXY[0]:8.2f} s   and {KUBE_PROXY[1]:.2f} s"
            "   (on another day)"
        )
    print()
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def objects(count: int, endpoints: int) -> tuple[tuple[Service, ...], tuple[EndpointSlice, ...]]:
    """ClusterIP services with endpoints of their own."""
    services, slices = [], []
    for number in range(count):
        name = f"svc-{number:05}"
        services.append(
            Service(
                namespace="default",
                name=name,
                cluster_ips=(IPv4Address(int(IPv4Address("10.96.0.1")) + number),),
                ports=(ServicePort(80, "http", target_port=8080),),
            )
        )
        first = int(PODS.network_address) + 2 + number * endpoints
        slices.append(slice_of(name, [IPv4Address(first + i) for i in range(endpoints)]))
    return tuple(services), tuple(slices)


def slice_of(service: str, addresses: list[IPv4Address]) -> EndpointSlice:
    return EndpointSlice(
        namespace="default",
        name=f"{service}-x",
        service=service,
        address_type=IPFamily.IPV4,
        ports=(EndpointPort(8080, "http"),),
        endpoints=tuple(Endpoint((address,), ready=True) for address in addresses),
    )


def run(services: tuple[Service, ...], slices: tuple[EndpointSlice, ...]) -> Round:
    netns.prepare_folder()
    netns.in_thread(netns.create_here, NETNS)
    try:
        empty = Compilation(
            NODE, KubeProxyOptions(cluster_cidrs=(PODS,)), IPFamily.IPV4, canaries=True
        )
        start = time.perf_counter()
        first = recompile(empty, services, slices)
        load(first.tables, ())
        full = time.perf_counter() - start
        moved = replace(slices[0].endpoints[0], addresses=(IPv4Address("10.244.255.250"),))
        changed = replace(slices[0], endpoints=(moved, *slices[0].endpoints[1:]))
        start = time.perf_counter()
        second = recompile(first, services, (changed, *slices[1:]))
        load(second.tables, first.tables)
        return Round(full, time.perf_counter() - start)
    finally:
        netns.delete(NETNS)
        netns.remove_folder_if_empty()


def load(desired: tuple[IptablesTable, ...], observed: tuple[IptablesTable, ...]) -> None:
    op = RestoreIptables(NETNS, IPFamily.IPV4, table_changes(desired, observed))
    netns.call_in(NETNS, iptables.apply_here, op)


if __name__ == "__main__":
    sys.exit(main())

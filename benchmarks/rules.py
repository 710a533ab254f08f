"""kube-proxy's rules: the first sync of many services, and one endpoint's change.

    python -m benchmarks.rules [--services 1000] [--endpoints 10] [--rounds 3] [--only NAME]

In a netns of its own each round: compile and load everything into an empty netns, then give one
service another endpoint, compile what that changes and load only that, as kube-proxy does. In
iptables mode, and in nftables mode in each structure that its table has had.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from kns.addresses import IPFamily
from kns.compile.proxy import iptables as iptables_mode
from kns.compile.proxy import nftables as nftables_mode
from kns.kernel import iptables, netns, nftables, processes
from kns.kernel.processes import Context
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.release import Release
from kns.kinds.service import Service, ServicePort
from kns.state.iptables import restore_text, table_changes
from kns.state.model import IptablesTable
from kns.state.nft import change

NETNS = "bench-rules"
PODS = IPv4Network("10.244.0.0/16")
NODE = Node("node1", (IPv4Address("172.18.0.2"),), (IPv4Network("10.244.0.0/24"),))
#: seconds of the real kube-proxy (v1.30.3, two cores, 1,000 services with ten endpoints each), the
#: best of its runs on another day: first sync, one endpoint
KUBE_PROXY = {
    "iptables-nft": (6.2, 0.10),
    "iptables-legacy": (0.7, 0.16),
    "nftables@1.30": (1.7, 1.5),
}
#: the first release of each structure of nftables mode's table
GENERATIONS = (Release.V1_30, Release.V1_34, Release.V1_36, Release.V1_37)


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round."""

    full: float
    change: float


def main() -> int:
    options = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("error: this needs root\nhint: make bench")
    gc.disable()  # as the commands do
    services, slices = objects(options.services, options.endpoints)
    print(
        f"{options.services} services x {options.endpoints} endpoints, medians of"
        f" {options.rounds}, seconds\n\n{'':16}{'first sync':>12}{'one endpoint':>14}"
        f"{'the real kube-proxy':>24}"
    )
    for name, contestant in CONTESTANTS.items():
        if options.only and name not in options.only:
            continue
        rounds = [contestant(services, slices) for _ in range(options.rounds)]
        gc.collect()
        full = statistics.median(item.full for item in rounds)
        one = statistics.median(item.change for item in rounds)
        same = (options.services, options.endpoints) == (1000, 10)
        real = "{:.2f} {:.2f}".format(*KUBE_PROXY[name]) if same and name in KUBE_PROXY else ""
        print(f"{name:16}{full:12.2f}{one:14.3f}{real:>24}", flush=True)
    print()
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, with commas")
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


def with_another_endpoint(slices: tuple[EndpointSlice, ...]) -> tuple[EndpointSlice, ...]:
    """The first service's first endpoint moves."""
    moved = replace(slices[0].endpoints[0], addresses=(IPv4Address("10.244.255.250"),))
    return replace(slices[0], endpoints=(moved, *slices[0].endpoints[1:])), *slices[1:]


@contextmanager
def new_netns() -> Iterator[None]:
    netns.prepare_folder()
    netns.in_thread(netns.create_here, NETNS)
    try:
        yield
    finally:
        netns.delete(NETNS)
        netns.remove_folder_if_empty()


def by_iptables(
    program: str, services: tuple[Service, ...], slices: tuple[EndpointSlice, ...]
) -> Round:
    options = KubeProxyOptions(cluster_cidrs=(PODS,))
    empty = iptables_mode.IptablesCompilation(NODE, options, IPFamily.IPV4, canaries=True)
    with new_netns():
        start = time.perf_counter()
        first = iptables_mode.recompile(empty, services, slices)
        restore(program, first.tables, ())
        full = time.perf_counter() - start
        changed = with_another_endpoint(slices)
        start = time.perf_counter()
        second = iptables_mode.recompile(first, services, changed)
        restore(program, second.tables, first.tables)
        return Round(full, time.perf_counter() - start)


def restore(
    program: str, desired: tuple[IptablesTable, ...], observed: tuple[IptablesTable, ...]
) -> None:
    text = restore_text(table_changes(desired, observed))
    done = processes.run(
        [program, *iptables.ARGUMENTS], context=Context(NETNS), timeout=3600, input=text
    )
    if done.failure:
        sys.exit(f"error: {program}: {done.failure}")


def by_nftables(
    release: Release, services: tuple[Service, ...], slices: tuple[EndpointSlice, ...]
) -> Round:
    options = KubeProxyOptions(cluster_cidrs=(PODS,), version=release)
    empty = nftables_mode.NftCompilation(NODE, options, IPFamily.IPV4)
    with new_netns():
        start = time.perf_counter()
        first = nftables_mode.recompile(empty, services, slices)
        nftables.apply(NETNS, change(None, first.tables[0]))
        full = time.perf_counter() - start
        changed = with_another_endpoint(slices)
        start = time.perf_counter()
        second = nftables_mode.recompile(first, services, changed)
        nftables.apply(NETNS, change(first.tables[0], second.tables[0]))
        return Round(full, time.perf_counter() - start)


CONTESTANTS: Mapping[str, Callable[..., Round]] = {
    **{
        f"iptables-{variant}": partial(by_iptables, f"iptables-{variant}-restore")
        for variant in ("nft", "legacy")
        if shutil.which(f"iptables-{variant}-restore")
    },
    **{f"nftables@{release}": partial(by_nftables, release) for release in GENERATIONS},
}


if __name__ == "__main__":
    sys.exit(main())

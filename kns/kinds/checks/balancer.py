"""Checks of `loadBalancer` beside the rest of the lab: what a mode cannot do, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator

from kns.errors import Problem
from kns.kinds.checks.network import written_addresses
from kns.kinds.common import Protocol
from kns.kinds.networking import ProxyMode
from kns.kinds.networks import PROXY_PLACE, networks
from kns.kinds.service import ServiceType
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.wording import shown

_POOL: Path = ("loadBalancer", "pool")


def check_balancer(sources: Sources) -> Iterator[Problem]:
    """Addresses that the proxy needs, and a pool that it can't have."""
    spec = sources.lab.load_balancer
    if spec is None or spec.mode != "proxy":
        return
    nets = networks(sources.lab.networking)
    for pool in spec.pools:
        for subnet in nets.node:
            if pool.version == subnet.version and pool.overlaps(subnet):
                message = f"Invalid value: {shown(pool)}: overlaps with nodeSubnet {subnet}"
                hint = "a proxy is not on the nodes' network; l2 and bgp can do with a part of it"
                yield sources.place.problem(_POOL, message, hint)
    taken = {subnet.network_address + PROXY_PLACE for subnet in nets.internet}
    for host in sources.internet:
        for address, path in written_addresses(host):
            if address in taken:
                message = f"Invalid value: {shown(address)}: is cloud-lb's, which runs the proxy"
                yield host.place.problem(path, message, "choose another address")


def warn_balancer(sources: Sources) -> Iterator[Problem]:
    """What a mode can't do for a service, and what l2 needs of IPVS."""
    spec = sources.lab.load_balancer
    if spec is None:
        return
    networking = sources.lab.networking
    if (
        spec.mode == "l2"
        and networking.kube_proxy.mode is ProxyMode.IPVS
        and not networking.kube_proxy.ipvs.strict_arp
    ):
        message = "without ipvs.strictARP every node answers ARP for every LoadBalancer address"
        hint = "networking.kubeProxy.ipvs.strictARP: true, as MetalLB demands"
        yield sources.place.problem(("loadBalancer", "mode"), message, hint, warning=True)
    if spec.mode != "proxy":
        return
    for service in sources.services:
        if service.value.type is not ServiceType.LOAD_BALANCER:
            continue
        for index, port in enumerate(service.value.ports):
            if port.protocol is not Protocol.TCP:
                message = f"mode proxy forwards TCP alone: {port.protocol} is refused from outside"
                yield service.place.problem(("ports", index), message, warning=True)

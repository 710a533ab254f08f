"""Checks of `loadBalancer` beside the rest of the lab: what a mode cannot do, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.errors import Problem
from kns.kinds.balancer import (
    ADDRESS_POOL,
    ADDRESSES,
    SharedAddresses,
    annotation,
    asked_addresses,
    families_asked,
    wants_address,
)
from kns.kinds.checks.network import written_addresses
from kns.kinds.common import Protocol
from kns.kinds.networking import ProxyMode
from kns.kinds.networks import PROXY_PLACE, networks
from kns.kinds.service import Service, ServiceType, ip_families
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Located
from kns.labfile.wording import shown

_POOL: Path = ("loadBalancer", "pool")


def check_balancer(sources: Sources) -> Iterator[Problem]:
    """Addresses that the proxy needs, and a pool that it can't have; what no Service can have."""
    spec = sources.lab.load_balancer
    yield from _check_asked(sources)
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


def _check_asked(sources: Sources) -> Iterator[Problem]:
    """In the Lab document what can't be given is a slip; manifests are warned of."""
    for part, path, message, first in _refused(sources):
        if part.place.paths:
            continue
        if first is not None:
            asked = shown(part.value.load_balancer_ip)
            hint = f"the first is on line {first.place.line}; {message.partition(', and ')[2]}"
            yield part.place.problem(path, f"Duplicate value: {asked}", hint)
        else:
            yield part.place.problem(path, f"Invalid value: {message}")


_Refused = Iterator[tuple[Located[Service], Path, str, Located[Service] | None]]
_PENDING = "its EXTERNAL-IP stays <pending>"


def _refused(sources: Sources) -> _Refused:
    """The Services that can't have the addresses that they ask for, in the order of giving.

    Each with what is wrong, and who has the address where somebody has.
    """
    spec = sources.lab.load_balancer
    nets = networks(sources.lab.networking)
    families = [IPFamily(f"IPv{family}") for family in nets.families]
    parts = {part.value.full_name: part for part in reversed(sources.services)}
    book = SharedAddresses()
    for part in sources.services:
        points = part.value.load_balancer_ingress
        book.hold(part.value, (point.ip for point in points if point.ip is not None))
    for part in sorted(sources.services, key=lambda part: part.value.full_name):
        service = part.value
        if spec is None or not wants_address(service) or service.load_balancer_ingress:
            continue
        key, _ = annotation(service, ADDRESSES)
        path: Path = ("annotations", key) if key else ("loadBalancerIP",)
        try:
            asked = asked_addresses(service)
        except ValueError as error:
            yield part, path, str(error), None
            continue
        if reason := _objection(asked, ip_families(service, families), spec.pools):
            yield part, path, reason, None
            continue
        clashes = ((address, book.clash(service, address)) for address in asked)
        address, clash = next(((a, found) for a, found in clashes if found), (None, None))
        if clash is not None:
            other, reason = clash
            message = f"{address} is {other.full_name}'s, and {reason}"
            yield part, path, message, parts[other.full_name]
        else:
            book.hold(service, asked)


def _objection(
    asked: tuple[IPAddress, ...], families: tuple[IPFamily, ...], pools: tuple[IPNetwork, ...]
) -> str:
    for address in asked:
        if not any(address in pool for pool in pools):
            return f"{shown(address)}: is not in loadBalancer.pool"
    if asked and families_asked(asked) != frozenset(families):
        wanted = " and ".join(families)
        return f"{', '.join(map(str, asked))} is not of the Service's IP families, {wanted}"
    return ""


def _warn_pending(sources: Sources) -> Iterator[Problem]:
    """Services of type LoadBalancer that get no address, as on bare metal."""
    for part in sources.services:
        service, place = part.value, part.place
        key, _ = annotation(service, ADDRESS_POOL)
        if key:
            hint = "the lab has one pool, loadBalancer.pool"
            yield place.problem(
                ("annotations", key), "this annotation has no effect here", hint, warning=True
            )
        key, _ = annotation(service, ADDRESSES)
        if service.type is ServiceType.LOAD_BALANCER:
            for field, message, hint in (
                () if service.load_balancer_ingress else _lacks(sources, service)
            ):
                yield place.problem((field,), f"{message}: {_PENDING}", hint, warning=True)
        elif key:
            message = f"has no effect: the Service is of type {service.type}"
            yield place.problem(("annotations", key), message, warning=True)
    for part, path, message, _ in _refused(sources) if sources.networks_known else ():
        if part.place.paths:
            yield part.place.problem(path, f"{message}: {_PENDING}", warning=True)


def _lacks(sources: Sources, service: Service) -> Iterator[tuple[str, str, str]]:
    """Why there is no address for a Service, whichever it asks for: the field, why, and a hint."""
    spec = sources.lab.load_balancer
    if service.load_balancer_class:
        message = "no load balancer of that class is here"
        yield "loadBalancerClass", message, "leave it out for the lab's own"
    elif spec is None:
        hint = "add `loadBalancer: {mode: l2, pool: [198.51.100.0/24]}` to the Lab document"
        yield "type", "the lab has no load balancer", hint
    elif sources.networks_known and not (
        annotation(service, ADDRESSES)[0] or service.load_balancer_ip
    ):
        families = [IPFamily(f"IPv{f}") for f in networks(sources.lab.networking).families]
        wanted = ip_families(service, families)
        if not {IPFamily.of(pool) for pool in spec.pools} & {*wanted}:
            message = f"loadBalancer.pool has no {' and no '.join(wanted)}"
            yield "type", message, "leave `pool` out for one of each family"


def warn_balancer(sources: Sources) -> Iterator[Problem]:
    """What a mode can't do for a service, and what l2 needs of IPVS."""
    yield from _warn_pending(sources)
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

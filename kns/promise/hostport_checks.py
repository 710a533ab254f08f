"""What is promised of host ports, as checks: from outside, from pods, from the node. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPAddress, IPFamily
from kns.kinds.node import Node
from kns.kinds.pod import ContainerPort, Pod
from kns.promise import sampling
from kns.promise.check import Check, Expectation, Step, arrow
from kns.promise.flow import Flow, Promise, protocol_suffix
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.steps import ask_of, stopped_step


def host_port_checks(lookup: Lookup, family: IPFamily) -> Iterator[Check]:
    """Each host port, asked by somebody outside, pods of its node and of another, its node."""
    cluster = lookup.cluster
    pods = {pod.node: pod for pod in sampling.one_per_node(cluster)}
    hosts = sampling.hosts_with(cluster, family)[:1]
    for pod in cluster.pods:
        node = lookup.node_of(pod)
        far = [item for name, item in pods.items() if name != node.name][:1]
        near = [pods[node.name]] if node.name in pods else []
        for port in _mapped(pod):
            address = _address(node, port, family)
            if address is None:
                continue
            sources = [*map(Location, hosts), *map(Location, (*near, *far)), Location(node)]
            for source in sources:
                yield from _check(lookup, node, port, source, address)


def _mapped(pod: Pod) -> Iterator[ContainerPort]:
    for container in () if pod.host_network else pod.containers:
        yield from (port for port in container.ports if port.host_port)


def _address(node: Node, port: ContainerPort, family: IPFamily) -> IPAddress | None:
    """Where the port is asked for: at its host IP, if it has one."""
    given = port.host_ip
    if given is None or given.is_unspecified:
        return node.address(family)
    is_nodes = given in (*node.addresses, *node.host_addresses)
    return given if given.version == family.version and is_nodes else None


def _check(
    lookup: Lookup, node: Node, port: ContainerPort, source: Location, address: IPAddress
) -> Iterator[Check]:
    item = source.item
    family = IPFamily.of(address)
    if isinstance(item, Pod) and item.address(family) is None:
        return
    found = promise(lookup, Flow(source, address, port.host_port, port.protocol))
    if found.outcomes:
        step, expected = _step(found)
        suffix = sampling.family_suffix(lookup.cluster, family)
        target = f"{node.name}:{port.host_port}{protocol_suffix(port.protocol)}"
        name = arrow(source, target, suffix)
        path = f"{source.kind}-to-node"
        yield Check(path, "host-port", name, source, target, expected, (step,))


def _step(found: Promise) -> tuple[Step, str]:
    if found.stop is not None:
        return stopped_step(found.flow, found.stop), f"no answer: {found.stop.reason}"
    seen = tuple((a.backend.name, source) for a in found.answers for source in a.sources)
    step = Step(ask_of(found.flow), Expectation(backends=found.names, seen=seen))
    sources = " or ".join(map(str, found.sources))
    return step, f"{found.names[0]}, nobody else; sees {sources}"

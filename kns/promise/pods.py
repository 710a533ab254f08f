"""What Kubernetes promises of pods and nodes: addresses, localhost, flat network, egress. Pure.

Source: kubernetes.io/docs/concepts/cluster-administration/networking: pods reach all other pods
on any node without NAT; agents on a node reach all pods on that node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Protocol
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise import sampling
from kns.promise.addresses import bridge_address
from kns.promise.check import (
    Ask,
    Check,
    Datagrams,
    Echo,
    Expectation,
    Http,
    ReadAddresses,
    Skip,
    Step,
    arrow,
)
from kns.promise.endpoints import serves_http, workloads
from kns.promise.flow import Flow, Promise
from kns.promise.hostport_checks import host_port_checks
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup
from kns.promise.policy_checks import is_subject, node_pods
from kns.promise.promise import promise
from kns.promise.steps import SHORT_PATIENCE


def pod_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """Every check that needs no service, in the order of the report."""
    for pod in lookup.cluster.pending:
        yield Skip(label(pod), "it is Pending: no node will do for it")
    yield from _addressing(lookup)
    yield from _containers(lookup)
    for family in lookup.cluster.network.families:
        yield from _pod_to_pod(lookup, family)
        yield from _node_to_pod(lookup, family)
        yield from _node_to_node(lookup, family)
        yield from _pod_to_node(lookup, family)
        yield from host_port_checks(lookup, family)
        yield from _egress(lookup, family)
        yield from _unroutable(lookup, family)
    pods = len(workloads(lookup.cluster))
    pairs = len(sampling.pod_pairs(lookup.cluster))
    if pairs < pods * (pods - 1):
        yield Skip(
            "pod-to-pod pairs",
            f"{pairs:,} of {pods * (pods - 1):,} pairs are probed: pods with a pod of their own"
            " node and with one of another node",
            pods * (pods - 1) - pairs,
        )


def ask_of_pod(pod: Pod, address: IPAddress) -> Ask | None:
    """A question that the pod's first built-in server answers; None if it has none."""
    for container in pod.containers:
        for port in container.ports:
            if serves_http(pod, port.port, port.protocol) is not True:
                continue
            if port.protocol is Protocol.TCP:
                return Http(address, port.port)
            return Datagrams(port.protocol, address, port.port)
    return None


# -- addresses and containers ----------------------------------------------------------------------


def _addressing(lookup: Lookup) -> Iterator[Check]:
    own = (pod for pod in lookup.cluster.pods if not pod.host_network)
    uses = Counter(address for pod in own for address in pod.addresses)
    for pod in lookup.cluster.pods:
        fault = next(_address_faults(lookup, pod, uses), "")
        yield Check(
            path="addressing",
            kind="",
            name=label(pod),
            source=Location(pod),
            target=label(pod),
            expected=_addressed(lookup, pod),
            steps=(Step(ReadAddresses(), Expectation(addresses=pod.addresses, fault=fault)),),
        )


def _addressed(lookup: Lookup, pod: Pod) -> str:
    text = " and ".join(map(str, pod.addresses))
    if pod.host_network:
        return f"{text}, {pod.node}'s own: it is in the host network"
    inside = " and ".join(map(str, lookup.node_of(pod).pod_cidrs))
    return f"{text}, no other pod's, from {pod.node}'s {inside}"


def _address_faults(lookup: Lookup, pod: Pod, uses: Counter[IPAddress]) -> Iterator[str]:
    cidrs = lookup.node_of(pod).pod_cidrs
    for address in () if pod.host_network else pod.addresses:
        if uses[address] > 1:
            yield f"{address} belongs to {uses[address]} pods"
        if not any(address.version == cidr.version and address in cidr for cidr in cidrs):
            yield f"{address} is not from {pod.node}'s pod CIDR"


def _containers(lookup: Lookup) -> Iterator[Check]:
    for pod in lookup.cluster.pods:
        servers = tuple(_servers(pod))
        if len(servers) < 2:
            continue
        address = pod.addresses[0]
        names = " and ".join(dict.fromkeys(name for name, _ in servers))
        answers = tuple(
            Step(
                Http(address, port),
                Expectation(backends=(label(pod),), container=name, server_address=address),
            )
            for name, port in servers
        )
        yield Check(
            path="container-to-container",
            kind="shared",
            name=label(pod),
            source=Location(pod),
            target=label(pod),
            expected=f"{names} share {address} and one MAC: one netns, one eth0",
            steps=(Step(ReadAddresses(), Expectation(addresses=pod.addresses)), *answers),
        )
        yield from _over_localhost(pod, servers)


def _servers(pod: Pod) -> Iterator[tuple[str, int]]:
    """One HTTP port of each container that has one; what two list is the first one's."""
    taken: set[int] = set()
    for container in pod.containers:
        found = [
            port.port
            for port in container.ports
            if port.protocol is Protocol.TCP
            and port.port not in taken
            and serves_http(pod, port.port, port.protocol)
        ]
        if found:
            yield container.name, found[0]
        taken |= {port.port for port in container.ports if port.protocol is Protocol.TCP}


def loopback_of(pod: Pod) -> IPAddress:
    """The loopback address of the pod's first family."""
    return ip_address("127.0.0.1" if pod.addresses[0].version == 4 else "::1")


def _over_localhost(pod: Pod, servers: tuple[tuple[str, int], ...]) -> Iterator[Check]:
    loopback = loopback_of(pod)
    for index, (name, _) in enumerate(servers):
        other, port = servers[(index + 1) % len(servers)]
        seen = ((label(pod), loopback),)
        expectation = Expectation(backends=(label(pod),), container=other, seen=seen)
        yield Check(
            path="container-to-container",
            kind="localhost",
            name=f"{label(pod)}:{name}->{other}",
            source=Location(pod),
            target=f"localhost:{port}",
            expected=f"{name} reaches {other} on localhost:{port}",
            steps=(Step(Http(loopback, port), expectation),),
        )


# -- the flat network ------------------------------------------------------------------------------


def _pod_to_pod(lookup: Lookup, family: IPFamily) -> Iterator[Check | Skip]:
    for source, target in sampling.pod_pairs(lookup.cluster):
        address = target.address(family)
        if address is None or source.address(family) is None:
            continue
        if is_subject(lookup, source, address):
            continue  # `policy_checks` tries it, port by port
        found = promise(lookup, Flow(Location(source), address))
        where = "same-node" if source.node == target.node else "cross-node"
        if found.stop is not None:
            yield _cut_off(lookup, where, found, target)
            continue
        seen = found.sources[0]
        whose = f"{label(source)}'s own: no NAT"
        if seen not in source.addresses:
            whose = _link_of(lookup.node_of(source), seen)
        expected = f"answers, and sees {seen}, {whose}"
        yield _check(lookup, where, found, target, expected, _ping_and_ask(target, found))


def _check(
    lookup: Lookup,
    kind: str,
    found: Promise,
    target: Pod | Node | InternetHost,
    expected: str,
    steps: tuple[Step, ...],
) -> Check:
    """The check of a flow that goes straight to a pod, node or host."""
    flow, goal = found.flow, Location(target)
    name = arrow(flow.source, goal.label, sampling.family_suffix(lookup.cluster, flow.family))
    path = f"{flow.source.kind}-to-{goal.kind}"
    return Check(path, kind, name, flow.source, goal.label, expected, steps)


def _cut_off(lookup: Lookup, kind: str, found: Promise, target: Pod) -> Check | Skip:
    """The check of a flow that a fault ends, or why it can't be told whether it does."""
    assert found.stop is not None  # noqa: S101 - the caller looked
    if not found.outcomes:
        return Skip(arrow(found.flow.source, label(target)), found.stop.reason)
    step = Step(Echo(found.flow.destination), Expectation(outcomes=found.outcomes))
    return _check(lookup, kind, found, target, f"no answer: {found.stop.reason}", (step,))


def _link_of(node: Node, address: IPAddress) -> str:
    """Whose the address is that what the node sends or masquerades has."""
    is_bridge = address == bridge_address(node, IPFamily.of(address))
    return f"{node.name}'s cni0" if is_bridge else node.name


def _ping_and_ask(target: Pod, found: Promise) -> tuple[Step, ...]:
    address = found.flow.destination
    ask = ask_of_pod(target, address)
    ping = Step(Echo(address))
    if ask is None:
        return (ping,)
    seen = tuple((label(target), source) for source in found.sources)
    return (ping, Step(ask, Expectation(backends=(label(target),), seen=seen)))


def _node_to_pod(lookup: Lookup, family: IPFamily) -> Iterator[Check | Skip]:
    for node, pod in node_pods(lookup):
        yield from _from_node(lookup, node, pod, family)


def _from_node(lookup: Lookup, node: Node, pod: Pod, family: IPFamily) -> Iterator[Check | Skip]:
    address = pod.address(family)
    if address is None or is_subject(lookup, node, address):
        return
    found = promise(lookup, Flow(Location(node), address))
    where = "own" if pod.node == node.name else "remote"
    if found.stop is not None:
        yield _cut_off(lookup, where, found, pod)
        return
    (seen,) = found.sources
    expected = f"answers, and sees {seen} ({_link_of(node, seen)})"
    yield _check(lookup, where, found, pod, expected, _ping_and_ask(pod, found))


def _node_to_node(lookup: Lookup, family: IPFamily) -> Iterator[Check | Skip]:
    for source, target in sampling.node_pairs(lookup.cluster):
        yield from _ping(lookup, source, target, family)


def _pod_to_node(lookup: Lookup, family: IPFamily) -> Iterator[Check | Skip]:
    for pod in sampling.one_per_node(lookup.cluster):
        others = [node for node in lookup.cluster.nodes if node.name != pod.node]
        for node in (lookup.node_of(pod), *others[:1]):
            yield from _ping(lookup, pod, node, family)


def _ping(
    lookup: Lookup, source: Pod | Node, node: Node, family: IPFamily
) -> Iterator[Check | Skip]:
    address = node.address(family)
    if address is None:
        return
    found = promise(lookup, Flow(Location(source), address))
    stop = found.stop
    if stop is not None and not stop.outcomes:
        yield Skip(arrow(found.flow.source, node.name), stop.reason)
        return
    expected = f"answers ping at {address}" if stop is None else f"no answer: {stop.reason}"
    step = Step(Echo(address), Expectation(outcomes=found.outcomes))
    yield _check(lookup, "ping", found, node, expected, (step,))


# -- the outside -----------------------------------------------------------------------------------


def _egress(lookup: Lookup, family: IPFamily) -> Iterator[Check | Skip]:
    cluster = lookup.cluster
    is_small = sampling.is_small(cluster)
    for pod in workloads(cluster) if is_small else sampling.one_per_node(cluster):
        if pod.address(family) is None:
            continue
        seen: set[tuple[IPAddress, ...]] = set()
        for host in sampling.hosts_with(cluster, family):
            found = _out(lookup, pod, host, family)
            # the first host, and one more for each other address under which the pod arrives
            if found.sources not in seen:
                seen.add(found.sources)
                yield _leaves(lookup, host, found)


def _out(lookup: Lookup, pod: Pod, host: InternetHost, family: IPFamily) -> Promise:
    address = sampling.address_of(host, family)
    assert address is not None  # noqa: S101 - other hosts are left out
    # one without a server is pinged: that its answer finds the way back, ping tells too
    return promise(lookup, Flow(Location(pod), address, host.port or None))


def _leaves(lookup: Lookup, host: InternetHost, found: Promise) -> Check | Skip:
    address, port = found.flow.destination, found.flow.port
    if found.stop is not None and not found.outcomes:
        return Skip(arrow(found.flow.source, host.name), found.stop.reason)
    if found.stop is not None:
        expected = f"no answer: {found.stop.reason}"
        expectation = Expectation(outcomes=found.stop.outcomes)
        ask: Ask = Http(address, host.port, patience=SHORT_PATIENCE)
    else:
        (seen,) = found.sources
        verb = "answers, and sees" if port else "answers ping to"
        whose = found.note or f"{found.flow.source.label}'s own"
        expected = f"{verb} {seen}, {whose}"
        expectation = Expectation(backends=(host.name,), seen=((host.name, seen),))
        ask = Http(address, host.port)
    if port is None:
        ask, expectation = Echo(address), Expectation(outcomes=expectation.outcomes)
    return _check(lookup, "egress", found, host, expected, (Step(ask, expectation),))


def _unroutable(lookup: Lookup, family: IPFamily) -> Iterator[Check]:
    cluster = lookup.cluster
    for host in cluster.internet[:1]:
        for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE):
            address = pod.address(family)
            ask = ask_of_pod(pod, address) if address and not pod.host_network else None
            if not isinstance(ask, Http):
                continue
            found = promise(lookup, Flow(Location(host), ask.address, ask.port))
            assert found.stop is not None  # noqa: S101 - a pod's address means nothing outside
            step = Step(
                Http(ask.address, ask.port, patience=SHORT_PATIENCE),
                Expectation(outcomes=found.stop.outcomes),
            )
            yield _check(lookup, "unroutable", found, pod, f"no way in to {address}", (step,))

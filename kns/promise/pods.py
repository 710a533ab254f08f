"""What Kubernetes promises of pods and nodes: addresses, localhost, flat network, egress. Pure.

Source: kubernetes.io/docs/concepts/cluster-administration/networking: pods reach all other pods
on any node without NAT; agents on a node reach all pods on that node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster, InternetHost
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise import sampling
from kns.promise.addresses import bridge_address
from kns.promise.check import Addresses, Ask, Check, Datagrams, Echo, Http, Skip, Step, Want
from kns.promise.endpoints import Backend, serves_http
from kns.promise.flow import Outcome
from kns.promise.location import Location, LocationKind, label
from kns.promise.sources import from_node, from_pod, gateway_for, leaving, node_of

#: nothing may come back; whether a router says so or drops the packet is the router's business
NO_WAY = (Outcome.TIMEOUT, Outcome.UNREACHABLE)
#: seconds after which silence is taken for silence, where silence is what is promised
SHORT_PATIENCE = 1.0


def pod_checks(cluster: Cluster) -> Iterator[Check]:
    """Every check that needs no service, in the order of the report."""
    yield from _addressing(cluster)
    yield from _containers(cluster)
    for family in cluster.network.families:
        yield from _pod_to_pod(cluster, family)
        yield from _node_to_pod(cluster, family)
        yield from _node_to_node(cluster, family)
        yield from _pod_to_node(cluster, family)
        yield from _egress(cluster, family)
        yield from _unroutable(cluster, family)


def pod_skips(cluster: Cluster) -> Iterator[Skip]:
    """What the sample leaves out."""
    pods = len(sampling.workloads(cluster))
    pairs = len(sampling.pod_pairs(cluster))
    if pairs < pods * (pods - 1):
        yield Skip(
            "pod-to-pod pairs",
            f"{pairs:,} of {pods * (pods - 1):,} pairs are probed: pods with a pod of their own"
            " node and with one of another node",
            pods * (pods - 1) - pairs,
        )


def of_pod(pod: Pod) -> Location:
    """The pod as a place to probe from."""
    return Location(LocationKind.POD, pod)


def of_node(node: Node) -> Location:
    """The node as a place to probe from."""
    return Location(LocationKind.NODE, node)


def suffix(cluster: Cluster, family: IPFamily) -> str:
    """What an id ends with in a dual-stack lab's second family."""
    return "" if family is cluster.network.families[0] else f"/{family.lower()}"


def ask_of(pod: Pod, address: IPAddress) -> Ask | None:
    """A question that the pod's first built-in server answers; None if it has none."""
    for container in pod.containers:
        for port in container.ports:
            if serves_http(pod, port.port, port.protocol) is not True:
                continue
            if port.protocol is Protocol.TCP:
                return Http(str(address), port.port)
            return Datagrams(port.protocol.lower(), str(address), port.port)
    return None


# -- addresses and containers ----------------------------------------------------------------------


def _addressing(cluster: Cluster) -> Iterator[Check]:
    uses = Counter(address for pod in cluster.pods for address in pod.addresses)
    for pod in cluster.pods:
        cidrs = node_of(cluster, pod).pod_cidrs
        text = " and ".join(map(str, pod.addresses))
        inside = " and ".join(map(str, cidrs))
        fault = next(_address_faults(pod, uses, cluster), "")
        yield Check(
            id=f"addressing/{label(pod)}",
            path="addressing",
            source=of_pod(pod),
            target=label(pod),
            expected=f"{text}, no other pod's, from {pod.node}'s {inside}",
            steps=(Step(Addresses(), Want(addresses=tuple(map(str, pod.addresses)), fault=fault)),),
        )


def _address_faults(pod: Pod, uses: Counter[IPAddress], cluster: Cluster) -> Iterator[str]:
    cidrs = node_of(cluster, pod).pod_cidrs
    for address in pod.addresses:
        if uses[address] > 1:
            yield f"{address} belongs to {uses[address]} pods"
        if not any(address.version == cidr.version and address in cidr for cidr in cidrs):
            yield f"{address} is not from {pod.node}'s pod CIDR"


def _containers(cluster: Cluster) -> Iterator[Check]:
    for pod in cluster.pods:
        doors = tuple(_doors(pod))
        if len(doors) < 2:
            continue
        address = str(pod.addresses[0])
        names = " and ".join(dict.fromkeys(name for name, _ in doors))
        answers = tuple(
            Step(
                Http(address, port),
                Want(backends=(label(pod),), container=name, server_address=address),
            )
            for name, port in doors
        )
        addresses = Want(addresses=tuple(map(str, pod.addresses)))
        yield Check(
            id=f"container-to-container/shared/{label(pod)}",
            path="container-to-container",
            source=of_pod(pod),
            target=label(pod),
            expected=f"{names} share {address} and one MAC: one netns, one eth0",
            steps=(Step(Addresses(), addresses), *answers),
        )
        yield from _over_localhost(pod, doors)


def _doors(pod: Pod) -> Iterator[tuple[str, int]]:
    """One HTTP port of each container that has one."""
    for container in pod.containers:
        for port in container.ports:
            if port.protocol is Protocol.TCP and serves_http(pod, port.port, port.protocol):
                yield container.name, port.port
                break


def _over_localhost(pod: Pod, doors: tuple[tuple[str, int], ...]) -> Iterator[Check]:
    loopback = "127.0.0.1" if pod.addresses[0].version == 4 else "::1"
    for index, (name, _) in enumerate(doors):
        other, port = doors[(index + 1) % len(doors)]
        yield Check(
            id=f"container-to-container/localhost/{label(pod)}:{name}->{other}",
            path="container-to-container",
            source=of_pod(pod),
            target=f"localhost:{port}",
            expected=f"{name} reaches {other} on localhost:{port}",
            steps=(
                Step(
                    Http(loopback, port),
                    Want(backends=(label(pod),), container=other, seen=((label(pod), loopback),)),
                ),
            ),
        )


# -- the flat network ------------------------------------------------------------------------------


def _pod_to_pod(cluster: Cluster, family: IPFamily) -> Iterator[Check]:
    for source, target in sampling.pod_pairs(cluster):
        address = target.address(family)
        if address is None or source.address(family) is None:
            continue
        where = "same-node" if source.node == target.node else "cross-node"
        own = from_pod(source, family)
        yield Check(
            id=f"pod-to-pod/{where}/{label(source)}->{label(target)}{suffix(cluster, family)}",
            path="pod-to-pod",
            source=of_pod(source),
            target=label(target),
            expected=f"answers, and sees {own}, {label(source)}'s own: no NAT",
            steps=_ping_and_ask(target, address, own),
        )


def _ping_and_ask(target: Pod, address: IPAddress, seen: str) -> tuple[Step, ...]:
    ask = ask_of(target, address)
    ping = Step(Echo(str(address)))
    if ask is None:
        return (ping,)
    name = label(target)
    return (ping, Step(ask, Want(backends=(name,), seen=((name, seen),))))


def _node_to_pod(cluster: Cluster, family: IPFamily) -> Iterator[Check]:
    own = [(node, pod) for node in cluster.nodes for pod in cluster.pods if pod.node == node.name]
    for node, pod in sampling.spread(own, 2 * sampling.SAMPLED_PODS):
        yield from _from_node(cluster, node, pod, family)
    for node, other in sampling.node_pairs(cluster):
        for pod in sampling.pods_of(cluster, other)[:1]:
            yield from _from_node(cluster, node, pod, family)


def _from_node(cluster: Cluster, node: Node, pod: Pod, family: IPFamily) -> Iterable[Check]:
    address = pod.address(family)
    if address is None:
        return
    where = "own" if pod.node == node.name else "remote"
    seen = from_node(cluster, node, Backend(label(pod), address, 0, pod.node, pod))
    owner = f"{node.name}'s cni0" if seen == str(bridge_address(node, family)) else node.name
    yield Check(
        id=f"node-to-pod/{where}/{node.name}->{label(pod)}{suffix(cluster, family)}",
        path="node-to-pod",
        source=of_node(node),
        target=label(pod),
        expected=f"answers, and sees {seen} ({owner})",
        steps=_ping_and_ask(pod, address, seen),
    )


def _node_to_node(cluster: Cluster, family: IPFamily) -> Iterator[Check]:
    for source, target in sampling.node_pairs(cluster):
        yield from _ping(cluster, of_node(source), target, family)


def _pod_to_node(cluster: Cluster, family: IPFamily) -> Iterator[Check]:
    for pod in sampling.one_per_node(cluster):
        others = [node for node in cluster.nodes if node.name != pod.node]
        for node in (node_of(cluster, pod), *others[:1]):
            yield from _ping(cluster, of_pod(pod), node, family)


def _ping(cluster: Cluster, source: Location, node: Node, family: IPFamily) -> Iterable[Check]:
    address = node.address(family)
    if address is None:
        return
    path = f"{source.kind}-to-node"
    yield Check(
        id=f"{path}/ping/{source.label}->{node.name}{suffix(cluster, family)}",
        path=path,
        source=source,
        target=node.name,
        expected=f"answers ping at {address}",
        steps=(Step(Echo(str(address))),),
    )


# -- the outside -----------------------------------------------------------------------------------


def _egress(cluster: Cluster, family: IPFamily) -> Iterator[Check]:
    pods = (
        sampling.workloads(cluster)
        if sampling.is_small(cluster)
        else sampling.one_per_node(cluster)
    )
    for pod in pods:
        for host in _telling_hosts(cluster, pod, family):
            yield from _out(cluster, pod, host, family)


def _telling_hosts(cluster: Cluster, pod: Pod, family: IPFamily) -> Iterator[InternetHost]:
    """The first host, and one more for each other address under which the pod arrives."""
    seen: set[str] = set()
    for host in cluster.internet:
        address = _address_of(host, family)
        if address is None or pod.address(family) is None:
            continue
        source = leaving(cluster, pod, address)
        if source not in seen:
            seen.add(source)
            yield host


def _address_of(host: InternetHost, family: IPFamily) -> IPAddress | None:
    return next((a for a in host.addresses if a.version == family.version), None)


def _out(cluster: Cluster, pod: Pod, host: InternetHost, family: IPFamily) -> Iterable[Check]:
    address = _address_of(host, family)
    if address is None:
        return
    seen = leaving(cluster, pod, address)
    gateway = gateway_for(cluster, pod, address)
    ask: Ask = Http(str(address), host.port)
    if seen == from_pod(pod, family):
        expected = f"no answer: {seen} leaves untranslated, and nobody outside knows the way back"
        want = Want(outcomes=NO_WAY)
        ask = Http(str(address), host.port, patience=SHORT_PATIENCE)
    else:
        why = f"{pod.node}'s: masqueraded"
        if gateway is not None:
            why = f"{gateway.name}'s: it leaves by this egress gateway"
        expected = f"answers, and sees {seen}, {why}"
        want = Want(backends=(host.name,), seen=((host.name, seen),))
    if not host.port:  # it has no server; that its answer finds the way back, ping tells too
        expected = expected.replace("answers, and sees", "answers ping to")
        ask, want = Echo(str(address)), Want(outcomes=want.outcomes)
    yield Check(
        id=f"pod-to-internet/egress/{label(pod)}->{host.name}{suffix(cluster, family)}",
        path="pod-to-internet",
        source=of_pod(pod),
        target=host.name,
        expected=expected,
        steps=(Step(ask, want),),
    )


def _unroutable(cluster: Cluster, family: IPFamily) -> Iterator[Check]:
    for host in cluster.internet[:1]:
        for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE):
            address = pod.address(family)
            ask = ask_of(pod, address) if address else None
            if not isinstance(ask, Http):
                continue
            ask = Http(ask.address, ask.port, patience=SHORT_PATIENCE)
            yield Check(
                id=f"internet-to-pod/unroutable/{host.name}->{label(pod)}{suffix(cluster, family)}",
                path="internet-to-pod",
                source=Location(LocationKind.INTERNET, host),
                target=label(pod),
                expected=f"no way in to {address}",
                steps=(Step(ask, Want(outcomes=NO_WAY)),),
            )

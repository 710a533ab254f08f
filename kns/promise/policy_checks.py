"""What network policies allow and deny between pods, and from other nodes, port by port. Pure.

A pair is tried here, and not as a part of the flat network, if a policy isolates one of its ends:
each port that the target serves, and ping. Sampled as all pairs are.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise import sampling
from kns.promise.check import Check, Expectation, Skip, Step, arrow
from kns.promise.endpoints import serves_http, workloads
from kns.promise.flow import Flow, Promise, protocol_suffix
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup
from kns.promise.networkpolicy import Ruling
from kns.promise.promise import promise
from kns.promise.steps import SHORT_PATIENCE, ask_of

PATH = "network-policy"
ALLOWED, DENIED = "allowed", "denied"


def policy_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """Every check of an isolated pod's connections; nothing in a lab without policies."""
    cluster = lookup.cluster
    if not cluster.network_policies:
        return
    for family in cluster.network.families:
        for source, target in sampling.pod_pairs(cluster):
            yield from _pair(lookup, source, target, family)
        for node, target in node_pods(lookup):
            if target.node != node.name:
                yield from _pair(lookup, node, target, family)
    pods = len(workloads(cluster))
    left_out = pods * (pods - 1) - len(sampling.pod_pairs(cluster))
    if left_out > 0:
        reason = "a sample of the pairs, as for pod-to-pod; kns policy matrix predicts all of them"
        yield Skip("network-policy pairs", reason, left_out)


def is_subject(lookup: Lookup, source: Pod | Node, address: IPAddress) -> bool:
    """True if a policy isolates one end of what the source sends to a pod's address."""
    if not lookup.cluster.network_policies:
        return False
    return bool(promise(lookup, Flow(Location(source), address)).rulings)


def node_pods(lookup: Lookup) -> Iterator[tuple[Node, Pod]]:
    """Nodes with pods that they try: their own, and one of each other node; of many a sample."""
    nodes, pods = lookup.cluster.nodes, lookup.cluster.pods
    own = [(node, pod) for node in nodes for pod in pods if pod.node == node.name]
    yield from sampling.spread(own, 2 * sampling.SAMPLED_PODS)
    for node, other in sampling.node_pairs(lookup.cluster):
        for pod in sampling.pods_of(lookup.cluster, other)[:1]:
            yield node, pod


def _pair(lookup: Lookup, source: Pod | Node, target: Pod, family: IPFamily) -> Iterator[Check]:
    address = target.address(family)
    if address is None or source.address(family) is None:
        return
    for port, protocol in _ports(target):
        found = promise(lookup, Flow(Location(source), address, port, protocol))
        if found.rulings:
            yield _check(lookup, target, found)


def _ports(pod: Pod) -> Iterator[tuple[int | None, Protocol]]:
    """What the pod's built-in servers answer on, and that it answers ping."""
    served = dict.fromkeys(
        (port.port, port.protocol) for container in pod.containers for port in container.ports
    )
    yield from (item for item in served if serves_http(pod, *item) is True)
    yield None, Protocol.TCP


def _check(lookup: Lookup, target: Pod, found: Promise) -> Check:
    flow = found.flow
    number = "icmp" if flow.port is None else f"{flow.port}{protocol_suffix(flow.protocol)}"
    name = f"{label(target)}:{number}"
    suffix = sampling.family_suffix(lookup.cluster, flow.family)
    if found.stop is not None:
        ask = ask_of(flow, patience=SHORT_PATIENCE)
        step = Step(ask, Expectation(outcomes=found.stop.outcomes))
        kind, expected = DENIED, f"no answer: {found.stop.reason}"
    else:
        step = Step(ask_of(flow), Expectation(backends=found.names, seen=_seen(found)))
        kind, expected = ALLOWED, f"answers: {allowed_by(found.rulings)}"
    return Check(PATH, kind, arrow(flow.source, name, suffix), flow.source, name, expected, (step,))


def allowed_by(rulings: tuple[Ruling, ...]) -> str:
    """The rules that let a flow through."""
    return ", ".join(ruling.reason for ruling in rulings)


def _seen(found: Promise) -> tuple[tuple[str, IPAddress], ...]:
    return tuple((item.backend.name, source) for item in found.answers for source in item.sources)

"""Which pairs are probed: all in a small lab, a fixed sample in a big one. Pure, no randomness.

A sample is a promise too: it covers every pod as a source and as a target, on its own node and
across nodes, and the report says how many pairs it left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.endpoints import workloads

T = TypeVar("T")
#: up to so many pods, every pair is probed (90 pairs)
FULL_MESH = 10
#: beyond, so many pods are sources of a probe on their node and one across nodes
SAMPLED_PODS = 120
#: up to so many nodes, every pair of nodes is probed
NODE_MESH = 5
#: up to so many service ports are tried
SAMPLED_PORTS = 60
#: clients and hairpins that are tried for one service in a big lab
PER_SERVICE = 4


def spread(items: Sequence[T], limit: int) -> tuple[T, ...]:
    """At most `limit` items, evenly spaced, the first one included."""
    if len(items) <= limit:
        return tuple(items)
    return tuple(items[index * len(items) // limit] for index in range(limit))


def is_small(cluster: Cluster) -> bool:
    """True if every pod can be tried with everything."""
    return len(workloads(cluster)) <= FULL_MESH


def pod_pairs(cluster: Cluster) -> tuple[tuple[Pod, Pod], ...]:
    """Ordered pairs of different pods.

    Sampled: each pod to the next one of its own node, and to one of the next node.
    """
    if is_small(cluster):
        pods = workloads(cluster)
        return tuple((a, b) for a in pods for b in pods if a is not b)
    by_node = [pods for node in cluster.nodes if (pods := pods_of(cluster, node))]
    pairs: list[tuple[Pod, Pod]] = []
    for number, pods in enumerate(by_node):
        following = by_node[(number + 1) % len(by_node)]
        for index, pod in enumerate(pods):
            if len(pods) > 1:
                pairs.append((pod, pods[(index + 1) % len(pods)]))
            if following is not pods:
                pairs.append((pod, following[index % len(following)]))
    return spread(pairs, 2 * SAMPLED_PODS)


def node_pairs(cluster: Cluster) -> tuple[tuple[Node, Node], ...]:
    """Ordered pairs of different nodes; many nodes: each one and the next."""
    nodes = cluster.nodes
    if len(nodes) <= NODE_MESH:
        return tuple((a, b) for a in nodes for b in nodes if a is not b)
    return tuple((node, nodes[(index + 1) % len(nodes)]) for index, node in enumerate(nodes))


def pods_of(cluster: Cluster, node: Node) -> tuple[Pod, ...]:
    """The user's pods on the node, in file order; those in the host network last."""
    pods = (pod for pod in workloads(cluster) if pod.node == node.name)
    return tuple(sorted(pods, key=lambda pod: pod.host_network))


def one_per_node(cluster: Cluster) -> tuple[Pod, ...]:
    """The first pod of each node."""
    return tuple(pods[0] for node in cluster.nodes if (pods := pods_of(cluster, node)))


def clients(cluster: Cluster, backends: Sequence[Pod]) -> tuple[Pod, ...]:
    """Pods that try a service: all in a small lab, else one a node, rather none of its backends."""
    if is_small(cluster):
        return tuple(pod for pod in workloads(cluster) if pod not in backends)
    chosen: list[Pod] = []
    for node in cluster.nodes:
        pods = pods_of(cluster, node)
        strangers = [pod for pod in pods if pod not in backends]
        chosen += strangers[:1] or pods[:1]
    return spread(chosen, PER_SERVICE)


def nodes_with(cluster: Cluster, family: IPFamily) -> tuple[Node, ...]:
    """Nodes with an address of the family, of very many a sample."""
    nodes = [node for node in cluster.nodes if node.address(family) is not None]
    return spread(nodes, PER_SERVICE)


def hosts_with(cluster: Cluster, family: IPFamily) -> tuple[InternetHost, ...]:
    """Internet hosts with an address of the family."""
    return tuple(host for host in cluster.internet if address_of(host, family) is not None)


def address_of(host: InternetHost, family: IPFamily) -> IPAddress | None:
    """The host's address of the family."""
    return next((a for a in host.addresses if a.version == family.version), None)


def family_suffix(cluster: Cluster, family: IPFamily) -> str:
    """What an id ends with in a dual-stack lab's second family."""
    return "" if family is cluster.network.families[0] else f"/{family.lower()}"

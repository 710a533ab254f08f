"""Pods with their node and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kns.addresses import IPAddress, IPNetwork
from kns.cluster.allocate import PodAddresses
from kns.cluster.downward import with_fields
from kns.cluster.leases import Leases, PodLease
from kns.kinds.lab import Lab
from kns.kinds.node import Node
from kns.kinds.placement import expand_pods
from kns.kinds.pod import Pod


@dataclass(frozen=True, slots=True)
class ResolvedPods:
    """A lab's pods, and what they have been handed out."""

    pods: tuple[Pod, ...]
    pending: tuple[Pod, ...]
    leases: dict[str, PodLease]
    #: the address that was last handed out of each pod CIDR
    last: dict[IPNetwork, IPAddress]


def resolve_pods(lab: Lab, nodes: Sequence[Node], leases: Leases) -> ResolvedPods:
    """The pods in file order, with and without a node, their leases, and the last addresses."""
    bound = {name: lease.node for name, lease in leases.pods.items()}
    every = [item.pod for item in expand_pods(lab, bound)]
    placed = [pod for pod in every if pod.node]
    addresses, last = _addresses(placed, nodes, leases)
    hosts = {node.name: node for node in nodes}
    pods = tuple(
        _addressed(lab.name, pod, hosts[pod.node], tuple(addresses[pod.full_name]))
        for pod in placed
    )
    pending = tuple(pod for pod in every if not pod.node)
    kept = {pod.full_name: PodLease(pod.node, pod.addresses) for pod in pods}
    return ResolvedPods(pods, pending, kept, last)


def _addressed(lab: str, pod: Pod, node: Node, own: tuple[IPAddress, ...]) -> Pod:
    """The pod with its addresses, and with what its containers are told of itself."""
    addresses = node.addresses if pod.host_network else own
    if pod.addresses != addresses:
        pod = replace(pod, addresses=addresses)
    return with_fields(lab, pod, node)


def _addresses(
    placed: Sequence[Pod], nodes: Sequence[Node], leases: Leases
) -> tuple[dict[str, list[IPAddress]], dict[IPNetwork, IPAddress]]:
    """Each pod's addresses, and the last one of each pod CIDR; leased ones are kept."""
    found: dict[str, list[IPAddress]] = {pod.full_name: [] for pod in placed}
    last: dict[IPNetwork, IPAddress] = {}
    by_node: dict[str, list[Pod]] = {}
    for pod in placed:
        if not pod.host_network:
            by_node.setdefault(pod.node, []).append(pod)
    for node in nodes:
        pods = by_node.get(node.name, [])
        for cidr in node.pod_cidrs:
            last[cidr] = _one_cidr(cidr, pods, leases, found)
    return found, last


def _one_cidr(
    cidr: IPNetwork, pods: Sequence[Pod], leases: Leases, found: dict[str, list[IPAddress]]
) -> IPAddress:
    """Give each of a node's pods an address of `cidr`; the last one that was handed out."""
    pool = PodAddresses(cidr, leases.last.get(cidr))
    kept: dict[str, IPAddress] = {}
    for pod in pods:
        lease = leases.pods.get(pod.full_name)
        # what a Pod's status says is had before any lease
        before = lease.addresses if lease is not None and lease.node == pod.node else ()
        address = next((a for a in (*before, *pod.addresses) if a in cidr), None)
        if address is not None and pool.keep(address):
            kept[pod.full_name] = address
    for pod in pods:
        found[pod.full_name].append(kept.get(pod.full_name) or pool.next())
    return pool.last

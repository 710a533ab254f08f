"""Whether a partition of the lab cuts a flow off, or may. Pure.

Packets are discarded where they bear the addresses of its sides: from node to node and from host
to node on the nodes' cables; to a pod on the pod's, by the sender's address; from a pod to a node
or outside by the destination. A translated packet bears others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from kns.addresses import IPAddress
from kns.cluster.faults import FaultEnds
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.location import label
from kns.promise.lookup import Lookup

_Place = Node | InternetHost


def on_the_way(lookup: Lookup, places: Sequence[_Place | None]) -> str:
    """Why the flow does not come from each of the nodes or hosts to the next; else nothing."""
    for here, there in itertools.pairwise(places):
        if here is None or there is None or here is there:
            continue
        for mine, theirs in _sides(lookup):
            if _is_itself(here, mine) and _is_itself(there, theirs):
                return _words(here.name, there.name)
    return ""


def at_sender(lookup: Lookup, sender: Pod, destination: IPAddress) -> str:
    """Why packets to the address don't leave the pod; else nothing."""
    for mine, theirs in _sides(lookup):
        if sender.full_name not in mine.pods:
            continue
        item = lookup.node_addresses.get(destination) or lookup.hosts.get(destination)
        if item is not None and _is_itself(item, theirs):
            return _words(label(sender), item.name)
    return ""


def at_target(lookup: Lookup, source: IPAddress, target: Pod) -> str:
    """Why packets from the address don't come to the pod; else nothing."""
    for mine, theirs in _sides(lookup):
        sender = next(_senders(lookup, source, theirs), "")
        if sender and target.full_name in mine.pods:
            return _words(sender, label(target))
        pod = lookup.pods.get(source)
        if pod is not None and pod.full_name in theirs.pods and target.node in mine.nodes:
            return _words(label(pod), target.node)
    return ""


def maybe(lookup: Lookup, passed: Sequence[object]) -> str:
    """Why it can't be told whether a flow that passes all these comes through; else nothing.

    Between nodes, and between nodes and hosts, it can.
    """
    pods = [item for item in passed if isinstance(item, Pod)]
    for mine, theirs in _sides(lookup):
        for pod in pods:
            if pod.full_name in mine.pods and any(is_one(item, theirs) for item in passed):
                return f"a partition that {label(pod)} is in may keep it from its way"
    return ""


def is_one(item: object, side: FaultEnds) -> bool:
    """Whether the pod, node or host is of the side: a node's pods are."""
    return _is_itself(item, side) or (isinstance(item, Pod) and item.node in side.nodes)


def _is_itself(item: object, side: FaultEnds) -> bool:
    match item:
        case Pod():
            return item.full_name in side.pods
        case Node():
            return item.name in side.nodes
        case InternetHost():
            return item.name in side.hosts
        case _:
            return False


def _senders(lookup: Lookup, source: IPAddress, side: FaultEnds) -> Iterator[str]:
    """Who of the side sends under the address: a node its own, and those of its pods."""
    pod, host = lookup.pods.get(source), lookup.hosts.get(source)
    if pod is not None and pod.full_name in side.pods:
        yield label(pod)
    if host is not None and host.name in side.hosts:
        yield host.name
    for name in side.nodes:
        node = lookup.nodes[name]
        own = source in node.addresses or source in node.host_addresses
        if own or any(source in network for network in node.pod_cidrs):
            yield name


def _sides(lookup: Lookup) -> Iterator[tuple[FaultEnds, FaultEnds]]:
    """Each partition's sides, both ways round."""
    for item in lookup.cluster.faults.apart:
        yield item.one, item.other
        yield item.other, item.one


def _words(one: str, other: str) -> str:
    return f"a partition keeps {one} and {other} apart"

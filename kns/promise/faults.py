"""Whether a fault of the lab cuts a flow off: a link that is down on its way. Pure.

A flow's way over links, whatever addresses its packets bear:

    pod ─ its node ─ the node that translates it, or an egress gateway ─ backend's node ─ pod

A pod has one link, which all but what it sends to its own address passes; a node's link is passed
by what goes to another node or outside. The answers come back the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from kns.addresses import IPAddress
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.flow import NO_WAY, Backend, Flow, ProxyEntry, Stage, Stop
from kns.promise.location import label
from kns.promise.lookup import Lookup
from kns.promise.masquerade import gateway_for

#: outside the cluster, beside the names of nodes
_OUTSIDE = ""


def stopped(reason: str) -> Stop:
    """The end of a flow that a fault cuts off: whoever asks for the next hop's MAC address may be
    told that there is none, after three seconds, or hears nothing.
    """
    return Stop(Stage.FAULT, NO_WAY, reason)


def sender_cut(lookup: Lookup, flow: Flow) -> str:
    """Why nothing of the flow leaves its sender; else nothing."""
    sender = lookup.sender(flow.source)
    if not isinstance(sender, Pod) or flow.destination.is_loopback:
        return ""
    return "" if flow.destination in sender.addresses else _pod_link(lookup, sender)


def entry_cut(lookup: Lookup, flow: Flow, entry: ProxyEntry) -> str:
    """Why the flow does not come to the node that would translate it; else nothing."""
    if not lookup.cluster.faults:
        return ""
    return next(_node_links(lookup, (_start(lookup, flow), entry.node.name)), "")


def cut(lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend) -> str:
    """Why the flow does not come to the backend, translated at `entry` (None: nowhere)."""
    if not lookup.cluster.faults:
        return ""
    sender = lookup.sender(flow.source)
    if entry is None and (flow.destination.is_loopback or backend.pod is sender):
        return ""
    target = lookup.pods.get(backend.address)
    if target is not None and (reason := _pod_link(lookup, target)):
        return reason
    nodes = tuple(_nodes(lookup, flow, entry, backend))
    return next(_node_links(lookup, nodes), "")


def _pod_link(lookup: Lookup, pod: Pod) -> str:
    is_down = pod.full_name in lookup.cluster.faults.pods_down
    return f"{label(pod)}'s link is down" if is_down else ""


def _node_links(lookup: Lookup, nodes: Sequence[str]) -> Iterator[str]:
    """The links that are down of those that lead from each of the nodes to the next."""
    for here, there in itertools.pairwise(nodes):
        for node in (here, there) if here != there else ():
            if node in lookup.cluster.faults.nodes_down:
                yield f"{node}'s link is down"


def _nodes(lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend) -> Iterator[str]:
    """The nodes that the flow passes, and outside, in order."""
    yield _start(lookup, flow)
    if entry is not None:
        yield entry.node.name
    pod = _leaves_at_home(lookup, flow, entry)
    if pod is not None and not backend.node:
        yield from _gateway(lookup, pod, backend.address)
    yield backend.node


def _start(lookup: Lookup, flow: Flow) -> str:
    sender = lookup.sender(flow.source)
    match sender:
        case Pod():
            return sender.node
        case Node():
            return sender.name
        case _:
            return _OUTSIDE


def _leaves_at_home(lookup: Lookup, flow: Flow, entry: ProxyEntry | None) -> Pod | None:
    """The pod whose own node sends its packets on under their last destination."""
    sender = lookup.sender(flow.source)
    is_at_home = entry is None or entry.pod is sender
    return sender if isinstance(sender, Pod) and is_at_home else None


def _gateway(lookup: Lookup, pod: Pod, address: IPAddress) -> Iterator[str]:
    node = gateway_for(lookup, pod, address)
    if node is not None:
        yield node.name

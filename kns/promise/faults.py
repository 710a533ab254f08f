"""Whether a fault of the lab cuts a flow off, or may: a link that is down, packets lost. Pure.

A flow's way over links, whatever addresses its packets bear:

    pod ─ its node ─ the node that translates it, or an egress gateway ─ backend's node ─ pod

A pod has one link, which all but what it sends to its own address passes; a node's link is passed
by what goes to another node or outside. The answers come back the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kns.addresses import IPAddress
from kns.cluster.faults import ImpairedWay
from kns.kinds.faults import Impairment
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise import partitions
from kns.promise.flow import NO_WAY, Backend, Flow, ProxyEntry, Stage, Stop
from kns.promise.location import label
from kns.promise.lookup import Lookup
from kns.promise.masquerade import gateway_for
from kns.promise.partitions import is_one

#: microseconds of delay that a question and its answer survive: the shortest patience is a second
LONG_DELAY = 200_000
#: bits per second below which a check's own packets wait for each other
LOW_RATE = 256_000
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
    if flow.destination in sender.addresses:
        return ""
    return _pod_link(lookup, sender) or partitions.at_sender(lookup, sender, flow.destination)


def entry_cut(lookup: Lookup, flow: Flow, entry: ProxyEntry) -> str:
    """Why the flow does not come to the node that would translate it; else nothing."""
    if not lookup.cluster.faults:
        return ""
    nodes = (_start(lookup, flow), entry.node.name)
    reason = next(_node_links(lookup, nodes), "")
    return reason or partitions.on_the_way(lookup, (_first(lookup, flow, entry), entry.node))


def cut(
    lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend, source: IPAddress
) -> str:
    """Why the flow does not come to the backend, translated at `entry` (None: nowhere).

    `source` is the client's address as the backend would see it.
    """
    if not lookup.cluster.faults:
        return ""
    sender = lookup.sender(flow.source)
    if entry is None and (flow.destination.is_loopback or backend.pod is sender):
        return ""
    target = lookup.pods.get(backend.address)
    if target is not None and (reason := _pod_link(lookup, target)):
        return reason
    nodes = tuple(_nodes(lookup, flow, entry, backend))
    if reason := next(_node_links(lookup, nodes), ""):
        return reason
    last = lookup.nodes.get(backend.node) or lookup.hosts.get(backend.address)
    between = map(lookup.nodes.get, nodes[1:-1])
    reason = partitions.on_the_way(lookup, (_first(lookup, flow, entry), *between, last))
    return reason or (partitions.at_target(lookup, source, target) if target else "")


def hampered(lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend) -> str:
    """Why it can't be promised that the flow is answered: packets are lost on purpose; or nothing.

    What only takes longer is answered, unless it takes longer than anybody waits. The answers'
    way counts as well. Of a partition that does not cut the flow it counts whether its packets
    bear the addresses of both sides on some link: translation decides.
    """
    sender = lookup.sender(flow.source)
    if entry is None and (flow.destination.is_loopback or backend.pod is sender):
        return ""
    nodes = tuple(_nodes(lookup, flow, entry, backend))
    target = lookup.pods.get(backend.address) or lookup.nodes.get(backend.node)
    return _impaired(lookup, (sender, target or lookup.hosts.get(backend.address)), nodes)


def refusal_hampered(lookup: Lookup, flow: Flow, entry: ProxyEntry) -> str:
    """Why it can't be promised that the sender hears of a refusal; else nothing.

    REJECT answers from the node where it is met, under that node's own address.
    """
    ends = (lookup.sender(flow.source), entry.node)
    return _impaired(lookup, ends, (_start(lookup, flow), entry.node.name))


def _impaired(lookup: Lookup, ends: Sequence[object], nodes: Sequence[str]) -> str:
    """Why packets may be lost between two ends that lead over these nodes; else nothing."""
    faults = lookup.cluster.faults
    if not (faults.impaired or faults.apart):
        return ""
    passed = (*ends, *(lookup.nodes.get(name) for name in nodes))
    if reason := partitions.maybe(lookup, passed):
        return reason
    leaves = len(set(nodes)) > 1
    met = (way for way in faults.impaired if _meets(way, passed, leaves=leaves))
    return next(filter(None, (_serious(way.impairment) for way in met)), "")


def _serious(impairment: Impairment) -> str:
    """What of it may keep an answer from whoever waits for it; nothing: it does not."""
    for name in ("loss", "corrupt"):
        if part := getattr(impairment, name):
            return f"netem: {part / 10_000:g}% {name} on its way"
    if impairment.delay + impairment.jitter > LONG_DELAY:
        return f"netem: {impairment.delay / 1000:g} ms delay on its way"
    if 0 < impairment.rate < LOW_RATE:
        return f"netem: no more than {impairment.rate // 1000} kbit/s on its way"
    return ""


def _meets(way: ImpairedWay, passed: Sequence[object], *, leaves: bool) -> bool:
    """Whether the flow, or its answer, passes an end of either side; `leaves`: a node's link."""
    sides = [side for side in (way.sources, way.targets) if side is not None]
    if len(sides) == 1 and not leaves:
        sides = [replace(side, nodes=()) for side in sides]
    return all(any(is_one(item, side) for item in passed) for side in sides)


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


def _first(lookup: Lookup, flow: Flow, entry: ProxyEntry | None) -> Node | InternetHost | None:
    """The node or host whose packets they are at first; None: a balancer's outside."""
    sender = lookup.sender(flow.source)
    if isinstance(sender, InternetHost):
        return sender if entry is None else lookup.hosts.get(entry.client)
    return lookup.nodes.get(_start(lookup, flow))


def _leaves_at_home(lookup: Lookup, flow: Flow, entry: ProxyEntry | None) -> Pod | None:
    """The pod whose own node sends its packets on under their last destination."""
    sender = lookup.sender(flow.source)
    is_at_home = entry is None or entry.pod is sender
    return sender if isinstance(sender, Pod) and is_at_home else None


def _gateway(lookup: Lookup, pod: Pod, address: IPAddress) -> Iterator[str]:
    node = gateway_for(lookup, pod, address)
    if node is not None:
        yield node.name

"""The third stage: who is kept out although there is a way. Pure.

A load balancer's source ranges, and network policies:

    egress    on the source's node, when a service's address has become a backend's
    ingress   on the backend's node, by the address that comes there: the client's own, or that of
              a node that has masqueraded it on the way

Always let through: a pod to itself, also by its own service; a pod and its own node to each other
(kubelet's probes come from there); the answers to what was let through.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPAddress
from kns.kinds.networkpolicy import PolicyType
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.balancer import PROXY, source_ranges
from kns.promise.flow import (
    CLOSED,
    DROPPED,
    Backend,
    Flow,
    FrontendKind,
    Origin,
    ProxyEntry,
    Stage,
    Stop,
)
from kns.promise.location import label
from kns.promise.lookup import Lookup
from kns.promise.networkpolicy import DestinationPort, RemoteEnd, Ruling
from kns.promise.route import FlowRoute


def source_ranges_stop(flow: Flow, route: FlowRoute) -> Stop | None:
    """Why a service's source ranges keep the flow out; None: it passes."""
    frontend = route.frontend
    if frontend is None or frontend.kind is not FrontendKind.LOAD_BALANCER_IP:
        return None
    ranges = source_ranges(frontend.service, flow.family)
    if not ranges or any(route.client in cidr for cidr in ranges):
        return None
    name = label(frontend.service)
    reason = f"loadBalancerSourceRanges of {name} leaves out {route.client}"
    if route.balancer is not None and route.balancer.mode == PROXY:
        return Stop(Stage.POLICY, CLOSED, f"{reason}: the proxy closes the connection")
    return Stop(Stage.POLICY, DROPPED, f"{reason}: dropped")


# -- network policies ------------------------------------------------------------------------------


def rulings(
    lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend, source: IPAddress
) -> tuple[Ruling, ...]:
    """What the policies say that isolate one of the ends; empty: neither of them is isolated.

    `entry` is where a service's address was translated to the backend's; None: nowhere. `source`
    is the client's address as the backend sees it.
    """
    if not lookup.cluster.network_policies:
        return ()
    return (*_egress(lookup, flow, entry, backend), *_ingress(lookup, flow, entry, backend, source))


def denial(found: tuple[Ruling, ...]) -> Ruling | None:
    """The first of the rulings that denies."""
    return next((item for item in found if item.rule is None), None)


def _egress(
    lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend
) -> Iterator[Ruling]:
    pod = lookup.sender(flow.source)
    if not isinstance(pod, Pod) or flow.destination.is_loopback or backend.pod is pod:
        return
    if entry is None or entry.pod is pod:
        target = lookup.pods.get(backend.address)
        remote = RemoteEnd(backend.address, target)
        port = DestinationPort(backend.port, flow.protocol, target)
    else:  # another node translates it: here it still goes to that node, or to a balancer
        remote = RemoteEnd(flow.destination)
        port = DestinationPort(flow.port, flow.protocol)
    if lookup.is_own(lookup.node_of(pod), remote.address):
        return
    found = lookup.policies.ruling(PolicyType.EGRESS, pod, remote, port)
    if found is not None:
        yield found


def _ingress(
    lookup: Lookup, flow: Flow, entry: ProxyEntry | None, backend: Backend, source: IPAddress
) -> Iterator[Ruling]:
    pod, sender = lookup.pods.get(backend.address), lookup.sender(flow.source)
    if pod is None or sender is pod or _is_own_node(sender, entry, pod):
        return
    # a node masquerades behind its filter: what it does for its own pods, they don't see
    is_here = entry is not None and entry.node.name == pod.node
    address = entry.client if entry is not None and is_here else source
    remote = RemoteEnd(address, lookup.pods.get(address))
    port = DestinationPort(backend.port, flow.protocol, pod)
    found = lookup.policies.ruling(PolicyType.INGRESS, pod, remote, port)
    if found is not None:
        yield found


def _is_own_node(sender: object, entry: ProxyEntry | None, pod: Pod) -> bool:
    if entry is not None:
        return entry.origin is Origin.NODE and entry.node.name == pod.node
    return isinstance(sender, Node) and sender.name == pod.node

"""The first stage: whose proxy a flow comes to, or to whom it goes straight. Pure.

destination      from a pod or node                  from outside
cluster IP       the own node's proxy                no way in
node port        the addressed node's proxy          the same
external IP      the own node's proxy                a node's, if the address is its own
load balancer    the own node's proxy: a short cut   as the lab's balancer has it (`balancer`)
  ipMode Proxy   out of the cluster, and in again    the same
anything else    straight
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from kns.addresses import IPAddress
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.promise.balancer import (
    PROXY,
    Balancer,
    balanced_nodes,
    balancer_of,
    balancer_stop,
    proxy_address,
    unanswered,
)
from kns.promise.facts import proxy_facts
from kns.promise.flow import (
    NO_WAY,
    Flow,
    Frontend,
    FrontendKind,
    Origin,
    ProxyEntry,
    Stage,
    Stop,
)
from kns.promise.lookup import Lookup, balancer_point
from kns.promise.masquerade import leaving


@dataclass(frozen=True, slots=True)
class FlowRoute:
    """Where a flow goes: to a service's frontend at `entries`, or straight to its destination."""

    #: the address under which it gets there
    client: IPAddress
    frontend: Frontend | None = None
    entries: tuple[ProxyEntry, ...] = ()
    balancer: Balancer | None = None


def route(lookup: Lookup, flow: Flow) -> FlowRoute | Stop:
    """The flow's route, or why it has none."""
    client = own_address(flow)
    if client is None:
        reason = f"{flow.source.label} has no {flow.family} address"
        return Stop(Stage.ROUTE, NO_WAY, reason)
    frontend = _frontend(lookup, flow)
    item = lookup.sender(flow.source)
    match item:
        case Pod():
            entry = ProxyEntry(lookup.node_of(item), Origin.POD, client, item)
            return _from_inside(lookup, flow, frontend, entry)
        case Node():
            entry = ProxyEntry(item, Origin.NODE, client)
            return _from_inside(lookup, flow, frontend, entry)
        case _:
            return _from_outside(lookup, flow, frontend, client)


def own_address(flow: Flow) -> IPAddress | None:
    """The source's own address of the flow's family."""
    if flow.destination.is_loopback:
        return flow.destination
    item = flow.source.item
    match item:
        case Pod() | Node():
            return item.address(flow.family)
        case Service():
            return None
        case _:
            return next((a for a in item.addresses if a.version == flow.family.version), None)
    assert_never(item)


def _frontend(lookup: Lookup, flow: Flow) -> Frontend | None:
    is_pods_own = flow.destination.is_loopback and not isinstance(lookup.sender(flow.source), Node)
    if flow.port is None or is_pods_own:
        return None
    return lookup.frontend(flow.destination, flow.port, flow.protocol)


# -- from pods and nodes ---------------------------------------------------------------------------


def _from_inside(
    lookup: Lookup, flow: Flow, frontend: Frontend | None, entry: ProxyEntry
) -> FlowRoute | Stop:
    if frontend is None:
        is_virtual = lookup.has_service(flow.destination) is not None or _is_unallocated(
            lookup, flow.destination
        )
        return FlowRoute(entry.client, entries=(entry,) if is_virtual else ())
    match frontend.kind:
        case FrontendKind.CLUSTER_IP | FrontendKind.EXTERNAL_IP:
            return FlowRoute(entry.client, frontend, (entry,))
        case FrontendKind.NODE_PORT:
            return FlowRoute(entry.client, frontend, (_at_node(lookup, flow, entry),))
        case FrontendKind.LOAD_BALANCER_IP:
            point = balancer_point(frontend.service, flow.destination)
            if point is None or point.ip_mode != "Proxy":
                return FlowRoute(entry.client, frontend, (entry,))
            return _out_and_in(lookup, flow, frontend, entry)


def _is_unallocated(lookup: Lookup, address: IPAddress) -> bool:
    """True for an address of the service subnet if the proxy takes what goes to nobody there."""
    cidrs = lookup.cluster.network.service_cidrs
    inside = any(cidr.version == address.version and address in cidr for cidr in cidrs)
    return inside and proxy_facts(lookup.cluster).drops_unallocated


def _at_node(lookup: Lookup, flow: Flow, entry: ProxyEntry) -> ProxyEntry:
    """The addressed node; only the own one takes the client for one of its own.

    A node asks itself under the address that it asks for.
    """
    if flow.destination.is_loopback:
        return entry
    node = lookup.node_addresses[flow.destination]
    if node is entry.node:
        return replace(entry, client=flow.destination) if entry.origin is Origin.NODE else entry
    return ProxyEntry(node, Origin.OUTSIDE, _outside_address(lookup, flow, entry))


def _outside_address(lookup: Lookup, flow: Flow, entry: ProxyEntry) -> IPAddress:
    if entry.pod is None:
        return entry.client
    return leaving(lookup, entry.pod, flow.destination)


def _out_and_in(
    lookup: Lookup, flow: Flow, frontend: Frontend, entry: ProxyEntry
) -> FlowRoute | Stop:
    """A proxy's address is no short cut: pods and nodes leave the cluster and come in again."""
    client = _outside_address(lookup, flow, entry)
    if entry.pod is not None and client == entry.client:
        reason = f"{client} leaves untranslated, and the proxy's answer finds no way back"
        return Stop(Stage.MASQUERADE, NO_WAY, reason)
    balancer = balancer_of(lookup.cluster, flow, frontend)
    return _nothing_routes(flow) if balancer is None else _by_balancer(lookup, balancer, client)


# -- from outside ----------------------------------------------------------------------------------


def _from_outside(
    lookup: Lookup, flow: Flow, frontend: Frontend | None, client: IPAddress
) -> FlowRoute | Stop:
    address = flow.destination
    if frontend is None:
        is_known = address in lookup.node_addresses or address in lookup.hosts
        return FlowRoute(client) if is_known or address.is_loopback else _no_way_in(flow)
    if frontend.kind is FrontendKind.CLUSTER_IP:
        return _no_way_in(flow)
    balancer = balancer_of(lookup.cluster, flow, frontend)
    if balancer is not None:
        return _by_balancer(lookup, balancer, client)
    owner = lookup.node_addresses.get(address)
    if owner is None:
        return _nothing_routes(flow)
    return FlowRoute(client, frontend, (ProxyEntry(owner, Origin.OUTSIDE, client),))


def _no_way_in(flow: Flow) -> Stop:
    return Stop(Stage.ROUTE, NO_WAY, f"no way in to {flow.destination}")


def _nothing_routes(flow: Flow) -> Stop:
    return Stop(Stage.ROUTE, NO_WAY, f"nothing outside routes {flow.destination} to a node")


def _by_balancer(lookup: Lookup, balancer: Balancer, client: IPAddress) -> FlowRoute | Stop:
    cluster = lookup.cluster
    stop = balancer_stop(cluster, balancer)
    if stop is not None:
        return stop
    nodes = balanced_nodes(lookup, balancer)
    if not nodes:
        return unanswered(balancer)
    is_proxy = balancer.mode == PROXY
    source = proxy_address(cluster, balancer.family) if is_proxy else client
    entries = tuple(ProxyEntry(node, Origin.OUTSIDE, source) for node in nodes)
    return FlowRoute(client, balancer.frontend, entries, balancer)

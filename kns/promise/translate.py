"""The second stage: which endpoints a node's proxy leads a flow to. Pure.

externalTrafficPolicy Cluster: every endpoint, the client hidden by masquerading. Local: this
node's endpoints, the client's address kept; none here: dropped, so that a load balancer in front
learns by its health check and not by refusals. The node itself and its pods are inside already:
for them Local counts as Cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kns.addresses import IPAddress, IPFamily
from kns.kinds.node import Node
from kns.kinds.service import TrafficPolicy
from kns.promise.endpoints import UsableEndpoints, is_external
from kns.promise.facts import ProxyFacts, proxy_facts
from kns.promise.flow import (
    DROPPED,
    NO_WAY,
    REFUSED,
    Backend,
    Flow,
    Frontend,
    FrontendKind,
    Origin,
    ProxyEntry,
    Stage,
    Stop,
)
from kns.promise.location import label
from kns.promise.lookup import Lookup
from kns.promise.masquerade import is_local_address, is_local_traffic


class Masquerade(StrEnum):
    """Whose source address a node's proxy rewrites."""

    #: every client's
    ALL = "all"
    #: a pod's that reaches itself
    HAIRPIN = "hairpin"
    #: those that the cluster IP's rules take for outsiders, and hairpins
    DETECTED = "detected"


@dataclass(frozen=True, slots=True)
class Translation:
    """The backends that a node's proxy chooses from, or `stop`; `note` says more of the reason."""

    backends: tuple[Backend, ...] = ()
    masquerade: Masquerade = Masquerade.ALL
    note: str = ""
    stop: Stop | None = None


def translate(lookup: Lookup, flow: Flow, frontend: Frontend, entry: ProxyEntry) -> Translation:
    """What the proxy of the entry's node does with the flow."""
    endpoints = lookup.endpoints(frontend.service, frontend.port, flow.family)
    if endpoints.is_contested:
        reason = "slices contradict each other about an address, and kube-proxy may read either"
        return Translation(stop=Stop(Stage.TRANSLATE, (), reason))
    found = endpoints.at(entry.node)
    if frontend.kind is FrontendKind.CLUSTER_IP:
        return _cluster_ip(lookup, frontend, entry, found)
    if frontend.kind is FrontendKind.NODE_PORT:
        reason = _why_not_served(lookup, entry.node, flow.destination)
        if reason:
            return Translation(stop=Stop(Stage.TRANSLATE, REFUSED, reason))
    match entry.origin:
        case Origin.NODE:
            translation = _from_node(lookup, frontend, entry, found)
        case Origin.POD if frontend.policy is TrafficPolicy.LOCAL:
            translation = _local_from_pod(lookup, flow, entry, found)
        case _:
            translation = _from_outside(lookup, frontend, entry, found)
    return _or_refused(translation, "no ready endpoint")


def unknown_port(lookup: Lookup, flow: Flow) -> Stop:
    """What becomes of a port of a cluster IP that no service has, or of an address of none."""
    mode = lookup.cluster.network.kube_proxy.mode
    if lookup.has_service(flow.destination) is None:
        reason = f"{mode} mode drops what goes to an address of the service subnet that is nobody's"
        return Stop(Stage.TRANSLATE, DROPPED, reason)
    if proxy_facts(lookup.cluster).rejects_unknown_ports:
        reason = f"{mode} mode rejects ports of a cluster IP that no service has"
        return Stop(Stage.TRANSLATE, REFUSED, reason)
    reason = f"in {mode} mode no rule matches, and it leaves by the default route"
    return Stop(Stage.TRANSLATE, NO_WAY, reason)


def _or_refused(translation: Translation, reason: str) -> Translation:
    if translation.backends or translation.stop is not None:
        return translation
    stop = Stop(Stage.TRANSLATE, REFUSED, reason)
    return Translation(note=translation.note, stop=stop)


# -- cluster IPs -----------------------------------------------------------------------------------


def _cluster_ip(
    lookup: Lookup, frontend: Frontend, entry: ProxyEntry, found: UsableEndpoints
) -> Translation:
    facts = proxy_facts(lookup.cluster)
    note = _inside_note(lookup, frontend, facts) if entry.origin is Origin.POD else ""
    backends = found.cluster
    if frontend.policy is TrafficPolicy.LOCAL:
        backends = found.local
        if not backends and not facts.drops_without_local and is_external(frontend.service):
            # a virtual server can't drop: the proxy programs whatever it knows of the cluster's
            # endpoints, which it does only for services that are reachable from outside too
            backends = found.cluster
        elif not backends and facts.drops_without_local and not found.is_empty:
            reason = (
                f"internalTrafficPolicy Local and no ready endpoint on {entry.node.name}: dropped"
            )
            return Translation(note=note, stop=Stop(Stage.TRANSLATE, DROPPED, reason))
    translation = Translation(backends, Masquerade.DETECTED, note)
    return _or_refused(translation, f"{label(frontend.service)} has no ready endpoint")


def _inside_note(lookup: Lookup, frontend: Frontend, facts: ProxyFacts) -> str:
    if lookup.cluster.network.kube_proxy.masquerades_all:
        return "masqueradeAll hides the client"
    if frontend.policy is not TrafficPolicy.LOCAL:
        return ""
    if facts.drops_without_local:
        return "internalTrafficPolicy Local: this node's endpoints only"
    return "IPVS can't drop: without a local endpoint it uses what it has, or refuses"


# -- outer addresses and node ports ----------------------------------------------------------------


def _why_not_served(lookup: Lookup, node: Node, address: IPAddress) -> str:
    options, facts = lookup.cluster.network.kube_proxy, proxy_facts(lookup.cluster)
    if address.is_loopback:
        if not facts.has_localhost_node_ports or address.version == 6:
            return f"{options.mode} mode has no node ports on localhost"
        if not options.localhost_nodeports:
            return "localhostNodePorts is off"
    chosen = [c for c in options.nodeport_addresses if c.version == address.version]
    if chosen:
        served = any(address in cidr for cidr in chosen)
        return "" if served else f"nodePortAddresses leaves out {address}"
    unlisted = facts.opens_unlisted_family and bool(options.nodeport_addresses)
    primary = facts.has_primary_node_ports or options.nodeport_addresses_primary
    own = node.address(IPFamily.of(address))
    if primary and not unlisted and own is not None and address != own:
        return f"node ports are served on {own} only"
    return ""


def _from_outside(
    lookup: Lookup, frontend: Frontend, entry: ProxyEntry, found: UsableEndpoints
) -> Translation:
    if frontend.policy is TrafficPolicy.CLUSTER:
        return Translation(found.cluster, note="Cluster hides the client")
    drops = proxy_facts(lookup.cluster).drops_without_local
    if drops and is_local_address(lookup, entry.node, entry.client):
        return _as_a_pod(found)  # one of another node that kept its address on the way
    if found.local or found.is_empty:
        return Translation(found.local, Masquerade.HAIRPIN, "Local keeps the client")
    why = f"externalTrafficPolicy Local and no ready endpoint on {entry.node.name}"
    if drops:
        return Translation(stop=Stop(Stage.TRANSLATE, DROPPED, f"{why}: dropped"))
    if lookup.cluster.network.egress.masquerade:
        # kube-proxy masquerades nothing here, but flannel what comes to a pod from outside
        note = "IPVS falls back to the other nodes' endpoints, flannel hides the client"
        return Translation(found.cluster, note=note)
    reason = (
        f"{why}: IPVS sends it to another node untranslated, and the answer comes from an address"
        " nobody asked"
    )
    return Translation(stop=Stop(Stage.TRANSLATE, DROPPED, reason))


def _as_a_pod(found: UsableEndpoints) -> Translation:
    """Who comes from the pods' network is taken for a pod of the node."""
    note = "from the pods' network, Local counts as Cluster"
    return Translation(found.cluster, Masquerade.HAIRPIN, note)


def _local_from_pod(
    lookup: Lookup, flow: Flow, entry: ProxyEntry, found: UsableEndpoints
) -> Translation:
    if not proxy_facts(lookup.cluster).drops_without_local:
        return Translation(found.local or found.cluster, Masquerade.HAIRPIN)
    if entry.pod is not None and is_local_traffic(lookup, entry.pod, flow.family):
        note = "from inside, Local counts as Cluster"
        return Translation(found.cluster, Masquerade.HAIRPIN, note)
    if found.local or found.is_empty:
        return Translation(found.local, Masquerade.HAIRPIN)
    reason = f"externalTrafficPolicy Local and no ready endpoint on {entry.node.name}: dropped"
    return Translation(stop=Stop(Stage.TRANSLATE, DROPPED, reason))


def _from_node(
    lookup: Lookup, frontend: Frontend, entry: ProxyEntry, found: UsableEndpoints
) -> Translation:
    facts, mode = proxy_facts(lookup.cluster), lookup.cluster.network.kube_proxy.mode
    is_local = frontend.policy is TrafficPolicy.LOCAL
    if frontend.kind is not FrontendKind.NODE_PORT:
        if not found.cluster and not facts.rejects_own_packets:
            reason = f"{mode} mode rejects what comes in or passes through, not what the node sends"
            return Translation(stop=Stop(Stage.TRANSLATE, NO_WAY, reason))
        misses = is_local and not found.local and not found.is_empty
        if misses and facts.checks_local_for_own_packets:
            name = entry.node.name
            reason = f"{mode} mode checks for endpoints on {name} before it translates: dropped"
            return Translation(stop=Stop(Stage.TRANSLATE, DROPPED, reason))
    if (
        is_local
        and facts.drops_without_local
        and is_local_address(lookup, entry.node, entry.client)
    ):
        return _as_a_pod(found)  # by an address of the pods' network, such as cni0's
    note = "from the node itself, Local counts as Cluster" if is_local else ""
    return Translation(found.cluster, note=note)

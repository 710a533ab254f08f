"""Which nodes a LoadBalancer Service's address leads to. Pure.

    mode    enters the cluster at              the pod sees (Cluster / Local)
    l2      one node, elected as MetalLB does  that node's address / the client
    bgp     any eligible node, by flow         its address / the client
    proxy   any node that passes its check     the node's address / the proxy: a client of its own

Eligible: with policy Local the nodes that have an endpoint, with Cluster all of them; none if the
service has no endpoint at all, and then nobody answers for the address. Written from MetalLB's and
the Kubernetes documentation and apart from what kns runs, so that the two can disagree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import ip_network

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint
from kns.kinds.node import Node
from kns.kinds.service import LoadBalancerIngress, Service, TrafficPolicy
from kns.promise.addresses import cloud_lb_addresses
from kns.promise.facts import proxy_facts
from kns.promise.flow import CLOSED, NO_WAY, REFUSED, Flow, Frontend, FrontendKind, Stage, Stop
from kns.promise.lookup import Lookup, balancer_point

PROXY = "proxy"
L2 = "l2"
BGP = "bgp"


@dataclass(frozen=True, slots=True)
class Balancer:
    """The lab's load balancer as it serves one address."""

    mode: str
    frontend: Frontend
    address: IPAddress

    @property
    def family(self) -> IPFamily:
        """The family of the address."""
        return IPFamily.of(self.address)

    @property
    def is_local(self) -> bool:
        """True for externalTrafficPolicy Local."""
        return self.frontend.policy is TrafficPolicy.LOCAL

    @property
    def asking(self) -> str:
        """The protocol that asks who has the address."""
        return "ARP" if self.family is IPFamily.IPV4 else "NDP"


def balancer_mode(cluster: Cluster, entry: LoadBalancerIngress | None) -> str:
    """`l2`, `bgp` or `proxy` if the lab's balancer answers for the address; else nothing.

    A written `status` may name addresses, and an ipMode, that the lab's balancer knows nothing of.
    """
    options = cluster.network.load_balancer
    if options is None or entry is None or entry.ip is None:
        return ""
    is_known = any(pool.version == entry.ip.version and entry.ip in pool for pool in options.pools)
    is_proxied = entry.ip_mode == "Proxy"
    return options.mode if is_known and is_proxied == (options.mode == PROXY) else ""


def balancer_of(cluster: Cluster, flow: Flow, frontend: Frontend | None) -> Balancer | None:
    """The lab's balancer, if it answers for the flow's destination."""
    if frontend is None or frontend.kind is FrontendKind.CLUSTER_IP:
        return None
    mode = balancer_mode(cluster, balancer_point(frontend.service, flow.destination))
    return Balancer(mode, frontend, flow.destination) if mode else None


def balancer_stop(cluster: Cluster, balancer: Balancer) -> Stop | None:
    """Why the balancer can't take a flow, or why it can't be told which node takes it."""
    options = cluster.network.kube_proxy
    port = balancer.frontend.port
    if balancer.mode == PROXY and not (port.protocol is Protocol.TCP and port.node_port):
        return Stop(Stage.ROUTE, REFUSED, "the proxy forwards TCP to node ports")
    if (
        balancer.mode == L2
        and proxy_facts(cluster).binds_service_addresses
        and not options.ipvs.strict_arp
    ):
        reason = "without strictARP every node answers ARP for it, as its kube-ipvs0 has it"
        return Stop(Stage.ROUTE, (), reason)
    return None


def balanced_nodes(lookup: Lookup, balancer: Balancer) -> tuple[Node, ...]:
    """The nodes by which the address is entered."""
    cluster, service = lookup.cluster, balancer.frontend.service
    nodes = tuple(node for node in cluster.nodes if node.address(balancer.family) is not None)
    if balancer.mode == PROXY:
        if not balancer.is_local:
            return nodes
        endpoints = lookup.endpoints(service, balancer.frontend.port, balancer.family)
        return tuple(node for node in nodes if endpoints.at(node).local_ready)
    able = {
        endpoint.node_name
        for item in lookup.cluster.slices_of(service)
        for endpoint in item.endpoints
        if _can_serve(endpoint)
    }
    chosen = tuple(n for n in nodes if able and (not balancer.is_local or n.name in able))
    if balancer.mode == BGP or not chosen:
        return chosen
    return (min(chosen, key=lambda node: _rank(node, balancer.address)),)


def _can_serve(endpoint: Endpoint) -> bool:
    """MetalLB counts what is ready, and what ends and serves until then."""
    return endpoint.ready is not False or endpoint.serving is True


def _rank(node: Node, address: IPAddress) -> str:
    return hashlib.sha256(f"{node.name}#{address}".encode()).hexdigest()


def proxy_address(cluster: Cluster, family: IPFamily) -> IPAddress:
    """The address under which the proxy on cloud-lb connects to nodes."""
    return next(a for a in cloud_lb_addresses(cluster) if a.version == family.version)


def unanswered(balancer: Balancer) -> Stop:
    """What comes of an address that no node takes."""
    why = f"{balancer.frontend.label} has no ready endpoint"
    match balancer.mode:
        case "proxy":
            return Stop(Stage.TRANSLATE, CLOSED, f"{why}: the proxy closes the connection")
        case "bgp":
            why = f"{why}, so no node announces {balancer.address}"
            return Stop(Stage.ROUTE, NO_WAY, why)
        case _:
            why = f"{why}, so no node answers {balancer.asking} for {balancer.address}"
            # a router that remembers who answered last still finds kube-proxy's REJECT there
            return Stop(Stage.ROUTE, (*NO_WAY, *REFUSED), why)


def balancer_note(balancer: Balancer, nodes: tuple[Node, ...]) -> str:
    """Who takes the flow, and what pods see."""
    names = ", ".join(node.name for node in nodes)
    policy = "Local keeps the client" if balancer.is_local else "Cluster hides the client"
    match balancer.mode:
        case "proxy":
            return f"by the proxy to {names}: it is the client that pods see"
        case "bgp":
            return f"announced by {names}; {policy}"
        case _:
            return f"{names} answers {balancer.asking}; {policy}"


def source_ranges(service: Service, family: IPFamily) -> tuple[IPNetwork, ...]:
    """loadBalancerSourceRanges of the family; what does not parse is passed over."""
    found: list[IPNetwork] = []
    for text in service.load_balancer_source_ranges:
        try:
            cidr = ip_network(text.strip(), strict=False)
        except ValueError:
            continue
        if cidr.version == family.version:
            found.append(cidr)
    return tuple(found)

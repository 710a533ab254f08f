"""Whether nft takes what a node's kube-proxy writes: what it doesn't costs all rules. Pure.

The transaction of nftables mode fails whole, and no packet meets a rule of any Service:

up to 1.36  by a comment that is too long (kubernetes issue 139515). It names a service port that
            leads to nobody at the node, and in 1.30 one that has source ranges.
up to 1.32  by detectLocalMode InterfaceNamePrefix: `iif` matches interfaces that are there, no
            prefixes. It stands in the rules of each service port that tells pods from others.
"""

from __future__ import annotations

from kns.addresses import IPFamily
from kns.kinds.nft_refusals import COMMENT_BYTES, port_comment
from kns.kinds.node import Node
from kns.kinds.service import Service, ServicePort, ServiceType, TrafficPolicy
from kns.promise.balancer import PROXY, source_ranges
from kns.promise.facts import proxy_facts, serves_external_ips
from kns.promise.flow import CLOSED, NO_WAY, REFUSED, Flow, Outcome, Stage, Stop
from kns.promise.lookup import Lookup
from kns.promise.route import FlowRoute

#: characters of a name that are enough to know it by
_SHOWN = 24


def no_rules(lookup: Lookup, flow: Flow, way: FlowRoute) -> Stop | None:
    """What becomes of the flow where no rule translates it; None: rules are there."""
    whys = [_why_refused(lookup, entry.node, flow.family) for entry in way.entries]
    why = next(filter(None, whys), "")
    if not why:
        return None
    release = lookup.cluster.network.kube_proxy.version
    reason = f"nft refuses every rule of kube-proxy {release}, as {why}"
    return Stop(Stage.RULES, _outcomes(lookup, flow, way) if all(whys) else (), reason)


def _why_refused(lookup: Lookup, node: Node, family: IPFamily) -> str:
    name = refused_comment(lookup, node, family)
    if name:
        return f"{name[:_SHOWN]}… is longer than the {COMMENT_BYTES} bytes of a comment"
    if lookup.cluster.network.kube_proxy.interface_refused and _tells_pods(lookup, node, family):
        return "InterfaceNamePrefix has it match iif, which knows no prefixes"
    return ""


def _outcomes(lookup: Lookup, flow: Flow, way: FlowRoute) -> tuple[Outcome, ...]:
    if way.balancer is not None and way.balancer.mode == PROXY:
        return CLOSED
    # a node's own address: it arrives, and nothing listens
    is_own = flow.destination in lookup.node_addresses or flow.destination.is_loopback
    return REFUSED if is_own else NO_WAY


def refused_comment(lookup: Lookup, node: Node, family: IPFamily) -> str:
    """The name that nft refuses as a comment on the node, in the table of the family; or none."""
    return next(
        (
            port_comment(service, port)
            for service, port in lookup.ports_with_refused_names
            if service.cluster_ip(family) is not None
            and is_commented(lookup, service, port, node, family)
        ),
        "",
    )


def _tells_pods(lookup: Lookup, node: Node, family: IPFamily) -> bool:
    """Whether a rule of the node's in the family tells pods from others.

    In the chain of a cluster IP that leads to somebody, unless all are masqueraded, and in that of
    the outer addresses with policy Local.
    """
    every = lookup.cluster.network.kube_proxy.masquerades_all
    for service in lookup.cluster.services:
        for port in service.ports if service.cluster_ip(family) is not None else ():
            found = lookup.endpoints(service, port, family).at(node)
            inside_local = service.internal_traffic_policy is TrafficPolicy.LOCAL
            if not every and (found.local if inside_local else found.cluster):
                return True
            short_cut = _has_local_policy(service) and _is_outside(lookup, service, port, family)
            if short_cut and not found.is_empty:
                return True
    return False


def is_commented(
    lookup: Lookup, service: Service, port: ServicePort, node: Node, family: IPFamily
) -> bool:
    """Whether the node's rules of the family name the service port in a comment."""
    found = lookup.endpoints(service, port, family).at(node)
    inside_local = service.internal_traffic_policy is TrafficPolicy.LOCAL
    if not (found.local if inside_local else found.cluster):
        return True
    is_outside = _is_outside(lookup, service, port, family)
    if is_outside and not (found.local if _has_local_policy(service) else found.cluster):
        return True
    names_ranges = proxy_facts(lookup.cluster).comments_source_ranges
    return names_ranges and bool(_is_balanced(service, family) and source_ranges(service, family))


def _has_local_policy(service: Service) -> bool:
    has_policy = service.type is not ServiceType.CLUSTER_IP or bool(service.external_ips)
    return has_policy and service.external_traffic_policy is TrafficPolicy.LOCAL


def _is_outside(lookup: Lookup, service: Service, port: ServicePort, family: IPFamily) -> bool:
    """Whether anything but the cluster IP leads to the port."""
    external = any(ip.version == family.version for ip in service.external_ips)
    served = external and serves_external_ips(lookup.cluster)
    return bool(port.node_port) or served or _is_balanced(service, family)


def _is_balanced(service: Service, family: IPFamily) -> bool:
    return any(
        point.ip is not None and point.ip.version == family.version and point.ip_mode == "VIP"
        for point in service.load_balancer_ingress
    )

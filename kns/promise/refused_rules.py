"""Whether nft takes what a node's kube-proxy writes: a comment that is too long costs all. Pure.

Up to 1.36 the transaction of nftables mode fails whole (kubernetes issue 139515), and no packet
meets a rule of any Service. A comment names a service port that leads to nobody at the node, and
in 1.30 one that has source ranges.
"""

from __future__ import annotations

from kns.addresses import IPFamily
from kns.kinds.comments import COMMENT_BYTES, port_comment
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
    names = [refused_comment(lookup, entry.node, flow.family) for entry in way.entries]
    name = next(filter(None, names), "")
    if not name:
        return None
    release = lookup.cluster.network.kube_proxy.version
    reason = (
        f"nft refuses every rule of kube-proxy {release}, as {name[:_SHOWN]}… is longer than the"
        f" {COMMENT_BYTES} bytes of a comment"
    )
    return Stop(Stage.RULES, _outcomes(lookup, flow, way) if all(names) else (), reason)


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


def is_commented(
    lookup: Lookup, service: Service, port: ServicePort, node: Node, family: IPFamily
) -> bool:
    """Whether the node's rules of the family name the service port in a comment."""
    found = lookup.endpoints(service, port, family).at(node)
    inside_local = service.internal_traffic_policy is TrafficPolicy.LOCAL
    if not (found.local if inside_local else found.cluster):
        return True
    external = [ip for ip in service.external_ips if ip.version == family.version]
    if not serves_external_ips(lookup.cluster):
        external = []
    balanced = [
        point
        for point in service.load_balancer_ingress
        if point.ip is not None and point.ip.version == family.version and point.ip_mode == "VIP"
    ]
    has_policy = service.type is not ServiceType.CLUSTER_IP or bool(service.external_ips)
    outside_local = has_policy and service.external_traffic_policy is TrafficPolicy.LOCAL
    is_outside = bool(port.node_port or external or balanced)
    if is_outside and not (found.local if outside_local else found.cluster):
        return True
    names_ranges = proxy_facts(lookup.cluster).comments_source_ranges
    return names_ranges and bool(balanced and source_ranges(service, family))

"""Says why a client outside does not get to a service's outer address, and what to look at. Pure.

    a cluster IP               never: it means nothing there
    an external IP             only if the network brings its packets to a node
    a load balancer's address  by what the balancer of the lab does in its mode

And why a pod gets no answer from the outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.pod import Pod
from kns.kinds.service import LoadBalancerIngress, Service
from kns.probe.addresses import is_address
from kns.probe.model import Attempt
from kns.probe.target import Target
from kns.promise.balancer import balancer_mode, source_ranges
from kns.promise.flow import Outcome
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup
from kns.promise.masquerade import gateway_for, leaving

DRIFT = "kns status names what differs from the lab file"


def outside(
    cluster: Cluster, source: Location, target: Target, service: Service, seen: Sequence[Attempt]
) -> str:
    """Why the internet does not reach the service at the target's address."""
    address = ip_address(target.address)
    if address in service.cluster_ips:
        return (
            "as it must be: a cluster IP means nothing outside the cluster; use a NodePort,"
            " a LoadBalancer or an Ingress"
        )
    point = next((p for p in service.load_balancer_ingress if p.ip == address), None)
    mode = balancer_mode(cluster, point) if point is not None else ""
    if not mode:
        return (
            f"nothing outside routes {address} to a node: a loadBalancer section with a pool gives"
            " the lab addresses that are routed"
        )
    client = _kept_out(service, source, address)
    if client is not None:
        verb = "the proxy closes the connection" if mode == "proxy" else "dropped"
        return (
            f"loadBalancerSourceRanges of {label(service)} leaves out {client}: {verb} on purpose"
        )
    return _in_mode(mode, cluster, service, str(address), seen)


def _kept_out(service: Service, source: Location, address: IPAddress) -> IPAddress | None:
    """The client's own address if the service's source ranges leave it out."""
    family = IPFamily.of(address)
    ranges = source_ranges(service, family)
    addresses = () if isinstance(source.item, Service) else source.item.addresses
    own = next((a for a in addresses if a.version == family.version), None)
    if not ranges or own is None or any(own in cidr for cidr in ranges):
        return None
    return own


def _in_mode(
    mode: str, cluster: Cluster, service: Service, address: str, seen: Sequence[Attempt]
) -> str:
    lost = "" if not any(a.backend for a in seen) else "some connections are lost: "
    status = f"kns status says who takes {address} now"
    fabric = f"ip netns exec kns.{cluster.name}.fabric"
    match mode:
        case "l2":
            return (
                f"{lost}the node that answers ARP for {address} does not pass it on, or nobody"
                f" answers: is its eth0 up, does the lab's agent run? {status};"
                f" {fabric} ip neigh show {address} is what the router believes"
            )
        case "bgp":
            why = "no node announces it" if _is_unreachable(seen) else "a node that announces it"
            rest = "" if _is_unreachable(seen) else " does not pass it on"
            return f"{lost}{why}{rest}: {status}; {fabric} ip route show {address} is the router's"
        case _:
            checked = "healthCheckNodePort" if service.health_check_node_port else "10256/healthz"
            return (
                f"{lost}the proxy on cloud-lb found no node that passes its health check"
                f" ({checked}), or none that answers at its node port: {status}"
            )


def nobody_has(cluster: Cluster, target: Target) -> str:
    """What an address of the load balancer's pool is that no service was given; else nothing."""
    options = cluster.network.load_balancer
    if options is None or target.service is not None or not is_address(target.address):
        return ""
    address = ip_address(target.address)
    if not any(pool.version == address.version and address in pool for pool in options.pools):
        return ""
    return (
        f"{address} is of the load balancer's pool, and no service has it: nobody answers for it"
        " (kns get services)"
    )


def no_way_back(cluster: Cluster, pod: Pod, address: IPAddress) -> str:
    """Why a pod that asks an address outside hears nothing."""
    gateway = gateway_for(Lookup(cluster), pod, address)
    egress = cluster.network.egress
    if gateway is not None:
        return (
            f"{label(pod)} leaves by the egress gateway {gateway.name}: is its eth0 up, has"
            f" {pod.node} its rules and routes (ip rule, ip route show table all), and does"
            f" {gateway.name} masquerade (nat EGRESS-GATEWAY)? {DRIFT}"
        )
    if leaving(Lookup(cluster), pod, address) == pod.address(IPFamily.of(address)):
        why = "egress.masquerade is off"
        if egress.masquerade:
            why = f"{address} is among egress.nonMasqueradeCIDRs"
        return (
            f"{why}: the packet leaves with the pod's address, and nobody"
            " outside has a route back to it"
        )
    return (
        "no answer from outside: without masquerading (nat POSTROUTING on the pod's node)"
        f" nobody knows the way back to a pod; is ip_forward on? {DRIFT}"
    )


def _is_unreachable(seen: Sequence[Attempt]) -> bool:
    return any(attempt.outcome is Outcome.UNREACHABLE for attempt in seen)


def is_proxied(cluster: Cluster, target: Target) -> bool:
    """True if the target is a LoadBalancer address behind the lab's proxy."""
    if target.service is None or not target.address:
        return False
    return any(
        str(point.ip) == target.address and _by_proxy(cluster, point)
        for point in target.service.load_balancer_ingress
    )


def _by_proxy(cluster: Cluster, point: LoadBalancerIngress) -> bool:
    return balancer_mode(cluster, point) == "proxy"

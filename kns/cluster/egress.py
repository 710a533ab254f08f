"""Which pods leave the cluster by an egress gateway, and by which. Pure."""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.cluster.selectors import matches
from kns.kinds.networking import EgressGateway
from kns.kinds.pod import Pod


def gateway_of(cluster: Cluster, pod: Pod) -> EgressGateway | None:
    """The first gateway that chooses the pod; what the host network sends is its node's."""
    if pod.host_network:
        return None
    for gateway in cluster.network.egress.gateways:
        if gateway.namespace == pod.namespace and matches(gateway.selector, pod.labels):
            return gateway
    return None


def pods_by_gateway(cluster: Cluster) -> tuple[tuple[EgressGateway, tuple[Pod, ...]], ...]:
    """The gateways that have pods, in file order, with their pods."""
    found: dict[int, list[Pod]] = {}
    for pod in cluster.pods if cluster.network.egress.gateways else ():
        gateway = gateway_of(cluster, pod)
        if gateway is not None:
            found.setdefault(cluster.network.egress.gateways.index(gateway), []).append(pod)
    return tuple(
        (gateway, tuple(found[number]))
        for number, gateway in enumerate(cluster.network.egress.gateways)
        if number in found
    )

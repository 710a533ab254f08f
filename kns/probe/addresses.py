"""Whose address is it? Pods, nodes, bridges, services and internet hosts by address. Pure."""

from __future__ import annotations

from ipaddress import ip_address

from kns.cluster.model import Cluster, IPAddress, IPFamily, Node
from kns.probe.names import label


def bridge_address(node: Node, family: IPFamily) -> IPAddress | None:
    """The address of the node's pod bridge: the first one of its pod CIDR."""
    return _offset(node, family, 1)


def overlay_address(node: Node, family: IPFamily) -> IPAddress | None:
    """The address of the node's VXLAN device in flannel's scheme: the pod CIDR's own."""
    return _offset(node, family, 0)


def _offset(node: Node, family: IPFamily, offset: int) -> IPAddress | None:
    for cidr in node.pod_cidrs:
        if cidr.version == family.version:
            return cidr.network_address + offset
    return None


def owners(cluster: Cluster) -> dict[str, str]:
    """Every address of the lab with the name of its owner, as people call it."""
    found: dict[str, str] = {}
    for node in cluster.nodes:
        for cidr in node.pod_cidrs:
            found[str(cidr.network_address)] = f"{node.name}'s flannel.1"
            found[str(cidr.network_address + 1)] = f"{node.name}'s cni0"
        found |= {str(address): node.name for address in node.addresses}
        found |= {str(a): node.name for a in node.host_addresses if str(a) not in found}
    for service in cluster.services:
        found |= {str(address): f"svc/{label(service)}" for address in service.cluster_ips}
    for host in cluster.internet:
        found |= {str(address): host.name for address in host.addresses}
    for pod in cluster.pods:
        found |= {str(address): label(pod) for address in pod.addresses}
    return found


def is_address(text: str) -> bool:
    """True if the text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def in_url(address: str) -> str:
    """The address as a URL's host: IPv6 goes in brackets."""
    return f"[{address}]" if ":" in address else address

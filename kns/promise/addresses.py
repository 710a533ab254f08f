"""Addresses that follow from a node's or a network's CIDR."""

from __future__ import annotations

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.node import Node

#: the host outside that runs a cloud's layer 4 proxy
CLOUD_LB = "cloud-lb"


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


def cloud_lb_addresses(cluster: Cluster) -> tuple[IPAddress, ...]:
    """The addresses of a cloud's proxy: on each internet network the next after the router's."""
    balancer = cluster.network.load_balancer
    if balancer is None or balancer.mode != "proxy":
        return ()
    return tuple(cidr.network_address + 2 for cidr in cluster.network.internet_cidrs)

"""A node by itself: its cable to the underlay, its addresses, the way out of it."""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.cables import default_routes, interface, router_sysctls, uplink
from kns.kinds.node import Node
from kns.state.model import Address, Netns, loopback


def bare_node(cluster: Cluster, node: Node) -> Netns:
    """A node before anything of Kubernetes is on it."""
    network = cluster.network
    name = names.netns_of_node(cluster.name, node.name)
    return Netns(
        name=name,
        links=(loopback(), uplink(cluster, name, node.name)),
        addresses=tuple(
            Address("eth0", interface(item, network.node_cidrs)) for item in node.addresses
        ),
        # also what lets a packet to a service address get as far as the rules: without any
        # route to it the sender is told "network unreachable" before nat OUTPUT sees it
        routes=default_routes(network.node_cidrs),
        sysctls=router_sysctls(network),
    )

"""What every pod network answers: its devices, its routes, what it costs and what it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Cluster, Network
from kns.compile import names
from kns.kinds.node import Node
from kns.state.model import Netns, NextHop, Route
from kns.state.requirements import Feature


class PodNetwork(ABC):
    """One way between the pods of two nodes. Its objects have no state."""

    #: bytes that a packet grows by, by the family of the node addresses
    OVERHEAD: ClassVar[dict[IPFamily, int]] = {IPFamily.IPV4: 0, IPFamily.IPV6: 0}
    #: IP protocol numbers of the packets between nodes that carry the pods' own
    CARRIERS: ClassVar[frozenset[int]] = frozenset()
    #: what it asks of the kernel
    FEATURES: ClassVar[tuple[Feature, ...]] = ()

    def mtu(self, network: Network) -> int:
        """The MTU of the pods and their bridge: with the overhead a packet fits the underlay."""
        return network.mtu - max(self.OVERHEAD[family] for family in network.families)

    @abstractmethod
    def hop_to(self, other: Node, cidr: IPNetwork) -> NextHop:
        """The next hop to another node, one of whose pod CIDRs is `cidr`."""

    def on_node(self, cluster: Cluster, node: Node) -> Netns:
        """What the pod network adds to a node: its devices, and routes to the other nodes' pods."""
        return Netns(
            names.netns_of_node(cluster.name, node.name),
            links=(),
            routes=tuple(
                Route(destination=cidr, hops=(self.hop_to(other, cidr),))
                for other, cidr in others(cluster, node)
            ),
        )


def others(cluster: Cluster, node: Node) -> Iterator[tuple[Node, IPNetwork]]:
    """Each other node, with each of its pod CIDRs."""
    for other in cluster.nodes:
        if other.name != node.name:
            for cidr in other.pod_cidrs:
                yield other, cidr

"""flannel's backend host-gw: `podCIDR of node2 via node2's address dev eth0`, and nothing else."""

from __future__ import annotations

from kns.addresses import IPFamily, IPNetwork
from kns.compile.podnetwork.base import PodNetwork
from kns.kinds.node import Node
from kns.state.model import NextHop


class HostGateway(PodNetwork):
    """The nodes are each other's next hops, which takes a network that has all of them."""

    def hop_to(self, other: Node, cidr: IPNetwork) -> NextHop:
        """The other node itself."""
        return NextHop(other.address(IPFamily.of(cidr)), "eth0")

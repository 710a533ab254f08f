"""flannel's backend vxlan: frames between nodes in UDP packets.

    podCIDR of node2 via its .0 dev flannel.1 onlink    the .0 is node2's own flannel.1
    .0 lladdr of node2's flannel.1                      permanent: the device asks nobody
    fdb: that MAC address is behind node2's address     permanent: the device learns nothing

Source: flannel pkg/backend/vxlan.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface
from typing import ClassVar

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.podnetwork.base import PodNetwork, others
from kns.kinds.node import Node
from kns.state.model import Address, FdbEntry, Link, Neighbor, Netns, NextHop, Vxlan
from kns.state.requirements import Feature, Need

#: flannel's VNI and port
VNI, PORT = 1, 8472


class VxlanNetwork(PodNetwork):
    """A VXLAN device for each family."""

    #: Ethernet 14, VXLAN 8, UDP 8, IP 20 or 40. The kernel cuts a larger MTU of the device down
    OVERHEAD: ClassVar = {IPFamily.IPV4: 50, IPFamily.IPV6: 70}
    CARRIERS = frozenset({socket.IPPROTO_UDP})
    FEATURES = (
        Feature(
            "vxlan",
            Need.OPTIONAL,
            "podNetwork: vxlan",
            ("ip", "link", "add", "kns0", "type", "vxlan", "id", str(VNI), "dstport", str(PORT)),
            "vxlan",
        ),
    )

    def hop_to(self, _other: Node, cidr: IPNetwork) -> NextHop:
        """The other node's device, which no address of this node's shares a network with."""
        return NextHop(cidr.network_address, device(IPFamily.of(cidr)), onlink=True)

    def on_node(self, cluster: Cluster, node: Node) -> Netns:
        """The devices with the .0 of each pod CIDR, and what they have to know of the others."""
        remotes = tuple(self._remotes(cluster, node))
        return replace(
            super().on_node(cluster, node),
            links=tuple(self._devices(cluster, node)),
            addresses=tuple(
                Address(device(IPFamily.of(cidr)), ip_interface(cidr.network_address))
                for cidr in node.pod_cidrs
            ),
            neighbors=tuple(neighbor for neighbor, _ in remotes),
            fdb=tuple(entry for _, entry in remotes),
        )

    def _devices(self, cluster: Cluster, node: Node) -> Iterator[Link]:
        for family in cluster.network.families:
            local = node.address(family)
            if local is not None:
                yield Link(
                    device(family),
                    Vxlan(VNI, local, device="eth0", port=PORT),
                    mac=_mac(cluster, node, family),
                    mtu=cluster.network.mtu - self.OVERHEAD[family],
                )

    def _remotes(self, cluster: Cluster, node: Node) -> Iterator[tuple[Neighbor, FdbEntry]]:
        for other, cidr in others(cluster, node):
            family = IPFamily.of(cidr)
            remote = other.address(family)
            if remote is not None:
                name, mac = device(family), _mac(cluster, other, family)
                yield Neighbor(name, cidr.network_address, mac), FdbEntry(name, mac, remote)


def device(family: IPFamily) -> str:
    """flannel's device: flannel.1, flannel-v6.1."""
    return f"flannel.{VNI}" if family is IPFamily.IPV4 else f"flannel-v6.{VNI}"


def _mac(cluster: Cluster, node: Node, family: IPFamily) -> str:
    return names.mac(f"{names.netns_of_node(cluster.name, node.name)}/{device(family)}")

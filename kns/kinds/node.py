"""Node."""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds.common import Labels


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `addresses` are its InternalIPs, one a family, the primary family first.

    `host_addresses` are further addresses on the node's links, which node ports and source
    ranges take into account (for example cni0's, or a second NIC's).
    """

    name: str
    addresses: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...] = ()
    labels: Labels = field(default_factory=dict)
    host_addresses: tuple[IPAddress, ...] = ()

    @property
    def zone(self) -> str:
        """The value of topology.kubernetes.io/zone, or nothing."""
        return self.labels.get("topology.kubernetes.io/zone", "")

    def address(self, family: IPFamily) -> IPAddress | None:
        """Its InternalIP of that family."""
        return next((a for a in self.addresses if a.version == family.version), None)

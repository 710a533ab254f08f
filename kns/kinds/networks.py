"""The cluster's subnets: what is written, and the defaults of the IP families where nothing is.

IPv4 defaults are kind's names and kubeadm's values; each list holds one network a family, the
primary family first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network

from kns.addresses import IPNetwork
from kns.kinds.networking import DEFAULT_POOLS, LoadBalancerOptions, Networking

_DEFAULTS: dict[str, tuple[IPNetwork, IPNetwork]] = {
    "pod": (IPv4Network("10.244.0.0/16"), IPv6Network("fd00:10:244::/56")),
    "service": (IPv4Network("10.96.0.0/16"), IPv6Network("fd00:10:96::/112")),
    "node": (IPv4Network("172.18.0.0/24"), IPv6Network("fc00:172:18::/64")),
    "internet": (IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:203::/64")),
}

#: kube-controller-manager's --node-cidr-mask-size-ipv4 and -ipv6
NODE_MASK_SIZES = {4: 24, 6: 64}
#: kubeadm gives cluster DNS the tenth address of the service subnet
DNS_INDEX = 10
#: the host of a proxying load balancer comes after the router on each internet network
PROXY_PLACE = 2
#: kube-apiserver's own Service `kubernetes` takes the first
KUBERNETES_INDEX = 1


@dataclass(frozen=True, slots=True)
class Networks:
    """The subnets of a lab, in the order of `families` (4 and 6)."""

    families: tuple[int, ...]
    pod: tuple[IPNetwork, ...]
    service: tuple[IPNetwork, ...]
    node: tuple[IPNetwork, ...]
    internet: tuple[IPNetwork, ...]

    def node_of(self, family: int) -> IPNetwork:
        """The node subnet of a family."""
        return self.node[self.families.index(family)]


def networks(spec: Networking) -> Networks:
    """The subnets of `spec`; a written one of a family that the lab lacks is left out."""
    families = ip_families(spec)
    return Networks(
        families,
        _of_families("pod", spec.pod_subnet, families),
        _of_families("service", spec.service_subnet, families),
        _of_families("node", spec.node_subnet, families),
        _of_families("internet", spec.internet_subnet, families),
    )


def ip_families(spec: Networking) -> tuple[int, ...]:
    """4, 6 or both; a dual-stack lab's primary family is that of its first service subnet."""
    if spec.ip_family != "dual":
        return (4,) if spec.ip_family == "ipv4" else (6,)
    return (6, 4) if spec.service_subnet and spec.service_subnet[0].version == 6 else (4, 6)


def balancer_in(
    options: LoadBalancerOptions | None, spec: Networking
) -> LoadBalancerOptions | None:
    """The balancer with the default pools of the lab's families, where it has none of its own."""
    if options is None or options.pools != DEFAULT_POOLS:
        return options
    families = ip_families(spec)
    return replace(options, pools=tuple(p for p in DEFAULT_POOLS if p.version in families))


def node_mask_size(spec: Networking, family: int) -> int:
    """The prefix length of a node's pod CIDR."""
    written = spec.node_cidr_mask_size if family == 4 else spec.node_cidr_mask_size_ipv6
    return NODE_MASK_SIZES[family] if written is None else written


def pod_capacity(network: IPNetwork) -> int:
    """How many pods a pod CIDR holds: all but the network, the bridge and the broadcast address."""
    return max(0, network.num_addresses - 3)


def _of_families(
    kind: str, written: Sequence[IPNetwork], families: tuple[int, ...]
) -> tuple[IPNetwork, ...]:
    by_family: dict[int, IPNetwork] = {
        network.version: network for network in (*_DEFAULTS[kind], *written)
    }
    return tuple(by_family[family] for family in families)

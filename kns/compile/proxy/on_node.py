"""What kube-proxy's options mean on one node: which packets are local, which addresses node ports.

Source: cmd/kube-proxy/app/server_linux.go (getLocalDetectors), pkg/proxy/util/localdetector.go and
nodeport_addresses.go of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import assert_never

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds.networking import DetectLocalMode, KubeProxyOptions
from kns.kinds.node import Node

_LOOPBACK: Mapping[IPFamily, IPAddress] = {
    IPFamily.IPV4: IPv4Address("127.0.0.1"),
    IPFamily.IPV6: IPv6Address("::1"),
}
_WILDCARD: Mapping[IPFamily, str] = {IPFamily.IPV4: "0.0.0.0", IPFamily.IPV6: "::"}
_LOCALNET = ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class LocalDetector:
    """How a packet from a pod of this node is told: by its source `cidr`, or by its `interface`.

    `prefix` means that `interface` is only how the name begins.
    """

    cidr: IPNetwork | None = None
    interface: str = ""
    prefix: bool = False


def local_detector(options: KubeProxyOptions, node: Node, family: IPFamily) -> LocalDetector | None:
    """The detector of `--detect-local-mode`; None if it can't tell, and then no rule asks.

    The first CIDR of the family counts. An interface serves both families.
    """
    match options.detect_local_mode:
        case DetectLocalMode.CLUSTER_CIDR:
            return _by_cidr(options.cluster_cidrs, family)
        case DetectLocalMode.NODE_CIDR:
            return _by_cidr(node.pod_cidrs, family)
        case DetectLocalMode.BRIDGE_INTERFACE:
            return LocalDetector(interface=options.pod_bridge_interface)
        case DetectLocalMode.INTERFACE_NAME_PREFIX:
            return LocalDetector(interface=options.pod_interface_name_prefix, prefix=True)
        case unknown:
            assert_never(unknown)


def _by_cidr(cidrs: tuple[IPNetwork, ...], family: IPFamily) -> LocalDetector | None:
    cidr = next((c for c in cidrs if c.version == family.version), None)
    return None if cidr is None else LocalDetector(cidr=cidr)


def node_port_cidrs(
    options: KubeProxyOptions, node: Node, family: IPFamily
) -> tuple[IPNetwork, ...]:
    """The family's `--nodeport-addresses`; empty for every local address.

    Of `primary`, the node's own address, if it has one in the family. A list with CIDRs of the
    other family alone means every address in this one, and so does a list that holds 0.0.0.0/0 or
    ::/0.
    """
    if options.nodeport_addresses_primary:
        address = node.address(family)
        return () if address is None else (ip_network(address),)
    own = tuple(c for c in options.nodeport_addresses if c.version == family.version)
    return () if any(c.prefixlen == 0 for c in own) else own


def node_port_ips(
    options: KubeProxyOptions, node: Node, family: IPFamily
) -> tuple[IPAddress, ...] | None:
    """The node's addresses that take node ports, where rules name each; None for every local one.

    IPv4's loopback needs `--iptables-localhost-nodeports`; IPv6's never works.
    """
    cidrs = node_port_cidrs(options, node, family)
    if not cidrs:
        return None
    loopback = (_LOOPBACK[family],) if localhost_node_ports(options, node, family) else ()
    own: set[IPAddress] = {*node.addresses, *node.host_addresses, *loopback}
    return tuple(ip for ip in sorted(own, key=int) if any(ip in cidr for cidr in cidrs))


def localhost_node_ports(options: KubeProxyOptions, node: Node, family: IPFamily) -> bool:
    """True if node ports answer on 127.0.0.1: wished, and `--nodeport-addresses` has room for it.

    It takes the sysctl route_localnet, and with that a rule against martians. IPv6 has neither.
    """
    if family is IPFamily.IPV6 or not options.localhost_nodeports:
        return False
    cidrs = node_port_cidrs(options, node, family)
    return not cidrs or any(cidr.overlaps(_LOCALNET) for cidr in cidrs)


def proxy_node_ip(node: Node, family: IPFamily) -> IPAddress:
    """The address that kube-proxy takes for the node's own: loopback where the Node has none."""
    return node.address(family) or _LOOPBACK[family]


# -- where kube-proxy's own servers listen ---------------------------------------------------------


def wildcards(addresses: Iterable[IPAddress]) -> tuple[str, ...]:
    """The wildcard address of each family of the addresses, in their order."""
    return tuple(dict.fromkeys(_WILDCARD[IPFamily.of(address)] for address in addresses))


def reachable_on(node: Node, options: KubeProxyOptions) -> tuple[str, ...]:
    """Where healthCheckNodePorts listen: everywhere, or on what --nodeport-addresses leaves."""
    ranges = options.nodeport_addresses
    if not ranges:
        return wildcards(node.addresses)
    everywhere = tuple(_WILDCARD[IPFamily.of(cidr)] for cidr in ranges if cidr.prefixlen == 0)
    if everywhere:
        return everywhere
    families = sorted({IPFamily.of(address) for address in node.addresses})
    own = (*(_LOOPBACK[family] for family in families), *node.addresses, *node.host_addresses)
    return tuple(str(ip) for ip in dict.fromkeys(own) if any(ip in cidr for cidr in ranges))

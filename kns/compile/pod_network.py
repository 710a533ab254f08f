"""What a CNI plugin and flannel make: pods on cni0, and routes to the pods of other nodes.

    pod eth0 ── veth1a2b3c4d ─┐
    pod eth0 ── veth5e6f7a8b ─┴─ cni0 (.1 of the node's pod CIDR)
        host-gw:  podCIDR of node2 via node2's address dev eth0
        vxlan:    podCIDR of node2 via its .0 dev flannel.1 onlink, with ARP and FDB entries

Hairpin is on at every port: a pod that reaches itself through a service sends a frame that must
leave by the port it came in by; without it that one connection in N times out.

Sources: containernetworking plugins bridge and host-local; flannel's host-gw and vxlan backends.
"""

from __future__ import annotations

from ipaddress import ip_interface

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Cluster, Network, PodNetworkMode
from kns.compile import names
from kns.compile.cables import default_routes, family_sysctls, gateway, interface
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import (
    Address,
    Bridge,
    FdbEntry,
    Link,
    Neighbor,
    Netns,
    NextHop,
    Route,
    Sysctl,
    VethPeer,
    Vxlan,
    loopback,
)

BRIDGE = "cni0"
#: bytes that VXLAN puts before a frame: Ethernet 14, VXLAN 8, UDP 8, IP 20 or 40. The kernel
#: cuts a larger MTU of the device down by itself
VXLAN_OVERHEAD = {IPFamily.IPV4: 50, IPFamily.IPV6: 70}
#: pods of a lab from which on neighbor entries are fixed: a node and a pod learn one each
MOST_LEARNED_PODS = 256
#: flannel's VNI and port
VNI, VXLAN_PORT = 1, 8472


def pod_mtu(network: Network) -> int:
    """The MTU of pods and their bridge."""
    if network.pod_network is PodNetworkMode.VXLAN:
        return network.mtu - max(VXLAN_OVERHEAD[family] for family in network.families)
    return network.mtu


def host_veth(cluster: Cluster, pod: Pod) -> str:
    """The node's end of a pod's cable: `veth` and eight hex digits, as CNI's bridge names it."""
    return names.ifname("veth", f"{cluster.name}/{pod.full_name}")


def has_fixed_neighbors(cluster: Cluster) -> bool:
    """True if pods and their nodes know each other's MAC addresses without asking.

    The kernel keeps one neighbor table for all netns and gives up at 1,024 entries that it had to
    learn (gc_thresh3, which only the host itself may raise); permanent ones don't count.
    """
    return len(cluster.pods) > MOST_LEARNED_PODS


def bridge_mac(cluster: Cluster, node: Node) -> str:
    """The MAC address of a node's cni0."""
    return names.mac(f"{names.netns_of_node(cluster.name, node.name)}/{BRIDGE}")


def pod_mac(cluster: Cluster, pod: Pod) -> str:
    """The MAC address of a pod's eth0."""
    return names.mac(f"{names.netns_of_pod(cluster.name, pod.namespace, pod.name)}/eth0")


def pod_neighbors(cluster: Cluster, pods: tuple[Pod, ...]) -> tuple[Neighbor, ...]:
    """A node's permanent entries for its pods; none in a lab that can learn them."""
    if not has_fixed_neighbors(cluster):
        return ()
    return tuple(
        Neighbor(BRIDGE, address, pod_mac(cluster, pod))
        for pod in pods
        for address in pod.addresses
    )


def _gateway_neighbors(cluster: Cluster, node: Node) -> tuple[Neighbor, ...]:
    if not has_fixed_neighbors(cluster):
        return ()
    mac = bridge_mac(cluster, node)
    return tuple(Neighbor("eth0", gateway(cidr), mac) for cidr in node.pod_cidrs)


def compile_pod(cluster: Cluster, pod: Pod, node: Node) -> Netns:
    """A pod's netns: lo, eth0, and a default route by its node's bridge."""
    name = names.netns_of_pod(cluster.name, pod.namespace, pod.name)
    eth0 = Link(
        "eth0",
        VethPeer(names.netns_of_node(cluster.name, node.name), host_veth(cluster, pod)),
        mac=pod_mac(cluster, pod),
        mtu=pod_mtu(cluster.network),
    )
    return Netns(
        name=name,
        links=(loopback(), eth0),
        addresses=tuple(
            Address("eth0", interface(address, node.pod_cidrs)) for address in pod.addresses
        ),
        routes=default_routes(node.pod_cidrs),
        neighbors=_gateway_neighbors(cluster, node),
        sysctls=family_sysctls(cluster.network),
    )


def bridge_links(cluster: Cluster, node: Node, pods: tuple[Pod, ...]) -> tuple[Link, ...]:
    """cni0 and its ports."""
    netns = names.netns_of_node(cluster.name, node.name)
    mtu = pod_mtu(cluster.network)
    bridge = Link(BRIDGE, Bridge(), mac=bridge_mac(cluster, node), mtu=mtu)
    return (bridge, *(_port(cluster, netns, pod, mtu) for pod in pods))


def _port(cluster: Cluster, netns: str, pod: Pod, mtu: int) -> Link:
    name = host_veth(cluster, pod)
    return Link(
        name,
        VethPeer(names.netns_of_pod(cluster.name, pod.namespace, pod.name), "eth0"),
        mac=names.mac(f"{netns}/{name}"),
        mtu=mtu,
        master=BRIDGE,
        hairpin=True,
        alias=f"pod {pod.full_name} eth0",
    )


def bridge_addresses(node: Node) -> tuple[Address, ...]:
    """cni0 has the first address of each of the node's pod CIDRs."""
    return tuple(
        Address(BRIDGE, ip_interface((gateway(cidr), cidr.prefixlen))) for cidr in node.pod_cidrs
    )


# -- between nodes ---------------------------------------------------------------------------------


def vxlan_name(family: IPFamily) -> str:
    """flannel's device: flannel.1, flannel-v6.1."""
    return f"flannel.{VNI}" if family is IPFamily.IPV4 else f"flannel-v6.{VNI}"


def overlay_links(cluster: Cluster, node: Node) -> tuple[Link, ...]:
    """The VXLAN devices, one a family; none with host-gw."""
    if cluster.network.pod_network is not PodNetworkMode.VXLAN:
        return ()
    links = []
    for family in cluster.network.families:
        local = node.address(family)
        if local is None:
            continue
        links.append(
            Link(
                vxlan_name(family),
                Vxlan(VNI, local, device="eth0", port=VXLAN_PORT),
                mac=_vtep_mac(cluster, node, family),
                mtu=cluster.network.mtu - VXLAN_OVERHEAD[family],
            )
        )
    return tuple(links)


def _vtep_mac(cluster: Cluster, node: Node, family: IPFamily) -> str:
    return names.mac(f"{names.netns_of_node(cluster.name, node.name)}/{vxlan_name(family)}")


def overlay_addresses(cluster: Cluster, node: Node) -> tuple[Address, ...]:
    """flannel.1 has the network's own address as a /32 (/128)."""
    if cluster.network.pod_network is not PodNetworkMode.VXLAN:
        return ()
    return tuple(
        Address(vxlan_name(IPFamily.of(cidr)), ip_interface(cidr.network_address))
        for cidr in node.pod_cidrs
    )


def routes_to_nodes(cluster: Cluster, node: Node) -> tuple[Route, ...]:
    """A route to each pod CIDR of every other node."""
    return tuple(
        Route(destination=cidr, hops=(hop_to(cluster, other, cidr),))
        for other in cluster.nodes
        if other.name != node.name
        for cidr in other.pod_cidrs
    )


def hop_to(cluster: Cluster, other: Node, cidr: IPNetwork) -> NextHop:
    """The pod network's way to another node, one of whose pod CIDRs is `cidr`."""
    family = IPFamily.of(cidr)
    if cluster.network.pod_network is PodNetworkMode.VXLAN:
        return NextHop(cidr.network_address, vxlan_name(family), onlink=True)
    return NextHop(other.address(family), "eth0")


def overlay_entries(
    cluster: Cluster, node: Node
) -> tuple[tuple[Neighbor, ...], tuple[FdbEntry, ...]]:
    """ARP (NDP) and FDB entries for each other node: the device learns nothing by itself."""
    if cluster.network.pod_network is not PodNetworkMode.VXLAN:
        return (), ()
    neighbors, fdb = [], []
    for other in cluster.nodes:
        if other.name == node.name:
            continue
        for cidr in other.pod_cidrs:
            family = IPFamily.of(cidr)
            device, mac = vxlan_name(family), _vtep_mac(cluster, other, family)
            remote = other.address(family)
            if remote is None:
                continue
            neighbors.append(Neighbor(device, cidr.network_address, mac))
            fdb.append(FdbEntry(device, mac, remote))
    return tuple(neighbors), tuple(fdb)


def bridge_sysctls(network: Network) -> tuple[Sysctl, ...]:
    """Bridged packets pass iptables.

    Without it a pod that reaches a service whose endpoint is on its own node gets an answer with
    the endpoint's address, which it throws away: the connection times out.
    """
    families = {IPFamily.IPV4: "iptables", IPFamily.IPV6: "ip6tables"}
    return tuple(
        Sysctl(f"bridge/bridge-nf-call-{families[family]}", "1") for family in network.families
    )

"""What a CNI plugin makes: pods on the bridge of their node.

    pod eth0 ── veth1a2b3c4d ─┐
    pod eth0 ── veth5e6f7a8b ─┴─ cni0 (.1 of the node's pod CIDR)

Hairpin is on at every port: a pod that reaches itself through a service sends a frame that must
leave by the port it came in by; without it that one connection in N times out.

Sources: containernetworking plugins bridge and host-local.
"""

from __future__ import annotations

from ipaddress import ip_interface

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.compile import names
from kns.compile.cables import default_routes, family_sysctls, gateway, interface
from kns.compile.podnetwork.by_mode import pod_network
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import Address, Bridge, Link, Neighbor, Netns, Sysctl, VethPeer, loopback

BRIDGE = "cni0"
#: pods of a lab from which on neighbor entries are fixed: a node and a pod learn one each, a pod
#: one more of each pod of its node that it speaks with, or answers by a service
MOST_LEARNED_PODS = 100


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


def _pod_neighbors(cluster: Cluster, pods: tuple[Pod, ...]) -> tuple[Neighbor, ...]:
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
        mtu=pod_network(cluster.network.pod_network).mtu(cluster.network),
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


def bridge_on_node(cluster: Cluster, node: Node, pods: tuple[Pod, ...]) -> Netns:
    """What pods add to their node: cni0 with the first address of each pod CIDR, and its ports.

    A pod in the host network has no cable.
    """
    pods = tuple(pod for pod in pods if not pod.host_network)
    netns = names.netns_of_node(cluster.name, node.name)
    mtu = pod_network(cluster.network.pod_network).mtu(cluster.network)
    bridge = Link(BRIDGE, Bridge(), mac=bridge_mac(cluster, node), mtu=mtu)
    return Netns(
        netns,
        links=(bridge, *(_port(cluster, netns, pod, mtu) for pod in pods)),
        addresses=tuple(
            Address(BRIDGE, ip_interface((gateway(cidr), cidr.prefixlen)))
            for cidr in node.pod_cidrs
        ),
        neighbors=_pod_neighbors(cluster, pods),
        sysctls=_bridge_sysctls(cluster.network),
    )


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
        # a pulled cable: the pod's end loses its carrier, too
        up=pod.full_name not in cluster.faults.pods_down,
    )


def _bridge_sysctls(network: Network) -> tuple[Sysctl, ...]:
    """Bridged packets pass iptables.

    Without it a pod that reaches a service whose endpoint is on its own node gets an answer with
    the endpoint's address, which it throws away: the connection times out.
    """
    families = {IPFamily.IPV4: "iptables", IPFamily.IPV6: "ip6tables"}
    return tuple(
        Sysctl(f"bridge/bridge-nf-call-{families[family]}", "1") for family in network.families
    )

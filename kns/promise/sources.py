"""Which source address a server must see: where Kubernetes' networking translates and where not.

MASQUERADE takes the primary address of the link by which a packet leaves. From a node that is the
bridge (the pod CIDR's first address) towards its own pods, and towards other nodes' pods the
node's address, or with VXLAN flannel.1's (the pod CIDR's own address). A node's own packets get
the same address by the ordinary source address selection, so both are one table:

    to                     host-gw         vxlan
    a pod of this node     cni0            cni0
    a pod elsewhere        node address    flannel.1
    outside the cluster    node address    node address
"""

from __future__ import annotations

from collections.abc import Iterable

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.model import Cluster, DetectLocalMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.addresses import bridge_address, overlay_address
from kns.promise.endpoints import Backend

#: the pods' bridge on every node, named as in the CNI bridge plugin
BRIDGE = "cni0"


def from_node(cluster: Cluster, node: Node, backend: Backend) -> str:
    """The address under which `node` itself, or what it masquerades, reaches the backend."""
    family = IPFamily.of(backend.address)
    address = node.address(family)
    if backend.pod is not None and backend.pod.node == node.name:
        address = bridge_address(node, family)
    elif backend.pod is not None and cluster.network.pod_network.has_device:
        address = overlay_address(node, family)
    return str(address)


def from_pod(pod: Pod, family: IPFamily) -> str:
    """A pod's own address: what every pod must see of another."""
    return str(pod.address(family))


def leaving(cluster: Cluster, pod: Pod, destination: IPAddress) -> str:
    """The source of a pod's packet at a destination that no proxy rule rewrites.

    By an egress gateway it is that node's address; else the address of the pod's own node outside
    the ranges that are not masqueraded.
    """
    family = IPFamily.of(destination)
    gateway = gateway_for(cluster, pod, destination)
    if gateway is not None:
        return str(gateway.address(family))
    egress = cluster.network.egress
    exempt = egress.non_masquerade_cidrs or cluster.network.pod_cidrs
    is_exempt = _is_in(destination, exempt)
    if egress.non_masquerade_cidrs and not egress.masq_link_local:
        is_exempt = is_exempt or destination.is_link_local
    if not egress.masquerade or is_exempt:
        return from_pod(pod, family)
    return str(node_of(cluster, pod).address(family))


def gateway_for(cluster: Cluster, pod: Pod, destination: IPAddress) -> Node | None:
    """The egress gateway by which the pod's packet leaves; none within the cluster."""
    network = cluster.network
    if _is_in(destination, (*network.pod_cidrs, *network.node_cidrs)):
        return None
    for policy in network.egress.gateways:
        chosen = policy.namespace == pod.namespace
        if chosen and policy.selector.items() <= dict(pod.labels).items():
            if not _is_in(destination, policy.destination_cidrs):
                return None
            if _is_in(destination, policy.excluded_cidrs):
                return None
            return next(node for node in cluster.nodes if node.name == policy.node)
    return None


def _is_in(address: IPAddress, cidrs: Iterable[IPNetwork]) -> bool:
    return any(cidr.version == address.version and address in cidr for cidr in cidrs)


def through_cluster_ip(cluster: Cluster, pod: Pod, backend: Backend) -> str:
    """What the backend sees of a pod that connects to the cluster IP."""
    if backend.pod is pod:  # hairpin: without translation the pod would answer itself directly
        return from_node(cluster, node_of(cluster, pod), backend)
    if backend.pod is None:  # outside the cluster: the proxy translates, then egress does
        return leaving(cluster, pod, backend.address)
    options = cluster.network.kube_proxy
    local = is_local_traffic(cluster, pod, IPFamily.of(backend.address))
    if options.masquerade_all or local is False:
        return from_node(cluster, node_of(cluster, pod), backend)
    return from_pod(pod, IPFamily.of(backend.address))


def is_local_traffic(cluster: Cluster, pod: Pod, family: IPFamily) -> bool | None:
    """Whether kube-proxy takes the pod's packets for its cluster's own; None: it can't tell.

    Without a detector nothing is masqueraded on the way to a cluster IP.
    """
    options = cluster.network.kube_proxy
    address = pod.address(family)
    if address is None:
        return None
    match options.detect_local_mode:
        case DetectLocalMode.CLUSTER_CIDR:
            ranges = tuple(c for c in options.cluster_cidrs if c.version == family.version)
            return any(address in c for c in ranges) if ranges else None
        case DetectLocalMode.NODE_CIDR:
            node = node_of(cluster, pod)
            ranges = tuple(c for c in node.pod_cidrs if c.version == family.version)
            return any(address in c for c in ranges) if ranges else None
        case DetectLocalMode.BRIDGE_INTERFACE:
            bridge = options.pod_bridge_interface
            return bridge == BRIDGE if bridge else None
        case DetectLocalMode.INTERFACE_NAME_PREFIX:
            # a bridged packet comes in by the bridge, not by the pod's veth
            prefix = options.pod_interface_name_prefix
            return BRIDGE.startswith(prefix) if prefix else None


def node_to_cluster_ip(cluster: Cluster, node: Node, backend: Backend) -> str:
    """What the backend sees of a node's own connection to a cluster IP.

    The node's address is none of the pods', so a detector has it masqueraded. Without one the
    source stays what it was when the packet still went to the cluster IP: by the default route.
    """
    family = IPFamily.of(backend.address)
    options = cluster.network.kube_proxy
    detects = {
        DetectLocalMode.CLUSTER_CIDR: any(
            c.version == family.version for c in options.cluster_cidrs
        ),
        DetectLocalMode.NODE_CIDR: any(c.version == family.version for c in node.pod_cidrs),
        DetectLocalMode.BRIDGE_INTERFACE: bool(options.pod_bridge_interface),
        DetectLocalMode.INTERFACE_NAME_PREFIX: bool(options.pod_interface_name_prefix),
    }[options.detect_local_mode]
    if options.masquerade_all or detects:
        return from_node(cluster, node, backend)
    return str(node.address(family))


def node_of(cluster: Cluster, pod: Pod) -> Node:
    """The node on which the pod runs."""
    return next(node for node in cluster.nodes if node.name == pod.node)

"""The fourth stage: which source address a server must see, translated or not. Pure.

MASQUERADE takes the primary address of the link by which a packet leaves. From a node that is the
bridge (the pod CIDR's first address) towards its own pods, and towards other nodes' pods the
node's address, or with VXLAN flannel.1's (the pod CIDR's own address). A node's own packets get
the same address by the ordinary source address selection, so both are one table:

    to                     host-gw         vxlan
    the node itself        that address    that address
    a pod of this node     cni0            cni0
    a pod elsewhere        node address    flannel.1
    outside the cluster    node address    node address
"""

from __future__ import annotations

from collections.abc import Iterable

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds.networking import DetectLocalMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.addresses import bridge_address, overlay_address
from kns.promise.flow import Backend, ProxyEntry
from kns.promise.lookup import Lookup

#: the pods' bridge on every node, named as in the CNI bridge plugin
BRIDGE = "cni0"


def from_node(lookup: Lookup, node: Node, backend: Backend) -> IPAddress:
    """The address under which `node` itself, or what it masquerades, reaches the backend."""
    family = IPFamily.of(backend.address)
    address = node.address(family)
    if backend.address in lookup.node_addresses:
        return backend.address if lookup.is_own(node, backend.address) or not address else address
    if backend.pod is not None and backend.pod.node == node.name:
        address = bridge_address(node, family)
    elif backend.pod is not None and lookup.cluster.network.pod_network.has_device:
        address = overlay_address(node, family)
    # a node that an endpoint of the family can be reached from has an address of the family
    return address if address is not None else backend.address


def leaving(lookup: Lookup, pod: Pod, destination: IPAddress) -> IPAddress:
    """The source of a pod's packet at a destination that no proxy rule rewrites.

    At its own node it is the pod's own. By an egress gateway it is that node's address; else the
    address of the pod's own node outside the ranges that are not masqueraded.
    """
    family = IPFamily.of(destination)
    own = pod.address(family)
    if lookup.is_own(lookup.node_of(pod), destination):
        return own or destination
    node = gateway_for(lookup, pod, destination)
    if node is None and _is_masqueraded(lookup, destination):
        node = lookup.node_of(pod)
    address = own if node is None else node.address(family)
    return address or own or destination


def _is_masqueraded(lookup: Lookup, destination: IPAddress) -> bool:
    egress = lookup.cluster.network.egress
    exempt = egress.non_masquerade_cidrs or lookup.cluster.network.pod_cidrs
    if egress.non_masquerade_cidrs and not egress.masq_link_local and destination.is_link_local:
        return False
    return egress.masquerade and not _is_in(destination, exempt)


def gateway_for(lookup: Lookup, pod: Pod, destination: IPAddress) -> Node | None:
    """The egress gateway by which the pod's packet leaves; none within the cluster."""
    network = lookup.cluster.network
    if _is_in(destination, (*network.pod_cidrs, *network.node_cidrs)):
        return None
    for policy in network.egress.gateways:
        chosen = policy.namespace == pod.namespace
        if chosen and policy.selector.items() <= dict(pod.labels).items():
            if not _is_in(destination, policy.destination_cidrs):
                return None
            if _is_in(destination, policy.excluded_cidrs):
                return None
            return lookup.nodes[policy.node]
    return None


def _is_in(address: IPAddress, cidrs: Iterable[IPNetwork]) -> bool:
    return any(cidr.version == address.version and address in cidr for cidr in cidrs)


def through_cluster_ip(lookup: Lookup, entry: ProxyEntry, backend: Backend) -> IPAddress:
    """What the backend sees of a client that connects to the cluster IP."""
    family = IPFamily.of(backend.address)
    if lookup.cluster.network.kube_proxy.masquerades_all and not (
        entry.pod is not None and backend.pod is None
    ):
        return from_node(lookup, entry.node, backend)
    if entry.pod is None:
        return _from_node_to_cluster_ip(lookup, entry, backend)
    if backend.pod is None:  # outside the cluster: the proxy translates, then egress does
        return leaving(lookup, entry.pod, backend.address)
    if is_local_traffic(lookup, entry.pod, family) is False:
        return from_node(lookup, entry.node, backend)
    if backend.pod.host_network:
        return leaving(lookup, entry.pod, backend.address)
    return entry.client


def is_local_traffic(lookup: Lookup, pod: Pod, family: IPFamily) -> bool | None:
    """Whether kube-proxy takes the pod's packets for its cluster's own; None: it can't tell.

    Without a detector nothing is masqueraded on the way to a cluster IP.
    """
    options = lookup.cluster.network.kube_proxy
    address = pod.address(family)
    if address is None:
        return None
    match options.detect_local_mode:
        case DetectLocalMode.BRIDGE_INTERFACE:
            bridge = options.pod_bridge_interface
            return bridge == BRIDGE if bridge else None
        case DetectLocalMode.INTERFACE_NAME_PREFIX:
            # a bridged packet comes in by the bridge, not by the pod's veth
            prefix = options.pod_interface_name_prefix
            return BRIDGE.startswith(prefix) if prefix else None
        case _:
            return is_local_address(lookup, lookup.node_of(pod), address)


def is_local_address(lookup: Lookup, node: Node, address: IPAddress) -> bool | None:
    """Whether kube-proxy on the node takes this source for a pod's; None: not by addresses.

    What the node sends comes in by no interface, so that a detector of interfaces tells nothing.
    """
    options = lookup.cluster.network.kube_proxy
    by_address = {
        DetectLocalMode.CLUSTER_CIDR: options.cluster_cidrs,
        DetectLocalMode.NODE_CIDR: node.pod_cidrs,
    }.get(options.detect_local_mode, ())
    ranges = tuple(cidr for cidr in by_address if cidr.version == address.version)
    return _is_in(address, ranges) if ranges else None


def _from_node_to_cluster_ip(lookup: Lookup, entry: ProxyEntry, backend: Backend) -> IPAddress:
    """The node's address is none of the pods', so a detector has it masqueraded.

    Without one the source stays what it was when the packet still went to the cluster IP: by the
    default route.
    """
    family = IPFamily.of(backend.address)
    options = lookup.cluster.network.kube_proxy
    detects = {
        DetectLocalMode.CLUSTER_CIDR: any(
            c.version == family.version for c in options.cluster_cidrs
        ),
        DetectLocalMode.NODE_CIDR: any(c.version == family.version for c in entry.node.pod_cidrs),
        DetectLocalMode.BRIDGE_INTERFACE: bool(options.pod_bridge_interface),
        DetectLocalMode.INTERFACE_NAME_PREFIX: bool(options.pod_interface_name_prefix),
    }[options.detect_local_mode]
    return from_node(lookup, entry.node, backend) if detects else entry.client

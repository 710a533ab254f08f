"""Host ports: a port of a node that leads to a pod of it. Pure.

kube-proxy's rules come first, so that a node port wins; a server of the node's own gets nothing.
Who comes in keeps its address; two are masqueraded, or their answers would miss the node: the
node's pods, who see the bridge's address instead of their own, and localhost.

Source: the CNI plugin portmap's README.
"""

from __future__ import annotations

from kns.addresses import IPAddress, IPFamily
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.promise.addresses import bridge_address
from kns.promise.flow import Backend, Flow, Origin, ProxyEntry
from kns.promise.location import label
from kns.promise.lookup import Lookup


def host_port(lookup: Lookup, flow: Flow) -> Backend | None:
    """The pod to which the addressed node's host port leads; None if it is none."""
    node = _addressed(lookup, flow)
    if node is None or flow.port is None:
        return None
    for pod in lookup.cluster.pods_on(node.name):
        address = None if pod.host_network else pod.address(flow.family)
        for container in pod.containers:
            for port in container.ports if address is not None else ():
                if (port.host_port, port.protocol) != (flow.port, flow.protocol):
                    continue
                if address is not None and _answers_at(port.host_ip, flow.destination):
                    return Backend(label(pod), address, port.port, node.name, pod)
    return None


def _addressed(lookup: Lookup, flow: Flow) -> Node | None:
    if not flow.destination.is_loopback:
        return lookup.node_addresses.get(flow.destination)
    sender = lookup.sender(flow.source)
    return sender if isinstance(sender, Node) else None


def _answers_at(host_ip: IPAddress | None, address: IPAddress) -> bool:
    if host_ip is None:
        return True
    if host_ip.version != address.version:
        return False
    return host_ip.is_unspecified or host_ip == address


def host_port_entry(lookup: Lookup, flow: Flow, client: IPAddress, backend: Backend) -> ProxyEntry:
    """Where the port is translated; `client` is the address with which the flow comes there."""
    node, sender = lookup.nodes[backend.node], lookup.sender(flow.source)
    if isinstance(sender, Pod) and sender.node == node.name:
        own = sender.address(flow.family)
        return ProxyEntry(node, Origin.POD, own or client, sender)
    return ProxyEntry(node, Origin.NODE if sender is node else Origin.OUTSIDE, client)


def host_port_source(lookup: Lookup, flow: Flow, client: IPAddress, backend: Backend) -> IPAddress:
    """The source that the pod sees; `client` is the one with which the flow comes to the node."""
    node = lookup.nodes[backend.node]
    bridge = bridge_address(node, IPFamily.of(backend.address))
    sender = lookup.sender(flow.source)
    if isinstance(sender, Pod) and sender.node == node.name:
        return bridge or client
    if flow.destination.is_loopback:
        return bridge or client
    # a node's own packet to one of its addresses has that address as its source, too
    return flow.destination if sender is node else client

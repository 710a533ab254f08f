"""A cluster around the objects that kube-proxy watches, so that flows to them can be promised.

What `kubectl get svc,endpointslices,nodes -o yaml` prints tells neither pods nor who is outside.
Each endpoint becomes a pod that serves its ports; each node gets a client pod, and an address that
its Node object does not tell, as a second NIC has; and there is one host outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_network

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.manifests import ClusterObjects
from kns.cluster.model import Cluster, Network
from kns.errors import UsageError
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.internet import InternetHost
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.promise.addresses import bridge_address

#: where the added addresses are: RFC 2544 and RFC 5180 (benchmarking), which no cluster routes
_SPARE = {
    IPFamily.IPV4: ip_network("198.18.0.0/15"),
    IPFamily.IPV6: ip_network("2001:2:0::/48"),
}
#: the namespace of the added pods; no Kubernetes name has such characters
ADDED = "(any)"


def world(objects: ClusterObjects, options: KubeProxyOptions) -> Cluster:
    """The cluster. UsageError if there is no node to look at the Services from."""
    if not objects.nodes:
        hint = "add what `kubectl get nodes -o yaml` prints"
        raise UsageError("the files hold no Node", hint=hint)
    families = tuple(
        family
        for family in IPFamily
        if any(node.address(family) is not None for node in objects.nodes)
    )
    spare = {family: _addresses(_SPARE[family]) for family in families}
    nodes = tuple(_with_another_address(node, spare) for node in objects.nodes)
    network = Network(
        families=families,
        pod_cidrs=tuple(cidr for node in nodes for cidr in node.pod_cidrs),
        service_cidrs=objects.service_cidrs,
        node_cidrs=(),
        internet_cidrs=(),
        kube_proxy=options,
    )
    backends = tuple(_backends(objects.endpoint_slices, nodes))
    taken = {address for pod in backends for address in pod.addresses}
    return Cluster(
        name="migrate",
        network=network,
        nodes=nodes,
        pods=(*backends, *(_client(node, spare, taken) for node in nodes)),
        services=objects.services,
        endpoint_slices=objects.endpoint_slices,
        internet=(InternetHost("a client outside", tuple(next(a) for a in spare.values())),),
    )


def _addresses(network: IPNetwork) -> Iterator[IPAddress]:
    first = int(network.network_address)
    return (type(network.network_address)(first + n) for n in range(1, network.num_addresses))


def _with_another_address(node: Node, spare: dict[IPFamily, Iterator[IPAddress]]) -> Node:
    further = tuple(next(spare[f]) for f in spare if node.address(f) is not None)
    return replace(node, host_addresses=(*node.host_addresses, *further))


def _client(node: Node, spare: dict[IPFamily, Iterator[IPAddress]], taken: set[IPAddress]) -> Pod:
    """A pod that is no backend, with addresses of the node's pod CIDRs where it has some."""
    cidrs = {IPFamily.of(cidr): cidr for cidr in node.pod_cidrs}
    addresses = (
        next((a for a in _last(cidrs[f]) if a not in taken), None) if f in cidrs else next(spare[f])
        for f in spare
    )
    return Pod(ADDED, f"a pod on {node.name}", node.name, tuple(a for a in addresses if a))


def _last(cidr: IPNetwork) -> Iterator[IPAddress]:
    """The addresses of a pod CIDR from behind, where no plugin begins, but not the last one."""
    return (cidr[-n] for n in range(2, cidr.num_addresses))


def _backends(slices: Iterable[EndpointSlice], nodes: tuple[Node, ...]) -> Iterator[Pod]:
    """A pod for each address, on its node, that listens on all ports that its slices name."""
    places: dict[IPAddress, tuple[str, str, str]] = {}
    ports: dict[IPAddress, dict[tuple[int, Protocol], ContainerPort]] = {}
    known = {node.name for node in nodes}
    of_nodes = {address for node in nodes for address in node.addresses}
    for item in slices:
        for endpoint in item.endpoints:
            if endpoint.node_name not in known or endpoint.addresses[0] in of_nodes:
                continue  # nobody's pod: the Service leads out of the cluster, or to a node
            address = endpoint.addresses[0]
            places.setdefault(address, _place(item, endpoint))
            for port in item.ports:
                if port.port is not None:
                    known_ports = ports.setdefault(address, {})
                    key = (port.port, port.protocol)
                    known_ports[key] = ContainerPort(port.port, protocol=port.protocol)
    for address, (namespace, name, node) in places.items():
        container = Container("server", tuple(ports.get(address, {}).values()))
        yield Pod(namespace, name, node, (address,), containers=(container,))


def _place(item: EndpointSlice, endpoint: Endpoint) -> tuple[str, str, str]:
    name = endpoint.pod.partition("/")[2] if endpoint.pod else ""
    return item.namespace, name or str(endpoint.addresses[0]), endpoint.node_name


def with_bridge_addresses(cluster: Cluster) -> Cluster:
    """A lab's cluster whose nodes tell cni0's addresses too, on which node ports may answer."""
    nodes = tuple(
        replace(
            node,
            host_addresses=(
                *node.host_addresses,
                *(a for f in IPFamily if (a := bridge_address(node, f)) is not None),
            ),
        )
        for node in cluster.nodes
    )
    return replace(cluster, nodes=nodes)

"""Clusters for tests, made by hand: no YAML, no allocation."""

from __future__ import annotations

from ipaddress import ip_network

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Cluster, Network
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.internet import InternetHost
from kns.kinds.networking import KubeProxyOptions, PodNetworkMode, ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.kinds.service import Service, ServicePort

POD_CIDRS = {
    IPFamily.IPV4: ip_network("10.244.0.0/16"),
    IPFamily.IPV6: ip_network("fd00:10:244::/56"),
}
NODE_CIDRS = {
    IPFamily.IPV4: ip_network("172.18.0.0/24"),
    IPFamily.IPV6: ip_network("fc00:172:18::/64"),
}
SERVICE_CIDRS = {
    IPFamily.IPV4: ip_network("10.96.0.0/16"),
    IPFamily.IPV6: ip_network("fd00:10:96::/112"),
}
INTERNET_CIDRS = {
    IPFamily.IPV4: ip_network("203.0.113.0/24"),
    IPFamily.IPV6: ip_network("2001:db8:203::/64"),
}


def make_network(
    families: tuple[IPFamily, ...] = (IPFamily.IPV4,),
    *,
    mode: ProxyMode = ProxyMode.IPTABLES,
    pod_network: PodNetworkMode = PodNetworkMode.HOST_GW,
) -> Network:
    """The design's default networks, in the given families."""
    pods = tuple(POD_CIDRS[family] for family in families)
    return Network(
        families=families,
        pod_cidrs=pods,
        service_cidrs=tuple(SERVICE_CIDRS[family] for family in families),
        node_cidrs=tuple(NODE_CIDRS[family] for family in families),
        internet_cidrs=tuple(INTERNET_CIDRS[family] for family in families),
        pod_network=pod_network,
        kube_proxy=KubeProxyOptions(mode=mode, cluster_cidrs=pods),
    )


def node_pod_cidr(family: IPFamily, index: int) -> IPNetwork:
    """The pod CIDR of the node with that number, from 0."""
    length = 24 if family is IPFamily.IPV4 else 64
    start = int(POD_CIDRS[family].network_address) + (
        index << POD_CIDRS[family].max_prefixlen - length
    )
    return ip_network((start, length))


def make_cluster(
    name: str = "test",
    *,
    nodes: int = 2,
    pods: int = 3,
    network: Network | None = None,
) -> Cluster:
    """`pods` named pod1… in turn on `nodes` named node1…, all behind the service svc-a."""
    network = network or make_network()
    families = network.families
    made_nodes = tuple(
        Node(
            name=f"node{i + 1}",
            addresses=tuple(NODE_CIDRS[f].network_address + 2 + i for f in families),
            pod_cidrs=tuple(node_pod_cidr(f, i) for f in families),
        )
        for i in range(nodes)
    )
    made_pods = tuple(
        Pod(
            namespace="default",
            name=f"pod{i + 1}",
            node=made_nodes[i % nodes].name,
            addresses=tuple(
                cidr.network_address + 2 + i // nodes for cidr in made_nodes[i % nodes].pod_cidrs
            ),
            labels={"app": "a"},
            containers=(Container("web", (ContainerPort(8080),)),),
        )
        for i in range(pods)
    )
    service = Service(
        namespace="default",
        name="svc-a",
        cluster_ips=tuple(SERVICE_CIDRS[f].network_address + 1000 for f in families),
        ip_families=families,
        selector={"app": "a"},
        ports=(ServicePort(80, target_port=8080),),
    )
    return Cluster(
        name=name,
        network=network,
        nodes=made_nodes,
        pods=made_pods,
        services=(service,),
        endpoint_slices=tuple(_slice(service, made_pods, family) for family in families),
        internet=(
            InternetHost(
                "internet", tuple(INTERNET_CIDRS[f].network_address + 10 for f in families)
            ),
        ),
    )


def _slice(service: Service, pods: tuple[Pod, ...], family: IPFamily) -> EndpointSlice:
    return EndpointSlice(
        namespace=service.namespace,
        name=f"{service.name}-{family.value.lower()}",
        service=service.name,
        address_type=family,
        ports=(EndpointPort(8080),),
        endpoints=tuple(
            Endpoint((address,), ready=True, node_name=pod.node, pod=pod.full_name)
            for pod in pods
            if (address := pod.address(family)) is not None
        ),
    )

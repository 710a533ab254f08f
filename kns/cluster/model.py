"""The resolved cluster: Kubernetes' objects after defaulting, allocation and name resolution.

Everything downstream (compile, runtime, probe) reads these and nothing of the YAML. Objects carry
Kubernetes' field names in Python's spelling. Collections are tuples in a deterministic order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.addresses import IPFamily, IPNetwork
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.ingress import Ingress, IngressClass, IngressController
from kns.kinds.internet import InternetHost
from kns.kinds.networking import (
    DetectLocalMode,
    DNSOptions,
    EgressGateway,
    EgressOptions,
    IPVSOptions,
    KubeProxyOptions,
    LoadBalancerOptions,
    NFTablesOptions,
    PodNetworkMode,
    ProxyMode,
)
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.secret import TLSSecret
from kns.kinds.service import Service

#: the parts of a cluster's configuration that the lab file gives as they are
__all__ = [
    "Cluster", "DNSOptions", "DetectLocalMode", "EgressGateway", "EgressOptions", "IPVSOptions",
    "InternetHost", "KubeProxyOptions", "LoadBalancerOptions", "NFTablesOptions", "Network",
    "PodNetworkMode", "ProxyMode",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Network:
    """The cluster-wide networking options after defaulting. One CIDR per family, primary first."""

    families: tuple[IPFamily, ...]
    pod_cidrs: tuple[IPNetwork, ...]
    service_cidrs: tuple[IPNetwork, ...]
    node_cidrs: tuple[IPNetwork, ...]
    internet_cidrs: tuple[IPNetwork, ...]
    pod_network: PodNetworkMode = PodNetworkMode.HOST_GW
    mtu: int = 1500
    node_port_range: tuple[int, int] = (30000, 32767)
    kube_proxy: KubeProxyOptions = field(default_factory=KubeProxyOptions)
    dns: DNSOptions = field(default_factory=DNSOptions)
    egress: EgressOptions = field(default_factory=EgressOptions)
    load_balancer: LoadBalancerOptions | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A whole lab. Nodes, pods and internet hosts are in file order, services by full name."""

    name: str
    network: Network
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    internet: tuple[InternetHost, ...] = ()
    namespaces: tuple[str, ...] = ("default",)
    ingresses: tuple[Ingress, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    ingress_controller: IngressController | None = None
    tls_secrets: tuple[TLSSecret, ...] = ()

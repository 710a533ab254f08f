"""The resolved cluster: Kubernetes' objects after defaulting, allocation and name resolution.

Everything downstream (compile, runtime, probe) reads these and nothing of the YAML. Objects carry
Kubernetes' field names in Python's spelling. Collections are tuples in a deterministic order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds.common import Labels
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.ingress import Ingress, IngressClass, IngressController, TLSSecret
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service


class ProxyMode(StrEnum):
    """kube-proxy's `--proxy-mode`."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"


class DetectLocalMode(StrEnum):
    """kube-proxy's `--detect-local-mode`."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


class PodNetworkMode(StrEnum):
    """How packets reach the pods of other nodes, named as flannel's backends."""

    HOST_GW = "host-gw"
    VXLAN = "vxlan"

    @property
    def has_device(self) -> bool:
        """True if a device of its own, with the .0 of the node's pod CIDR, leads to other nodes."""
        return self is not PodNetworkMode.HOST_GW


# -- kube-proxy ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IPVSOptions:
    """kube-proxy's `--ipvs-*` flags. Timeouts in seconds; 0 leaves the kernel's own."""

    scheduler: str = "rr"
    strict_arp: bool = False
    tcp_timeout: int = 0
    tcp_fin_timeout: int = 0
    udp_timeout: int = 0
    exclude_cidrs: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class NFTablesOptions:
    """The `nftables` section of kube-proxy's configuration file.

    `--masquerade-all` and `--iptables-masquerade-bit` set the `iptables` section only: nftables
    mode does not see them (pkg/proxy/nftables of v1.30 reads `config.NFTables`).
    """

    masquerade_all: bool = False
    masquerade_bit: int = 14


@dataclass(frozen=True, slots=True)
class KubeProxyOptions:
    """kube-proxy's options that change rules; defaults are kube-proxy's own."""

    mode: ProxyMode = ProxyMode.IPTABLES
    cluster_cidrs: tuple[IPNetwork, ...] = ()
    detect_local_mode: DetectLocalMode = DetectLocalMode.CLUSTER_CIDR
    pod_bridge_interface: str = ""
    pod_interface_name_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    #: empty: every local address (nftables: the node's primary ones)
    nodeport_addresses: tuple[IPNetwork, ...] = ()
    localhost_nodeports: bool = True
    conntrack_tcp_be_liberal: bool = False
    ipvs: IPVSOptions = field(default_factory=IPVSOptions)
    #: `--nodeport-addresses=primary`: the node's own address of each family
    nodeport_addresses_primary: bool = False
    nftables: NFTablesOptions = field(default_factory=NFTablesOptions)


# -- nodes, pods -----------------------------------------------------------------------------------


# -- services --------------------------------------------------------------------------------------


# -- north-south, DNS, the whole -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InternetHost:
    """A host outside the cluster; `server` says whether it serves HTTP (and UDP) on `port`."""

    name: str
    addresses: tuple[IPAddress, ...]
    port: int = 80


@dataclass(frozen=True, slots=True)
class EgressGateway:
    """A node by which chosen pods leave the cluster, with its address.

    Pods of `namespace` with all labels of `selector`, whatever they are if it is empty. Only their
    own connections to one of `destination_cidrs` and none of `excluded_cidrs` go this way.
    """

    node: str
    namespace: str = "default"
    selector: Labels = field(default_factory=dict)
    destination_cidrs: tuple[IPNetwork, ...] = ()
    excluded_cidrs: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class EgressOptions:
    """How pods leave the cluster.

    With `non_masquerade_cidrs` ip-masq-agent translates what goes anywhere else; without them
    flannel what leaves its network. The first of `gateways` that chooses a pod is the pod's.
    """

    masquerade: bool = True
    non_masquerade_cidrs: tuple[IPNetwork, ...] = ()
    #: ip-masq-agent's masqLinkLocal: link-local destinations are translated too
    masq_link_local: bool = False
    gateways: tuple[EgressGateway, ...] = ()


@dataclass(frozen=True, slots=True)
class DNSOptions:
    """Cluster DNS. `service_ip` is the kube-dns Service's address, one a family."""

    enabled: bool = True
    domain: str = "cluster.local"
    service_ips: tuple[IPAddress, ...] = ()
    replicas: int = 2
    upstream: tuple[IPAddress, ...] = ()
    pod_records: str = "insecure"
    ttl: int = 30
    server: str = "builtin"


@dataclass(frozen=True, slots=True)
class LoadBalancerOptions:
    """Who answers for LoadBalancer addresses (`l2`, `bgp` or `proxy`), and their pools."""

    mode: str = "l2"
    pools: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """The cluster-wide networking options after defaulting. One CIDR a family, primary first."""

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

"""The resolved cluster: Kubernetes' objects after defaulting, allocation and name resolution.

Everything downstream (compile, runtime, probe) reads these and nothing of the YAML. Objects carry
Kubernetes' field names in Python's spelling. Collections are tuples in a deterministic order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from kns.cluster.model_ingress import Ingress, IngressClass, IngressController, TLSSecret

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Labels = Mapping[str, str]


class IPFamily(StrEnum):
    """An IP family under Kubernetes' name."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if self is IPFamily.IPV4 else 6

    @staticmethod
    def of(item: IPAddress | IPNetwork) -> IPFamily:
        """The family of an address or network."""
        return IPFamily.IPV4 if item.version == 4 else IPFamily.IPV6


class Protocol(StrEnum):
    """A transport protocol under Kubernetes' name; kube-proxy writes it in lower case."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class ProxyMode(StrEnum):
    """kube-proxy's `--proxy-mode`."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"


class ServiceType(StrEnum):
    """`service.spec.type`. Headless is ClusterIP with no cluster IPs."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """`externalTrafficPolicy` and `internalTrafficPolicy`."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class SessionAffinity(StrEnum):
    """`service.spec.sessionAffinity`."""

    NONE = "None"
    CLIENT_IP = "ClientIP"


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


class DNSPolicy(StrEnum):
    """`pod.spec.dnsPolicy`."""

    CLUSTER_FIRST = "ClusterFirst"
    CLUSTER_FIRST_WITH_HOST_NET = "ClusterFirstWithHostNet"
    DEFAULT = "Default"
    NONE = "None"


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


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `addresses` are its InternalIPs, one a family, the primary family first.

    `host_addresses` are further addresses on the node's links, which node ports and source
    ranges take into account (for example cni0's, or a second NIC's).
    """

    name: str
    addresses: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...] = ()
    labels: Labels = field(default_factory=dict)
    host_addresses: tuple[IPAddress, ...] = ()

    @property
    def zone(self) -> str:
        """The value of topology.kubernetes.io/zone, or nothing."""
        return self.labels.get("topology.kubernetes.io/zone", "")

    def address(self, family: IPFamily) -> IPAddress | None:
        """Its InternalIP of that family."""
        return next((a for a in self.addresses if a.version == family.version), None)


@dataclass(frozen=True, slots=True)
class EnvVar:
    """A container's own environment variable; `value` may hold `$(OTHER)` references."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container listens on. `name` may be empty."""

    port: int
    name: str = ""
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True, slots=True)
class Container:
    """A container: kns' built-in server on each of `ports`, or the process `command`.

    `component` names the real program of kns' own that runs in it instead (`nginx`).
    """

    name: str
    ports: tuple[ContainerPort, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    component: str = ""


@dataclass(frozen=True, slots=True)
class DNSOption:
    """One entry of `dnsConfig.options`."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class DNSConfig:
    """`pod.spec.dnsConfig`."""

    nameservers: tuple[IPAddress, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOption, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is scheduled and has its addresses (one a family of the cluster)."""

    namespace: str
    name: str
    node: str
    addresses: tuple[IPAddress, ...]
    labels: Labels = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    dns_policy: DNSPolicy = DNSPolicy.CLUSTER_FIRST
    dns_config: DNSConfig = field(default_factory=DNSConfig)
    enable_service_links: bool = True

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def address(self, family: IPFamily) -> IPAddress | None:
        """Its address of that family."""
        return next((a for a in self.addresses if a.version == family.version), None)


# -- services --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One entry of `service.spec.ports`; `node_port` 0 means none."""

    port: int
    name: str = ""
    protocol: Protocol = Protocol.TCP
    target_port: int | str = 0
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class LoadBalancerIngress:
    """One entry of `status.loadBalancer.ingress`. `ip_mode` is `VIP` (the default) or `Proxy`."""

    ip: IPAddress | None = None
    hostname: str = ""
    ip_mode: str = "VIP"


@dataclass(frozen=True, slots=True)
class Service:
    """A Service after defaulting and allocation. No `cluster_ips`: headless (or ExternalName)."""

    namespace: str
    name: str
    type: ServiceType = ServiceType.CLUSTER_IP
    cluster_ips: tuple[IPAddress, ...] = ()
    ip_families: tuple[IPFamily, ...] = (IPFamily.IPV4,)
    selector: Labels | None = None
    ports: tuple[ServicePort, ...] = ()
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)
    session_affinity: SessionAffinity = SessionAffinity.NONE
    #: seconds
    session_affinity_timeout: int = 10800
    external_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    internal_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    external_ips: tuple[IPAddress, ...] = ()
    #: as written; kube-proxy parses them leniently
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_ingress: tuple[LoadBalancerIngress, ...] = ()
    load_balancer_class: str = ""
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    allocate_load_balancer_node_ports: bool = True
    traffic_distribution: str = ""
    external_name: str = ""

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def headless(self) -> bool:
        """True for a service that kube-proxy ignores because it has no virtual address."""
        return self.type is not ServiceType.EXTERNAL_NAME and not self.cluster_ips

    def cluster_ip(self, family: IPFamily) -> IPAddress | None:
        """Its cluster IP of that family."""
        return next((a for a in self.cluster_ips if a.version == family.version), None)


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """One entry of an EndpointSlice's `ports`; `port` None means all ports."""

    port: int | None
    name: str = ""
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a slice. Conditions follow the API: None is "unknown", treated as ready."""

    addresses: tuple[IPAddress, ...]
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    node_name: str = ""
    zone: str = ""
    hostname: str = ""
    hint_zones: tuple[str, ...] = ()
    hint_nodes: tuple[str, ...] = ()
    #: `namespace/name` of the pod behind it, if there is one
    pod: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """An EndpointSlice; `service` is the value of kubernetes.io/service-name."""

    namespace: str
    name: str
    service: str
    address_type: IPFamily
    ports: tuple[EndpointPort, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    labels: Labels = field(default_factory=dict)


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

"""The lab file as pydantic models: what may stand in it, under Kubernetes' field names.

    Lab
    ├── metadata, networking (kubeProxy, dns, egress), loadBalancer
    ├── nodes, namespaces, internet
    └── pods (containers), services (ports), endpointSlices (endpoints)

A model says what one field may hold; what depends on other fields is in `kns.spec.validate`.
Defaults that depend on the IP family are in `kns.spec.networks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kns.spec.fields import (
    Address,
    Annotations,
    Cidr,
    Cidrs,
    ClusterIP,
    EnvName,
    Flag,
    Int,
    LabelName,
    Labels,
    NodePort,
    NodePortAddress,
    Port,
    PortName,
    PortRange,
    Seconds,
    ServiceName,
    SourceRange,
    Subdomain,
    TargetPort,
    between,
)

API_VERSION = "kns/v1"

_ACRONYMS = {"ip": "IP", "ips": "IPs", "cidr": "CIDR", "cidrs": "CIDRs", "tcp": "TCP", "arp": "ARP"}


def field_name(name: str) -> str:
    """`cluster_ips` as Kubernetes writes it: `clusterIPs`."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """Frozen; unknown fields are errors; a field without a value (`ports:`) is one left out."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=field_name, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if isinstance(value, dict) and None in value.values():
            return {key: item for key, item in value.items() if item is not None}
        return value


# -- networking ------------------------------------------------------------------------------------

Scheduler = Literal["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh"]


class IPVSSpec(Model):
    """kube-proxy's `ipvs` options; timeouts in seconds, 0 leaves the kernel's own."""

    scheduler: Scheduler = "rr"
    strict_arp: Flag = Field(False, alias="strictARP")
    tcp_timeout: Seconds = 0
    tcp_fin_timeout: Seconds = 0
    udp_timeout: Seconds = 0
    exclude_cidrs: tuple[Cidr, ...] = ()


class NFTablesSpec(Model):
    """The `nftables` section of kube-proxy's configuration."""

    masquerade_all: Flag = False
    masquerade_bit: Annotated[Int, between(0, 31)] = 14


class KubeProxySpec(Model):
    """kube-proxy's options that change rules, under the names of its configuration and flags."""

    cluster_cidr: Cidrs = Field((), alias="clusterCIDR")
    detect_local_mode: Literal[
        "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"
    ] = "ClusterCIDR"
    pod_bridge_interface: str = ""
    pod_interface_name_prefix: str = ""
    masquerade_all: Flag = False
    masquerade_bit: Annotated[Int, between(0, 31)] = 14
    node_port_addresses: tuple[NodePortAddress, ...] = ()
    localhost_node_ports: Flag = True
    conntrack_tcp_be_liberal: Flag = False
    ipvs: IPVSSpec = Field(default_factory=IPVSSpec)
    nftables: NFTablesSpec | None = None


class DNSSpec(Model):
    """Cluster DNS."""

    enabled: Flag = True
    replicas: Annotated[Int, between(1, 100)] = 2
    domain: Subdomain = "cluster.local"
    upstream: tuple[Address, ...] = ()
    pod_records: Literal["disabled", "insecure", "verified"] = "insecure"
    ttl: Annotated[Int, between(0, 3600)] = 30
    server: Literal["builtin", "coredns"] = "builtin"


class EgressSpec(Model):
    """How pods leave the cluster."""

    masquerade: Flag = True
    non_masquerade_cidrs: tuple[Cidr, ...] = Field((), alias="nonMasqueradeCIDRs")


class NetworkingSpec(Model):
    """The cluster's networking; subnets left out get the defaults of their family."""

    ip_family: Literal["ipv4", "ipv6", "dual"] = "ipv4"
    pod_subnet: Cidrs = ()
    service_subnet: Cidrs = ()
    node_subnet: Cidrs = ()
    internet_subnet: Cidrs = ()
    node_cidr_mask_size: Annotated[Int, between(8, 30)] | None = None
    node_cidr_mask_size_ipv6: Annotated[Int, between(16, 126)] | None = Field(
        None, alias="nodeCIDRMaskSizeIPv6"
    )
    kube_proxy_mode: Literal["iptables", "ipvs", "nftables"] = "iptables"
    pod_network: Literal["host-gw", "vxlan"] = "host-gw"
    mtu: Annotated[Int, between(576, 65535)] = 1500
    node_port_range: PortRange = (30000, 32767)
    cluster_domain: Subdomain | None = None
    kube_proxy: KubeProxySpec = Field(default_factory=KubeProxySpec)
    dns: DNSSpec = Field(default_factory=DNSSpec)
    egress: EgressSpec = Field(default_factory=EgressSpec)


class LoadBalancerSpec(Model):
    """Where Services of type LoadBalancer get their addresses from, and who answers for them."""

    mode: Literal["l2", "bgp", "proxy"] = "l2"
    pool: Cidrs = ()


# -- nodes, the internet ---------------------------------------------------------------------------


class NodeSpec(Model):
    """A node."""

    name: Subdomain
    labels: Labels = Field(default_factory=dict)
    zone: str = ""
    address: Address | None = None
    addresses: tuple[Address, ...] = ()
    pod_cidr: Cidr | None = None
    pod_cidrs: tuple[Cidr, ...] = ()


class InternetSpec(Model):
    """A host outside the cluster: a client, and a server unless `server: false`."""

    name: LabelName
    address: Address | None = None
    addresses: tuple[Address, ...] = ()
    port: Port = 80
    server: Flag = True


# -- pods ------------------------------------------------------------------------------------------

ProtocolName = Literal["TCP", "UDP", "SCTP"]


class ContainerPortSpec(Model):
    """A port that a container listens on; `port` is short for `containerPort`."""

    name: PortName | None = None
    port: Port | None = None
    container_port: Port | None = None
    protocol: ProtocolName = "TCP"


class EnvVarSpec(Model):
    """An environment variable; `value` may refer to others as `$(NAME)`."""

    name: EnvName
    value: str = ""


class ContainerSpec(Model):
    """A container: a built-in server on its ports, or the process that `command` and `args` are.

    `port: 8080` is short for `ports: [{containerPort: 8080}]`.
    """

    name: LabelName | None = None
    port: Port | None = None
    ports: tuple[ContainerPortSpec, ...] = ()
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVarSpec, ...] = ()


class DNSOptionSpec(Model):
    """One option of resolv.conf."""

    name: str = Field(min_length=1)
    value: str | None = None


class DNSConfigSpec(Model):
    """`pod.spec.dnsConfig`."""

    nameservers: tuple[Address, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOptionSpec, ...] = ()


class PodSpec(Model):
    """A pod, or with `replicas` the template of name-1, name-2, …"""

    name: Subdomain
    namespace: LabelName = "default"
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    node: str | None = None
    replicas: Annotated[Int, between(0, 10_000)] | None = None
    containers: tuple[ContainerSpec, ...] = ()
    hostname: LabelName = ""
    subdomain: LabelName = ""
    ready: Flag = True
    serving: Flag | None = None
    terminating: Flag = False
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] = (
        "ClusterFirst"
    )
    dns_config: DNSConfigSpec = Field(default_factory=DNSConfigSpec)
    enable_service_links: Flag = True


# -- services --------------------------------------------------------------------------------------

FamilyName = Literal["IPv4", "IPv6"]


class ServicePortSpec(Model):
    """One port of a Service."""

    port: Port
    name: LabelName = ""
    protocol: ProtocolName = "TCP"
    target_port: TargetPort | None = None
    node_port: NodePort = 0
    app_protocol: str = ""


class ClientIPSpec(Model):
    """`sessionAffinityConfig.clientIP`."""

    timeout_seconds: Annotated[Int, between(1, 86400)] = 10800


class SessionAffinityConfigSpec(Model):
    """`sessionAffinityConfig`."""

    client_ip: ClientIPSpec = Field(default_factory=ClientIPSpec, alias="clientIP")


class IngressPointSpec(Model):
    """One entry of `status.loadBalancer.ingress`."""

    ip: Address | None = None
    hostname: Subdomain | None = None
    ip_mode: Literal["VIP", "Proxy"] | None = None


class LoadBalancerStatusSpec(Model):
    """`status.loadBalancer`."""

    ingress: tuple[IngressPointSpec, ...] = ()


class ServiceStatusSpec(Model):
    """`status` of a Service."""

    load_balancer: LoadBalancerStatusSpec = Field(default_factory=LoadBalancerStatusSpec)


class ServiceSpec(Model):
    """A Service: `metadata` and `spec` in one, `status` as it is."""

    name: ServiceName
    namespace: LabelName = "default"
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: ClusterIP | None = Field(None, alias="clusterIP")
    cluster_ips: tuple[ClusterIP, ...] = Field((), alias="clusterIPs")
    ip_families: tuple[FamilyName, ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    selector: Labels | None = None
    ports: tuple[ServicePortSpec, ...] = ()
    external_ips: tuple[Address, ...] = Field((), alias="externalIPs")
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfigSpec | None = None
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    internal_traffic_policy: Literal["Cluster", "Local"] | None = None
    load_balancer_ip: Address | None = Field(None, alias="loadBalancerIP")
    load_balancer_source_ranges: tuple[SourceRange, ...] = ()
    load_balancer_class: str = ""
    health_check_node_port: NodePort = 0
    publish_not_ready_addresses: Flag = False
    allocate_load_balancer_node_ports: Flag = True
    traffic_distribution: Literal["", "PreferClose", "PreferSameZone", "PreferSameNode"] = ""
    external_name: str = ""
    status: ServiceStatusSpec = Field(default_factory=ServiceStatusSpec)


# -- explicit endpoint slices ----------------------------------------------------------------------


class EndpointPortSpec(Model):
    """One port of an EndpointSlice; without `port` it stands for all ports."""

    name: str = ""
    protocol: ProtocolName = "TCP"
    port: Port | None = None
    app_protocol: str = ""


class ConditionsSpec(Model):
    """An endpoint's conditions; one left out is unknown."""

    ready: Flag | None = None
    serving: Flag | None = None
    terminating: Flag | None = None


class ForZoneSpec(Model):
    """An entry of a zone or node hint."""

    name: str


class HintsSpec(Model):
    """An endpoint's topology hints."""

    for_zones: tuple[ForZoneSpec, ...] = ()
    for_nodes: tuple[ForZoneSpec, ...] = ()


class EndpointSpec(Model):
    """One endpoint."""

    addresses: tuple[Address, ...] = Field(min_length=1)
    conditions: ConditionsSpec = Field(default_factory=ConditionsSpec)
    hostname: LabelName = ""
    node_name: str = ""
    zone: str = ""
    hints: HintsSpec = Field(default_factory=HintsSpec)


class EndpointSliceSpec(Model):
    """An EndpointSlice; `service` is short for the label kubernetes.io/service-name."""

    name: Subdomain
    namespace: LabelName = "default"
    service: ServiceName = ""
    labels: Labels = Field(default_factory=dict)
    address_type: FamilyName = "IPv4"
    ports: tuple[EndpointPortSpec, ...] = ()
    endpoints: tuple[EndpointSpec, ...] = ()


# -- the whole -------------------------------------------------------------------------------------


class MetadataSpec(Model):
    """The lab's name, which is part of the names of its netns and files."""

    name: LabelName
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)


class LabSpec(Model):
    """A whole lab."""

    api_version: Literal["kns/v1"]
    kind: Literal["Lab"]
    metadata: MetadataSpec
    networking: NetworkingSpec = Field(default_factory=NetworkingSpec)
    load_balancer: LoadBalancerSpec | None = None
    namespaces: tuple[LabelName, ...] = ()
    nodes: tuple[NodeSpec, ...] = Field(min_length=1)
    pods: tuple[PodSpec, ...] = ()
    services: tuple[ServiceSpec, ...] = ()
    endpoint_slices: tuple[EndpointSliceSpec, ...] = ()
    internet: tuple[InternetSpec, ...] | None = None

"""The lab file as pydantic models: what may stand in it, under Kubernetes' field names.

    Lab
    ├── metadata, networking (kubeProxy, dns, egress), loadBalancer
    ├── nodes, namespaces, internet
    ├── pods (containers), services (ports), endpointSlices (endpoints)
    └── ingresses, ingressClasses, secrets, ingressController        (kns.labfile.model_ingress)

A model says what one field may hold; what depends on other fields is in `kns.labfile.validate`.
Defaults that depend on the IP family are in `kns.labfile.networks`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kns.labfile.fields import (
    Address,
    Annotations,
    Cidr,
    ClusterIP,
    EndpointPortName,
    EnvName,
    Flag,
    Int,
    LabelName,
    Labels,
    LabelValue,
    NodePort,
    Port,
    PortName,
    QualifiedName,
    ServiceName,
    SourceRange,
    Subdomain,
    TargetPort,
    Text,
    Word,
    between,
)
from kns.labfile.model_ingress import (
    IngressClassSpec,
    IngressControllerSpec,
    IngressSpec,
    SecretSpec,
)
from kns.labfile.model_networking import LoadBalancerSpec, Model, NetworkingSpec

API_VERSION = "kns/v1"

# -- nodes, the internet ---------------------------------------------------------------------------


class NodeSpec(Model):
    """A node."""

    name: Subdomain
    labels: Labels = Field(default_factory=dict)
    zone: LabelValue = ""
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
    value: Text = ""


class ContainerSpec(Model):
    """A container: a built-in server on its ports, or the process that `command` and `args` are.

    `port: 8080` is short for `ports: [{containerPort: 8080}]`.
    """

    name: LabelName | None = None
    port: Port | None = None
    ports: tuple[ContainerPortSpec, ...] = ()
    command: tuple[Text, ...] = ()
    args: tuple[Text, ...] = ()
    env: tuple[EnvVarSpec, ...] = ()


class DNSOptionSpec(Model):
    """One option of resolv.conf."""

    name: Annotated[Word, Field(min_length=1)]
    value: Word | None = None


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
    load_balancer_class: QualifiedName = ""
    health_check_node_port: NodePort = 0
    publish_not_ready_addresses: Flag = False
    allocate_load_balancer_node_ports: Flag = True
    traffic_distribution: Literal["", "PreferClose", "PreferSameZone", "PreferSameNode"] = ""
    external_name: str = ""
    status: ServiceStatusSpec = Field(default_factory=ServiceStatusSpec)


# -- explicit endpoint slices ----------------------------------------------------------------------


class EndpointPortSpec(Model):
    """One port of an EndpointSlice; without `port` it stands for all ports."""

    name: EndpointPortName = ""
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

    name: LabelValue


class HintsSpec(Model):
    """An endpoint's topology hints."""

    for_zones: tuple[ForZoneSpec, ...] = ()
    for_nodes: tuple[ForZoneSpec, ...] = ()


class EndpointSpec(Model):
    """One endpoint."""

    addresses: tuple[Address, ...] = Field(min_length=1)
    conditions: ConditionsSpec = Field(default_factory=ConditionsSpec)
    hostname: LabelName = ""
    node_name: Subdomain = ""
    zone: LabelValue = ""
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
    ingress_controller: IngressControllerSpec | None = None
    ingresses: tuple[IngressSpec, ...] = ()
    ingress_classes: tuple[IngressClassSpec, ...] = ()
    secrets: tuple[SecretSpec, ...] = ()

"""Service: as it is written, and after defaulting and allocation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels, Object, Protocol, metadata
from kns.kinds.fields import (
    ADDRESS,
    ADDRESSES,
    ANNOTATIONS_FIELD,
    ANY_TEXT,
    ASKED_ADDRESS,
    CLUSTER_IP,
    FAMILY,
    FLAG,
    LABEL_NAME,
    LABELS,
    LABELS_FIELD,
    METADATA_PATHS,
    NAMESPACE_FIELD,
    NODE_PORT,
    PORT,
    PROTOCOL,
    QUALIFIED_NAME,
    SERVICE_NAME,
    SOURCE_RANGE,
    SUBDOMAIN,
    TARGET_PORT,
)
from kns.labfile.reader import JSON, Choice, Integer, ListOf
from kns.labfile.shape import Field, Form, Group, Shape

#: AnnotationTopologyMode of k8s.io/api/core/v1, and its older name
TOPOLOGY_ANNOTATIONS = (
    "service.kubernetes.io/topology-mode",
    "service.kubernetes.io/topology-aware-hints",
)


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


class IPFamilyPolicy(StrEnum):
    """`service.spec.ipFamilyPolicy`."""

    SINGLE_STACK = "SingleStack"
    PREFER_DUAL_STACK = "PreferDualStack"
    REQUIRE_DUAL_STACK = "RequireDualStack"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service.

    `target_port` 0 is the port itself, `node_port` 0 none.
    """

    port: int
    name: str = ""
    protocol: Protocol = Protocol.TCP
    target_port: int | str = 0
    node_port: int = 0
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class LoadBalancerIngress:
    """One entry of `status.loadBalancer.ingress`.

    `ip_mode` is `VIP` (the default) or `Proxy`.
    """

    ip: IPAddress | None = None
    hostname: str = ""
    ip_mode: str = "VIP"


@dataclass(frozen=True, slots=True)
class Service:
    """A Service: `metadata` and `spec` in one, `status` as it is.

    As read, `cluster_ips`, `ip_families` and node ports are what is asked for; allocation fills in
    the rest. `without_cluster_ip` is `clusterIP: None`.
    """

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
    ip_family_policy: IPFamilyPolicy | None = None
    load_balancer_ip: IPAddress | None = None
    without_cluster_ip: bool = False

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


_BOTH = (IPFamilyPolicy.PREFER_DUAL_STACK, IPFamilyPolicy.REQUIRE_DUAL_STACK)


def ip_families(spec: Service, cluster: Sequence[IPFamily]) -> tuple[IPFamily, ...]:
    """The families of a Service: as written, from its cluster IPs, and by ipFamilyPolicy."""
    if spec.type is ServiceType.EXTERNAL_NAME:
        return ()
    written = [*spec.ip_families, *(IPFamily.of(address) for address in spec.cluster_ips)]
    families = list(dict.fromkeys(written)) or [cluster[0]]
    # a headless Service without a selector takes whatever its slices hold
    open_to_all = spec.without_cluster_ip and not spec.selector
    undecided = spec.ip_family_policy is None and not spec.ip_families
    if spec.ip_family_policy in _BOTH or (open_to_all and undecided):
        families += [family for family in cluster if family not in families]
    return tuple(family for family in families if family in cluster)


# -- reading ---------------------------------------------------------------------------------------

_POLICY = Choice(TrafficPolicy)
WrittenIP = IPAddress | Literal["None", ""]


def _service_port(port: int, target_port: int | str = 0, **rest: Any) -> ServicePort:
    """The API server's default of a target port is the port itself."""
    return ServicePort(port, target_port=target_port or port, **rest)


_PORT = Shape(
    _service_port,
    Field("port", PORT, required=True),
    Field("name", LABEL_NAME, zero=True),
    Field("protocol", PROTOCOL, zero=True),
    Field("targetPort", TARGET_PORT, default=None, zero=True),
    Field("nodePort", NODE_PORT),
    Field("appProtocol", QUALIFIED_NAME),
    of=ServicePort,
    closed=True,
)
_CLIENT_IP = Shape(
    lambda timeout_seconds=10800: timeout_seconds,
    Field("timeoutSeconds", Integer(1, 86400), default=10800),
    title="ClientIP",
    doc="`sessionAffinityConfig.clientIP`.",
)
_AFFINITY_CONFIG = Group(
    Field("clientIP", _CLIENT_IP, "session_affinity_timeout", default={}),
    title="SessionAffinityConfig",
    doc="`sessionAffinityConfig`.",
)
_INGRESS_POINT = Shape(
    LoadBalancerIngress,
    Field("ip", ADDRESS),
    Field("hostname", SUBDOMAIN, default=None),
    Field("ipMode", Choice(("VIP", "Proxy")), default=None),
    title="IngressPoint",
)
_LOAD_BALANCER = Shape(
    lambda ingress=(): ingress,
    Field("ingress", ListOf(_INGRESS_POINT), default=[]),
    title="LoadBalancerStatus",
    doc="`status.loadBalancer`.",
)
_STATUS = Group(
    Field("loadBalancer", _LOAD_BALANCER, "load_balancer_ingress", default={}),
    title="ServiceStatus",
    doc="`status` of a Service.",
)


def _service(
    name: str,
    namespace: str = "default",
    cluster_ip: WrittenIP = "",
    cluster_ips: Sequence[WrittenIP] = (),
    selector: Labels | None = None,
    **rest: Any,
) -> Service:
    asked = (cluster_ip, *(item for item in cluster_ips if item != cluster_ip))
    return Service(
        namespace,
        name,
        cluster_ips=tuple(item for item in asked if not isinstance(item, str)),
        without_cluster_ip="None" in asked,
        selector=selector or None,
        **{"ip_families": (), **rest},
    )


SHAPE = Shape(
    _service,
    Field("name", SERVICE_NAME, required=True),
    NAMESPACE_FIELD,
    LABELS_FIELD,
    ANNOTATIONS_FIELD,
    Field("type", Choice(ServiceType), zero=True),
    Field("clusterIP", CLUSTER_IP, default=None),
    Field("clusterIPs", ListOf(CLUSTER_IP), default=[]),
    Field("ipFamilies", ListOf(FAMILY), default=[]),
    Field("ipFamilyPolicy", Choice(IPFamilyPolicy)),
    Field("selector", LABELS),
    Field("ports", ListOf(_PORT)),
    Field("externalIPs", ADDRESSES),
    Field("sessionAffinity", Choice(SessionAffinity), zero=True),
    Field("sessionAffinityConfig", _AFFINITY_CONFIG, merge=True, default=None),
    Field("externalTrafficPolicy", _POLICY, default=None, zero=True),
    Field("internalTrafficPolicy", _POLICY, default=None),
    Field("loadBalancerIP", ASKED_ADDRESS),
    Field("loadBalancerSourceRanges", ListOf(SOURCE_RANGE)),
    Field("loadBalancerClass", QUALIFIED_NAME),
    Field("healthCheckNodePort", NODE_PORT),
    Field("publishNotReadyAddresses", FLAG),
    Field("allocateLoadBalancerNodePorts", FLAG),
    Field("trafficDistribution", Choice(("", "PreferClose", "PreferSameZone", "PreferSameNode"))),
    Field("externalName", ANY_TEXT),
    Field("status", _STATUS, merge=True),
    of=Service,
)
FORM = Form(
    SHAPE,
    {
        **{field.name: ("spec", field.name) for field in SHAPE.fields if field.name != "status"},
        **METADATA_PATHS,
    },
    closed=[("spec",)],
)


# -- writing ---------------------------------------------------------------------------------------


def write(service: Service) -> Object:
    """A v1 Service, which reads as the same one again."""
    spec: Object = {
        "type": str(service.type),
        "ports": [_written_port(port) for port in service.ports],
        "sessionAffinity": str(service.session_affinity),
        "internalTrafficPolicy": str(service.internal_traffic_policy),
    }
    if service.type is ServiceType.EXTERNAL_NAME:
        spec["externalName"] = service.external_name
    else:
        ips: list[JSON] = [str(address) for address in service.cluster_ips]
        if ips or service.without_cluster_ip:
            spec |= {"clusterIP": ips[0] if ips else "None", "clusterIPs": ips or ["None"]}
        if service.ip_families:
            spec["ipFamilies"] = [str(family) for family in service.ip_families]
    if service.selector is not None:
        spec["selector"] = dict(service.selector)
    is_outer = service.type in {ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER}
    if is_outer or service.external_ips:
        spec["externalTrafficPolicy"] = str(service.external_traffic_policy)
    spec |= _optional_fields(service)
    ingress: list[JSON] = [
        {"ip": str(item.ip), "ipMode": item.ip_mode} if item.ip else {"hostname": item.hostname}
        for item in service.load_balancer_ingress
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            service.name, service.namespace, service.labels, annotations=service.annotations
        ),
        "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


def _optional_fields(service: Service) -> Object:
    """What is written only where it says something."""
    spec: Object = {}
    if service.session_affinity is SessionAffinity.CLIENT_IP:
        timeout: Object = {"timeoutSeconds": service.session_affinity_timeout}
        spec["sessionAffinityConfig"] = {"clientIP": timeout}
    if not service.allocate_load_balancer_node_ports:
        spec["allocateLoadBalancerNodePorts"] = False
    fields: Object = {
        "externalIPs": [str(address) for address in service.external_ips],
        "loadBalancerIP": str(service.load_balancer_ip or ""),
        "loadBalancerSourceRanges": list(service.load_balancer_source_ranges),
        "loadBalancerClass": service.load_balancer_class,
        "healthCheckNodePort": service.health_check_node_port,
        "publishNotReadyAddresses": service.publish_not_ready_addresses,
        "ipFamilyPolicy": str(service.ip_family_policy or ""),
        "trafficDistribution": service.traffic_distribution,
    }
    return spec | {name: value for name, value in fields.items() if value}


def _written_port(port: ServicePort) -> Object:
    result: Object = {"name": port.name} if port.name else {}
    result |= {"protocol": str(port.protocol), "port": port.port}
    result["targetPort"] = port.target_port or port.port
    if port.node_port:
        result["nodePort"] = port.node_port
    if port.app_protocol:
        result["appProtocol"] = port.app_protocol
    return result

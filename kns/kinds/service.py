"""Service."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels, Protocol


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

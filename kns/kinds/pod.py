"""Pod, its containers and its DNS configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels, Protocol


class DNSPolicy(StrEnum):
    """`pod.spec.dnsPolicy`."""

    CLUSTER_FIRST = "ClusterFirst"
    CLUSTER_FIRST_WITH_HOST_NET = "ClusterFirstWithHostNet"
    DEFAULT = "Default"
    NONE = "None"


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

"""EndpointSlice."""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels, Protocol


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

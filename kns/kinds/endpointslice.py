"""EndpointSlice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels, Object, Protocol, metadata
from kns.kinds.fields import (
    ANY_TEXT,
    ENDPOINT_PORT_NAME,
    FAMILY,
    FLAG,
    LABEL_NAME,
    LABEL_VALUE,
    METADATA_PATHS,
    NAMED,
    PORT,
    PROTOCOL,
    QUALIFIED_NAME,
    SERVICE_NAME,
    SPELLED_ADDRESS,
    SUBDOMAIN,
    SpelledAddress,
)
from kns.kinds.service import Service, ServiceType
from kns.labfile.reader import JSON, ListOf
from kns.labfile.shape import Field, Form, Group, Shape

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
#: kube-controller-manager's two, which make slices of Services, and of Endpoints
CONTROLLER = "endpointslice-controller.k8s.io"
MIRRORING_CONTROLLER = "endpointslicemirroring-controller.k8s.io"


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """One port of an EndpointSlice; without `port` it stands for all ports."""

    port: int | None
    name: str = ""
    protocol: Protocol = Protocol.TCP
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint.

    Conditions follow the API: None is "unknown", treated as ready.
    """

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
    #: the addresses as the object has them, if one of them is not in canonical form
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """An EndpointSlice; `service` is short for the label kubernetes.io/service-name."""

    namespace: str
    name: str
    service: str
    address_type: IPFamily
    ports: tuple[EndpointPort, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    labels: Labels = field(default_factory=dict)


def unjoined(service: Service, ports: Sequence[EndpointPort]) -> dict[int, EndpointPort]:
    """By their index, the ports of a slice that kube-proxy joins to none of the Service's.

    It joins by name and protocol. A Service without ports needs none: it is headless, and its DNS
    records tell the slices' own.
    """
    wanted = {(port.name, port.protocol) for port in service.ports}
    if not wanted or service.type is ServiceType.EXTERNAL_NAME:
        return {}
    return {i: p for i, p in enumerate(ports) if (p.name, p.protocol) not in wanted}


# -- reading ---------------------------------------------------------------------------------------


def _port(port: int | None = None, **rest: Any) -> EndpointPort:
    return EndpointPort(port, **rest)


def _target(kind: str = "", namespace: str = "", name: str = "") -> str:
    return f"{namespace}/{name}" if kind == "Pod" else ""


def _endpoint(addresses: tuple[SpelledAddress, ...] = (), **rest: Any) -> Endpoint:
    values = tuple(item.address for item in addresses)
    spellings = tuple(item.spelling for item in addresses)
    written = spellings if spellings != tuple(map(str, values)) else ()
    return Endpoint(values, spellings=written, **rest)


def _slice(
    name: str,
    namespace: str = "default",
    service: str = "",
    labels: Labels | None = None,
    address_type: IPFamily = IPFamily.IPV4,
    **rest: Any,
) -> EndpointSlice:
    written = labels or {}
    name_of_service = service or written.get(SERVICE_NAME_LABEL, "")
    own = {SERVICE_NAME_LABEL: name_of_service} if name_of_service else {}
    return EndpointSlice(
        namespace, name, name_of_service, address_type, labels={**own, **written}, **rest
    )


_PORT = Shape(
    _port,
    Field("name", ENDPOINT_PORT_NAME),
    Field("protocol", PROTOCOL, zero=True),
    Field("port", PORT, default=None),
    Field("appProtocol", QUALIFIED_NAME),
    of=EndpointPort,
)
_CONDITIONS = Group(
    Field("ready", FLAG),
    Field("serving", FLAG),
    Field("terminating", FLAG),
    title="Conditions",
    doc="An endpoint's conditions; one left out is unknown.",
)
_FOR_ZONE = Shape(
    lambda name: name,
    Field("name", LABEL_VALUE, required=True),
    title="ForZone",
    doc="An entry of a zone or node hint.",
)
_HINTS = Group(
    Field("forZones", ListOf(_FOR_ZONE), "hint_zones", default=[]),
    Field("forNodes", ListOf(_FOR_ZONE), "hint_nodes", default=[]),
    title="Hints",
    doc="An endpoint's topology hints.",
)
TARGET = Shape(
    _target,
    Field("kind", ANY_TEXT),
    Field("namespace", ANY_TEXT),
    Field("name", ANY_TEXT),
    title="TargetRef",
    doc="The object behind an endpoint.",
)
_ENDPOINT = Shape(
    _endpoint,
    Field("addresses", ListOf(SPELLED_ADDRESS, filled=True), required=True),
    Field("conditions", _CONDITIONS, merge=True),
    Field("hostname", LABEL_NAME),
    Field("nodeName", SUBDOMAIN),
    Field("zone", LABEL_VALUE),
    Field("hints", _HINTS, merge=True),
    Field("targetRef", TARGET, "pod", default=None),
    of=Endpoint,
)
SHAPE = Shape(
    _slice,
    *NAMED[:2],
    Field("service", SERVICE_NAME, default=""),
    NAMED[2],
    Field("addressType", FAMILY, default="IPv4"),
    Field("ports", ListOf(_PORT)),
    Field("endpoints", ListOf(_ENDPOINT)),
    of=EndpointSlice,
)
FORM = Form(SHAPE, METADATA_PATHS)


# -- writing ---------------------------------------------------------------------------------------


def write(item: EndpointSlice) -> Object:
    """A discovery.k8s.io/v1 EndpointSlice, which reads as the same one again."""
    ports: list[JSON] = [_written_port(port) for port in item.ports]
    labels = {**item.labels, "kubernetes.io/service-name": item.service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata(item.name, item.namespace, labels),
        "addressType": str(item.address_type),
        "ports": ports,
        "endpoints": [_written_endpoint(endpoint) for endpoint in item.endpoints],
    }


def _written_port(port: EndpointPort) -> Object:
    more: Object = {"appProtocol": port.app_protocol} if port.app_protocol else {}
    return {"name": port.name, "port": port.port, "protocol": str(port.protocol), **more}


def _written_endpoint(endpoint: Endpoint) -> Object:
    conditions = {
        "ready": endpoint.ready,
        "serving": endpoint.serving,
        "terminating": endpoint.terminating,
    }
    result: Object = {
        "addresses": list(endpoint.spellings or map(str, endpoint.addresses)),
        "conditions": {key: value for key, value in conditions.items() if value is not None},
    }
    for key, value in (
        ("nodeName", endpoint.node_name),
        ("zone", endpoint.zone),
        ("hostname", endpoint.hostname),
    ):
        if value:
            result[key] = value
    hints: Object = {
        field: [{"name": name} for name in names]
        for field, names in (("forZones", endpoint.hint_zones), ("forNodes", endpoint.hint_nodes))
        if names
    }
    if hints:
        result["hints"] = hints
    if endpoint.pod:
        namespace, _, name = endpoint.pod.partition("/")
        result["targetRef"] = {"kind": "Pod", "namespace": namespace, "name": name}
    return result

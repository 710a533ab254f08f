"""Kubernetes' own objects, as `kubectl get -o yaml` prints them: what of them matters here.

    Document(s) ──read_objects()──▶ KubeObjects(services, endpoint_slices, nodes) + every Problem

A document is one object or a List of them. Fields that kns does not use are passed over, as are
objects of other kinds; null is the same as absent, as for the API server. Defaults are those that
the API server would have filled in. `kns.cluster.manifests` makes the cluster model of it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    model_validator,
)
from pydantic.alias_generators import to_camel

from kns.errors import Problem
from kns.labfile.document import Document, Path, Stream, parse_stream
from kns.labfile.problems import invalid, parse_model

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


# -- fields ----------------------------------------------------------------------------------------


def _parse_address(value: object) -> IPAddress:
    """As Go's ParseIPSloppy: objects from before Kubernetes 1.22 may have leading zeros."""
    if isinstance(value, str):
        try:
            return ipaddress.ip_address(_decimal(value))
        except ValueError:
            pass
    raise invalid(value, _BAD_ADDRESS)


def _parse_cidr(value: object) -> IPNetwork:
    if isinstance(value, str) and "/" in value:
        address, _, prefix = value.strip().partition("/")
        try:
            return ipaddress.ip_network(f"{_decimal(address)}/{prefix}", strict=False)
        except ValueError:
            pass
    raise invalid(value, _BAD_CIDR)


def _decimal(text: str) -> str:
    """`text` with leading zeros removed from the numbers of an IPv4 address."""
    if ":" in text:
        return text
    return ".".join(part.lstrip("0") or part[:1] for part in text.split("."))


def _parse_cluster_ip(value: object) -> IPAddress | None:
    """An address; `None` and nothing mean headless."""
    return None if value in ("", "None") else _parse_address(value)


def _check_port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise invalid(value, "must be between 1 and 65535, inclusive")
    return value


def _check_target_port(value: object) -> int | str:
    return value if isinstance(value, str) else _check_port(value)


Address = Annotated[IPAddress, PlainValidator(_parse_address)]
Cidr = Annotated[IPNetwork, PlainValidator(_parse_cidr)]
ClusterIP = Annotated[IPAddress | None, PlainValidator(_parse_cluster_ip)]
Port = Annotated[int, PlainValidator(_check_port)]
TargetPort = Annotated[int | str, PlainValidator(_check_target_port)]
Flag = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
FamilyName = Literal["IPv4", "IPv6"]
ProtocolName = Literal["TCP", "UDP", "SCTP"]
PolicyName = Literal["Cluster", "Local"]


def _not_empty(value: object) -> object:
    if value == "":
        raise invalid(value, "must not be empty")
    return value


Name = Annotated[str, BeforeValidator(_not_empty)]


class KubeModel(BaseModel):
    """Base: Kubernetes' field names, unknown ones passed over, null as if not written."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value


class Metadata(KubeModel):
    """What names an object. `namespace` is `default` where none is written."""

    name: Name
    namespace: str = "default"
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


# -- Service ---------------------------------------------------------------------------------------


class KubeServicePort(KubeModel):
    """One entry of `spec.ports`."""

    port: Port
    name: str = ""
    protocol: ProtocolName = "TCP"
    target_port: TargetPort = 0
    node_port: Port = 0


class ClientIPConfig(KubeModel):
    """`spec.sessionAffinityConfig.clientIP`."""

    timeout_seconds: Int = 10800


class SessionAffinityConfig(KubeModel):
    """`spec.sessionAffinityConfig`."""

    client_ip: ClientIPConfig = Field(default_factory=ClientIPConfig, alias="clientIP")


class KubeServiceSpec(KubeModel):
    """`spec` of a Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: ClusterIP = Field(default=None, alias="clusterIP")
    cluster_ips: tuple[ClusterIP, ...] = Field(default=(), alias="clusterIPs")
    ip_families: tuple[FamilyName, ...] = Field(default=(), alias="ipFamilies")
    selector: Mapping[str, str] | None = None
    ports: tuple[KubeServicePort, ...] = ()
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig = Field(default_factory=SessionAffinityConfig)
    external_traffic_policy: PolicyName = "Cluster"
    internal_traffic_policy: PolicyName = "Cluster"
    external_ips: tuple[Address, ...] = Field(default=(), alias="externalIPs")
    external_name: str = ""
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_class: str = ""
    health_check_node_port: Port = 0
    publish_not_ready_addresses: Flag = False
    allocate_load_balancer_node_ports: Flag = True
    traffic_distribution: str = ""


class KubeIngress(KubeModel):
    """One entry of `status.loadBalancer.ingress`."""

    ip: Address | None = None
    hostname: str = ""
    ip_mode: Literal["VIP", "Proxy"] = "VIP"


class KubeLoadBalancer(KubeModel):
    """`status.loadBalancer`."""

    ingress: tuple[KubeIngress, ...] = ()


class KubeServiceStatus(KubeModel):
    """`status` of a Service."""

    load_balancer: KubeLoadBalancer = Field(default_factory=KubeLoadBalancer)


class KubeService(KubeModel):
    """A Service."""

    metadata: Metadata
    spec: KubeServiceSpec = Field(default_factory=KubeServiceSpec)
    status: KubeServiceStatus = Field(default_factory=KubeServiceStatus)


# -- EndpointSlice ---------------------------------------------------------------------------------


class KubeEndpointPort(KubeModel):
    """One entry of `ports`; without `port` it means every port."""

    name: str = ""
    protocol: ProtocolName = "TCP"
    port: Port | None = None


class KubeConditions(KubeModel):
    """An endpoint's conditions; absent is "unknown"."""

    ready: Flag | None = None
    serving: Flag | None = None
    terminating: Flag | None = None


class KubeHint(KubeModel):
    """A zone or node that should use the endpoint."""

    name: str


class KubeHints(KubeModel):
    """An endpoint's topology hints."""

    for_zones: tuple[KubeHint, ...] = ()
    for_nodes: tuple[KubeHint, ...] = ()


class KubeTargetRef(KubeModel):
    """The object behind an endpoint."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class KubeEndpoint(KubeModel):
    """One entry of `endpoints`."""

    addresses: tuple[Address, ...] = ()
    conditions: KubeConditions = Field(default_factory=KubeConditions)
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    hints: KubeHints = Field(default_factory=KubeHints)
    target_ref: KubeTargetRef = Field(default_factory=KubeTargetRef)


class KubeEndpointSlice(KubeModel):
    """An EndpointSlice of IP addresses."""

    metadata: Metadata
    address_type: FamilyName
    ports: tuple[KubeEndpointPort, ...] = ()
    endpoints: tuple[KubeEndpoint, ...] = ()


# -- Node ------------------------------------------------------------------------------------------


class KubeNodeSpec(KubeModel):
    """`spec` of a Node."""

    pod_cidr: Cidr | None = Field(default=None, alias="podCIDR")
    pod_cidrs: tuple[Cidr, ...] = Field(default=(), alias="podCIDRs")


class KubeNodeAddress(KubeModel):
    """One entry of `status.addresses`: an IP address or, by its type, a name."""

    type: str
    address: str

    @model_validator(mode="after")
    def _check(self) -> KubeNodeAddress:
        if self.type.endswith("IP"):
            _parse_address(self.address)
        return self

    @property
    def ip(self) -> IPAddress:
        """The address of an entry whose type says that it is one."""
        return _parse_address(self.address)


class KubeNodeStatus(KubeModel):
    """`status` of a Node."""

    addresses: tuple[KubeNodeAddress, ...] = ()


class KubeNode(KubeModel):
    """A Node."""

    metadata: Metadata
    spec: KubeNodeSpec = Field(default_factory=KubeNodeSpec)
    status: KubeNodeStatus = Field(default_factory=KubeNodeStatus)


# -- reading ---------------------------------------------------------------------------------------

ModelT = TypeVar("ModelT", KubeService, KubeEndpointSlice, KubeNode)


@dataclass(frozen=True, slots=True)
class KubeObjects:
    """The objects of some documents, in the order in which they stand there."""

    services: tuple[KubeService, ...] = ()
    endpoint_slices: tuple[KubeEndpointSlice, ...] = ()
    nodes: tuple[KubeNode, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """An object of any kind: where it stands, and what it says it is."""

    document: Document
    path: Path
    kind: str

    @property
    def data(self) -> Mapping[str, object]:
        """The object's plain data."""
        part: object = self.document.data
        for step in self.path:
            part = part[step]  # type: ignore[index]
        assert isinstance(part, dict)  # noqa: S101 - objects_in yields mappings only
        return part


def read_objects(documents: Iterable[Document]) -> tuple[KubeObjects, tuple[Problem, ...]]:
    """The Services, EndpointSlices and Nodes in `documents`, and every error in them.

    An object that comes twice counts as it comes last, as if both had been applied in turn.
    """
    problems: list[Problem] = []
    services: dict[tuple[str, str], KubeService] = {}
    slices: dict[tuple[str, str], KubeEndpointSlice] = {}
    nodes: dict[tuple[str, str], KubeNode] = {}
    for document in documents:
        places, found = objects_in(document)
        problems += found
        for place in places:
            match place.kind:
                case "Service":
                    problems += _read(place, KubeService, services)
                case "EndpointSlice" if place.data.get("addressType") != "FQDN":
                    problems += _read(place, KubeEndpointSlice, slices)
                case "Node":
                    problems += _read(place, KubeNode, nodes)
                case _:
                    pass
    objects = KubeObjects(tuple(services.values()), tuple(slices.values()), tuple(nodes.values()))
    return objects, tuple(sorted(problems))


def _read(
    place: ObjectPlace, model: type[ModelT], into: dict[tuple[str, str], ModelT]
) -> tuple[Problem, ...]:
    item, problems = parse_model(place.document, model, place.path)
    if item is not None:
        into[item.metadata.namespace, item.metadata.name] = item
    return problems


def objects_in(document: Document) -> tuple[tuple[ObjectPlace, ...], tuple[Problem, ...]]:
    """The objects of a document, Lists taken apart, and what is no object."""
    places: list[ObjectPlace] = []
    problems: list[Problem] = []
    for place, problem in _objects_at(document, (), document.data, ""):
        if problem is not None:
            problems.append(problem)
        elif place is not None:
            places.append(place)
    return tuple(places), tuple(problems)


def _objects_at(
    document: Document, path: Path, data: object, item_kind: str
) -> Iterator[tuple[ObjectPlace | None, Problem | None]]:
    if not isinstance(data, dict):
        hint = "a file of Kubernetes objects is what `kubectl get … -o yaml` prints"
        yield None, document.problem(path, "must be a Kubernetes object, a mapping", hint)
        return
    kind = data.get("kind", item_kind)
    if not isinstance(kind, str) or not kind:
        hint = "every object says what it is, for example `kind: Service`"
        yield None, document.problem((*path, "kind"), "Required value", hint)
    elif not kind.endswith("List"):
        yield ObjectPlace(document, path, kind), None
    else:
        items = data.get("items")
        if not isinstance(items, list | None):
            yield None, document.problem((*path, "items"), "must be a list")
            return
        for index, item in enumerate(items or ()):
            yield from _objects_at(document, (*path, "items", index), item, kind[: -len("List")])


def parse_object_stream(content: str | bytes, file: str) -> Stream:
    """The documents of `content`: a YAML stream, or JSON objects one after another.

    `kubectl get -o json` twice in a pipe gives the latter, which as YAML would be one bad document.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
    except UnicodeDecodeError:
        return parse_stream(content, file)
    if not text.lstrip().startswith("{"):
        return parse_stream(content, file)
    documents: list[Document] = []
    problems: list[Problem] = []
    for part in _json_parts(text):
        stream = parse_stream(part, file)
        documents += stream.documents
        problems += stream.problems
    return Stream(tuple(documents), tuple(problems))


def _json_parts(text: str) -> Iterator[str]:
    """Each JSON value of `text` on its own line number; what is none comes as it is, at the end."""
    decoder = json.JSONDecoder()
    start, line = 0, 0
    while rest := text[start:].lstrip():
        begin = len(text) - len(rest)
        line += text.count("\n", start, begin)
        try:
            _, end = decoder.raw_decode(text, begin)
        except ValueError:
            end = len(text)
        yield "\n" * line + text[begin:end]
        line += text.count("\n", begin, end)
        start = end

"""The cluster model of Kubernetes objects that an API server has already defaulted and allocated.

    files ──load_objects()──▶ ClusterObjects(nodes, services, endpoint_slices, service_cidrs)

That is what `kubectl get svc,endpointslices,nodes,servicecidrs -A -o yaml` prints: cluster IPs,
node ports and endpoints are in it, so nothing is allocated or selected here. Objects of other
kinds, and fields that kns does not use, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kns.addresses import IPFamily, IPNetwork
from kns.errors import Problem, SpecError
from kns.kinds import endpointslice, node, service, servicecidr
from kns.kinds.api import check_kind, is_own, was_removed
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import Service, ServiceType
from kns.kinds.servicecidr import ServiceCIDR
from kns.labfile.document import Document
from kns.labfile.objects import ObjectPlace, objects_in, parse_object_stream
from kns.labfile.place import Place
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.shape import Form
from kns.labfile.wording import RefusedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The objects that a node's proxy watches, in the order in which they stand in the files."""

    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    service_cidrs: tuple[IPNetwork, ...] = ()
    #: what looks as if nobody had defaulted it, or as if it stood for something else
    warnings: tuple[Problem, ...] = ()


def load_objects(files: Iterable[tuple[str, str | bytes]]) -> ClusterObjects:
    """The objects in `files`, pairs of a name and the content. SpecError with every problem."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file, content in files:
        stream = parse_object_stream(content, file)
        documents += stream.documents
        problems += stream.problems
    objects, found = read_objects(documents)
    problems += found
    if problems:
        raise SpecError(tuple(problems))
    return objects


def read_objects(documents: Iterable[Document]) -> tuple[ClusterObjects, tuple[Problem, ...]]:
    """The Services, EndpointSlices, Nodes and ServiceCIDRs in `documents`, and every error in them.

    An object that comes twice counts as it comes last, as if both had been applied in turn.
    """
    problems: list[Problem] = []
    found = _Found()
    for document in documents:
        objects, wrong = objects_in(document)
        problems += wrong
        for item in objects:
            problems += check_kind(item) if item.api_version else ()
            if is_own(item) and not was_removed(item):
                _collect(item, found, problems)
    warnings = [*found.warnings, *_not_watched(found.old, found.slices.values())]
    result = ClusterObjects(
        tuple(found.nodes.values()),
        tuple(found.services.values()),
        tuple(found.slices.values()),
        tuple(cidr for each in found.cidrs.values() for cidr in each.cidrs),
        tuple(sorted(warnings)),
    )
    return result, tuple(sorted(problems))


@dataclass(frozen=True, slots=True)
class _Found:
    """The objects of each kind by their name."""

    services: dict[str, Service] = field(default_factory=dict)
    slices: dict[tuple[str, str], EndpointSlice] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    cidrs: dict[str, ServiceCIDR] = field(default_factory=dict)
    #: Endpoints, which kube-proxy does not watch
    old: list[ObjectPlace] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def _collect(item: ObjectPlace, found: _Found, problems: list[Problem]) -> None:
    match item.kind:
        case "Service":
            for made in _read(item, service.FORM, problems):
                found.services[made.full_name] = _with_families(made)
                found.warnings.extend(_undefaulted(item, made))
        case "EndpointSlice" if item.data.get("addressType") != "FQDN":
            for part in _read(item, endpointslice.FORM, problems):
                found.slices[part.namespace, part.name] = part
        case "Node":
            for host in _read(item, node.FORM, problems):
                found.nodes[host.name] = host
        case "ServiceCIDR":
            for ranges in _read(item, servicecidr.FORM, problems):
                found.cidrs[ranges.name] = ranges
        case "Endpoints":
            found.old.append(item)
        case _:
            pass


def _read(item: ObjectPlace, form: Form[T], problems: list[Problem]) -> list[T]:
    """The object; nothing, and what is wrong with it in `problems`."""
    reading = Reading(DocumentKind.SERVER)
    made: list[T] = []
    try:
        made.append(form.read(item.data, reading))
    except RefusedError as refused:
        reading.note(refused)
    problems += Place(item.document, item.path).problems(reading.faults)
    return made


def _with_families(made: Service) -> Service:
    """A Service from before dual-stack names no families: they are those of its addresses."""
    families = made.ip_families or tuple(IPFamily.of(ip) for ip in made.cluster_ips)
    return replace(made, ip_families=families)


def _undefaulted(item: ObjectPlace, made: Service) -> list[Problem]:
    """A Service that no API server has given an address is no headless one."""
    if made.cluster_ips or made.without_cluster_ip or made.type is ServiceType.EXTERNAL_NAME:
        return []
    message = f"{made.full_name} has no clusterIP: a manifest rather than kubectl get output?"
    hint = "kube-proxy makes no rule for it; kns up takes manifests, and gives it one"
    place = Place(item.document, item.path)
    return [place.problem(("spec", "clusterIP"), message, hint, warning=True)]


def _not_watched(items: Iterable[ObjectPlace], slices: Iterable[EndpointSlice]) -> list[Problem]:
    """A warning for all Endpoints whose Service has no slice."""
    known = {(item.namespace, item.service) for item in slices}
    for item in items:
        place = Place(item.document, item.path)
        # whatever they are: nobody has checked what is not read
        namespace, name = (place.get("metadata", key) for key in ("namespace", "name"))
        if (str(namespace or "default"), str(name)) not in known:
            message = "Endpoints are not read: kube-proxy watches EndpointSlices"
            hint = "add what `kubectl get endpointslices -o yaml` prints"
            return [place.problem(("kind",), message, hint, warning=True)]
    return []

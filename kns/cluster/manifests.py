"""The cluster model of Kubernetes objects that an API server has already defaulted and allocated.

    files ──load_objects()──▶ ClusterObjects(nodes, services, endpoint_slices)

That is what `kubectl get svc,endpointslices,nodes -o yaml` prints: cluster IPs, node ports and
endpoints are in it, so nothing is allocated or selected here. Objects of other kinds, and fields
that kns does not use, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from kns.addresses import IPFamily
from kns.errors import Problem, SpecError
from kns.kinds import endpointslice, node, service
from kns.kinds.api import check_kind, is_own, was_removed
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.labfile.document import Document
from kns.labfile.objects import ObjectPlace, objects_in, parse_object_stream
from kns.labfile.place import Place
from kns.labfile.reader import Form, Origin, Reading
from kns.labfile.wording import RefusedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The objects that a node's proxy watches, in the order in which they stand in the files."""

    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()


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
    """The Services, EndpointSlices and Nodes in `documents`, and every error in them.

    An object that comes twice counts as it comes last, as if both had been applied in turn.
    """
    problems: list[Problem] = []
    services: dict[str, Service] = {}
    slices: dict[tuple[str, str], EndpointSlice] = {}
    nodes: dict[str, Node] = {}
    for document in documents:
        objects, found = objects_in(document)
        problems += found
        for item in objects:
            problems += check_kind(item) if item.api_version else ()
            match item.kind if is_own(item) and not was_removed(item) else "":
                case "Service":
                    for made in _read(item, service.FORM, problems):
                        services[made.full_name] = _with_families(made)
                case "EndpointSlice" if item.data.get("addressType") != "FQDN":
                    for part in _read(item, endpointslice.FORM, problems):
                        slices[part.namespace, part.name] = part
                case "Node":
                    for host in _read(item, node.FORM, problems):
                        nodes[host.name] = host
                case _:
                    pass
    result = ClusterObjects(tuple(nodes.values()), tuple(services.values()), tuple(slices.values()))
    return result, tuple(sorted(problems))


def _read(item: ObjectPlace, form: Form[T], problems: list[Problem]) -> list[T]:
    """The object; nothing, and what is wrong with it in `problems`."""
    reading = Reading(Origin.SERVER)
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

"""Lab: the document of a lab file that is not Kubernetes' own.

Its lists hold Kubernetes' objects in their short form. An item with errors is told and passed
over, so that one slip hides no other; a wrong option has its default in what is checked further.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from kns.errors import MOST_PROBLEMS, Problem
from kns.kinds import (
    apiserver,
    controllermanager,
    endpointslice,
    faults,
    ingress,
    internet,
    namespace,
    networking,
    networkpolicy,
    node,
    secret,
    service,
    workload,
)
from kns.kinds.apiserver import APIServerOptions
from kns.kinds.controllermanager import ControllerManagerOptions
from kns.kinds.endpoints import Endpoints
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.faults import Faults
from kns.kinds.fields import ANNOTATIONS_FIELD, LABEL_NAME, LABELS_FIELD
from kns.kinds.ingress import Ingress, IngressClass, IngressControllerOptions
from kns.kinds.internet import InternetHost
from kns.kinds.namespace import Namespace
from kns.kinds.networking import LoadBalancerOptions, Networking
from kns.kinds.networkpolicy import NetworkPolicy
from kns.kinds.node import Node
from kns.kinds.secret import TLSSecret
from kns.kinds.service import Service
from kns.kinds.serviceaccount import ServiceAccount
from kns.kinds.workload import Workload
from kns.labfile.document import Document
from kns.labfile.place import Located, Place
from kns.labfile.reader import REQUIRED, Choice, Fault, ListOf, Reading
from kns.labfile.shape import Field, Shape
from kns.labfile.wording import RefusedError, wrong_type

API_VERSION = "kns/v1"


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab."""

    name: str
    nodes: tuple[Node, ...]
    networking: Networking = field(default_factory=Networking)
    load_balancer: LoadBalancerOptions | None = None
    api_server: APIServerOptions | None = None
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    endpoints: tuple[Endpoints, ...] = ()
    #: None: the file says nothing of it, and there is one host
    internet: tuple[InternetHost, ...] | None = None
    ingress_controller: IngressControllerOptions | None = None
    ingresses: tuple[Ingress, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    secrets: tuple[TLSSecret, ...] = ()
    network_policies: tuple[NetworkPolicy, ...] = ()
    service_accounts: tuple[ServiceAccount, ...] = ()
    faults: Faults = field(default_factory=Faults)
    controller_manager: ControllerManagerOptions = field(default_factory=ControllerManagerOptions)
    #: its workloads are the pods that there are, with their nodes, the cluster's own among them
    placed: bool = False
    #: the cluster's own Services that have been made, by full name: one that is no longer among
    #: the lab's was deleted
    made_services: frozenset[str] = frozenset()


_METADATA = Shape(
    lambda name, **_rest: name,
    Field("name", LABEL_NAME, required=True),
    LABELS_FIELD,
    ANNOTATIONS_FIELD,
    title="Metadata",
    doc="The lab's name, which is part of the names of its netns and files.",
)
SHAPE = Shape(
    Lab,
    Field("apiVersion", Choice((API_VERSION,)), required=True),
    Field("kind", Choice(("Lab",)), required=True),
    Field("metadata", _METADATA, required=True),
    Field("networking", networking.SHAPE),
    Field("loadBalancer", networking.BALANCER_SHAPE, default=None),
    Field("apiServer", apiserver.SHAPE, default=None),
    Field("namespaces", ListOf(namespace.SHAPE)),
    Field("nodes", ListOf(node.SHAPE, filled=True), required=True),
    Field("pods", ListOf(workload.SHAPE), default=[]),
    Field("services", ListOf(service.SHAPE)),
    Field("endpointSlices", ListOf(endpointslice.SHAPE)),
    Field("internet", ListOf(internet.SHAPE)),
    Field("ingressController", ingress.CONTROLLER_SHAPE, default=None),
    Field("ingresses", ListOf(ingress.SHAPE)),
    Field("ingressClasses", ListOf(ingress.CLASS_SHAPE)),
    Field("secrets", ListOf(secret.SHAPE)),
    Field("networkPolicies", ListOf(networkpolicy.SHAPE)),
    Field("faults", faults.SHAPE),
    Field("controllerManager", controllermanager.SHAPE),
)
_FIELDS = {field.name: field for field in SHAPE.fields}
#: the fields that hold Kubernetes' objects
OBJECT_LISTS = frozenset({
    "namespaces", "nodes", "pods", "services", "endpointSlices", "ingresses", "ingressClasses",
    "secrets", "networkPolicies",
})  # fmt: skip


@dataclass(slots=True)
class WrittenLab:
    """What could be read of a Lab document: sound items by list, sound options by field."""

    place: Place
    lists: dict[str, list[Located[Any]]]
    options: dict[str, Any]
    problems: list[Problem]
    #: the names of all nodes that the file means to have
    node_names: frozenset[str]
    #: false where a wrong field makes it unclear what the subnets are
    networks_known: bool = True


def read_lab_document(document: Document, *, listed: bool = True) -> WrittenLab:
    """The Lab document as far as it is sound, and every error in it.

    `listed`: whether it holds Kubernetes' objects, or these stand elsewhere.
    """
    data = document.data if isinstance(document.data, dict) else {}
    reading = Reading()
    lists: dict[str, list[Located[Any]]] = {}
    options: dict[str, Any] = {}
    for key, value in takewhile(lambda _item: _goes_on(reading), data.items()):
        known = _FIELDS.get(key)
        before = len(reading.faults)
        try:
            if known is None:
                SHAPE.refuse(key, reading)
            elif value is not None and isinstance(known.type, ListOf):
                lists[key] = list(_items(document, known, value, reading))
            elif value is not None:
                options[key] = known.type.read(value, reading)
        except RefusedError as refused:
            reading.note(refused)
        if known is not None:
            reading.lead(before, key)
    for known in SHAPE.fields:
        if known.name in OBJECT_LISTS and not listed:
            continue
        if known.required and data.get(known.name) is None:
            fault = Fault([known.name], REQUIRED, f"add `{known.name}: …` here")
            reading.faults.append(fault)
    place = Place(document)
    return WrittenLab(
        place,
        lists,
        options,
        place.problems(reading.faults),
        _node_names(data.get("nodes")),
        not any(_moves_networks(fault) for fault in reading.faults),
    )


def _items(
    document: Document, known: Field, value: object, reading: Reading
) -> Iterator[Located[Any]]:
    """The sound items of a list, each with its place."""
    if not isinstance(value, list) or not isinstance(known.type, ListOf):
        raise wrong_type("a list", value)
    if not value and known.required:
        raise RefusedError("Required value: at least one item")
    for index, item in enumerate(value):
        if not _goes_on(reading):
            return
        before = len(reading.faults)
        try:
            made = known.type.item.read(item, reading)
            yield Located(made, Place(document, (known.name, index)))
        except RefusedError as refused:
            reading.note(refused)
        reading.lead(before, index)


def _goes_on(reading: Reading) -> bool:
    return len(reading.faults) < MOST_PROBLEMS


def _node_names(nodes: object) -> frozenset[str]:
    """The names of all nodes that are written, sound or not."""
    items = nodes if isinstance(nodes, list) else []
    names = [item.get("name") for item in items if isinstance(item, dict)]
    return frozenset(name for name in names if isinstance(name, str))


def _moves_networks(fault: Fault) -> bool:
    """Whether it leaves open what the subnets are."""
    path = fault.path
    if path[0] != "networking" or fault.key:
        return False
    return len(path) < 2 or path[1] not in networking.OPTIONS

"""The objects of a lab with their places, for the checks that compare them."""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.errors import Problem
from kns.kinds.config import Config
from kns.kinds.endpoints import Endpoints
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.ingress import Ingress, IngressClass
from kns.kinds.internet import InternetHost
from kns.kinds.lab import Lab
from kns.kinds.namespace import Namespace
from kns.kinds.networkpolicy import NetworkPolicy
from kns.kinds.node import Node
from kns.kinds.secret import TLSSecret
from kns.kinds.service import Service
from kns.kinds.serviceaccount import ServiceAccount
from kns.kinds.workload import Workload
from kns.labfile.place import Located, Place


@dataclass(frozen=True, slots=True)
class Sources:
    """What could be read of a lab. `lab` holds the same objects, in the same order, without places.

    Objects with errors are left out; `node_names` has the names of all nodes that the file means
    to have; `networks_known` is false where a wrong field makes it unclear what the subnets are.
    """

    lab: Lab
    place: Place
    nodes: tuple[Located[Node], ...]
    workloads: tuple[Located[Workload], ...]
    services: tuple[Located[Service], ...]
    slices: tuple[Located[EndpointSlice], ...]
    endpoints: tuple[Located[Endpoints], ...]
    internet: tuple[Located[InternetHost], ...]
    namespaces: tuple[Located[Namespace], ...]
    ingresses: tuple[Located[Ingress], ...]
    ingress_classes: tuple[Located[IngressClass], ...]
    secrets: tuple[Located[TLSSecret], ...]
    network_policies: tuple[Located[NetworkPolicy], ...]
    node_names: frozenset[str]
    networks_known: bool = True


@dataclass(slots=True)
class Manifests:
    """What the manifests of a file add to its lab."""

    workloads: list[Located[Workload]] = field(default_factory=list)
    services: list[Located[Service]] = field(default_factory=list)
    slices: list[Located[EndpointSlice]] = field(default_factory=list)
    endpoints: list[Located[Endpoints]] = field(default_factory=list)
    ingresses: list[Located[Ingress]] = field(default_factory=list)
    ingress_classes: list[Located[IngressClass]] = field(default_factory=list)
    secrets: list[Located[TLSSecret]] = field(default_factory=list)
    configs: list[Located[Config]] = field(default_factory=list)
    network_policies: list[Located[NetworkPolicy]] = field(default_factory=list)
    namespaces: list[Located[Namespace]] = field(default_factory=list)
    service_accounts: list[Located[ServiceAccount]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

"""Parts of a lab with the place that they were read from, for the checks that compare parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from kns.errors import Problem, Severity
from kns.labfile.document import Document, Path
from kns.labfile.model import (
    EndpointSliceSpec,
    InternetSpec,
    LabSpec,
    NodeSpec,
    PodSpec,
    ServiceSpec,
)
from kns.labfile.model_ingress import IngressClassSpec, IngressSpec, SecretSpec

PartT_co = TypeVar("PartT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a document. `renames` tells where a manifest keeps what the short form has."""

    document: Document
    base: Path = ()
    renames: Mapping[str, Path] = field(default_factory=dict)

    def problem(
        self, path: Path, message: str, hint: str = "", *, warning: bool = False
    ) -> Problem:
        """An error, or a warning, at `path` of this part."""
        written = self.renames.get(str(path[0]), path[:1]) + path[1:] if path else ()
        problem = self.document.problem(self.base + written, message, hint)
        return replace(problem, severity=Severity.WARNING) if warning else problem

    @property
    def line(self) -> int:
        """The line where the part begins."""
        return self.document.mark(self.base)[0]


@dataclass(frozen=True, slots=True)
class Located(Generic[PartT_co]):
    """A part and its place."""

    value: PartT_co
    place: Place


@dataclass(frozen=True, slots=True)
class Sources:
    """What could be read of a lab. `lab` holds the same parts, in the same order, without places.

    Parts with errors are left out; `node_names` has the names of all nodes that the file means to
    have, and `networks_known` is false where a wrong field makes it unclear what the subnets are.
    """

    lab: LabSpec
    place: Place
    nodes: tuple[Located[NodeSpec], ...]
    pods: tuple[Located[PodSpec], ...]
    services: tuple[Located[ServiceSpec], ...]
    slices: tuple[Located[EndpointSliceSpec], ...]
    internet: tuple[Located[InternetSpec], ...]
    node_names: frozenset[str]
    networks_known: bool = True
    ingresses: tuple[Located[IngressSpec], ...] = ()
    ingress_classes: tuple[Located[IngressClassSpec], ...] = ()
    secrets: tuple[Located[SecretSpec], ...] = ()


@dataclass(slots=True)
class Manifests:
    """What the manifests of a file add to its lab."""

    pods: list[Located[PodSpec]] = field(default_factory=list)
    services: list[Located[ServiceSpec]] = field(default_factory=list)
    slices: list[Located[EndpointSliceSpec]] = field(default_factory=list)
    ingresses: list[Located[IngressSpec]] = field(default_factory=list)
    ingress_classes: list[Located[IngressClassSpec]] = field(default_factory=list)
    secrets: list[Located[SecretSpec]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

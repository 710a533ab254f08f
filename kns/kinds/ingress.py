"""The part of the cluster model that Ingress is: objects of networking.k8s.io/v1, TLS Secrets.

`kns.cluster.model.Cluster` holds them; `kns.cluster.ingress` says what they mean together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PathType(StrEnum):
    """`pathType` of a path."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"


@dataclass(frozen=True, slots=True)
class IngressBackend:
    """A Service of the Ingress' namespace and one of its ports, by number or by name."""

    service: str
    port: int | str


@dataclass(frozen=True, slots=True)
class IngressPath:
    """One entry of a rule's `http.paths`."""

    path: str
    path_type: PathType
    backend: IngressBackend


@dataclass(frozen=True, slots=True)
class IngressRule:
    """One entry of `spec.rules`. No `host`: any; no `paths`: the default backend's."""

    host: str = ""
    paths: tuple[IngressPath, ...] = ()


@dataclass(frozen=True, slots=True)
class IngressTLS:
    """One entry of `spec.tls`. No `hosts`: those of the rules."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


@dataclass(frozen=True, slots=True)
class Ingress:
    """An Ingress. `ingress_class` is the name of its class after defaulting, or nothing."""

    namespace: str
    name: str
    ingress_class: str = ""
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class IngressClass:
    """An IngressClass: which controller serves the Ingresses that name it."""

    name: str
    controller: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class TLSSecret:
    """A Secret of type kubernetes.io/tls: both parts as PEM text."""

    namespace: str
    name: str
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IngressController:
    """The Ingress controller of a lab: its pods, by full name, and its Service."""

    ingress_class: str
    pods: tuple[str, ...]
    service: str

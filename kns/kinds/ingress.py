"""Ingress and IngressClass of networking.k8s.io/v1, and what serves them.

`kns.cluster.ingress` says what they mean together. Two things may be written shorter than
Kubernetes has them: a rule's `http.paths` as `paths`, and a backend
`{service: {name: web, port: {number: 80}}}` as `{service: web, port: 80}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kns.kinds.common import Labels, Object, metadata
from kns.kinds.fields import (
    ANNOTATIONS_FIELD,
    ANY_TEXT,
    LABELS_FIELD,
    METADATA_PATHS,
    NAMED,
    NODE_PORT,
    OBJECT_NAME,
    PORT,
    PORT_NAME,
    SERVICE_NAME,
    SUBDOMAIN,
    TARGET_PORT,
    TEXTS,
    in_spec,
)
from kns.kinds.service import ServiceType, TrafficPolicy
from kns.labfile.reader import JSON, AnyMapping, Choice, Either, Integer, ListOf, Mapped
from kns.labfile.shape import Field, Form, Shape

#: the class that the lab's own controller serves, and the name under which classes refer to it
DEFAULT_CLASS = "nginx"
CONTROLLER = "k8s.io/ingress-nginx"
#: ingress-nginx's own names for its namespace, its Deployment and its Service
CONTROLLER_NAMESPACE = "ingress-nginx"
CONTROLLER_NAME = "ingress-nginx-controller"
#: the annotation that was there before `ingressClassName`, and still is in many manifests
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"


class PathType(StrEnum):
    """`pathType` of a path."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"


@dataclass(frozen=True, slots=True)
class IngressBackend:
    """A backend: a Service and its port; `service` may be the name alone, with `port` beside.

    Without `service` it is a resource, which nobody serves here.
    """

    service: str
    port: int | str
    #: as written, for who prints it
    resource: Object | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class IngressPath:
    """One path of a rule."""

    path: str
    path_type: PathType
    backend: IngressBackend


@dataclass(frozen=True, slots=True)
class IngressRule:
    """A rule; `paths` is short for `http.paths`."""

    #: empty: any
    host: str = ""
    #: empty: the default backend's
    paths: tuple[IngressPath, ...] = ()


@dataclass(frozen=True, slots=True)
class IngressTLS:
    """One entry of `tls`; where the Secret isn't in the file, the lab's CA signs a certificate."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


@dataclass(frozen=True, slots=True)
class Ingress:
    """An Ingress: `metadata` and `spec` in one.

    `ingress_class` is its class as written, or by the old annotation; resolved, after defaulting.
    """

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
    controller: str = CONTROLLER
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class IngressController:
    """The Ingress controller of a lab: its pods, by full name, and its Service."""

    ingress_class: str
    pods: tuple[str, ...]
    service: str


@dataclass(frozen=True, slots=True)
class ControllerNodePorts:
    """The node ports of the controller's Service; 0 leaves the choice to the cluster."""

    http: int = 0
    https: int = 0


@dataclass(frozen=True, slots=True)
class ControllerService:
    """The controller's Service; without `type` a LoadBalancer where the lab has one."""

    type: ServiceType | None = None
    external_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    node_ports: ControllerNodePorts = field(default_factory=ControllerNodePorts)


@dataclass(frozen=True, slots=True)
class IngressControllerOptions:
    """The Ingress controller: nginx in pods of the namespace ingress-nginx."""

    replicas: int = 1
    ingress_class: str = DEFAULT_CLASS
    service: ControllerService = field(default_factory=ControllerService)


def implied_class(options: IngressControllerOptions | None, classes: Sequence[IngressClass]) -> str:
    """The class of an Ingress of the Lab document that names none.

    The default one; else that of the lab's controller, unless the file has it, and not as default.
    """
    own = (options or IngressControllerOptions()).ingress_class
    default = next((item.name for item in classes if item.is_default), "")
    return default or ("" if own in {item.name for item in classes} else own)


# -- reading ---------------------------------------------------------------------------------------

Port = int | str


def _backend_port(number: int = 0, name: str = "") -> Port:
    return number or name


def _backend_service(name: str, port: Port = 0) -> IngressBackend:
    return IngressBackend(name, port)


def _backend(
    service: IngressBackend | None = None,
    port: Port = 0,
    resource: Object | None = None,
) -> IngressBackend:
    """A resource, or nothing at all, is a backend without a Service: the checks tell which."""
    if service is None or resource is not None:
        return IngressBackend("", 0, resource)
    return IngressBackend(service.service, service.port or port)


_BACKEND_PORT = Either(
    Shape(
        _backend_port,
        Field("number", PORT, default=None),
        Field("name", PORT_NAME, default=None),
        title="BackendPort",
        doc="`service.port` of a backend: a number or a name.",
    ),
    TARGET_PORT,
)
_BACKEND = Shape(
    _backend,
    Field(
        "service",
        Either(
            Shape(
                _backend_service,
                Field("name", SERVICE_NAME, required=True),
                Field("port", _BACKEND_PORT, default=None),
                title="BackendService",
                doc="`service` of a backend.",
            ),
            Mapped(SERVICE_NAME, lambda name: IngressBackend(name, 0)),
        ),
        default=None,
    ),
    Field("port", _BACKEND_PORT, default=None),
    Field("resource", AnyMapping(), default=None),
    of=IngressBackend,
    title="Backend",
)
_PATH = Shape(
    lambda backend, path="", path_type=PathType.PREFIX: IngressPath(path, path_type, backend),
    Field("path", ANY_TEXT, default=""),
    Field(
        "pathType",
        Choice(PathType),
        default=None,
    ),
    Field("backend", _BACKEND, required=True),
    of=IngressPath,
)
_HTTP = Shape(
    lambda paths=(): paths,
    Field("paths", ListOf(_PATH), default=[]),
    title="HTTPRule",
    doc="`http` of a rule.",
)
_RULE = Shape(
    lambda host="", http=(), paths=(): IngressRule(host, (*paths, *http)),
    Field("host", ANY_TEXT),
    Field("http", _HTTP, default=None),
    Field("paths", ListOf(_PATH)),
    of=IngressRule,
)
_TLS = Shape(IngressTLS, Field("hosts", TEXTS), Field("secretName", SUBDOMAIN, default=None))


def _ingress(
    name: str,
    namespace: str = "default",
    ingress_class_name: str = "",
    annotations: Labels | None = None,
    **rest: Any,
) -> Ingress:
    written = annotations or {}
    return Ingress(
        namespace,
        name,
        ingress_class_name or written.get(CLASS_ANNOTATION, ""),
        annotations=written,
        **rest,
    )


SHAPE = Shape(
    _ingress,
    *NAMED,
    ANNOTATIONS_FIELD,
    Field("ingressClassName", SUBDOMAIN, default=None),
    Field("defaultBackend", _BACKEND, default=None),
    Field("rules", ListOf(_RULE)),
    Field("tls", ListOf(_TLS)),
    of=Ingress,
)
FORM = Form(
    SHAPE, {**METADATA_PATHS, **in_spec("ingressClassName", "defaultBackend", "rules", "tls")}
)


def _class(
    name: str,
    controller: str = CONTROLLER,
    annotations: Mapping[str, str] | None = None,
    labels: Labels | None = None,  # noqa: ARG001 - nothing depends on them
) -> IngressClass:
    return IngressClass(
        name, controller, (annotations or {}).get(DEFAULT_CLASS_ANNOTATION) == "true"
    )


CLASS_SHAPE = Shape(
    _class,
    Field("name", OBJECT_NAME, required=True),
    LABELS_FIELD,
    ANNOTATIONS_FIELD,
    Field("controller", ANY_TEXT),
    of=IngressClass,
    doc="An IngressClass.",
)
CLASS_FORM = Form(CLASS_SHAPE, {**METADATA_PATHS, **in_spec("controller")})

CONTROLLER_SHAPE = Shape(
    IngressControllerOptions,
    Field("replicas", Integer(1, 100)),
    Field("class", SUBDOMAIN, "ingress_class"),
    Field(
        "service",
        Shape(
            ControllerService,
            Field("type", Choice((ServiceType.LOAD_BALANCER, ServiceType.NODE_PORT))),
            Field("externalTrafficPolicy", Choice(TrafficPolicy)),
            Field(
                "nodePorts",
                Shape(ControllerNodePorts, Field("http", NODE_PORT), Field("https", NODE_PORT)),
            ),
        ),
    ),
    title="IngressController",
)


# -- writing ---------------------------------------------------------------------------------------


def write(ingress: Ingress, address: str = "") -> Object:
    """A networking.k8s.io/v1 Ingress, which reads as the same one again.

    `address` is its controller's, or empty.
    """
    spec: Object = {}
    if ingress.ingress_class:
        spec["ingressClassName"] = ingress.ingress_class
    if ingress.default_backend is not None:
        spec["defaultBackend"] = _written_backend(ingress.default_backend)
    if ingress.tls:
        spec["tls"] = [_written_tls(item) for item in ingress.tls]
    if ingress.rules:
        spec["rules"] = [_written_rule(rule) for rule in ingress.rules]
    points: list[JSON] = [{"ip": address}] if address else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(
            ingress.name, ingress.namespace, ingress.labels, annotations=ingress.annotations
        ),
        "spec": spec,
        "status": {"loadBalancer": {"ingress": points} if points else {}},
    }


def write_class(item: IngressClass) -> Object:
    """A networking.k8s.io/v1 IngressClass, which reads as the same one again."""
    default = {DEFAULT_CLASS_ANNOTATION: "true"} if item.is_default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": metadata(item.name, "", {}, annotations=default),
        "spec": {"controller": item.controller},
    }


def _written_rule(rule: IngressRule) -> Object:
    result: Object = {"host": rule.host} if rule.host else {}
    if rule.paths:
        paths: list[JSON] = [
            {
                "path": item.path,
                "pathType": str(item.path_type),
                "backend": _written_backend(item.backend),
            }
            for item in rule.paths
        ]
        result["http"] = {"paths": paths}
    return result


def _written_tls(item: IngressTLS) -> JSON:
    result: Object = {"hosts": list(item.hosts)} if item.hosts else {}
    return {**result, "secretName": item.secret_name} if item.secret_name else result


def _written_backend(backend: IngressBackend) -> Object:
    if backend.resource is not None:
        return {"resource": backend.resource}
    key = "number" if isinstance(backend.port, int) else "name"
    return {"service": {"name": backend.service, "port": {key: backend.port}}}

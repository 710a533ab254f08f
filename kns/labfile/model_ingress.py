"""Ingress, IngressClass and TLS Secrets in the lab file.

The fields are Kubernetes'. Two things may be written shorter: a rule's `http.paths` as `paths`,
and a backend `{service: {name: web, port: {number: 80}}}` as `{service: web, port: 80}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from kns.labfile.fields import (
    Annotations,
    Int,
    LabelName,
    Labels,
    NodePort,
    Port,
    PortName,
    ServiceName,
    Subdomain,
    TargetPort,
    between,
)
from kns.labfile.model_networking import Model

#: the class that the lab's own controller serves, and the name under which classes refer to it
DEFAULT_CLASS = "nginx"
CONTROLLER = "k8s.io/ingress-nginx"
#: ingress-nginx's own names for its namespace, its Deployment and its Service
CONTROLLER_NAMESPACE = "ingress-nginx"
CONTROLLER_NAME = "ingress-nginx-controller"


def _form(value: object) -> str:
    """Which form of a field is written: the mapping that Kubernetes has, or the short one."""
    return "[long]" if isinstance(value, dict | Model) else "[short]"


class BackendPortSpec(Model):
    """`service.port` of a backend: a number or a name."""

    number: Port | None = None
    name: PortName | None = None


BackendPort = Annotated[
    Annotated[BackendPortSpec, Tag("[long]")] | Annotated[TargetPort, Tag("[short]")],
    Discriminator(_form),
]


class BackendServiceSpec(Model):
    """`service` of a backend."""

    name: ServiceName
    port: BackendPort | None = None


class BackendSpec(Model):
    """A backend: a Service and its port; `service` may be the name alone, with `port` beside."""

    service: (
        Annotated[
            Annotated[BackendServiceSpec, Tag("[long]")] | Annotated[ServiceName, Tag("[short]")],
            Discriminator(_form),
        ]
        | None
    ) = None
    port: BackendPort | None = None
    resource: Mapping[str, Any] | None = None


class IngressPathSpec(Model):
    """One path of a rule."""

    path: str = ""
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"] | None = None
    backend: BackendSpec


class HTTPRuleSpec(Model):
    """`http` of a rule."""

    paths: tuple[IngressPathSpec, ...] = ()


class IngressRuleSpec(Model):
    """A rule; `paths` is short for `http.paths`."""

    host: str = ""
    http: HTTPRuleSpec | None = None
    paths: tuple[IngressPathSpec, ...] = ()


class IngressTLSSpec(Model):
    """One entry of `tls`; where the Secret isn't in the file, the lab's CA signs a certificate."""

    hosts: tuple[str, ...] = ()
    secret_name: Subdomain | None = None


class IngressSpec(Model):
    """An Ingress: `metadata` and `spec` in one."""

    name: Subdomain
    namespace: LabelName = "default"
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    ingress_class_name: Subdomain | None = None
    default_backend: BackendSpec | None = None
    rules: tuple[IngressRuleSpec, ...] = ()
    tls: tuple[IngressTLSSpec, ...] = ()


class IngressClassSpec(Model):
    """An IngressClass."""

    name: Subdomain
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    controller: str = CONTROLLER


class SecretSpec(Model):
    """A Secret of type kubernetes.io/tls: `tls.crt` and `tls.key`, in base64 or as they are."""

    name: Subdomain
    namespace: LabelName = "default"
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    type: Literal["kubernetes.io/tls"] = "kubernetes.io/tls"
    data: Mapping[str, str] = Field(default_factory=dict)
    string_data: Mapping[str, str] = Field(default_factory=dict)


class ControllerNodePortsSpec(Model):
    """The node ports of the controller's Service; 0 leaves the choice to the cluster."""

    http: NodePort = 0
    https: NodePort = 0


class ControllerServiceSpec(Model):
    """The controller's Service; without `type` a LoadBalancer where the lab has one."""

    type: Literal["LoadBalancer", "NodePort"] | None = None
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    node_ports: ControllerNodePortsSpec = Field(default_factory=ControllerNodePortsSpec)


class IngressControllerSpec(Model):
    """The Ingress controller: nginx in pods of the namespace ingress-nginx."""

    replicas: Annotated[Int, between(1, 100)] = 1
    ingress_class: Subdomain = Field(DEFAULT_CLASS, alias="class")
    service: ControllerServiceSpec = Field(default_factory=ControllerServiceSpec)

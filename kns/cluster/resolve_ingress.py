"""Ingresses with their classes, the TLS Secrets, and the controller that serves them."""

from __future__ import annotations

from collections.abc import Sequence

from kns.kinds.ingress import (
    Ingress,
    IngressBackend,
    IngressClass,
    IngressController,
    IngressPath,
    IngressRule,
    IngressTLS,
    PathType,
    TLSSecret,
)
from kns.kinds.pod import Pod
from kns.labfile.check_ingress import (
    CLASS_ANNOTATION,
    DEFAULT_CLASS_ANNOTATION,
    backend_of,
    paths_of,
    tls_parts,
)
from kns.labfile.expand import NGINX, ingress_controller
from kns.labfile.model import LabSpec
from kns.labfile.model_ingress import (
    CONTROLLER,
    CONTROLLER_NAME,
    CONTROLLER_NAMESPACE,
    BackendSpec,
    IngressRuleSpec,
    IngressSpec,
)


def resolve_ingresses(spec: LabSpec) -> tuple[Ingress, ...]:
    """The Ingresses in file order, each with the class that it names or gets by default."""
    default = next((item.name for item in resolve_classes(spec) if item.is_default), "")
    return tuple(_ingress(item, default) for item in spec.ingresses)


def _ingress(spec: IngressSpec, default: str) -> Ingress:
    written = spec.ingress_class_name or spec.annotations.get(CLASS_ANNOTATION)
    return Ingress(
        namespace=spec.namespace,
        name=spec.name,
        ingress_class=default if written is None else written,
        default_backend=_backend(spec.default_backend) if spec.default_backend else None,
        rules=tuple(_rule(rule) for rule in spec.rules),
        tls=tuple(IngressTLS(entry.hosts, entry.secret_name or "") for entry in spec.tls),
        labels=spec.labels,
        annotations=spec.annotations,
    )


def _rule(spec: IngressRuleSpec) -> IngressRule:
    """A rule; a path whose backend is no Service is left out, as ingress-nginx does."""
    paths: list[IngressPath] = []
    for item, _ in paths_of(spec):
        backend = _backend(item.backend)
        if backend is not None:
            paths.append(IngressPath(item.path, PathType(item.path_type or "Prefix"), backend))
    return IngressRule(spec.host, tuple(paths))


def _backend(spec: BackendSpec) -> IngressBackend | None:
    found = backend_of(spec)
    return IngressBackend(*found) if found is not None else None


def resolve_classes(spec: LabSpec) -> tuple[IngressClass, ...]:
    """The classes of the file, and that of the lab's own controller.

    The own one is the default unless the file has a default of its own: a lab has one controller,
    and an Ingress that names no class is meant for it.
    """
    written = tuple(
        IngressClass(
            item.name,
            item.controller,
            item.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true",
        )
        for item in spec.ingress_classes
    )
    controller = ingress_controller(spec)
    if controller is None or controller.ingress_class in {item.name for item in written}:
        return written
    is_default = not any(item.is_default for item in written)
    return (*written, IngressClass(controller.ingress_class, CONTROLLER, is_default))


def resolve_controller(spec: LabSpec, pods: Sequence[Pod]) -> IngressController | None:
    """The lab's controller with its pods, if it has one."""
    controller = ingress_controller(spec)
    if controller is None:
        return None
    return IngressController(
        controller.ingress_class,
        tuple(pod.full_name for pod in pods if any(c.component == NGINX for c in pod.containers)),
        f"{CONTROLLER_NAMESPACE}/{CONTROLLER_NAME}",
    )


def resolve_secrets(spec: LabSpec) -> tuple[TLSSecret, ...]:
    """The TLS Secrets, decoded."""
    return tuple(TLSSecret(item.namespace, item.name, *tls_parts(item)) for item in spec.secrets)

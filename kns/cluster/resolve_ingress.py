"""Ingresses with their classes, and the controller that serves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kns.kinds.ingress import (
    CLASS_ANNOTATION,
    CONTROLLER,
    CONTROLLER_NAME,
    CONTROLLER_NAMESPACE,
    Ingress,
    IngressClass,
    IngressController,
    IngressRule,
)
from kns.kinds.lab import Lab
from kns.kinds.placement import NGINX, ingress_controller
from kns.kinds.pod import Pod


def resolve_ingresses(lab: Lab) -> tuple[Ingress, ...]:
    """The Ingresses in file order, each with the class that it names or gets by default."""
    default = next((item.name for item in resolve_classes(lab) if item.is_default), "")
    return tuple(_ingress(item, default) for item in lab.ingresses)


def _ingress(written: Ingress, default: str) -> Ingress:
    named = written.ingress_class or CLASS_ANNOTATION in written.annotations
    backend = written.default_backend
    return replace(
        written,
        ingress_class=written.ingress_class if named else default,
        default_backend=backend if backend and backend.service else None,
        rules=tuple(_rule(rule) for rule in written.rules),
    )


def _rule(rule: IngressRule) -> IngressRule:
    """A rule; a path whose backend is no Service is left out, as ingress-nginx does."""
    return replace(rule, paths=tuple(item for item in rule.paths if item.backend.service))


def resolve_classes(lab: Lab) -> tuple[IngressClass, ...]:
    """The classes of the file, and that of the lab's own controller.

    The own one is no default, as that of ingress-nginx's own manifests is none.
    """
    written = lab.ingress_classes
    controller = ingress_controller(lab)
    if controller is None or controller.ingress_class in {item.name for item in written}:
        return written
    return (*written, IngressClass(controller.ingress_class, CONTROLLER))


def resolve_controller(lab: Lab, pods: Sequence[Pod]) -> IngressController | None:
    """The lab's controller with its pods, if it has one."""
    controller = ingress_controller(lab)
    if controller is None:
        return None
    return IngressController(
        controller.ingress_class,
        tuple(pod.full_name for pod in pods if any(c.component == NGINX for c in pod.containers)),
        f"{CONTROLLER_NAMESPACE}/{CONTROLLER_NAME}",
    )

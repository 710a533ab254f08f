"""Whether a pod may be on a node, asked of objects: kube-scheduler's filters, and what they say."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kns.agent.controllers import meta
from kns.kinds import objects
from kns.kinds.common import Object, Protocol
from kns.kinds.fields import ADDRESS
from kns.kinds.scheduling import (
    AFFINITY,
    TAINT,
    UNSCHEDULABLE_TAINT,
    HostPort,
    Taint,
    Toleration,
    Wishes,
    objection,
)
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.wording import RefusedError

UNSCHEDULABLE = "node(s) were unschedulable"


def taints(node: Object) -> tuple[Taint, ...]:
    """A node's taints."""
    reading = Reading(DocumentKind.SERVER)
    return tuple(TAINT.read(item, reading) for item in objects.mappings(node, "spec", "taints"))


def tolerations(pod: Object) -> tuple[Toleration, ...]:
    """What a pod or a template tolerates."""
    return tuple(map(toleration, objects.mappings(pod, "spec", "tolerations")))


def toleration(written: Object) -> Toleration:
    """One of them; how long it holds is `tolerationSeconds`."""
    return Toleration(
        objects.text(written, "key"),
        objects.text(written, "operator") or "Equal",
        objects.text(written, "value"),
        objects.text(written, "effect"),
    )


def wishes(pod: Object) -> Wishes:
    """What a pod or a template asks of its node; an affinity that can't be read fits none."""
    affinity = objects.mapping(pod, "spec", "affinity")
    try:
        terms = AFFINITY.read(affinity, Reading(DocumentKind.SERVER)) if affinity else None
    except RefusedError:
        terms = ()
    return Wishes(objects.strings(pod, "spec", "nodeSelector"), terms, tolerations(pod))


def node_objection(wanted: Wishes, node: Object) -> str:
    """Why the node is none for such a pod; empty if it is one."""
    cordoned = objects.flag(node, "spec", "unschedulable")
    if cordoned and not any(each.tolerates(UNSCHEDULABLE_TAINT) for each in wanted.tolerations):
        return UNSCHEDULABLE
    return objection(wanted, objects.name_of(node), objects.labels_of(node), taints(node))


def host_ports(pod: Object) -> Iterator[HostPort]:
    """The ports of its node that a pod takes."""
    is_host = objects.flag(pod, "spec", "hostNetwork")
    for container in objects.mappings(pod, "spec", "containers"):
        for port in objects.mappings(container, "ports"):
            number = objects.number(port, "hostPort")
            if is_host:
                number = number or objects.number(port, "containerPort")
            if number:
                protocol = Protocol(objects.text(port, "protocol") or "TCP")
                address = objects.text(port, "hostIP")
                yield HostPort(
                    number,
                    protocol,
                    ADDRESS.read(address, Reading(DocumentKind.SERVER)) if address else None,
                )


def pods_held(node: Object) -> float:
    """How many pods the node holds: its allocatable `pods`; no limit until its kubelet tells."""
    written = objects.text(node, "status", "allocatable", "pods")
    return int(written) if written.isdecimal() else math.inf


def is_going(node: Object) -> bool:
    """Whether the node is being deleted."""
    return meta.is_deleted(node)

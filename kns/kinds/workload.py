"""What makes pods: Deployment, ReplicaSet, StatefulSet, DaemonSet; and a Pod, which is one.

In the Lab document `replicas` makes a pod the template of name-1, name-2, …
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, assert_never

from kns.kinds import names, selector
from kns.kinds.fields import LABELS
from kns.kinds.pod import (
    ALWAYS,
    Container,
    ContainerPort,
    Pod,
    manifest_fields,
    pod,
    pod_fields,
    template_paths,
)
from kns.kinds.selector import LabelSelector
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.reader import Field, Form, Integer, Mapped, Shape, Text


class WorkloadKind(StrEnum):
    """The kinds of objects that pods are made from."""

    POD = "Pod"
    DEPLOYMENT = "Deployment"
    REPLICA_SET = "ReplicaSet"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    REPLICATION_CONTROLLER = "ReplicationController"


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod, or with `replicas` the template of name-1, name-2, …"""

    kind: WorkloadKind
    template: Pod
    replicas: int = 1
    #: as written; it must match the template's labels
    selector: LabelSelector | None = None

    def pods(self, nodes: Sequence[str]) -> tuple[Pod, ...]:
        """Its pods; a DaemonSet has one on each of `nodes`."""
        template = self.template
        match self.kind:
            case WorkloadKind.POD:
                return (template,)
            case WorkloadKind.DAEMON_SET:
                names = [f"{template.name}-{number}" for number in range(1, len(nodes) + 1)]
                pairs = zip(names, nodes, strict=True)
                return tuple(replace(template, name=name, node=node) for name, node in pairs)
            case WorkloadKind.STATEFUL_SET:
                names = [f"{template.name}-{number}" for number in range(self.replicas)]
                return tuple(_stateful(template, name, place) for place, name in enumerate(names))
            case (
                WorkloadKind.DEPLOYMENT
                | WorkloadKind.REPLICA_SET
                | WorkloadKind.REPLICATION_CONTROLLER
            ):
                names = [f"{template.name}-{number}" for number in range(1, self.replicas + 1)]
                return tuple(replace(template, name=name) for name in names)
            case unknown:
                assert_never(unknown)


def _stateful(template: Pod, name: str, place: int) -> Pod:
    """A StatefulSet's pod: its name is its hostname, too, and labels tell its name and place."""
    own = {
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(place),
    }
    return replace(template, name=name, hostname=name, labels={**template.labels, **own})


def written_containers(part: Located[Workload]) -> Iterator[tuple[Container, Path]]:
    """Each container of the template with the path at which it is written."""
    containers = part.value.template.containers
    inits = part.place.get("initContainers")
    sidecars = [
        index
        for index, item in enumerate(inits if isinstance(inits, list) else ())
        if isinstance(item, dict) and item.get("restartPolicy") == ALWAYS
    ]
    first = len(containers) - len(sidecars)
    for index, container in enumerate(containers):
        if index < first:
            yield container, ("containers", index)
        else:
            yield container, ("initContainers", sidecars[index - first])


def written_ports(
    container: Container, place: Place, base: Path
) -> Iterator[tuple[ContainerPort, Path]]:
    """A container's ports, each with its path: `port` or `ports[0]`."""
    single = place.has(*base, "port")
    for number, port in enumerate(container.ports):
        path: Path = (*base, "ports", number - single)
        if single and number == 0:
            yield port, (*base, "port")
        elif port.port:
            yield port, path


# -- reading ---------------------------------------------------------------------------------------

_REPLICAS = Integer(0, 10_000)


def _subdomain_objection(value: str) -> str:
    """A StatefulSet's `serviceName` is checked as what it becomes: its pods' `subdomain`."""
    return names.label_objection(value) if value else ""


def _short(replicas: int | None = None, **fields: Any) -> Workload:
    if replicas is None:
        return Workload(WorkloadKind.POD, pod(**fields))
    return Workload(WorkloadKind.DEPLOYMENT, pod(**fields), replicas)


def _manifest(
    kind: WorkloadKind,
    replicas: int = 1,
    service_name: str = "",
    selector: LabelSelector | None = None,
    **fields: Any,
) -> Workload:
    template = pod(**fields)
    if kind is WorkloadKind.STATEFUL_SET and service_name:
        template = replace(template, subdomain=service_name)
    return Workload(kind, template, replicas, selector)


#: a ReplicationController's selector, from before there were expressions
_MATCH_LABELS = Mapped(LABELS, LabelSelector)
SHAPE = Shape(
    _short,
    *pod_fields(Field("replicas", _REPLICAS, default=None)),
    of=Pod,
    doc=Workload.__doc__ or "",
)


@cache
def form(kind: WorkloadKind) -> Form[Workload]:
    """How a manifest of that kind is read."""
    if kind is WorkloadKind.POD:
        return Form(Shape(_manifest, *manifest_fields(), of=Workload), template_paths(()))
    old = kind is WorkloadKind.REPLICATION_CONTROLLER
    more: tuple[Field, ...] = (Field("selector", _MATCH_LABELS if old else selector.SHAPE),)
    if kind is not WorkloadKind.DAEMON_SET:
        more += (Field("replicas", _REPLICAS, default=1),)
    if kind is WorkloadKind.STATEFUL_SET:
        more += (Field("serviceName", Text(_subdomain_objection), default=""),)
    paths = template_paths(("spec", "template"))
    paths |= {field.name: ("spec", field.name) for field in more}
    return Form(Shape(_manifest, *manifest_fields(*more), of=Workload), paths)

"""What makes pods: Deployment, ReplicaSet, StatefulSet, DaemonSet; and a Pod, which is one.

In the Lab document `replicas` makes a pod the template of name-1, name-2, …
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, assert_never

from kns.addresses import IPAddress
from kns.kinds import names, selector
from kns.kinds.common import safe_encoded
from kns.kinds.fields import ADDRESS, ANY_TEXT, LABELS, SECONDS
from kns.kinds.marks import SERVING
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
from kns.labfile.reader import Choice, Integer, ListOf, Mapped, Parsed, Text
from kns.labfile.shape import Field, Form, Shape
from kns.labfile.wording import RefusedError


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
    #: the number of a StatefulSet's first pod
    start: int = 0
    #: how long a pod is ready before it counts as available
    min_ready_seconds: int = 0

    @property
    def revision(self) -> str:
        """What tells its template from others, in the label of its pods' controller."""
        return _hash(self.template)

    def pods(self, nodes: Sequence[str]) -> tuple[Pod, ...]:
        """Its pods; a DaemonSet has one on each of `nodes`."""
        template = self.template
        match self.kind:
            case WorkloadKind.POD:
                return (template,) if self.replicas else ()
            case WorkloadKind.DAEMON_SET:
                template = _labelled(template, "controller-revision-hash", _hash(template))
                names = [f"{template.name}-{number}" for number in range(1, len(nodes) + 1)]
                pairs = zip(names, nodes, strict=True)
                return tuple(replace(template, name=name, node=node) for name, node in pairs)
            case WorkloadKind.STATEFUL_SET:
                revision = f"{template.name}-{_hash(template)}"
                template = _labelled(template, "controller-revision-hash", revision)
                places = range(self.start, self.start + self.replicas)
                return tuple(_stateful(template, place) for place in places)
            case (
                WorkloadKind.DEPLOYMENT
                | WorkloadKind.REPLICA_SET
                | WorkloadKind.REPLICATION_CONTROLLER
            ):
                if self.kind is WorkloadKind.DEPLOYMENT:
                    template = _labelled(template, "pod-template-hash", _hash(template))
                names = [f"{template.name}-{number}" for number in range(1, self.replicas + 1)]
                return tuple(replace(template, name=name) for name in names)
            case unknown:
                assert_never(unknown)


def _labelled(template: Pod, key: str, value: str) -> Pod:
    """The template with a label of its controller's; one that is written stays."""
    return replace(template, labels={key: value, **template.labels})


def _hash(template: Pod) -> str:
    """What tells the revisions of a template apart: 32 bits, as rand.SafeEncodeString writes them.

    The controller hashes its own memory's form of the template; here it is kns', so that the same
    template has the same hash, and another one another.
    """
    text = repr((sorted(template.labels.items()), template.containers, template.host_network))
    return safe_encoded(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]))


def _stateful(template: Pod, place: int) -> Pod:
    """A StatefulSet's pod: its name is its hostname, too, and labels tell its name and place."""
    name = f"{template.name}-{place}"
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


def _short(
    replicas: int | None = None, min_ready_seconds: int | None = None, **fields: Any
) -> Workload:
    if replicas is None:
        if min_ready_seconds is not None:
            raise RefusedError("Forbidden: minReadySeconds may not be set without replicas")
        return Workload(WorkloadKind.POD, pod(**fields))
    made = Workload(WorkloadKind.DEPLOYMENT, pod(**fields), replicas)
    return replace(made, min_ready_seconds=min_ready_seconds or 0)


def _manifest(
    kind: WorkloadKind,
    replicas: int = 1,
    service_name: str = "",
    selector: LabelSelector | None = None,
    start: int = 0,
    min_ready_seconds: int = 0,
    **fields: Any,
) -> Workload:
    # what the controllers read of the object themselves
    fields.pop("strategy", None)
    template = pod(**fields)
    if kind is WorkloadKind.STATEFUL_SET and service_name:
        template = replace(template, subdomain=service_name)
    return Workload(kind, template, replicas, selector, start, min_ready_seconds)


def _pod_object(
    phase: str = "",
    conditions: tuple[tuple[str, str], ...] = (),
    deleted: str = "",
    pod_ips: tuple[IPAddress, ...] = (),
    **fields: Any,
) -> Workload:
    """A Pod, perhaps as a server printed it: not ready, on its way out, or at its end.

    One that its file has serving while it is not ready keeps so, whatever a kubelet reports.
    """
    template = _manifest(**fields).template
    if dict(conditions).get("Ready", "True") != "True":
        serves = template.serving and SERVING in fields.get("annotations", {})
        template = replace(template, ready=False, serving=serves)
    if deleted:
        template = replace(template, terminating=True)
    template = replace(template, addresses=pod_ips)
    return Workload(WorkloadKind.POD, template, 0 if phase in ENDED else 1)


#: a pod in one of these phases runs nothing any more (podutil.IsPodTerminal)
ENDED = ("Succeeded", "Failed")
_CONDITION = Shape(
    lambda type, status, **_rest: (type, status),  # noqa: A006 - the field's name
    Field("type", ANY_TEXT, required=True),
    Field("status", ANY_TEXT, required=True),
    title="PodCondition",
)
_POD_IP = Shape(lambda ip: ip, Field("ip", ADDRESS, required=True), title="PodIP")
_ORDINALS = Shape(
    lambda start=0: start, Field("start", Integer(0, 2**31 - 1)), title="StatefulSetOrdinals"
)


def _int_or_percent(value: object) -> int | str:
    """A number of pods, or a percentage of them (ValidatePositiveIntOrPercent)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise RefusedError.invalid(value, "must be greater than or equal to 0")
        return value
    if isinstance(value, str) and re.fullmatch(_PERCENT, value):
        return value
    raise RefusedError.invalid(
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or "
        f"'93%', regex used for validation is '{_PERCENT}')",
    )


_PERCENT = "[0-9]+%"
_INT_OR_PERCENT = Parsed(
    _int_or_percent,
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_PERCENT}$"}]},
)
_ROLLING_UPDATE = Shape(
    lambda **_read: None,
    Field("maxSurge", _INT_OR_PERCENT),
    Field("maxUnavailable", _INT_OR_PERCENT),
    Field("partition", Integer(0, 2**31 - 1)),
    title="RollingUpdate",
)


def _strategy(field: str, *types: str) -> Field:
    """How its pods are replaced by others."""
    shape = Shape(
        lambda **_read: None,
        Field("type", Choice(types), zero=True),
        Field("rollingUpdate", _ROLLING_UPDATE),
        title="Strategy",
    )
    return Field(field, shape, "strategy")


_STRATEGIES = {
    WorkloadKind.DEPLOYMENT: _strategy("strategy", "Recreate", "RollingUpdate"),
    WorkloadKind.DAEMON_SET: _strategy("updateStrategy", "OnDelete", "RollingUpdate"),
    WorkloadKind.STATEFUL_SET: _strategy("updateStrategy", "OnDelete", "RollingUpdate"),
}
#: what a Pod has that no template has
_OBSERVED: dict[str, tuple[Field, Path]] = {
    "phase": (Field("phase", ANY_TEXT, zero=True), ("status", "phase")),
    "conditions": (Field("conditions", ListOf(_CONDITION)), ("status", "conditions")),
    "podIPs": (Field("podIPs", ListOf(_POD_IP)), ("status", "podIPs")),
    "deletionTimestamp": (
        Field("deletionTimestamp", ANY_TEXT, "deleted", zero=True),
        ("metadata", "deletionTimestamp"),
    ),
}


#: a ReplicationController's selector, from before there were expressions
_MATCH_LABELS = Mapped(LABELS, LabelSelector)
SHAPE = Shape(
    _short,
    *pod_fields(
        Field("replicas", _REPLICAS, default=None),
        Field("minReadySeconds", SECONDS, default=None),
    ),
    of=Pod,
    doc=Workload.__doc__ or "",
)


@cache
def form(kind: WorkloadKind) -> Form[Workload]:
    """How a manifest of that kind is read."""
    if kind is WorkloadKind.POD:
        observed = {name: path for name, (_, path) in _OBSERVED.items()}
        fields = (field for field, _ in _OBSERVED.values())
        shape = Shape(_pod_object, *manifest_fields(*fields), of=Workload)
        return Form(shape, {**template_paths(()), **observed})
    old = kind is WorkloadKind.REPLICATION_CONTROLLER
    more: tuple[Field, ...] = (Field("selector", _MATCH_LABELS if old else selector.SHAPE),)
    more += (Field("minReadySeconds", SECONDS),)
    if kind is not WorkloadKind.DAEMON_SET:
        more += (Field("replicas", _REPLICAS, default=1),)
    if kind is WorkloadKind.STATEFUL_SET:
        more += (
            Field("serviceName", Text(_subdomain_objection), default=""),
            Field("ordinals", _ORDINALS, "start"),
        )
    if kind in _STRATEGIES:
        more += (_STRATEGIES[kind],)
    paths = template_paths(("spec", "template"))
    paths |= {field.name: ("spec", field.name) for field in more}
    return Form(Shape(_manifest, *manifest_fields(*more), of=Workload), paths)

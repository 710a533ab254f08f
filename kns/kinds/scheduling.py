"""What a pod asks of its node, and whether a node has it: kube-scheduler's filters.

    taints and tolerations    NoSchedule and NoExecute
    nodeSelector, required    by the node's labels and name
      node affinity
    host ports                none that another pod of the node has
    room                      no more pods than the node's allocatable `pods`

Source: pkg/scheduler/framework/plugins: tainttoleration, nodeaffinity, nodeports, noderesources;
their reasons are given in their words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from kns.addresses import IPAddress
from kns.kinds.common import Labels, Protocol
from kns.kinds.fields import ANY_TEXT, LABEL_VALUE, QUALIFIED_NAME, TEXTS
from kns.labfile.reader import AnyMapping, Choice, ListOf, Parsed
from kns.labfile.shape import Field, Shape


class NodeOperator(StrEnum):
    """How a requirement's key and values relate."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


@dataclass(frozen=True, slots=True)
class NodeRequirement:
    """What a node's label (or with `matchFields` its name) must be."""

    key: str
    operator: NodeOperator
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """True if a node with these labels fulfils it."""
        value = labels.get(self.key)
        match self.operator:
            case NodeOperator.IN:
                return value in self.values
            case NodeOperator.NOT_IN:
                return value not in self.values
            case NodeOperator.EXISTS:
                return value is not None
            case NodeOperator.DOES_NOT_EXIST:
                return value is None
            case NodeOperator.GT | NodeOperator.LT:
                return self._compares(value)
            case unknown:
                assert_never(unknown)

    def _compares(self, value: str | None) -> bool:
        try:
            number, bound = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return number > bound if self.operator is NodeOperator.GT else number < bound


@dataclass(frozen=True, slots=True)
class NodeSelectorTerm:
    """Requirements that a node must fulfil together; a term without any fits no node."""

    match_expressions: tuple[NodeRequirement, ...] = ()
    match_fields: tuple[NodeRequirement, ...] = ()

    def matches(self, name: str, labels: Labels) -> bool:
        """True if the node fulfils all of them."""
        if not self.match_expressions and not self.match_fields:
            return False
        fields = {"metadata.name": name}
        return all(item.matches(labels) for item in self.match_expressions) and all(
            item.matches(fields) for item in self.match_fields
        )


class TaintEffect(StrEnum):
    """What a taint does to pods that don't tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node."""

    key: str
    effect: TaintEffect
    value: str = ""


#: what a cordoned node has, besides `spec.unschedulable`
UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", TaintEffect.NO_SCHEDULE)
#: what a node has of which nothing is heard, or nothing good
NOT_READY_TAINTS = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})


@dataclass(frozen=True, slots=True)
class Toleration:
    """What a pod tolerates; without a key and with `Exists` everything."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        """True if a pod with it may be on a node with the taint (ToleratesTaint)."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of its node that a pod takes, on one of its addresses or on all."""

    port: int
    protocol: Protocol
    address: IPAddress | None = None

    def clashes(self, other: HostPort) -> bool:
        """True if not both can be on one node (HostPortInfo.CheckConflict)."""
        if (self.port, self.protocol) != (other.port, other.protocol):
            return False
        return self.address is None or other.address is None or self.address == other.address


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a pod asks of its node."""

    node_selector: Labels
    node_affinity: tuple[NodeSelectorTerm, ...] | None
    tolerations: tuple[Toleration, ...]


#: what kubelet says of its machine by labels; a lab's nodes are Linux, of any architecture
MACHINE_LABELS = {
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": "amd64",
    "beta.kubernetes.io/os": "linux",
    "beta.kubernetes.io/arch": "amd64",
}
NO_MATCH = "node(s) didn't match Pod's node affinity/selector"
NO_FREE_PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"


def objection(wishes: Wishes, name: str, labels: Labels, taints: Iterable[Taint]) -> str:
    """Why the node is none for such a pod; empty if it is one."""
    for taint in taints:
        if taint.effect is TaintEffect.PREFER_NO_SCHEDULE:
            continue
        if not any(toleration.tolerates(taint) for toleration in wishes.tolerations):
            return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    if not wishes.node_selector and wishes.node_affinity is None:
        return ""
    own = {**MACHINE_LABELS, "kubernetes.io/hostname": name, **labels}
    if any(own.get(key) != value for key, value in wishes.node_selector.items()):
        return NO_MATCH
    terms = wishes.node_affinity
    if terms is not None and not any(term.matches(name, own) for term in terms):
        return NO_MATCH
    return ""


def port_objection(ports: Iterable[HostPort], taken: Collection[HostPort]) -> str:
    """Why the node has no room for these ports; empty if it has."""
    if any(port.clashes(other) for port in ports for other in taken):
        return NO_FREE_PORTS
    return ""


def unavailable(reasons: Collection[str]) -> str:
    """What kube-scheduler says of a pod for which no node will do (FitError)."""
    counts = Counter(reasons)
    parts = sorted(f"{count} {reason}" for reason, count in counts.items())
    return f"0/{len(reasons)} nodes are available: {', '.join(parts)}"


# -- reading ---------------------------------------------------------------------------------------

_REQUIREMENT = Shape(
    NodeRequirement,
    Field("key", QUALIFIED_NAME, required=True),
    Field("operator", Choice(NodeOperator), required=True),
    Field("values", TEXTS),
    title="NodeSelectorRequirement",
)
_TERM = Shape(
    NodeSelectorTerm,
    Field("matchExpressions", ListOf(_REQUIREMENT)),
    Field("matchFields", ListOf(_REQUIREMENT)),
)
_NODE_SELECTOR = Shape(
    lambda node_selector_terms: node_selector_terms,
    Field("nodeSelectorTerms", ListOf(_TERM, filled=True), required=True),
    title="NodeSelector",
    doc="Nodes that match any of the terms.",
)
_NODE_AFFINITY = Shape(
    lambda required=None, **_rest: required,
    Field(
        "requiredDuringSchedulingIgnoredDuringExecution", _NODE_SELECTOR, "required", default=None
    ),
    Field("preferredDuringSchedulingIgnoredDuringExecution", ListOf(AnyMapping()), default=[]),
    title="NodeAffinity",
    doc="On which nodes a pod may be.",
)
AFFINITY = Shape(
    lambda node_affinity=None, **_rest: node_affinity,
    Field("nodeAffinity", _NODE_AFFINITY),
    Field("podAffinity", AnyMapping(), default=None),
    Field("podAntiAffinity", AnyMapping(), default=None),
    title="Affinity",
    doc="What decides a pod's node besides `nodeSelector`: of it the required node affinity.",
)
TAINT = Shape(
    Taint,
    Field("key", QUALIFIED_NAME, required=True),
    Field("value", LABEL_VALUE),
    Field("effect", Choice(TaintEffect), required=True),
)
_SECONDS = Parsed(lambda value: value, {"type": "integer"})
TOLERATION = Shape(
    lambda toleration_seconds=None, **rest: Toleration(**rest),  # noqa: ARG005
    Field("key", ANY_TEXT),
    Field("operator", Choice(("Equal", "Exists")), zero=True),
    Field("value", ANY_TEXT),
    Field("effect", Choice(TaintEffect), zero=True),
    Field("tolerationSeconds", _SECONDS, default=None),
    of=Toleration,
)

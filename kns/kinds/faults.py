"""Faults of a lab: what its Lab document has broken on purpose. Kubernetes has no such kind.

The ends of a fault are named as on the command line: `pod1`, `namespace/pod1`, `node1`, `pod/x`,
`node/x`. No pod of `default` bears a node's name: both would be one netns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kns.kinds import names
from kns.labfile.reader import Field, ListOf, Parsed, Reading, Shape
from kns.labfile.wording import RefusedError


class FaultEndKind(StrEnum):
    """What an end can be."""

    POD = "pod"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class FaultEnd:
    """An end of a fault by name. No `kind`: whichever bears the name."""

    name: str
    kind: FaultEndKind | None = None
    namespace: str = "default"

    def __str__(self) -> str:
        kind = f"{self.kind}/" if self.kind else ""
        namespace = f"{self.namespace}/" if self.namespace != "default" else ""
        return f"{kind}{namespace}{self.name}"


@dataclass(frozen=True, slots=True)
class Faults:
    """What is broken on purpose.

    Links that are down, as if somebody had pulled the cable; pods that are not ready, whatever
    their probes say.
    """

    links_down: tuple[FaultEnd, ...] = ()
    unready: tuple[FaultEnd, ...] = ()

    def to_document(self) -> dict[str, object]:
        """What the Lab document's `faults` would have to be; only what there is."""
        written: dict[str, object] = {
            "linksDown": [str(item) for item in self.links_down],
            "unready": [str(item) for item in self.unready],
        }
        return {key: value for key, value in written.items() if value}


# -- reading ---------------------------------------------------------------------------------------

_KINDS = {str(kind): kind for kind in FaultEndKind}


def end(value: object) -> FaultEnd:
    """The end that a text names. RefusedError if it can be no name."""
    if not isinstance(value, str):
        raise RefusedError.invalid(value, "must be a string")
    first, slash, rest = value.partition("/")
    kind = _KINDS.get(first) if slash else None
    namespace, _, name = (rest if kind else value).rpartition("/")
    objection = names.subdomain_objection(name)
    if not objection and namespace:
        objection = names.label_objection(namespace)
    if objection:
        hint = "name a pod, namespace/pod or a node; or pod/x, node/x"
        raise RefusedError.invalid(value, objection, hint)
    return FaultEnd(name, kind, namespace or "default")


_END = Parsed(end, {"type": "string", "examples": ["pod1", "kube-system/coredns-1", "node/node1"]})
SHAPE = Shape(
    Faults,
    Field("linksDown", ListOf(_END)),
    Field("unready", ListOf(_END)),
    doc="What is broken on purpose. `linksDown`: pods and nodes whose cable is pulled: their eth0"
    " has no carrier. `unready`: pods that are not ready, whatever their probes say.",
)


def read_faults(document: object) -> Faults:
    """The faults that `Faults.to_document` wrote. RefusedError if it is something else."""
    return SHAPE.read(document, Reading())

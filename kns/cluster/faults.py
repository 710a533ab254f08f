"""The faults of a lab with their ends found: which pods and nodes they are about. Pure.

An end that is gone (a pod was scaled away) is left out: its fault waits for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from kns.kinds.faults import FaultEnd, FaultEndKind, Faults


@dataclass(frozen=True, slots=True)
class ClusterFaults:
    """What is broken on purpose: as written, and whom it is about. Pods are `namespace/name`."""

    written: Faults = field(default_factory=Faults)
    pods_down: frozenset[str] = frozenset()
    nodes_down: frozenset[str] = frozenset()
    unready: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.written != Faults()


def resolve_faults(faults: Faults, pods: Collection[str], nodes: Collection[str]) -> ClusterFaults:
    """The faults of the pods (by full name) and nodes that there are."""
    return ClusterFaults(
        faults,
        frozenset(name for item in faults.links_down if (name := _pod(item, pods))),
        frozenset(name for item in faults.links_down if (name := _node(item, pods, nodes))),
        frozenset(name for item in faults.unready if (name := _pod(item, pods))),
    )


def _pod(item: FaultEnd, pods: Collection[str]) -> str:
    """The pod that the end names; nothing if it is none."""
    name = f"{item.namespace}/{item.name}"
    return name if item.kind in (FaultEndKind.POD, None) and name in pods else ""


def _node(item: FaultEnd, pods: Collection[str], nodes: Collection[str]) -> str:
    """The node that the end names; nothing if it is none, or a pod."""
    named = item.kind in (FaultEndKind.NODE, None) and item.name in nodes
    return item.name if named and not _pod(item, pods) else ""

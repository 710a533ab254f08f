"""What of a lab is really there: its nodes and pods as the kernel has them, and since when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kns.compile.names import netns_of_node, netns_with
from kns.compile.paths import LabPaths
from kns.engine.labs import RunningLab, agent_pid, lab_netns
from kns.engine.objects import read_objects
from kns.kernel.netns import path_of
from kns.kinds.objects import key_of, mappings, number


@dataclass(frozen=True, slots=True)
class Presence:
    """The nodes and the pods (by full name) whose netns exist.

    `serving` is false while the agent, which serves the containers' ports, is not running.
    """

    nodes: frozenset[str] = frozenset()
    pods: frozenset[str] = frozenset()
    serving: bool = True
    #: seconds since the pod (full name) was made
    ages: Mapping[str, float] = field(default_factory=dict)
    #: seconds since the node was made
    node_ages: Mapping[str, float] = field(default_factory=dict)
    #: how often the containers of a pod (full name) were started again
    restarts: Mapping[str, int] = field(default_factory=dict)

    @property
    def lab_age(self) -> float | None:
        """Seconds since the lab's first node was made; None if there is none."""
        return max(self.node_ages.values(), default=None)


def presence_of(lab: RunningLab, *, restarts: bool) -> Presence:
    """Look for the netns of the lab's nodes and pods; for `restarts` at all its objects, too."""
    there = set(lab_netns(lab.name))
    now = time.time()

    def age(netns: str) -> float:
        # of a netns that is mounted, the inode is as old as the mount
        return max(0.0, now - path_of(netns).stat().st_mtime)

    nodes = {node.name: netns_of_node(lab.name, node.name) for node in lab.cluster.nodes}
    pods = {pod.full_name: netns_with(lab.name, pod) for pod in lab.cluster.pods}
    node_ages = {name: age(netns) for name, netns in nodes.items() if netns in there}
    pod_ages = {name: age(netns) for name, netns in pods.items() if netns in there}
    serving = agent_pid(lab.name) is not None
    counts = _restarts(lab.paths) if serving and restarts else {}
    return Presence(frozenset(node_ages), frozenset(pod_ages), serving, pod_ages, node_ages, counts)


def _restarts(paths: LabPaths) -> dict[str, int]:
    """What kubelet has written of the pods' containers."""
    kept = read_objects(paths)
    return {
        str(key_of(item)): sum(
            number(status, "restartCount")
            for status in mappings(item, "status", "containerStatuses")
        )
        for item in (kept.objects if kept else ())
        if item.get("kind") == "Pod"
    }

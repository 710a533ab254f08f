"""What of a lab is really there: its nodes and pods as the kernel has them, and since when."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kns.compile.names import netns_of_node, netns_with
from kns.compile.paths import LabPaths
from kns.engine.labs import RunningLab, agent_pid, lab_netns
from kns.engine.objects import read_objects
from kns.kernel.netns import path_of
from kns.kinds.common import Object
from kns.kinds.objects import key_of, mappings, number, part
from kns.kinds.pod_columns import pod_ready, pod_status


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
    #: kubectl's STATUS of a pod (full name) of whose containers something is known, or that ends
    statuses: Mapping[str, str] = field(default_factory=dict)
    #: and its READY
    ready: Mapping[str, str] = field(default_factory=dict)

    @property
    def lab_age(self) -> float | None:
        """Seconds since the lab's first node was made; None if there is none."""
        return max(self.node_ages.values(), default=None)


def presence_of(lab: RunningLab, *, containers: bool) -> Presence:
    """Look for the netns of the lab's nodes and pods; for `containers` at all its objects, too."""
    there = _ages(lab.name)
    nodes = {node.name: netns_of_node(lab.name, node.name) for node in lab.cluster.nodes}
    pods = {pod.full_name: netns_with(lab.name, pod) for pod in lab.cluster.pods}
    node_ages = {name: there[netns] for name, netns in nodes.items() if netns in there}
    pod_ages = {name: there[netns] for name, netns in pods.items() if netns in there}
    serving = agent_pid(lab.name) is not None
    objects = _pod_objects(lab.paths) if serving and containers else {}
    return Presence(
        frozenset(node_ages),
        frozenset(pod_ages),
        serving,
        pod_ages,
        node_ages,
        {name: _restarts(item) for name, item in objects.items()},
        {name: pod_status(item) for name, item in objects.items() if _is_known(item)},
        {name: pod_ready(item) for name, item in objects.items() if _has_containers(item)},
    )


def _ages(lab: str) -> dict[str, float]:
    """The seconds since each of the lab's netns was made."""
    now, found = time.time(), dict[str, float]()
    for netns in lab_netns(lab):
        with contextlib.suppress(FileNotFoundError):  # of a pod that has just ended
            # of a netns that is mounted, the inode is as old as the mount
            found[netns] = max(0.0, now - path_of(netns).stat().st_mtime)
    return found


def _pod_objects(paths: LabPaths) -> dict[str, Object]:
    """The pods as the agent has them, with what kubelet has written of them."""
    kept = read_objects(paths)
    pods = (item for item in (kept.objects if kept else ()) if item.get("kind") == "Pod")
    return {str(key_of(item)): item for item in pods}


def _restarts(item: Object) -> int:
    statuses = mappings(item, "status", "containerStatuses")
    return sum(number(status, "restartCount") for status in statuses)


def _is_known(item: Object) -> bool:
    is_ending = part(item, "metadata", "deletionTimestamp") is not None
    return is_ending or _has_containers(item)


def _has_containers(item: Object) -> bool:
    """Whether the kubelet has said something of its containers."""
    return bool(mappings(item, "status", "containerStatuses"))

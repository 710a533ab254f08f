"""What a lab has on the machine, counted: whatever a soak leaves there more than once is a leak."""

from __future__ import annotations

import os
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.model import Cluster
from kns.compile.names import fabric_netns, netns_of_internet, netns_of_node, netns_with
from kns.compile.paths import LabPaths
from kns.engine.labs import agent_pid, lab_netns
from kns.kernel import netns, processes

#: descriptors that may come and go: connections, netns that are being looked at
PASSING_FILES = 24


@dataclass(frozen=True, slots=True)
class Census:
    """Counts at a moment at which nothing happens. `memory` is the agent's, in MB.

    `files` are the lab's without those of its pods, which are unpacked when somebody needs them.
    """

    netns: int
    links: int
    mounts: int
    processes: int
    zombies: int
    files: int
    agent_files: int
    own_files: int
    memory: float
    journal: int

    def __str__(self) -> str:
        return (
            f"{self.netns} netns, {self.links} links, {self.mounts} mounts, {self.files} files,"
            f" {self.processes} processes ({self.zombies} zombies), descriptors: {self.agent_files}"
            f" the agent's, {self.own_files} the soak's; agent {self.memory:.1f} MB,"
            f" journal {self.journal:,} bytes"
        )

    def grown_since(self, before: Census) -> list[str]:
        """What there is more of than there was when the lab was the same."""
        exact = ("netns", "links", "mounts", "processes", "zombies", "files")
        told = [(name, getattr(before, name), getattr(self, name)) for name in exact]
        told = [item for item in told if item[1] != item[2]]
        for name in ("agent_files", "own_files"):
            old, new = getattr(before, name), getattr(self, name)
            if new > old + PASSING_FILES:
                told.append((name, old, new))
        return [f"{name}: {old} → {new}" for name, old, new in told]


def take(lab: str) -> Census:
    """Count what the lab has. It has an agent."""
    paths = LabPaths(lab)
    pid = agent_pid(lab)
    assert pid is not None
    states = Counter(_states())
    names = lab_netns(lab)
    return Census(
        netns=len(names),
        links=sum(netns.call_in(name, lambda: len(socket.if_nameindex())) for name in names),
        mounts=len(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()),
        processes=states.total() - states["Z"],
        zombies=states["Z"],
        files=sum(
            not path.is_dir() for path in paths.folder.rglob("*") if paths.etc not in path.parents
        ),
        agent_files=_count(Path(f"/proc/{pid}/fd")),
        own_files=_count(Path("/proc/self/fd")),
        memory=memory_of(pid),
        journal=paths.objects.stat().st_size,
    )


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def memory_of(pid: int) -> float:
    """Resident memory of a process, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)


def _states() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.append(stat.rpartition(")")[2].split()[0])
    return found


def strange_netns(cluster: Cluster) -> list[str]:
    """The netns that the cluster does not explain, and those that it lacks."""
    lab = cluster.name
    wanted = {fabric_netns(lab)}
    wanted |= {netns_of_node(lab, node.name) for node in cluster.nodes}
    wanted |= {netns_with(lab, pod) for pod in cluster.pods}
    wanted |= {netns_of_internet(lab, host.name) for host in cluster.internet}
    there = set(lab_netns(lab))
    return sorted(wanted ^ there)


def strange_processes(cluster: Cluster, pid: int) -> list[str]:
    """Processes in the lab's netns besides the agent and one for each `command:`."""
    inodes = {found[1] for name in lab_netns(cluster.name) if (found := netns.identity(name))}
    there = [other for other in processes.in_netns(inodes) if other != pid]
    wanted = sum(bool(c.command) for pod in cluster.pods for c in pod.containers)
    if len(there) <= wanted:
        return []
    return [f"{other}: {processes.command_line(other)!r}" for other in there]

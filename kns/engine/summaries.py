"""Every lab of this machine in one line each."""

from __future__ import annotations

from dataclasses import dataclass

from kns.engine.down import known_labs
from kns.engine.labs import agent_pid, lab_netns, running
from kns.errors import KnsError


@dataclass(frozen=True, slots=True)
class LabSummary:
    """One lab of this machine; the numbers are None if its files are gone."""

    name: str
    netns: int
    agent: bool
    nodes: int | None = None
    pods: int | None = None
    services: int | None = None
    proxy_mode: str = ""


def summaries() -> tuple[LabSummary, ...]:
    """Every lab that has left anything on this machine."""
    return tuple(map(_summary, known_labs()))


def _summary(name: str) -> LabSummary:
    netns = len(lab_netns(name))
    agent_runs = agent_pid(name) is not None
    try:
        cluster = running(name).cluster
    except KnsError:
        return LabSummary(name, netns, agent_runs)
    return LabSummary(
        name=name,
        netns=netns,
        agent=agent_runs,
        nodes=len(cluster.nodes),
        pods=len(cluster.pods),
        services=len(cluster.services),
        proxy_mode=str(cluster.network.kube_proxy.mode),
    )

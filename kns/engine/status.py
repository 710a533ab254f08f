"""`status`: one lab's health, and what in the kernel is not as its file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kns.compile.lab import compile_host
from kns.compile.proxy.by_mode import own_rules
from kns.engine import agent
from kns.engine.down import known_labs
from kns.engine.labs import RunningLab, agent_pid, lab_netns, running
from kns.engine.up import change_lines
from kns.errors import KnsError
from kns.kernel.observe import interests, observe
from kns.plan.diff import plan

#: seconds for the agent's account; it asks the load balancers' programs, which takes one at most
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Status:
    """A lab's health. `drift` has a line for each change that `up` would make to mend it."""

    lab: RunningLab
    drift: tuple[str, ...]
    agent_pid: int | None
    agent: dict[str, Any]
    netns: int

    @property
    def healthy(self) -> bool:
        """True if the kernel is as the file says and the agent serves everything."""
        return not self.drift and bool(self.agent.get("ok")) and not self.agent.get("errors")


def status(lab: str | None = None) -> Status:
    """Observe the lab and compare it with its file as `up` last applied it."""
    found = running(lab)
    desired = compile_host(found.cluster)
    present = lab_netns(found.name)
    observation = observe(present, interests(desired, own_rules()))
    ops = plan(desired, observation.state)
    pid = agent_pid(found.name)
    answer: dict[str, Any] = {}
    if pid is not None:
        try:
            answer = agent.order(found.name, "status", patience=PATIENCE)
        except KnsError as error:
            answer = {"ok": False, "error": error.message}
    return Status(found, tuple(change_lines(found.name, ops)), pid, answer, len(present))


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

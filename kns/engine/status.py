"""`status`: one lab's health, and what in the kernel is not as its file says."""

from __future__ import annotations

from dataclasses import dataclass

from kns.compile.lab import compile_lab
from kns.compile.own_rules import own_rules
from kns.engine import agent
from kns.engine.change_lines import change_lines, serving_lines
from kns.engine.labs import NO_AGENT, RunningLab, agent_pid, lab_netns, running
from kns.engine.objects import live_changes
from kns.engine.orders import AgentStatus, GetStatus, Refused
from kns.engine.serving import plan_serving
from kns.errors import KnsError
from kns.kernel.observe import interests, observe
from kns.plan.diff import plan

#: seconds for the agent's account; it asks the load balancers' programs, which takes one at most
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab's health. `drift` has a line for each change that `up` would make to mend it."""

    lab: RunningLab
    drift: tuple[str, ...]
    agent_pid: int | None
    #: None without an agent that answers; then `agent_error` says why, unless there is no agent
    agent: AgentStatus | None
    agent_error: str
    netns: int
    #: what was changed while the lab lives, and is not in its file
    changed: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """True if the kernel is as the file says and the agent serves everything."""
        return not self.drift and self.agent is not None and not self.agent.errors


def status(lab: str | None = None) -> LabStatus:
    """Observe the lab and compare it with its file as `up` last applied it."""
    found = running(lab)
    desired = compile_lab(found.cluster)
    present = lab_netns(found.name)
    observation = observe(present, interests(desired.host, own_rules()))
    ops = plan(desired.host, observation.state)
    pid = agent_pid(found.name)
    answer = None if pid is None else _ask(found.name)
    # without its account there is one thing to tell: that the agent does not answer
    serving = plan_serving(desired, answer) if isinstance(answer, AgentStatus) else ()
    return LabStatus(
        lab=found,
        drift=(*change_lines(found.name, ops), *serving_lines(found.name, serving)),
        agent_pid=pid,
        agent=answer if isinstance(answer, AgentStatus) else None,
        agent_error=answer.error if isinstance(answer, Refused) else "",
        netns=len(present),
        changed=live_changes(found.paths),
    )


def _ask(lab: str) -> AgentStatus | Refused:
    try:
        return agent.order(lab, GetStatus(), AgentStatus, patience=PATIENCE)
    except KnsError as error:
        return Refused(error.message, error.hint)


def drift_of(lab: str) -> tuple[str, ...]:
    """What `up` would do to have the lab as its file says; that the agent is silent comes first."""
    found = status(lab)
    if found.agent_pid is None:
        return (NO_AGENT, *found.drift)
    return (f"agent: {found.agent_error}", *found.drift) if found.agent is None else found.drift

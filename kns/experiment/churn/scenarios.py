"""What happens to a service's pods in each scenario, step by step. Pure.

graceful   a new pod gets traffic once it is ready, an old one serves until its clients have left
abrupt     pods come and go at once: no readiness probe, no preStop hook, no grace period
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kns.experiment.churn.edits import EditedLab


class ChurnScenario(StrEnum):
    """What may happen to the pods of a Service."""

    ROLLING_UPDATE = "rolling-update"
    POD_KILL = "pod-kill"
    NODE_FAIL = "node-fail"
    SCALE = "scale"
    ENDPOINT_FLAP = "endpoint-flap"


class Manner(StrEnum):
    """How pods come and go."""

    GRACEFUL = "graceful"
    ABRUPT = "abrupt"


def short(name: str) -> str:
    """A pod's full name as it is told."""
    return name.removeprefix("default/")


@dataclass(frozen=True, slots=True)
class PodOnNode:
    """A pod behind the service, by its full name, and its node."""

    name: str
    node: str

    @property
    def short(self) -> str:
        """Its name as it is told."""
        return short(self.name)


@dataclass(frozen=True, slots=True)
class LabStep:
    """What happens, and what the lab is then."""

    text: str
    lab: EditedLab


def steps(
    scenario: ChurnScenario,
    lab: EditedLab,
    pods: Sequence[PodOnNode],
    style: Manner = Manner.GRACEFUL,
) -> Iterator[LabStep]:
    """The steps of the scenario for the pods of a service, of which there is at least one."""
    return _SCENARIOS[scenario](lab, pods, style)


def _rolling_update(lab: EditedLab, pods: Sequence[PodOnNode], style: Manner) -> Iterator[LabStep]:
    """One after the other is replaced (maxSurge 1, maxUnavailable 0)."""
    for pod in pods:
        lab, (new,) = lab.with_copies([pod.name])
        if style is Manner.ABRUPT:
            lab = lab.without({pod.name})
            yield LabStep(f"{pod.short} is replaced by {short(new)}", lab)
            continue
        lab = lab.unready({new})
        yield LabStep(f"{short(new)} is made, not ready yet", lab)
        lab = lab.ready({new})
        yield LabStep(f"{short(new)} is ready", lab)
        lab = lab.terminating({pod.name})
        yield LabStep(f"{pod.short} terminates, and still serves", lab)
        lab = lab.without({pod.name})
        yield LabStep(f"{pod.short} is gone", lab)


def _pod_kill(lab: EditedLab, pods: Sequence[PodOnNode], style: Manner) -> Iterator[LabStep]:
    """The first one goes without a word, and its workload makes another."""
    dead = pods[0]
    lab, (new,) = lab.with_copies([dead.name])
    lab = lab.without({dead.name})
    if style is Manner.ABRUPT:
        yield LabStep(f"{dead.short} is killed, {short(new)} takes its place", lab)
        return
    yield LabStep(f"{dead.short} is killed, {short(new)} is made", lab.unready({new}))
    yield LabStep(f"{short(new)} is ready", lab)


def _node_fail(lab: EditedLab, pods: Sequence[PodOnNode], _style: Manner) -> Iterator[LabStep]:
    """The first one's node loses its network; the control plane takes note, and it comes back."""
    node = pods[0].node
    there = {pod.name for pod in pods if pod.node == node}
    names = ", ".join(sorted(map(short, there)))
    yield LabStep(f"{node} fails, and nobody knows yet", lab.with_node_down(node))
    unready = lab.unready(there)
    yield LabStep(f"{node} is found not ready: without {names}", unready.with_node_down(node))
    yield LabStep(f"{node} is back", unready)
    yield LabStep(f"{names} ready again", lab)


def _scale(lab: EditedLab, pods: Sequence[PodOnNode], style: Manner) -> Iterator[LabStep]:
    """Twice as many, then as many as before: the new ones go first."""
    more, made = lab.with_copies([pod.name for pod in pods])
    counts = f"{len(pods)} → {len(pods) + len(made)}"
    back = f"{len(pods) + len(made)} → {len(pods)}"
    new = set(made)
    if style is Manner.ABRUPT:
        yield LabStep(f"scale {counts}", more)
        yield LabStep(f"scale {back}", lab)
        return
    yield LabStep(f"scale {counts}: the new ones are not ready yet", more.unready(new))
    yield LabStep(f"scale {counts}: they are ready", more)
    yield LabStep(f"scale {back}: they terminate, and still serve", more.terminating(new))
    yield LabStep(f"scale {back}: they are gone", lab)


def _endpoint_flap(lab: EditedLab, pods: Sequence[PodOnNode], _style: Manner) -> Iterator[LabStep]:
    """The first one's readiness probe fails and succeeds again, three times."""
    name = pods[0]
    for _ in range(3):
        yield LabStep(f"{name.short} is not ready", lab.unready({name.name}))
        yield LabStep(f"{name.short} is ready again", lab)


_SCENARIOS: dict[
    ChurnScenario, Callable[[EditedLab, Sequence[PodOnNode], Manner], Iterator[LabStep]]
] = {
    ChurnScenario.ROLLING_UPDATE: _rolling_update,
    ChurnScenario.POD_KILL: _pod_kill,
    ChurnScenario.NODE_FAIL: _node_fail,
    ChurnScenario.SCALE: _scale,
    ChurnScenario.ENDPOINT_FLAP: _endpoint_flap,
}

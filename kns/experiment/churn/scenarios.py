"""What happens to a service's pods in each scenario, step by step. Pure.

graceful   a new pod gets traffic once it is ready, an old one serves until its clients have left
abrupt     pods come and go at once: no readiness probe, no preStop hook, no grace period
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kns.experiment.churn.edits import EditedLab


class Scenario(StrEnum):
    """What may happen to the pods of a Service."""

    ROLLING_UPDATE = "rolling-update"
    POD_KILL = "pod-kill"
    NODE_FAIL = "node-fail"
    SCALE = "scale"
    ENDPOINT_FLAP = "endpoint-flap"


class Style(StrEnum):
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
class Step:
    """What happens, and what the lab is then."""

    text: str
    lab: EditedLab


def steps(
    scenario: Scenario, lab: EditedLab, pods: Sequence[PodOnNode], style: Style = Style.GRACEFUL
) -> Iterator[Step]:
    """The steps of the scenario for the pods of a service, of which there is at least one."""
    return _SCENARIOS[scenario](lab, pods, style)


def _rolling_update(lab: EditedLab, pods: Sequence[PodOnNode], style: Style) -> Iterator[Step]:
    """One after the other is replaced (maxSurge 1, maxUnavailable 0)."""
    for pod in pods:
        lab, (new,) = lab.with_copies([pod.name])
        if style is Style.ABRUPT:
            lab = lab.without({pod.name})
            yield Step(f"{pod.short} is replaced by {short(new)}", lab)
            continue
        lab = lab.unready({new})
        yield Step(f"{short(new)} is made, not ready yet", lab)
        lab = lab.ready({new})
        yield Step(f"{short(new)} is ready", lab)
        lab = lab.terminating({pod.name})
        yield Step(f"{pod.short} terminates, and still serves", lab)
        lab = lab.without({pod.name})
        yield Step(f"{pod.short} is gone", lab)


def _pod_kill(lab: EditedLab, pods: Sequence[PodOnNode], style: Style) -> Iterator[Step]:
    """The first one goes without a word, and its workload makes another."""
    dead = pods[0]
    lab, (new,) = lab.with_copies([dead.name])
    lab = lab.without({dead.name})
    if style is Style.ABRUPT:
        yield Step(f"{dead.short} is killed, {short(new)} takes its place", lab)
        return
    yield Step(f"{dead.short} is killed, {short(new)} is made", lab.unready({new}))
    yield Step(f"{short(new)} is ready", lab)


def _node_fail(lab: EditedLab, pods: Sequence[PodOnNode], _style: Style) -> Iterator[Step]:
    """The first one's node loses its network; the control plane takes note, and it comes back."""
    node = pods[0].node
    there = {pod.name for pod in pods if pod.node == node}
    names = ", ".join(sorted(map(short, there)))
    yield Step(f"{node} fails, and nobody knows yet", lab.with_node_down(node))
    unready = lab.unready(there)
    yield Step(f"{node} is found not ready: without {names}", unready.with_node_down(node))
    yield Step(f"{node} is back", unready)
    yield Step(f"{names} ready again", lab)


def _scale(lab: EditedLab, pods: Sequence[PodOnNode], style: Style) -> Iterator[Step]:
    """Twice as many, then as many as before: the new ones go first."""
    more, made = lab.with_copies([pod.name for pod in pods])
    counts = f"{len(pods)} → {len(pods) + len(made)}"
    back = f"{len(pods) + len(made)} → {len(pods)}"
    new = set(made)
    if style is Style.ABRUPT:
        yield Step(f"scale {counts}", more)
        yield Step(f"scale {back}", lab)
        return
    yield Step(f"scale {counts}: the new ones are not ready yet", more.unready(new))
    yield Step(f"scale {counts}: they are ready", more)
    yield Step(f"scale {back}: they terminate, and still serve", more.terminating(new))
    yield Step(f"scale {back}: they are gone", lab)


def _endpoint_flap(lab: EditedLab, pods: Sequence[PodOnNode], _style: Style) -> Iterator[Step]:
    """The first one's readiness probe fails and succeeds again, three times."""
    name = pods[0]
    for _ in range(3):
        yield Step(f"{name.short} is not ready", lab.unready({name.name}))
        yield Step(f"{name.short} is ready again", lab)


_SCENARIOS: dict[Scenario, Callable[[EditedLab, Sequence[PodOnNode], Style], Iterator[Step]]] = {
    Scenario.ROLLING_UPDATE: _rolling_update,
    Scenario.POD_KILL: _pod_kill,
    Scenario.NODE_FAIL: _node_fail,
    Scenario.SCALE: _scale,
    Scenario.ENDPOINT_FLAP: _endpoint_flap,
}

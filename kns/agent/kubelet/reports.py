"""What kubelet says of a pod, and the status that this makes of the object.

Source: pkg/kubelet/kubelet_pods.go (getPhase, generateAPIPodStatus) and status/generate.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kns.agent.controllers import meta
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.pod import RestartPolicy
from kns.kinds.workload import ENDED
from kns.labfile.reader import JSON


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container's process has ended; times in seconds since the epoch."""

    exit_code: int
    started: float
    finished: float
    #: the signal that ended it, 0 if none did
    signal: int = 0

    @property
    def reason(self) -> str:
        """In kubelet's word."""
        return "Completed" if self.exit_code == 0 else "Error"


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """A container as it is: running since `running`, or with why it waits, or at its end."""

    name: str
    ready: bool = False
    #: its startup probe has passed, or it has none
    started: bool = False
    restarts: int = 0
    running: float = 0.0
    #: a reason and a message, as CrashLoopBackOff
    waiting: tuple[str, str] = ("", "")
    #: how it ended last; while it neither runs nor waits, this is its state
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class PodReport:
    """A pod as kubelet sees it."""

    namespace: str
    name: str
    containers: tuple[ContainerReport, ...]
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS

    @property
    def phase(self) -> str:
        """`Running` but when no container runs or will run again."""
        running = [item for item in self.containers if item.running]
        ended = [item.ended for item in self.containers if not item.running and not item.waiting[0]]
        if running or len([item for item in ended if item]) < len(self.containers):
            started = running or any(item.ended for item in self.containers)
            return "Running" if started else "Pending"
        failed = any(item.exit_code for item in ended if item)
        if self.restart_policy is RestartPolicy.ALWAYS:
            return "Running"
        return "Failed" if failed else "Succeeded"


def with_report(pod: Object, report: PodReport, now: float) -> Object:
    """The pod with the status that the report makes of it."""
    phase = report.phase
    before = {text["name"]: text for text in objects.mappings(pod, "status", "containerStatuses")}
    statuses: list[JSON] = [
        {**before.get(item.name, {}), **_container(item)} for item in report.containers
    ]
    result = objects.with_part(pod, phase, "status", "phase")
    result = objects.with_part(result, statuses, "status", "containerStatuses")
    gates = [
        objects.text(gate, "conditionType")
        for gate in objects.mappings(pod, "spec", "readinessGates")
    ]
    for condition in _conditions(report, [gate for gate in gates if not meta.is_true(pod, gate)]):
        result = meta.with_condition(_without_old_words(result, condition), condition, now)
    return result


def _without_old_words(pod: Object, condition: Object) -> Object:
    """A condition that becomes another one loses the reason that it had."""
    old = meta.condition(pod, objects.text(condition, "type"))
    if old is None or "reason" not in old or "reason" in condition:
        return pod
    bare = {key: each for key, each in old.items() if key not in {"reason", "message"}}
    found: list[JSON] = [
        bare if each is old else each for each in objects.mappings(pod, "status", "conditions")
    ]
    return objects.with_part(pod, found, "status", "conditions")


def _conditions(report: PodReport, missing: Sequence[str]) -> list[Object]:
    unready = [item.name for item in report.containers if not item.ready]
    containers: Object = {"type": "ContainersReady", "status": "True"}
    if report.phase in ENDED:
        reason = "PodCompleted" if report.phase == "Succeeded" else "PodFailed"
        containers |= {"status": "False", "reason": reason}
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        containers |= {"status": "False", "reason": "ContainersNotReady", "message": message}
    ready: Object = {**containers, "type": "Ready"}
    if containers["status"] == "True" and missing:
        message = ", ".join(
            f'corresponding condition of pod readiness gate "{gate}" does not exist.'
            for gate in missing
        )
        ready |= {"status": "False", "reason": "ReadinessGatesNotReady", "message": message}
    return [{"type": "Initialized", "status": "True"}, ready, containers]


def _container(item: ContainerReport) -> Object:
    ended: Object = {"terminated": _ended(item.ended)} if item.ended is not None else {}
    waits: Object = {"reason": item.waiting[0] or "ContainerCreating"}
    if item.waiting[1]:
        waits["message"] = item.waiting[1]
    state: Object = {"waiting": waits}
    if item.running:
        state = {"running": {"startedAt": meta.stamp(item.running)}}
    elif item.ended is not None and not item.waiting[0]:
        state = ended
    return {
        "name": item.name,
        "ready": item.ready,
        "started": item.started,
        "restartCount": item.restarts,
        "state": state,
        "lastState": ended if state is not ended else {},
    }


def _ended(ended: Ended) -> Object:
    return {
        "exitCode": ended.exit_code,
        **({"signal": ended.signal} if ended.signal else {}),
        "reason": ended.reason,
        "startedAt": meta.stamp(ended.started),
        "finishedAt": meta.stamp(ended.finished),
    }

"""How kubectl lists a pod: what its STATUS says, and how often it was restarted.

Source: printPod of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from kns.kinds.column_words import NONE, since
from kns.kinds.common import Object
from kns.kinds.objects import flag, mapping, mappings, name_of, number, part, text

Cell = str | int


def pod_cells(obj: Object, age: str, now: float) -> tuple[Cell, ...]:
    """The cells of a pod, those of `-o wide` last."""
    return (
        name_of(obj),
        pod_ready(obj),
        pod_status(obj),
        _restarts(_counted(obj), now),
        age,
        text(obj, "status", "podIP") or NONE,
        text(obj, "spec", "nodeName") or NONE,
        text(obj, "status", "nominatedNodeName") or NONE,
        _gates(obj),
    )


def pod_ready(obj: Object) -> str:
    """READY: how many containers are ready, and how many there are."""
    total = len(mappings(obj, "spec", "containers")) + _sidecar_count(obj)
    return f"{sum(flag(item, 'ready') for item in _counted(obj))}/{total}"


def _counted(obj: Object) -> list[Object]:
    """The statuses of the containers that go on running."""
    return [*mappings(obj, "status", "containerStatuses"), *_sidecars(obj)]


def _sidecar_count(obj: Object) -> int:
    found = mappings(obj, "spec", "initContainers")
    return sum(text(item, "restartPolicy") == "Always" for item in found)


def _sidecars(obj: Object) -> list[Object]:
    """The statuses of the init containers that go on running."""
    names = {
        text(item, "name")
        for item in mappings(obj, "spec", "initContainers")
        if text(item, "restartPolicy") == "Always"
    }
    statuses = mappings(obj, "status", "initContainerStatuses")
    return [item for item in statuses if text(item, "name") in names]


def _restarts(statuses: Sequence[Object], now: float) -> Cell:
    """The number, and how long ago the last one was."""
    count = sum(number(item, "restartCount") for item in statuses)
    ends = [text(item, "lastState", "terminated", "finishedAt") for item in statuses]
    last = max(ends, default="")
    return f"{count} ({since(last, now)} ago)" if count and last else count


def pod_status(obj: Object) -> str:
    """STATUS: the reason of what goes wrong, else the phase."""
    status = text(obj, "status", "reason") or text(obj, "status", "phase") or "Unknown"
    for condition in mappings(obj, "status", "conditions"):
        if text(condition, "type") == "PodScheduled" and _is_gated(condition):
            status = "SchedulingGated"
    started = _init_status(obj)
    status = started or _containers_status(obj, status)
    if part(obj, "metadata", "deletionTimestamp") is None:
        return status
    return "Unknown" if text(obj, "status", "reason") == "NodeLost" else "Terminating"


def _is_gated(condition: Object) -> bool:
    return text(condition, "reason") == "SchedulingGated"


def _init_status(obj: Object) -> str:
    """What the init containers say while one of them is not done; empty after that."""
    total = len(mappings(obj, "spec", "initContainers"))
    always = {text(item, "name") for item in _sidecars(obj)}
    for index, item in enumerate(mappings(obj, "status", "initContainerStatuses")):
        state = mapping(item, "state")
        if "terminated" in state and not number(state, "terminated", "exitCode"):
            continue
        if text(item, "name") in always and flag(item, "started"):
            continue
        if "terminated" in state:
            return f"Init:{_end(mapping(state, 'terminated'))}"
        reason = text(state, "waiting", "reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{total}"
    return ""


def _containers_status(obj: Object, status: str) -> str:
    is_running = False
    for item in reversed(mappings(obj, "status", "containerStatuses")):
        state = mapping(item, "state")
        if reason := text(state, "waiting", "reason"):
            status = reason
        elif "terminated" in state:
            status = _end(mapping(state, "terminated"))
        elif flag(item, "ready") and "running" in state:
            is_running = True
    if status == "Completed" and is_running:
        ready = any(
            text(item, "type") == "Ready" and text(item, "status") == "True"
            for item in mappings(obj, "status", "conditions")
        )
        return "Running" if ready else "NotReady"
    return status


def _end(terminated: Object) -> str:
    if reason := text(terminated, "reason"):
        return reason
    signal = number(terminated, "signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{number(terminated, 'exitCode')}"


def _gates(obj: Object) -> str:
    gates = mappings(obj, "spec", "readinessGates")
    if not gates:
        return NONE
    met = {
        text(item, "type")
        for item in mappings(obj, "status", "conditions")
        if text(item, "status") == "True"
    }
    return f"{sum(text(gate, 'conditionType') in met for gate in gates)}/{len(gates)}"

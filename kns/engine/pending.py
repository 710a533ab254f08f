"""What of a lab is on its way: rollouts, pods that end, pods that are not ready. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kns.engine.object_verbs import named
from kns.engine.workload_verbs import WORKLOADS, waits_for
from kns.kinds.common import Object
from kns.kinds.objects import (
    Ref,
    controller_kind,
    flag,
    mapping,
    mappings,
    name_of,
    number,
    ref_of,
    seconds,
    text,
)
from kns.kinds.resources import POD, Resource
from kns.kinds.workload import ENDED

#: seconds for what a pod's fields say nothing of: what is left of a second, which stamps leave out,
#: a server that opens, an agent that is busy
_MARGIN = 4.0
_ENDING, _NOT_READY = "it has not ended yet", "it is not ready"


def pending(listed: Callable[[Resource], Iterable[Object]]) -> Mapping[Ref, str]:
    """What each object waits for, a line each. `listed`: the objects of a resource."""
    found: dict[Ref, str] = {}
    for resource in WORKLOADS:
        for item in listed(resource):
            # of a Deployment's ReplicaSet the Deployment tells
            if not controller_kind(item) and (waits := waits_for(resource, item)):
                found[ref_of(item)] = f"{named(resource, name_of(item))}: {waits}"
    for item in listed(POD):
        if waits := _pod_waits(item):
            found[ref_of(item)] = f"{named(POD, name_of(item))}: {waits}"
    return found


def _pod_waits(item: Object) -> str:
    """What a pod is not yet; whether one of a workload's is ready, the workload tells."""
    if text(item, "metadata", "deletionTimestamp"):
        return _ENDING
    if controller_kind(item) or text(item, "status", "phase") in ENDED:
        return ""
    conditions = {text(c, "type"): c for c in mappings(item, "status", "conditions")}
    if text(conditions.get("Ready"), "status") == "True":
        return ""
    reason = text(conditions.get("PodScheduled"), "message")
    return reason or _NOT_READY


def coming(pods: Iterable[Object], now: float) -> tuple[str, ...]:
    """What time alone is about to change, a line each: pods that end or become ready by themselves.

    Not a pod that could be ready by now and is not: its readiness is what is to be seen. `pods` are
    as the agent's store has them, with their defaults.
    """
    return tuple(
        f"{named(POD, name_of(item))}: {waits}"
        for item in pods
        for waits, until in _expected(item)
        if now < until
    )


def _expected(pod: Object) -> tuple[tuple[str, float], ...]:
    """What a pod waits for, and until when at most."""
    if ends := seconds(text(pod, "metadata", "deletionTimestamp")):
        return ((_ENDING, ends + _MARGIN),)
    if text(pod, "status", "phase") in ENDED or not text(pod, "spec", "nodeName"):
        return ()
    states = {text(item, "name"): item for item in mappings(pod, "status", "containerStatuses")}
    made = seconds(text(pod, "metadata", "creationTimestamp"))
    times = [
        _ready_at(item, states.get(text(item, "name"), {}), made)
        for item in mappings(pod, "spec", "containers")
        if not flag(states.get(text(item, "name")), "ready")
    ]
    return ((_NOT_READY, max(times) + _MARGIN),) if times else ()


def _ready_at(container: Object, state: Object, made: float) -> float:
    """When a container should be ready that began with its pod, or when it began last.

    What a startup probe waits for at most, then readiness' first result.
    """
    begun = text(state, "state", "running", "startedAt")
    if not begun:
        # one that has ended is started again after a back-off that grows: nobody waits for that
        return 0.0 if number(state, "restartCount") else made
    at = seconds(begun)
    startup, readiness = mapping(container, "startupProbe"), mapping(container, "readinessProbe")
    if startup and not flag(state, "started"):
        at += number(startup, "initialDelaySeconds")
        at += number(startup, "failureThreshold") * number(startup, "periodSeconds")
    if readiness:
        at += number(readiness, "initialDelaySeconds")
        at += (number(readiness, "successThreshold") - 1) * number(readiness, "periodSeconds")
        at += number(readiness, "timeoutSeconds")
    return at

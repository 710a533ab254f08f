"""What of a lab is on its way: rollouts, pods that end, pods that are not ready. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kns.engine.object_verbs import named
from kns.engine.workload_verbs import WORKLOADS, waits_for
from kns.kinds.common import Object
from kns.kinds.objects import Ref, controller_kind, mappings, name_of, ref_of, text
from kns.kinds.resources import POD, Resource


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
        return "it has not ended yet"
    if controller_kind(item) or text(item, "status", "phase") in {"Succeeded", "Failed"}:
        return ""
    conditions = {text(c, "type"): c for c in mappings(item, "status", "conditions")}
    if text(conditions.get("Ready"), "status") == "True":
        return ""
    reason = text(conditions.get("PodScheduled"), "message")
    return reason or "it is not ready"

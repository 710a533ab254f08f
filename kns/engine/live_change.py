"""A change of a running lab by its API: wait until it is so, and tell what it has led to.

begin ─▶ requests ─▶ finish: nothing is on its way any more ─▶ the cluster before and after
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kns.engine.api_client import APIClient, connect
from kns.engine.cluster_changes import ClusterChanges, cluster_changes
from kns.engine.labs import running
from kns.engine.object_verbs import named
from kns.engine.workload_verbs import WORKLOADS, waits_for
from kns.kinds.common import Object
from kns.kinds.objects import Ref, controller_kind, mappings, name_of, ref_of, text
from kns.kinds.resources import POD

#: seconds between two looks: at first, and at last
_SOON, _LATE = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """What a change has led to, and what it still waits for where the time was up."""

    changes: ClusterChanges
    waits: tuple[str, ...] = ()


class LiveChange:
    """A change of the lab that is meant. UsageError if there is none, ApplyError without an API."""

    def __init__(self, lab: str | None) -> None:
        found = running(lab)
        self.lab = found.name
        self.client = connect(found)
        self.client.settle()
        self._before = found.cluster
        self._pending_before = pending(self.client)

    def finish(self, changed: Collection[Ref], timeout: float) -> ChangeOutcome:
        """Wait until what was changed is so, and all that follows from it.

        What was on its way already is not waited for, unless it is among the `changed`. With a
        timeout of 0 nothing is.
        """
        waits = self._wait(changed, timeout) if timeout else {}
        self.client.settle()
        changes = cluster_changes(self._before, running(self.lab).cluster)
        return ChangeOutcome(changes, tuple(waits.values()))

    def _wait(self, changed: Collection[Ref], timeout: float) -> Mapping[Ref, str]:
        deadline = time.monotonic() + timeout
        pause = _SOON
        earlier = self._pending_before.keys() - set(changed)
        while True:
            self.client.settle()
            found = pending(self.client)
            waits = {ref: text_ for ref, text_ in found.items() if ref not in earlier}
            if not waits or time.monotonic() > deadline:
                return waits
            # what has become so in the meantime may be undone again by this change
            earlier &= found.keys()
            time.sleep(pause)
            pause = min(pause * 1.5, _LATE)


def pending(client: APIClient) -> Mapping[Ref, str]:
    """What is on its way, a line each: rollouts, pods that end, pods that are not ready."""
    found: dict[Ref, str] = {}
    for resource in WORKLOADS:
        for item in client.list(resource):
            # of a Deployment's ReplicaSet the Deployment tells
            if not controller_kind(item) and (waits := waits_for(resource, item)):
                found[ref_of(item)] = f"{named(resource, name_of(item))}: {waits}"
    for item in client.list(POD):
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

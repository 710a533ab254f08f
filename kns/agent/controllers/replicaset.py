"""ReplicaSet and ReplicationController: as many pods as they say.

Source: pkg/controller/replicaset/replica_set.go and replica_set_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.agent.controllers import meta, pods
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import (
    CreateObject,
    DeleteObject,
    RecordEvent,
    UpdateObject,
    Write,
)
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.marks import LAST_NUMBER

KINDS = {
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
}
#: pods that one look makes or deletes at most (BurstReplicas)
BURST = 500


def reconcile(view: View, now: float) -> tuple[Write, ...]:
    """What every ReplicaSet and ReplicationController wants."""
    return tuple(
        write
        for kind in KINDS
        for owner in view.of_kind(kind)
        for write in view.unless_at_rest(owner, _inputs(owner, view), lambda o: _sync(o, view, now))
    )


def _inputs(owner: Object, view: View) -> Sequence[tuple[Object, ...]]:
    """What it looks at as long as it makes no pod."""
    return view.controlled(owner, "Pod"), view.orphans("Pod", meta.namespace(owner))


def _sync(owner: Object, view: View, now: float) -> Iterator[Write]:
    claimed, writes = pods.claim(owner, "Pod", view)
    if writes:
        # what was adopted is counted when the store has taken it
        yield from writes
        return
    active = [pod for pod in claimed if pods.is_active(pod)]
    last, made = 0, 0
    if not meta.is_deleted(owner):
        missing = min(BURST, replicas(owner) - len(active))
        made = max(0, missing)
        last = _last_number(owner, view) if made else 0
        for number in range(last + 1, last + 1 + made):
            yield from _create(owner, f"{pod_base(owner)}-{number}")
        if missing < 0:
            for pod in pods.to_delete(active, _related(owner, view), -missing, now):
                yield from _delete(owner, pod)
    status = changed_status(owner, active, now)
    if made:
        status = objects.with_part(status, str(last + made), "metadata", "annotations", LAST_NUMBER)
    if status != owner:
        yield UpdateObject(status)
    yield from pods.next_available(active, min_ready_seconds(owner), now)


def replicas(owner: Object) -> int:
    """How many pods it wants; the API server's default is one."""
    return objects.number(owner, "spec", "replicas", default=1)


def min_ready_seconds(owner: Object) -> int:
    """How long a pod is ready before it counts as available."""
    return objects.number(owner, "spec", "minReadySeconds")


def pod_base(owner: Object) -> str:
    """What its pods are called before their number: as its Deployment, or as itself."""
    above = meta.controller_of(owner)
    if above is not None and above.get("kind") == "Deployment":
        return objects.text(above, "name")
    return objects.name_of(owner)


def _last_number(owner: Object, view: View) -> int:
    """The highest number that a pod of that name has, or had."""
    noted = [pods.noted_number(item) for item in (owner, *_siblings(owner, view))]
    return max(view.last_number(meta.namespace(owner), pod_base(owner)), *noted)


def _siblings(owner: Object, view: View) -> Sequence[Object]:
    """The other ReplicaSets of its Deployment."""
    above = view.by_uid(meta.controller_uid(owner)) if meta.controller_uid(owner) else None
    return view.controlled(above, "ReplicaSet") if above is not None else ()


def _related(owner: Object, view: View) -> Iterator[Object]:
    """The pods of its Deployment, or its own."""
    for item in _siblings(owner, view) or (owner,):
        yield from view.controlled(item, "Pod")


def _create(owner: Object, name: str) -> Iterator[Write]:
    yield CreateObject(pods.from_template(owner, name, objects.mapping(owner, "spec", "template")))
    component = KINDS[meta.kind(owner)]
    yield RecordEvent(owner, "SuccessfulCreate", f"Created pod: {name}", component)


def _delete(owner: Object, pod: Object) -> Iterator[Write]:
    yield DeleteObject(pod)
    component = KINDS[meta.kind(owner)]
    yield RecordEvent(owner, "SuccessfulDelete", f"Deleted pod: {objects.name_of(pod)}", component)


def changed_status(owner: Object, active: Sequence[Object], now: float) -> Object:
    """The object with the status that its active pods give it (calculateStatus)."""
    own = meta.template_labels(owner)
    ready = [pod for pod in active if pods.is_ready(pod)]
    seconds = min_ready_seconds(owner)
    counts = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(
            own.items() <= objects.labels_of(pod).items() for pod in active
        ),
        "readyReplicas": len(ready),
        "availableReplicas": sum(pods.is_available(pod, seconds, now) for pod in ready),
        "observedGeneration": objects.number(owner, "metadata", "generation"),
    }
    status: Object = {key: count for key, count in counts.items() if count or key == "replicas"}
    kept = {
        key: each for key, each in objects.mapping(owner, "status").items() if key not in counts
    }
    return objects.with_part(owner, {**status, **kept}, "status")

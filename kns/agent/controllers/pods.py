"""What controllers ask of pods, and the pods that they make from a template.

Source: pkg/controller/controller_utils.go (FilterActivePods, GetPodFromTemplate,
ActivePodsWithRanks) and pkg/api/v1/pod/util.go (IsPodAvailable).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kns.agent.controllers import meta
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import Requeue, UpdateObject, Write
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.marks import LAST_NUMBER
from kns.kinds.workload import ENDED
from kns.labfile.reader import JSON

#: the lower, the sooner a pod is deleted
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


# -- what a pod is ---------------------------------------------------------------------------------


def phase(pod: Object) -> str:
    """`status.phase`."""
    return objects.text(pod, "status", "phase") or "Pending"


def has_ended(pod: Object) -> bool:
    """Whether it runs nothing any more."""
    return phase(pod) in ENDED


def is_active(pod: Object) -> bool:
    """Whether it counts as a replica: neither at its end nor on its way out."""
    return not has_ended(pod) and not meta.is_deleted(pod)


def is_ready(pod: Object) -> bool:
    """Whether its condition Ready is True."""
    return meta.is_true(pod, "Ready")


def available_from(pod: Object, min_ready_seconds: int) -> float:
    """Since when it is available: ready for so long; infinite if it is not ready."""
    ready = meta.condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return math.inf
    if not min_ready_seconds:
        return 0.0
    return objects.seconds(objects.text(ready, "lastTransitionTime")) + min_ready_seconds


def is_available(pod: Object, min_ready_seconds: int, now: float) -> bool:
    """Whether it is ready for so long."""
    return available_from(pod, min_ready_seconds) <= now


def noted_number(owner: Object) -> int:
    """The number that its owner notes as that of the last pod; 0 if it notes none."""
    return meta.annotated_number(owner, LAST_NUMBER)


def next_available(pods: Iterable[Object], min_ready_seconds: int, now: float) -> Iterator[Requeue]:
    """When the next of the pods becomes available, if it stays ready."""
    times = [available_from(pod, min_ready_seconds) for pod in pods]
    coming = [at for at in times if now < at < math.inf]
    if coming:
        yield Requeue(min(coming))


# -- whose pods ------------------------------------------------------------------------------------


def claim(owner: Object, kind: str, view: View) -> tuple[list[Object], list[Write]]:
    """The objects of a kind that a controller manages, and the writes that make it so.

    What it manages and its selector doesn't match any more is released; what nobody manages and
    it matches is adopted (controller_ref_manager.go ClaimObject).
    """
    chosen = meta.selector(owner)
    kept: list[Object] = []
    writes: list[Write] = []
    for item in view.controlled(owner, kind):
        if chosen is not None and chosen.matches(objects.labels_of(item)):
            kept.append(item)
        elif not meta.is_deleted(owner) and not meta.is_deleted(item):
            writes.append(UpdateObject(_released(item, meta.uid(owner))))
    if chosen is None or meta.is_deleted(owner):
        return kept, writes
    for item in view.orphans(kind, meta.namespace(owner)):
        if chosen.matches(objects.labels_of(item)) and not _is_going(item):
            adopted = _adopted(item, owner)
            kept.append(item)
            writes.append(UpdateObject(adopted))
    return kept, writes


def _is_going(item: Object) -> bool:
    return meta.is_deleted(item) or (meta.kind(item) == "Pod" and has_ended(item))


def _adopted(item: Object, owner: Object) -> Object:
    references: list[JSON] = list(objects.mappings(item, "metadata", "ownerReferences"))
    references.append(meta.owner_reference(owner))
    return objects.with_part(item, references, "metadata", "ownerReferences")


def _released(item: Object, owner: str) -> Object:
    """The object without that owner."""
    references: list[JSON] = [
        each
        for each in objects.mappings(item, "metadata", "ownerReferences")
        if each.get("uid") != owner
    ]
    return objects.with_part(item, references or None, "metadata", "ownerReferences")


# -- new pods --------------------------------------------------------------------------------------


def from_template(
    owner: Object, name: str, template: Object, labels: Mapping[str, str] | None = None
) -> Object:
    """A pod of a template, which its owner manages."""
    metadata: Object = {
        "name": name,
        "namespace": meta.namespace(owner),
        "labels": {**objects.strings(template, "metadata", "labels"), **(labels or {})},
        "ownerReferences": [meta.owner_reference(owner)],
    }
    for field in ("annotations", "finalizers"):
        written = objects.part(template, "metadata", field)
        if written:
            metadata[field] = written
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": objects.mapping(template, "spec"),
        "status": {"phase": "Pending"},
    }


# -- which goes first ------------------------------------------------------------------------------


def to_delete(
    pods: Sequence[Object], related: Iterable[Object], count: int, now: float
) -> list[Object]:
    """The `count` of the pods that are missed least.

    Without a node < with one; Pending < Unknown < Running; not ready < ready; the lower deletion
    cost; on a node with more pods of the same kind; ready for the shorter time, on a logarithmic
    scale; restarted more often; younger, on such a scale. Where Kubernetes then takes any, here
    the one that was made last goes first.
    """
    on_node = Counter(objects.text(pod, "spec", "nodeName") for pod in related if is_active(pod))

    def rank(item: tuple[int, Object]) -> tuple[float, ...]:
        place, pod = item
        node = objects.text(pod, "spec", "nodeName")
        ready = meta.condition(pod, "Ready") if is_ready(pod) else None
        since = objects.seconds(objects.text(ready or {}, "lastTransitionTime"))
        return (
            bool(node),
            _PHASES.get(phase(pod), 0),
            ready is not None,
            _cost(pod),
            -on_node[node],
            _age(since, now) if ready is not None else 0,
            -_restarts(pod),
            _age(meta.created(pod), now),
            -place,
        )

    return [pod for _, pod in sorted(enumerate(pods), key=rank)[:count]]


def _age(since: float, now: float) -> int:
    """The binary logarithm of the nanoseconds since then (logarithmicRankDiff)."""
    return max(0, int((now - since) * 1e9)).bit_length()


def _restarts(pod: Object) -> int:
    statuses = objects.mappings(pod, "status", "containerStatuses")
    return max((objects.number(item, "restartCount") for item in statuses), default=0)


def _cost(pod: Object) -> int:
    try:
        return int(meta.annotation(pod, DELETION_COST) or 0)
    except ValueError:
        return 0

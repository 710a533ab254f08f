"""A Deployment's status: the numbers, and the conditions by which `kubectl rollout status` goes.

Source: pkg/controller/deployment: sync.go (calculateStatus, checkPausedConditions), progress.go,
util/deployment_util.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.agent.controllers import meta, rollout
from kns.agent.controllers.replicaset import replicas
from kns.agent.controllers.writes import Requeue
from kns.kinds import objects
from kns.kinds.common import Object

AVAILABLE, PROGRESSING = "Available", "Progressing"
TIMED_OUT = "ProgressDeadlineExceeded"
#: a deadline of so many seconds is none (math.MaxInt32)
_NO_DEADLINE = 2**31 - 1
_COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
    "unavailableReplicas",
)  # fmt: skip


def with_status(
    item: Object, sets: Sequence[Object], new: Object | None, now: float, *, estimates: bool
) -> Object:
    """The Deployment with the status that its ReplicaSets give it.

    `estimates`: whether it is under way from one template to the next, which may be too slow.
    """
    before = item
    result = _with_numbers(item, sets, new)
    result = _with_availability(result, now)
    if not _deadline(item):
        result = meta.without_condition(result, PROGRESSING)
    elif estimates:
        result = _with_progress(before, result, new, now)
    return result


def is_complete(item: Object) -> bool:
    """Whether all pods are of the newest template and available (DeploymentComplete)."""
    wanted = replicas(item)
    seen = objects.number(item, "status", "observedGeneration")
    return seen >= objects.number(item, "metadata", "generation") and all(
        _count(item, key) == wanted for key in ("updatedReplicas", "replicas", "availableReplicas")
    )


def next_check(item: Object, now: float) -> Iterator[Requeue]:
    """When it may have been without progress for too long."""
    found = meta.condition(item, PROGRESSING)
    deadline = _deadline(item)
    if not deadline or found is None or is_complete(item):
        return
    if found.get("reason") not in {TIMED_OUT, "NewReplicaSetAvailable"}:
        at = objects.seconds(objects.text(found, "lastUpdateTime")) + deadline + 1
        yield Requeue(max(at, now + 1))


# -- conditions ------------------------------------------------------------------------------------


def with_paused(item: Object, now: float) -> Object:
    """A condition tells that it is paused, or was; no time is lost by it."""
    found = meta.condition(item, PROGRESSING) or {}
    if not _deadline(item) or found.get("reason") == TIMED_OUT:
        return item
    is_told = found.get("reason") == "DeploymentPaused"
    if objects.part(item, "spec", "paused") is True and not is_told:
        return _with(
            item, PROGRESSING, ("Unknown", "DeploymentPaused", "Deployment is paused"), now
        )
    if objects.part(item, "spec", "paused") is not True and is_told:
        told = ("Unknown", "DeploymentResumed", "Deployment is resumed")
        return _with(item, PROGRESSING, told, now)
    return item


def with_found(item: Object, new: Object, now: float) -> Object:
    """A condition for a ReplicaSet that was there before anybody asked for progress."""
    if not _deadline(item) or meta.condition(item, PROGRESSING) is not None:
        return item
    told = ("True", "FoundNewReplicaSet", f'Found new replica set "{objects.name_of(new)}"')
    return _with(item, PROGRESSING, told, now)


def with_created(item: Object, new: Object, now: float) -> Object:
    """A condition for a ReplicaSet that is made."""
    if not _deadline(item):
        return item
    told = ("True", "NewReplicaSetCreated", f'Created new replica set "{objects.name_of(new)}"')
    return _with(item, PROGRESSING, told, now)


def _with(item: Object, type_: str, told: tuple[str, str, str], now: float) -> Object:
    """The condition, unless it has the same status and reason already."""
    status, reason, message = told
    old = meta.condition(item, type_)
    if old is not None and (old.get("status"), old.get("reason")) == (status, reason):
        return item
    return _renewed(item, type_, told, now, message=message)


def _renewed(
    item: Object, type_: str, told: tuple[str, str, str], now: float, *, message: str
) -> Object:
    status, reason, _ = told
    old = meta.condition(item, type_)
    same = old is not None and old.get("status") == status
    since = objects.text(old or {}, "lastTransitionTime") if same else ""
    made: Object = {
        "type": type_,
        "status": status,
        "lastUpdateTime": meta.stamp(now),
        "lastTransitionTime": since or meta.stamp(now),
        "reason": reason,
        "message": message,
    }
    others = objects.mappings(meta.without_condition(item, type_), "status", "conditions")
    return objects.with_part(item, [*others, made], "status", "conditions")


def _with_availability(item: Object, now: float) -> Object:
    least = replicas(item) - rollout.max_unavailable(item)
    if _count(item, "availableReplicas") >= least:
        told = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        message = "Deployment does not have minimum availability."
        told = ("False", "MinimumReplicasUnavailable", message)
    return _with(item, AVAILABLE, told, now)


def _with_progress(before: Object, item: Object, new: Object | None, now: float) -> Object:
    """Whether the rollout is done, goes on, or has been stuck for too long (syncRolloutStatus)."""
    current = meta.condition(before, PROGRESSING)
    reason = current.get("reason") if current is not None else None
    same = _count(item, "replicas") == _count(item, "updatedReplicas")
    if same and reason == "NewReplicaSetAvailable":
        return item
    who = f'Deployment "{objects.name_of(item)}"'
    if new is not None:
        who = f'ReplicaSet "{objects.name_of(new)}"'
    if is_complete(item):
        message = f"{who} has successfully progressed."
        return _with(item, PROGRESSING, ("True", "NewReplicaSetAvailable", message), now)
    if _progresses(before, item):
        told = ("True", "ReplicaSetUpdated", f"{who} is progressing.")
        return _renewed(item, PROGRESSING, told, now, message=told[2])
    if _timed_out(item, current, now):
        told = ("False", TIMED_OUT, f"{who} has timed out progressing.")
        return _with(item, PROGRESSING, told, now)
    return item


def _progresses(before: Object, item: Object) -> bool:
    """Whether new pods came, old ones went, or more are ready than before."""

    def old(counted: Object) -> int:
        return _count(counted, "replicas") - _count(counted, "updatedReplicas")

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(item) < old(before) or any(_count(item, key) > _count(before, key) for key in more)


def _timed_out(item: Object, current: Object | None, now: float) -> bool:
    if current is None or current.get("reason") == "NewReplicaSetAvailable":
        return False
    since = objects.seconds(objects.text(current, "lastUpdateTime"))
    return current.get("reason") == TIMED_OUT or since + _deadline(item) < now


def _deadline(item: Object) -> int:
    """Seconds without progress that are too many; 0 if it has no such limit."""
    written = objects.number(item, "spec", "progressDeadlineSeconds", default=600)
    return 0 if written == _NO_DEADLINE else written


# -- numbers ---------------------------------------------------------------------------------------


def _count(item: Object, key: str) -> int:
    return objects.number(item, "status", key)


def _with_numbers(item: Object, sets: Sequence[Object], new: Object | None) -> Object:
    free = sum(map(replicas, sets)) - rollout.available(sets)
    counts: Object = {
        "observedGeneration": objects.number(item, "metadata", "generation"),
        "replicas": sum(_count(each, "replicas") for each in sets),
        "updatedReplicas": _count(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(_count(each, "readyReplicas") for each in sets),
        "availableReplicas": rollout.available(sets),
        "unavailableReplicas": max(0, free),
    }
    kept = {
        key: each for key, each in objects.mapping(item, "status").items() if key not in _COUNTS
    }
    # the API leaves out what is zero
    written = {key: each for key, each in counts.items() if each}
    return objects.with_part(item, {**written, **kept}, "status")

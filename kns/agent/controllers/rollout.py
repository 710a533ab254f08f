"""How many pods each ReplicaSet of a Deployment gets: arithmetic alone.

    resolve_fenceposts     maxSurge and maxUnavailable in pods
    new_size               how far the newest may grow
    old_sizes              how far the older ones may shrink
    proportional           how a Deployment that is scaled in the middle of a rollout spreads

Source: pkg/controller/deployment: rolling.go, sync.go (scale) and util/deployment_util.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kns.agent.controllers import meta
from kns.agent.controllers.replicaset import replicas
from kns.kinds import objects
from kns.kinds.common import Object
from kns.labfile.reader import JSON

#: on a ReplicaSet: what its Deployment wanted when it was last scaled
DESIRED = "deployment.kubernetes.io/desired-replicas"
#: the same with maxSurge, by which proportions are told
MAXIMUM = "deployment.kubernetes.io/max-replicas"


def in_pods(written: JSON, total: int, *, up: bool) -> int:
    """A number, or a percentage of `total`, as intstr's GetScaledValueFromIntOrPercent has it."""
    if isinstance(written, int):
        return written
    share = int(str(written).removesuffix("%")) * total
    return -(-share // 100) if up else share // 100


def is_rolling(deployment: Object) -> bool:
    """Whether old and new pods run side by side while it is updated."""
    return objects.text(deployment, "spec", "strategy", "type") != "Recreate"


def resolve_fenceposts(deployment: Object) -> tuple[int, int]:
    """maxSurge, rounded up, and maxUnavailable, rounded down, in pods; not both of them 0."""
    if not is_rolling(deployment):
        return 0, 0
    options = objects.mapping(deployment, "spec", "strategy", "rollingUpdate")
    total = replicas(deployment)
    surge = in_pods(options.get("maxSurge", "25%"), total, up=True)
    unavailable = in_pods(options.get("maxUnavailable", "25%"), total, up=False)
    return surge, 1 if surge == unavailable == 0 else unavailable


def max_unavailable(deployment: Object) -> int:
    """How many of the wanted pods may be unavailable."""
    total = replicas(deployment)
    return min(resolve_fenceposts(deployment)[1], total) if total else 0


def available(sets: Sequence[Object]) -> int:
    """How many of their pods are available."""
    return sum(objects.number(item, "status", "availableReplicas") for item in sets)


def active(sets: Sequence[Object]) -> list[Object]:
    """Those that want pods."""
    return [item for item in sets if replicas(item)]


def new_size(deployment: Object, sets: Sequence[Object], current: int) -> int:
    """How many pods the newest ReplicaSet may have; `sets` are all, `current` is its size."""
    wanted = replicas(deployment)
    if current >= wanted or not is_rolling(deployment):
        return wanted
    room = wanted + resolve_fenceposts(deployment)[0] - sum(map(replicas, sets))
    return current + max(0, min(room, wanted - current))


def old_sizes(deployment: Object, old: Sequence[Object], new: Object) -> dict[str, int]:
    """By uid, the smaller sizes that older ReplicaSets may have; `old` are the active, in order.

    Their pods that are not available go first, then as many as may be unavailable.
    """
    least = replicas(deployment) - max_unavailable(deployment)
    sizes = {meta.uid(item): replicas(item) for item in old}
    unavailable = replicas(new) - objects.number(new, "status", "availableReplicas")
    surplus = sum(sizes.values()) + replicas(new) - least - unavailable
    if not old or surplus <= 0:
        return {}
    for item in old:
        broken = replicas(item) - objects.number(item, "status", "availableReplicas")
        cleaned = max(0, min(surplus, broken))
        sizes[meta.uid(item)] -= cleaned
        surplus -= cleaned
    spare = available([*old, new]) - least
    for item in old:
        taken = max(0, min(sizes[meta.uid(item)], spare))
        sizes[meta.uid(item)] -= taken
        spare -= taken
    return {
        meta.uid(item): sizes[meta.uid(item)]
        for item in old
        if sizes[meta.uid(item)] != replicas(item)
    }


def proportional(deployment: Object, sets: Sequence[Object]) -> Mapping[str, int]:
    """By uid, the sizes of the active ReplicaSets after the Deployment has been scaled.

    The change is spread by size; what rounding leaves over is the largest's. `sets` are the
    active ones, the oldest first.
    """
    wanted = replicas(deployment)
    total = wanted + resolve_fenceposts(deployment)[0] if wanted else 0
    to_add = total - sum(map(replicas, sets))
    # of two of one size the newer grows and the older shrinks first
    ordered = sorted(sets[::-1] if to_add > 0 else sets, key=replicas, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for item in ordered:
        left = to_add - added
        share = _share(item, deployment, total) if left else 0
        share = min(share, left) if to_add > 0 else max(share, left)
        sizes[meta.uid(item)] = replicas(item) + share
        added += share
    if ordered:
        largest = meta.uid(ordered[0])
        sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _share(item: Object, deployment: Object, total: int) -> int:
    """How many pods more or less keep the ReplicaSet's proportion (getReplicaSetFraction)."""
    if not replicas(deployment):
        return -replicas(item)
    noted = meta.annotation(item, MAXIMUM)
    before = int(noted) if noted.isdecimal() else objects.number(deployment, "status", "replicas")
    if not before:
        return 0
    # RoundToInt32: halves away from zero
    return math.floor(replicas(item) * total / before + 0.5) - replicas(item)

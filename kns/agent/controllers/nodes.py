"""The life of nodes: which are ready, what that does to the pods on them, who has to leave.

    nothing heard for the grace time ─▶ Ready Unknown ─▶ taint unreachable ─▶ pods not Ready
    `NoExecute` for longer than a pod tolerates ─▶ the pod is deleted

Source: pkg/controller/nodelifecycle/node_lifecycle_controller.go, pkg/controller/tainteviction,
plugin/pkg/admission/defaulttolerationseconds, pkg/controller/podgc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kns.agent.controllers import meta, pods
from kns.agent.controllers.node_fit import toleration
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import (
    WARNING,
    DeleteObject,
    RecordEvent,
    Requeue,
    UpdateObject,
    Write,
)
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.scheduling import UNSCHEDULABLE_TAINT, Taint, TaintEffect
from kns.labfile.reader import JSON

COMPONENT = "node-controller"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_OWN_TAINTS = {NOT_READY, UNREACHABLE, UNSCHEDULABLE_TAINT.key}
_SILENT: Object = {
    "type": "Ready",
    "status": "Unknown",
    "reason": "NodeStatusUnknown",
    "message": "Kubelet stopped posting node status.",
}
_READY: Object = {
    "type": "Ready",
    "status": "True",
    "reason": "KubeletReady",
    "message": "kubelet is posting ready status",
}


def reconcile(view: View, now: float) -> tuple[Write, ...]:
    """What every node wants, and the pods whose node is gone."""
    return (
        *(write for node in view.of_kind("Node") for write in _sync(node, view, now)),
        *_without_node(view),
    )


def _sync(node: Object, view: View, now: float) -> Iterator[Write]:
    if meta.is_deleted(node):
        return
    silent_since = view.silent.get(objects.name_of(node), math.inf)
    lost_at = silent_since + view.options.node_grace
    if now < lost_at < math.inf:
        yield Requeue(lost_at)
    result = _with_ready(node, now, is_lost=lost_at <= now)
    result = _with_taints(result, now)
    if result != node:
        yield UpdateObject(result)
    was_ready, is_ready = meta.is_true(node, "Ready"), meta.is_true(result, "Ready")
    if was_ready and not is_ready:
        message = f"Node {objects.name_of(node)} status is now: NodeNotReady"
        yield RecordEvent(node, "NodeNotReady", message, COMPONENT)
    elif is_ready and not was_ready:
        message = f"Node {objects.name_of(node)} status is now: NodeReady"
        yield RecordEvent(node, "NodeReady", message, "kubelet")
    moved: dict[str, Object] = {}
    if not is_ready:
        moved = _not_ready(view.pods_on(objects.name_of(node)), now)
        for pod in moved.values():
            yield RecordEvent(pod, "NodeNotReady", "Node is not ready", COMPONENT, WARNING)
    evicted = list(_evict(result, view, now))
    going = {meta.uid(write.object) for write in evicted if isinstance(write, DeleteObject)}
    yield from (UpdateObject(pod) for uid, pod in moved.items() if uid not in going)
    yield from evicted


# -- ready -----------------------------------------------------------------------------------------


def _with_ready(node: Object, now: float, *, is_lost: bool) -> Object:
    """The node with its condition; somebody else's False stays."""
    ready = objects.text(meta.condition(node, "Ready") or {}, "status")
    if is_lost:
        return node if ready == "Unknown" else meta.with_condition(node, _SILENT, now)
    return node if ready in {"True", "False"} else meta.with_condition(node, _READY, now)


def _with_taints(node: Object, now: float) -> Object:
    """The node with the taints that its condition and `spec.unschedulable` mean."""
    ready = objects.text(meta.condition(node, "Ready") or {}, "status")
    wanted: list[Object] = []
    key = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready)
    if key:
        wanted += [{"key": key, "effect": str(effect)} for effect in _REPELLING]
    if objects.flag(node, "spec", "unschedulable"):
        effect = str(UNSCHEDULABLE_TAINT.effect)
        wanted.append({"key": UNSCHEDULABLE_TAINT.key, "effect": effect})
    before = objects.mappings(node, "spec", "taints")
    own = [each for each in before if each.get("key") in _OWN_TAINTS]
    if [_bare(each) for each in own] == wanted:
        return node
    kept: list[JSON] = [each for each in before if each not in own]
    since = {(each.get("key"), each.get("effect")): each for each in own}
    for each in wanted:
        known = since.get((each["key"], each["effect"]))
        kept.append(known or {**each, "timeAdded": meta.stamp(now)})
    return objects.with_part(node, kept or None, "spec", "taints")


_REPELLING = (TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE)


def _bare(taint: Object) -> Object:
    return {"key": taint.get("key"), "effect": taint.get("effect")}


def _not_ready(found: tuple[Object, ...], now: float) -> dict[str, Object]:
    """By uid, the pods that are told to be ready on a node that is not (MarkPodsNotReady)."""
    condition: Object = {"type": "Ready", "status": "False"}
    return {
        meta.uid(pod): meta.with_condition(pod, condition, now)
        for pod in found
        if meta.is_true(pod, "Ready")
    }


# -- eviction --------------------------------------------------------------------------------------


def _evict(node: Object, view: View, now: float) -> Iterator[Write]:
    """Deletes the pods that have tolerated the node's `NoExecute` taints for long enough."""
    taints = [
        (
            Taint(objects.text(each, "key"), TaintEffect.NO_EXECUTE, objects.text(each, "value")),
            objects.seconds(objects.text(each, "timeAdded")),
        )
        for each in objects.mappings(node, "spec", "taints")
        if each.get("effect") == TaintEffect.NO_EXECUTE
    ]
    if not taints:
        return
    for pod in view.pods_on(objects.name_of(node)):
        if not pods.is_active(pod):
            continue
        at = min(
            (since or now) + _tolerated(pod, taint, view.options.toleration)
            for taint, since in taints
        )
        if at <= now:
            yield DeleteObject(pod)
            who = f"{meta.namespace(pod)}/{objects.name_of(pod)}"
            message = f"Marking for deletion Pod {who}"
            yield RecordEvent(pod, "TaintManagerEviction", message, "taint-eviction-controller")
        elif at < math.inf:
            yield Requeue(at)


def _tolerated(pod: Object, taint: Taint, default: int) -> float:
    """For how many seconds the pod stays with the taint; infinite for always."""
    written = objects.mappings(pod, "spec", "tolerations")
    fitting = [each for each in written if toleration(each).tolerates(taint)]
    if not fitting:
        return default if taint.key in {NOT_READY, UNREACHABLE} else 0
    limits = [
        max(0, objects.number(each, "tolerationSeconds"))
        for each in fitting
        if each.get("tolerationSeconds") is not None
    ]
    return min(limits, default=math.inf)


def _without_node(view: View) -> Iterator[Write]:
    """Removes the pods that are bound to nodes that are no more: no kubelet ends them (podgc)."""
    for name in view.nodes_of_pods():
        if view.get("Node", "", name) is None:
            yield from (DeleteObject(pod, now=True) for pod in view.pods_on(name))

"""Which writes a lab's network depends on, and which parts of an object. Pure."""

from __future__ import annotations

from kns.agent.controllers.meta import condition
from kns.agent.store import ChangeType, ObjectChange
from kns.kinds.common import Object
from kns.kinds.objects import mapping, text
from kns.kinds.owners import is_made

#: what a lab's network depends on
_EFFECTIVE = frozenset({
    "ConfigMap", "Endpoints", "EndpointSlice", "Ingress", "IngressClass", "Lab", "Namespace",
    "NetworkPolicy", "Node", "Pod", "Secret", "Service", "ServiceAccount",
})  # fmt: skip


def is_effective(change: ObjectChange) -> bool:
    """Whether the network may depend on it."""
    if change.resource.kind not in _EFFECTIVE:
        return False
    if is_made(change.object):
        return False
    if change.type is not ChangeType.MODIFIED or change.old is None:
        return True
    return essence(change.object) != essence(change.old)


def essence(item: Object) -> Object:
    """What of an object the network depends on."""
    meta = mapping(item, "metadata")
    own: Object = {key: value for key, value in item.items() if key not in {"metadata", "status"}}
    own["labels"], own["annotations"] = meta.get("labels"), meta.get("annotations")
    own["deletionTimestamp"] = bool(meta.get("deletionTimestamp"))
    if item.get("kind") == "Pod":
        own["phase"] = text(item, "status", "phase")
        own["ready"] = text(condition(item, "Ready") or {}, "status")
    return own

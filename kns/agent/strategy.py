"""What a write makes of an object before it is kept: the strategies of the API server's registry.

Source of the rules: k8s.io/apiserver/pkg/registry (rest/create.go, rest/update.go, rest/delete.go)
and the pod strategy of k8s.io/kubernetes/pkg/registry/core/pod. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from kns.kinds.common import Object
from kns.kinds.defaults import defaulted
from kns.kinds.namespace import NAME_LABEL
from kns.kinds.objects import (
    SERVER_METADATA,
    ObjectKey,
    key_of,
    mapping,
    number,
    part,
    text,
    with_part,
)
from kns.kinds.pod import GRACE_SECONDS
from kns.kinds.resources import NAMESPACE, POD, Resource, resource_of
from kns.kinds.workload import ENDED


class UpdatePart(StrEnum):
    """What of an object an update writes; the rest stays."""

    ALL = "all"
    #: everything but `status`
    SPEC = "spec"
    #: `status` alone
    STATUS = "status"


def key(resource: Resource, namespace: str, name: str) -> ObjectKey:
    """What names an object; without a namespace it is in `default`, if it can be in one."""
    return ObjectKey((namespace or "default") if resource.namespaced else "", name)


def complete(resource: Resource, obj: Object) -> Object:
    """The object with its type and defaults."""
    return defaulted({**obj, "apiVersion": resource.api_version, "kind": resource.kind})


def has_generation(resource: Resource, obj: Object) -> bool:
    """Whether it is counted how often it was changed: what a controller acts on, it is."""
    return "spec" in obj or resource.has_status


def is_over(obj: Object) -> bool:
    """Whether an object being deleted has nobody left to wait for."""
    own = mapping(obj, "metadata")
    is_marked = "deletionTimestamp" in own and not number(own, "deletionGracePeriodSeconds")
    return is_marked and not own.get("finalizers")


def updated(old: Object, new: Object, written: UpdatePart) -> Object:
    """The object with `written` of the new one, its generation one higher if it asks for more."""
    if written is UpdatePart.STATUS:
        # the status and whose it is; nothing else is changed on that path
        made = {**old, "status": new["status"]} if "status" in new else {**old}
        fields = part(new, "metadata", "managedFields")
        return made if fields is None else with_part(made, fields, "metadata", "managedFields")
    made = {**new}
    if written is UpdatePart.SPEC:
        made.pop("status", None)
        if "status" in old:
            made["status"] = old["status"]
    return _with_server_metadata(old, made)


def _with_server_metadata(old: Object, made: Object) -> Object:
    """The new object under the old one's identity."""
    before = mapping(old, "metadata")
    own = {
        key: value for key, value in mapping(made, "metadata").items() if key not in SERVER_METADATA
    }
    kept = {key: value for key, value in before.items() if key in SERVER_METADATA}
    if "managedFields" in mapping(made, "metadata"):
        kept["managedFields"] = mapping(made, "metadata")["managedFields"]
    made = {**made, "metadata": {**own, **kept}}
    if "namespace" in before:
        made = with_part(made, before["namespace"], "metadata", "namespace")
    if "generation" in before and _asked(made) != _asked(old):
        made = with_part(made, number(before, "generation") + 1, "metadata", "generation")
    return made


def _asked(obj: Object) -> Object:
    """What an object asks for, without what is said about it."""
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def replaced(old: Object, new: Object) -> Object:
    """The object as the lab's file has it anew, with what a server has said of the old one."""
    if resource_of(old) is NAMESPACE:
        labels = {**mapping(new, "metadata", "labels"), NAME_LABEL: text(old, "metadata", "name")}
        new = with_part({"spec": old.get("spec"), **new}, labels, "metadata", "labels")
    made = new if "status" in new or "status" not in old else {**new, "status": old["status"]}
    made = _with_server_metadata(old, made)
    # what was being deleted is wanted again
    own = {
        key: value
        for key, value in mapping(made, "metadata").items()
        if key not in {"deletionTimestamp", "deletionGracePeriodSeconds"}
    }
    own["uid"] = text(new, "metadata", "uid") or own["uid"]
    return {**made, "metadata": own}


def grace(resource: Resource, obj: Object, asked: int | None) -> int:
    """The seconds that a deleted object has left: pods alone have any, once they are on a node."""
    if resource is not POD or not text(obj, "spec", "nodeName"):
        return 0
    if text(obj, "status", "phase") in ENDED:
        return 0
    own = number(obj, "spec", "terminationGracePeriodSeconds", default=GRACE_SECONDS)
    seconds = own if asked is None else asked
    return 1 if seconds < 0 else seconds


def with_namespaces(objects: Iterable[Object]) -> Iterator[Object]:
    """The objects, and before them the namespaces that none of them is."""
    wanted = tuple(objects)
    there = {key_of(obj).name for obj in wanted if resource_of(obj) is NAMESPACE}
    used = [key(kind, *key_of(obj)).namespace for obj in wanted if (kind := resource_of(obj))]
    for name in dict.fromkeys(used):
        if name and name not in there:
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    yield from wanted

"""Parts of objects with verbs of their own: scale, eviction, binding.

Source: k8s.io/api autoscaling/v1 (Scale), policy/v1 (Eviction), core/v1 (Binding).
"""

from __future__ import annotations

from kns.agent.api import deletion
from kns.agent.api.decoding import json_of, wrong_type
from kns.agent.api.patches import json_patch, merge_patch
from kns.agent.api.registry import APIAnswer, Registry
from kns.agent.api.requests import APIRequest
from kns.agent.api.status import FieldCause, bad_request, invalid, method_not_allowed
from kns.agent.store import timestamp
from kns.kinds.api_types import type_table
from kns.kinds.column_words import NONE, labels_text
from kns.kinds.columns import selector_text
from kns.kinds.common import Object
from kns.kinds.objects import (
    items,
    mapping,
    mappings,
    name_of,
    number,
    part,
    strings,
    text,
    with_part,
)
from kns.labfile.reader import JSON

_EVICTION = "policy.v1.Eviction"


def answer(registry: Registry, request: APIRequest, now: float) -> APIAnswer:
    """Carry out a request for a subresource that is an object."""
    match request.target.subresource, request.method:
        case "status", "GET" | "PUT" | "PATCH":
            return registry.answer(request)
        case "scale", "GET":
            return APIAnswer(scale_of(registry.get(request)))
        case "scale", "PUT" | "PATCH":
            return _scale(registry, request)
        case "eviction", "POST":
            return _evict(registry, request)
        case "binding", "POST":
            return _bind(registry, request, now)
        case _:
            raise method_not_allowed(request.target.resource)


def scale_of(obj: Object) -> Object:
    """The Scale of a workload."""
    own = mapping(obj, "metadata")
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = mapping(obj, "spec", "selector")
    shown = (
        labels_text(strings(obj, "spec", "selector"))
        if obj.get("kind") == "ReplicationController"
        else selector_text(selector)
    )
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: own[key] for key in kept if key in own},
        "spec": {"replicas": number(obj, "spec", "replicas")},
        "status": {
            "replicas": number(obj, "status", "replicas"),
            "selector": "" if shown == NONE else shown,
        },
    }


def _scale(registry: Registry, request: APIRequest) -> APIAnswer:
    old = registry.get(request)
    body = json_of(request.body, request.content_type)
    if request.method == "PATCH":
        apply_patch = json_patch if "json-patch" in request.content_type else merge_patch
        body = apply_patch(scale_of(old), body)
    replicas = part(body, "spec", "replicas")
    if replicas is None:
        replicas = 0
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(request.target.resource, name_of(old), [FieldCause("spec.replicas", why)])
    version = text(body, "metadata", "resourceVersion")
    new = with_part(old, replicas, "spec", "replicas")
    new = with_part(new, version or None, "metadata", "resourceVersion")
    return APIAnswer(scale_of(registry.change(request, old, new)))


def _evict(registry: Registry, request: APIRequest) -> APIAnswer:
    """Delete the pod with the options of the Eviction."""
    pod = registry.get(request)
    body = json_of(request.body, request.content_type)
    if not isinstance(body, dict) or (wrong := wrong_type(body, type_table()[_EVICTION])):
        raise bad_request(wrong if isinstance(body, dict) else "not an Eviction")
    options = deletion.options_of(part(body, "deleteOptions"))
    if not request.is_dry_run and not items(options, "dryRun"):
        deletion.delete(registry.store, request.target.resource, pod, options)
    done: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return APIAnswer({**done, "code": 201}, 201)


def _bind(registry: Registry, request: APIRequest, now: float) -> APIAnswer:
    """Put the pod on a node, as a scheduler does."""
    old = registry.get(request)
    node = text(json_of(request.body, request.content_type), "target", "name")
    if not node:
        raise bad_request("target.name: Required value")
    if text(old, "spec", "nodeName"):
        raise bad_request(f"pod {name_of(old)} is already assigned to a node")
    new = with_part(old, node, "spec", "nodeName")
    scheduled: Object = {
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": timestamp(now),
    }
    others: list[JSON] = [
        item for item in mappings(old, "status", "conditions") if item.get("type") != "PodScheduled"
    ]
    new = with_part(new, [*others, scheduled], "status", "conditions")
    if not request.is_dry_run:
        registry.store.update(request.target.resource, new)
    done: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return APIAnswer({**done, "code": 201}, 201)

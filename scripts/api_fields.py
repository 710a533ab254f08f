#!/usr/bin/env python3
"""Write kns/kinds/api_types.txt anew, from the definitions of Kubernetes.

    scripts/api_fields.py swagger.json generated.proto… >kns/kinds/api_types.txt

A line is a type and its fields. `name:type`: s string, i integer, n number, b boolean, * anything,
p integer or string, q quantity, t time, y bytes, Name another type, [type] a list, {type} a map;
`!` after the name: required; `+key` a list that strategic merge patches merge by key (`+` alone: as
a set), `@key,key` a list that server-side apply owns item by item (`@` alone: as a set), `=` owned
as a whole, also after a type's name; `#6` the field's number in protobuf, `#2.1` field 1 of a
message 2 that JSON does not have.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_CORE = (
    "Pod Node Service Endpoints Namespace Event ConfigMap Secret ServiceAccount Binding "
    "ReplicationController PersistentVolumeClaim PersistentVolume"
)
_ROOTS = (
    *(f"core.v1.{kind}" for kind in _CORE.split()),
    *(f"apps.v1.{kind}" for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"]),
    *(f"rbac.v1.{kind}" for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]),
    *(f"networking.v1.{kind}" for kind in ["Ingress", "IngressClass", "NetworkPolicy"]),
    *(f"policy.v1.{kind}" for kind in ["PodDisruptionBudget", "Eviction"]),
    "apps.v1.ControllerRevision",
    "discovery.v1.EndpointSlice",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "autoscaling.v1.Scale",
    "authorization.v1.SelfSubjectAccessReview",
)
#: kns passes over what is in them
_OPAQUE = re.compile(
    r"(VolumeSource|Projection|PersistentVolumeSource|MetricSource|MetricStatus|ScalingRules)$"
)
_SCALARS = {"string": "s", "integer": "i", "number": "n", "boolean": "b"}
_SPECIAL = {
    "util.intstr.IntOrString": "p",
    "api.resource.Quantity": "q",
    "meta.v1.Time": "t",
    "meta.v1.MicroTime": "t",
    "runtime.RawExtension": "*",
    "meta.v1.FieldsV1": "*",
}
_PREFIX = re.compile(r"^(io\.k8s|k8s\.io)\.(api\.|apimachinery\.pkg\.(apis\.)?)")
_MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_NUMBERED = re.compile(r"^\s*(?:optional|repeated) (\S+) (\w+) = (\d+)", re.MULTILINE)
Rule = dict[str, Any]
#: the number and the message type of each field of a message
Numbers = dict[str, dict[str, tuple[str, str]]]


def _short(name: str) -> str:
    return _PREFIX.sub("", name)


def _written(rule: Rule) -> str:
    if "$ref" in rule:
        name = _short(rule["$ref"].rpartition("/")[2])
        return _SPECIAL.get(name) or ("{*}" if _OPAQUE.search(name) else name)
    kind = rule.get("type")
    if isinstance(kind, list):
        kind = next(item for item in kind if item != "null")
    if kind == "array":
        return f"[{_written(rule['items'])}]"
    if kind == "object":
        return f"{{{_written(rule.get('additionalProperties', {}))}}}"
    return "y" if rule.get("format") == "byte" else _SCALARS.get(str(kind), "*")


def _field(name: str, rule: Rule, required: list[str], number: str) -> str:
    text = f"{name}{'!' if name in required else ''}:{_written(rule)}"
    if "merge" in rule.get("x-kubernetes-patch-strategy", ""):
        text += "+" + rule.get("x-kubernetes-patch-merge-key", "")
    if rule.get("x-kubernetes-list-type") in {"map", "set"}:
        text += "@" + ",".join(rule.get("x-kubernetes-list-map-keys", ()))
    text += "=" if rule.get("x-kubernetes-map-type") == "atomic" else ""
    return text + (f"#{number}" if number else "")


def _numbers(files: list[str]) -> Numbers:
    found: Numbers = {}
    for file in files:
        text = Path(file).read_text(encoding="utf-8")
        package = _short(re.findall(r"^package (\S+);", text, re.MULTILINE)[0])
        for name, body in _MESSAGE.findall(text):
            found[f"{package}.{name}"] = {
                field: (number, f"{package}.{kind}")
                for kind, field, number in _NUMBERED.findall(body)
            }
    return found


def _number(type_name: str, field: str, properties: Rule, numbers: Numbers) -> str:
    """A field's number; of one that JSON has in the object itself, the way there."""
    own = numbers.get(type_name, {})
    if field in own:
        return own[field][0]
    for name, (number, below) in own.items():
        if name not in properties and field in numbers.get(below, {}):
            return f"{number}.{numbers[below][field][0]}"
    return ""


def main() -> None:
    """Print the table."""
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    definitions = whole.get("definitions") or whole["$defs"]
    types = {_short(name): rule for name, rule in definitions.items()}
    numbers = _numbers(sys.argv[2:])
    waiting, done = list(_ROOTS), {}
    while waiting:
        name = waiting.pop()
        if name not in done:
            properties, required = (
                types[name].get("properties", {}),
                types[name].get("required", []),
            )
            line = " ".join(
                _field(key, rule, required, _number(name, key, properties, numbers))
                for key, rule in properties.items()
            )
            whole_mark = "=" if types[name].get("x-kubernetes-map-type") == "atomic" else ""
            done[name] = f"{name}{whole_mark} {line}\n"
            waiting += re.findall(r"[a-z]+(?:\.[a-z0-9]+)+\.[A-Z]\w+", line)
    sys.stdout.write("".join(done[name] for name in sorted(done)))


main()

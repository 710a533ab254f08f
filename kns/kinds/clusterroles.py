"""The ClusterRoles that a cluster has from the start, as far as the kinds of a lab go.

Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go: `view` reads
what is in a namespace but secrets and roles; `edit` writes it, too, but for what controllers make;
`admin` also gives roles; `cluster-admin` may do anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from kns.kinds.common import Object
from kns.kinds.resources import (
    CONTROLLER_REVISION,
    ENDPOINT_SLICE,
    ENDPOINTS,
    RESOURCES,
    SECRET,
    Resource,
)
from kns.labfile.reader import JSON

_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_ALL = ["*"]
_READ_BELOW = frozenset({"status", "log", "scale"})
_MADE = frozenset({CONTROLLER_REVISION, ENDPOINT_SLICE, ENDPOINTS})
#: how the API server marks them
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def built_in_roles() -> tuple[Object, ...]:
    """`cluster-admin`, `admin`, `edit` and `view`."""
    within = [item for item in RESOURCES if item.namespaced and item.group != _RBAC]
    roles = [item for item in RESOURCES if item.namespaced and item.group == _RBAC]
    view = [
        *_rules([item for item in within if item is not SECRET], _READ, _READ_BELOW),
        _rule("", ["namespaces"], _READ),
    ]
    written = [item for item in within if item not in _MADE]
    edit = [
        *view,
        _rule("", [SECRET.plural], _READ),
        *_rules(written, _WRITE, frozenset({"scale"})),
        _rule("", [*_below("pods", ("exec", "attach", "portforward"))], [*_READ, "create"]),
        _rule("", [*_below("pods", ("eviction",)), "serviceaccounts/token"], ["create"]),
    ]
    admin = [*edit, *_rules(roles, [*_READ, *_WRITE], frozenset())]
    return (
        _role("cluster-admin", [_rule("*", _ALL, _ALL), _beyond_resources()]),
        _role("admin", admin),
        _role("edit", edit),
        _role("view", view),
    )


def _beyond_resources() -> Object:
    return {"nonResourceURLs": [*_ALL], "verbs": [*_ALL]}


def _rules(resources: Iterable[Resource], verbs: list[str], below: frozenset[str]) -> list[Object]:
    """A rule for each API group."""
    groups: dict[str, list[str]] = {}
    for item in resources:
        names = groups.setdefault(item.group, [])
        names += [item.plural, *_below(item.plural, (s for s in item.subresources if s in below))]
    return [_rule(group, names, verbs) for group, names in groups.items()]


def _below(plural: str, subresources: Iterable[str]) -> list[str]:
    return [f"{plural}/{name}" for name in subresources]


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str]) -> Object:
    return {"apiGroups": [group], "resources": [*resources], "verbs": [*verbs]}


def _role(name: str, rules: Iterable[Object]) -> Object:
    listed: list[JSON] = [*rules]
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": dict[str, JSON](_LABELS)},
        "rules": listed,
    }

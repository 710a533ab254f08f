"""Which groups, versions and resources there are: `/api`, `/apis` and `/version`.

Source: k8s.io/api/apidiscovery/v2 and k8s.io/apimachinery/pkg/apis/meta/v1 (APIGroupList,
APIResourceList).
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.kinds.common import Object
from kns.kinds.resources import RESOURCES, Resource
from kns.labfile.reader import JSON

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
#: the kinds that a subresource speaks of, and its verbs
_SUBRESOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling/v1", "Scale", ("get", "patch", "update")),
    "eviction": ("policy/v1", "Eviction", ("create",)),
    "binding": ("v1", "Binding", ("create",)),
    "log": ("v1", "Pod", ("get",)),
    "token": ("authentication.k8s.io/v1", "TokenRequest", ("create",)),
    "exec": ("v1", "PodExecOptions", ("create", "get")),
    "attach": ("v1", "PodAttachOptions", ("create", "get")),
    "portforward": ("v1", "PodPortForwardOptions", ("create", "get")),
}
#: reviews are answered and not kept
REVIEW_GROUP = "authorization.k8s.io/v1"
REVIEW_PLURAL = "selfsubjectaccessreviews"


def group_versions() -> tuple[str, ...]:
    """Every group and version, the core first."""
    return tuple(dict.fromkeys((*(found.api_version for found in RESOURCES), REVIEW_GROUP)))


def core_versions(address: str) -> Object:
    """`/api`."""
    client: Object = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [client],
    }


def group_list() -> Object:
    """`/apis`."""
    groups: list[JSON] = [api_group(version) for version in group_versions() if "/" in version]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(api_version: str) -> Object:
    """`/apis/GROUP`, of which one version is served."""
    group, _, version = api_version.partition("/")
    served: Object = {"groupVersion": api_version, "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def resource_list(api_version: str) -> Object | None:
    """`/api/v1` and `/apis/GROUP/VERSION`; None for one that is not served."""
    if api_version not in group_versions():
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": [*_resources(api_version)],
    }


def _resources(api_version: str) -> Iterator[JSON]:
    if api_version == REVIEW_GROUP:
        yield {
            "name": REVIEW_PLURAL,
            "singularName": "selfsubjectaccessreview",
            "namespaced": False,
            "kind": "SelfSubjectAccessReview",
            "verbs": ["create"],
        }
    for found in RESOURCES:
        if found.api_version == api_version:
            yield _resource(found)
            for name in found.subresources:
                yield _subresource(found, name)


def _resource(found: Resource) -> Object:
    made: Object = {
        "name": found.plural,
        "singularName": found.singular,
        "namespaced": found.namespaced,
        "kind": found.kind,
        "verbs": list(_VERBS),
    }
    if found.short_names:
        made["shortNames"] = list(found.short_names)
    if found.categories:
        made["categories"] = list(found.categories)
    return made


def _subresource(found: Resource, name: str) -> Object:
    api_version, kind, verbs = _SUBRESOURCES.get(
        name, (found.api_version, found.kind, ("get", "patch", "update"))
    )
    group, _, version = api_version.rpartition("/")
    return {
        "name": f"{found.plural}/{name}",
        "singularName": "",
        "namespaced": found.namespaced,
        "group": group,
        "version": version,
        "kind": kind,
        "verbs": list(verbs),
    }


def aggregated(*, core: bool) -> Object:
    """All of `/api` or `/apis` at once (APIGroupDiscoveryList)."""
    versions = [version for version in group_versions() if ("/" not in version) is core]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [_discovered_group(version) for version in versions],
    }


def _discovered_group(api_version: str) -> Object:
    group, _, version = api_version.rpartition("/")
    found: list[JSON] = [_discovered(item) for item in RESOURCES if item.api_version == api_version]
    if api_version == REVIEW_GROUP:
        found.append(
            {
                "resource": REVIEW_PLURAL,
                "responseKind": {
                    "group": group,
                    "version": version,
                    "kind": "SelfSubjectAccessReview",
                },
                "scope": "Cluster",
                "singularResource": "selfsubjectaccessreview",
                "verbs": ["create"],
            }
        )
    served: Object = {"version": version, "resources": found, "freshness": "Current"}
    own: Object = {"name": group} if group else {}
    return {"metadata": {**own, "creationTimestamp": None}, "versions": [served]}


def _discovered(found: Resource) -> Object:
    made: Object = {
        "resource": found.plural,
        "responseKind": {"group": found.group, "version": found.version, "kind": found.kind},
        "scope": "Namespaced" if found.namespaced else "Cluster",
        "singularResource": found.singular,
        "verbs": list(_VERBS),
    }
    if found.short_names:
        made["shortNames"] = list(found.short_names)
    if found.categories:
        made["categories"] = list(found.categories)
    below: list[JSON] = []
    for name in found.subresources:
        written = _subresource(found, name)
        kind: Object = {key: written[key] for key in ("group", "version", "kind")}
        below.append({"subresource": name, "responseKind": kind, "verbs": written["verbs"]})
    return {**made, "subresources": below} if below else made


def version_info(release: str) -> Object:
    """`/version` of a release such as `1.37.1`."""
    major, minor, *_ = release.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{release}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "kns",
        "platform": "linux/amd64",
    }

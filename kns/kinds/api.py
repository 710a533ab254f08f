"""Which kinds an API server has, in which group and version: what an object must say that it is.

Source: the API reference of Kubernetes 1.35, and its deprecation guide for what was removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kns.errors import Problem
from kns.labfile.objects import ObjectPlace
from kns.labfile.place import Place
from kns.labfile.reader import REQUIRED
from kns.labfile.wording import did_you_mean

#: the kinds of each version that is served
_SERVED: Mapping[str, tuple[str, ...]] = {
    version: tuple(kinds.split())
    for version, kinds in {
        "v1": "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node "
        "PersistentVolume PersistentVolumeClaim Pod PodTemplate ReplicationController "
        "ResourceQuota Secret Service ServiceAccount",
        "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
        "autoscaling/v1": "HorizontalPodAutoscaler Scale",
        "autoscaling/v2": "HorizontalPodAutoscaler",
        "batch/v1": "CronJob Job",
        "networking.k8s.io/v1": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
        "networking.k8s.io/v1beta1": "IPAddress ServiceCIDR",
        "discovery.k8s.io/v1": "EndpointSlice",
        "policy/v1": "Eviction PodDisruptionBudget",
        "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
        "admissionregistration.k8s.io/v1": "MutatingWebhookConfiguration "
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
        "ValidatingWebhookConfiguration",
        "apiextensions.k8s.io/v1": "CustomResourceDefinition",
        "apiregistration.k8s.io/v1": "APIService",
        "authentication.k8s.io/v1": "SelfSubjectReview TokenRequest TokenReview",
        "authorization.k8s.io/v1": "LocalSubjectAccessReview SelfSubjectAccessReview "
        "SelfSubjectRulesReview SubjectAccessReview",
        "certificates.k8s.io/v1": "CertificateSigningRequest",
        "coordination.k8s.io/v1": "Lease",
        "events.k8s.io/v1": "Event",
        "flowcontrol.apiserver.k8s.io/v1": "FlowSchema PriorityLevelConfiguration",
        "node.k8s.io/v1": "RuntimeClass",
        "resource.k8s.io/v1": "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
        "scheduling.k8s.io/v1": "PriorityClass",
        "storage.k8s.io/v1": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment "
        "VolumeAttributesClass",
    }.items()
}
#: the release that no longer served a kind's version; a star stands for the version's other kinds
_REMOVED: Mapping[str, Mapping[str, str]] = {
    "extensions/v1beta1": {"Ingress": "1.22", "*": "1.16"},
    "apps/v1beta1": {"*": "1.16"},
    "apps/v1beta2": {"*": "1.16"},
    "networking.k8s.io/v1beta1": {"Ingress": "1.22", "IngressClass": "1.22"},
    "discovery.k8s.io/v1beta1": {"*": "1.25"},
    "policy/v1beta1": {"*": "1.25"},
    "batch/v2alpha1": {"*": "1.21"},
    "batch/v1beta1": {"*": "1.25"},
    "autoscaling/v2beta1": {"*": "1.25"},
    "autoscaling/v2beta2": {"*": "1.26"},
    "rbac.authorization.k8s.io/v1alpha1": {"*": "1.22"},
    "rbac.authorization.k8s.io/v1beta1": {"*": "1.22"},
    "admissionregistration.k8s.io/v1beta1": {"*": "1.22"},
    "apiextensions.k8s.io/v1beta1": {"*": "1.22"},
    "apiregistration.k8s.io/v1beta1": {"*": "1.22"},
    "certificates.k8s.io/v1beta1": {"*": "1.22"},
    "coordination.k8s.io/v1beta1": {"*": "1.22"},
    "scheduling.k8s.io/v1beta1": {"*": "1.22"},
    "storage.k8s.io/v1beta1": {"CSIStorageCapacity": "1.27", "*": "1.22"},
    "node.k8s.io/v1beta1": {"*": "1.25"},
    "events.k8s.io/v1beta1": {"*": "1.25"},
    "flowcontrol.apiserver.k8s.io/v1beta1": {"*": "1.26"},
    "flowcontrol.apiserver.k8s.io/v1beta2": {"*": "1.29"},
    "flowcontrol.apiserver.k8s.io/v1beta3": {"*": "1.32"},
}
#: kinds that no version has any more
_GONE = {"PodSecurityPolicy": "1.25"}
#: what a newer version wants in another form
_OTHER_FORM = {
    "Ingress": "pathType is required there, serviceName and servicePort are service.name and "
    "service.port.number",
    "Deployment": "spec.selector is required there",
    "DaemonSet": "spec.selector is required there",
    "StatefulSet": "spec.selector is required there",
    "ReplicaSet": "spec.selector is required there",
    "EndpointSlice": "an endpoint's topology is nodeName and zone there",
    "CustomResourceDefinition": "each version has a schema of its own there",
}
_KINDS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(version for version, kinds in _SERVED.items() if kind in kinds)
    for kind in dict.fromkeys(kind for kinds in _SERVED.values() for kind in kinds)
}


def group_of(api_version: str) -> str:
    """The API group; the core group's name is empty."""
    return api_version.rpartition("/")[0]


_GROUPS = frozenset({"extensions", *map(group_of, _SERVED)})


def is_own(item: ObjectPlace) -> bool:
    """Whether it is one of Kubernetes' own kinds; others may bear the same name elsewhere."""
    return group_of(item.api_version) in _GROUPS


def was_removed(item: ObjectPlace) -> bool:
    """Whether older API servers had its kind in this version."""
    return _removed_in(item.api_version, item.kind) is not None


def check_kind(item: ObjectPlace) -> Iterator[Problem]:
    """Why an API server has no place for such an object."""
    version, kind, place = item.api_version, item.kind, Place(item.document, item.path)
    versions = _KINDS.get(kind, ())
    if not version:
        hint = f"add `apiVersion: {versions[-1]}`" if versions else "every object names its version"
        yield place.problem(("apiVersion",), REQUIRED, hint)
    elif version.count("/") > 1 or not all(version.split("/")):
        message = f"unexpected GroupVersion string: {version}"
        yield place.problem(("apiVersion",), message, "write it as group/version")
    elif kind not in _SERVED.get(version, ()) and not _may_be_elsewhere(version, kind):
        misspelt = kind not in _KINDS and _removed_in(version, kind) is None
        message = f'no matches for kind "{kind}" in version "{version}"'
        path = ("kind",) if misspelt else ("apiVersion",)
        yield place.problem(path, message, _hint(version, kind))


def _may_be_elsewhere(version: str, kind: str) -> bool:
    """Whether a cluster may have it: from a CustomResourceDefinition, or as alpha and beta."""
    group = group_of(version)
    if group not in _GROUPS:
        # the group of a CustomResourceDefinition has a dot
        return "." in group
    is_stable = not any(word in version.rpartition("/")[2] for word in ("alpha", "beta"))
    return not is_stable and kind not in _KINDS and _removed_in(version, kind) is None


def _removed_in(version: str, kind: str) -> str | None:
    releases = _REMOVED.get(version, {})
    return releases.get(kind, releases.get("*"))


def _hint(version: str, kind: str) -> str:
    if kind in _GONE:
        return f"Kubernetes {_GONE[kind]} removed {kind}"
    served = _KINDS.get(kind)
    if served is None:
        kinds = _SERVED.get(version, ()) or tuple(_KINDS)
        return did_you_mean(kind, kinds) or did_you_mean(kind, _KINDS)
    release = _removed_in(version, kind)
    use = f"use {served[-1]}"
    if release is None:
        return use
    form = f": {_OTHER_FORM[kind]}" if kind in _OTHER_FORM else ""
    return f"{use}; Kubernetes {release} removed {version}{form}"

"""What somebody asks for with an object, and what servers and controllers have made or written."""

from __future__ import annotations

from kns.kinds.apiserver import API_NAMESPACE, API_SERVICE, DEFAULT_ACCOUNT, ROOT_CA
from kns.kinds.clusterroles import built_in_roles
from kns.kinds.common import Object
from kns.kinds.endpoints import CONTROLLER_MARKS
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE
from kns.kinds.marks import LAST_NUMBER, WRITTEN_STATUS
from kns.kinds.networking import DNS_DEPLOYMENT, DNS_NAMESPACE, DNS_SERVICE
from kns.kinds.objects import Ref, flag, mapping, mappings, ref_of, text
from kns.kinds.scheduling import NOT_READY_TAINTS
from kns.labfile.reader import JSON

#: what it has of its own with `apiServer`
OWN_OF_API = frozenset({
    ("Service", API_NAMESPACE, API_SERVICE),
    ("EndpointSlice", API_NAMESPACE, API_SERVICE),
})  # fmt: skip
#: what the cluster has of its own, or gets once the Lab or an Ingress calls for it
OWN = OWN_OF_API | frozenset({
    ("Service", DNS_NAMESPACE, DNS_SERVICE),
    ("Deployment", DNS_NAMESPACE, DNS_DEPLOYMENT),
    ("Service", CONTROLLER_NAMESPACE, CONTROLLER_NAME),
    ("Deployment", CONTROLLER_NAMESPACE, CONTROLLER_NAME),
})  # fmt: skip
#: where a Lab says which of those Services have been made: one that is gone since was deleted
MADE_SERVICES = ("status", "madeServices")
#: the namespaces of those
OWN_NAMESPACES: frozenset[Ref] = frozenset(("Namespace", "", space) for _, space, _ in OWN)
#: the rules of the ClusterRoles of every cluster
_BUILT_IN = {ref_of(role): role["rules"] for role in built_in_roles()}
_OF_BARE_OBJECT = {"apiVersion", "kind", "metadata", "name", "namespace"}
_ANNOTATIONS = ("deployment.kubernetes.io/", "kubectl.kubernetes.io/last-applied")


def is_made(item: Object) -> bool:
    """Whether a controller has made it of another object, or it only tells what has happened."""
    if item.get("kind") == "Event":
        return True
    if item.get("kind") == "Endpoints" and not CONTROLLER_MARKS.isdisjoint(
        {
            *mapping(item, "metadata", "labels"),
            *mapping(item, "metadata", "annotations"),
        }
    ):
        return True
    if item.get("kind") == "ClusterRole" and item.get("rules") == _BUILT_IN.get(ref_of(item)):
        return True
    if item.get("kind") == "ConfigMap" and text(item, "metadata", "name") == ROOT_CA:
        return True
    if item.get("kind") == "ServiceAccount" and text(item, "metadata", "name") == DEFAULT_ACCOUNT:
        return not (metadata(item).keys() | item.keys()) - _OF_BARE_OBJECT
    return any(flag(owner, "controller") for owner in mappings(item, "metadata", "ownerReferences"))


def metadata(item: Object) -> Object:
    """An object's metadata without what a server or a controller writes."""
    meta = mapping(item, "metadata")
    made: Object = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
    annotations: Object = {
        key: value
        for key, value in mapping(meta, "annotations").items()
        if not key.startswith(_ANNOTATIONS) and key not in {WRITTEN_STATUS, LAST_NUMBER}
    }
    return {**made, "annotations": annotations} if annotations else made


def taints(item: Object) -> list[JSON]:
    """A node's taints without those that come and go with its kubelet's word."""
    return [
        {key: taint[key] for key in ("key", "value", "effect") if key in taint}
        for taint in mappings(item, "spec", "taints")
        if text(taint, "key") not in NOT_READY_TAINTS
    ]

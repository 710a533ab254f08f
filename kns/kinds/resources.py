"""The resources of the lab's API: what kubectl calls each kind, and where a server keeps it.

Source: `kubectl api-resources` of Kubernetes 1.37 and the API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kns.kinds.common import Object
from kns.kinds.objects import text


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind in the version in which it is served. The core group's name is empty."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    #: what has a path and verbs of its own below the object
    subresources: tuple[str, ...] = ()
    #: False where kns keeps the objects, and nothing comes of them
    effective: bool = True

    @property
    def api_version(self) -> str:
        """As in the object: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """Whether `status` is written apart from the rest."""
        return "status" in self.subresources

    @property
    def full_name(self) -> str:
        """As in messages: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _core(kind: str, plural: str, **more: object) -> Resource:
    return Resource("", "v1", kind, plural, kind.lower(), **more)  # type: ignore[arg-type]


def _in(group_version: str, kind: str, plural: str, **more: object) -> Resource:
    group, _, version = group_version.partition("/")
    return Resource(group, version, kind, plural, kind.lower(), **more)  # type: ignore[arg-type]


_ALL = ("all",)
_STATUS = ("status",)
_SCALED = ("status", "scale")
_RBAC = "rbac.authorization.k8s.io/v1"
_NETWORKING = "networking.k8s.io/v1"

POD = _core(
    "Pod",
    "pods",
    short_names=("po",),
    categories=_ALL,
    subresources=("status", "log", "exec", "attach", "portforward", "eviction", "binding"),
)
NODE = _core("Node", "nodes", namespaced=False, short_names=("no",), subresources=_STATUS)
SERVICE = _core("Service", "services", short_names=("svc",), categories=_ALL, subresources=_STATUS)
ENDPOINTS = _core("Endpoints", "endpoints", short_names=("ep",))
NAMESPACE = _core(
    "Namespace", "namespaces", namespaced=False, short_names=("ns",), subresources=_STATUS
)
EVENT = _core("Event", "events", short_names=("ev",))
CONFIG_MAP = _core("ConfigMap", "configmaps", short_names=("cm",))
SECRET = _core("Secret", "secrets")
SERVICE_ACCOUNT = _core(
    "ServiceAccount", "serviceaccounts", short_names=("sa",), subresources=("token",)
)
REPLICATION_CONTROLLER = _core(
    "ReplicationController",
    "replicationcontrollers",
    short_names=("rc",),
    categories=_ALL,
    subresources=_SCALED,
)
DEPLOYMENT = _in(
    "apps/v1",
    "Deployment",
    "deployments",
    short_names=("deploy",),
    categories=_ALL,
    subresources=_SCALED,
)
REPLICA_SET = _in(
    "apps/v1",
    "ReplicaSet",
    "replicasets",
    short_names=("rs",),
    categories=_ALL,
    subresources=_SCALED,
)
STATEFUL_SET = _in(
    "apps/v1",
    "StatefulSet",
    "statefulsets",
    short_names=("sts",),
    categories=_ALL,
    subresources=_SCALED,
)
DAEMON_SET = _in(
    "apps/v1",
    "DaemonSet",
    "daemonsets",
    short_names=("ds",),
    categories=_ALL,
    subresources=_STATUS,
)
CONTROLLER_REVISION = _in("apps/v1", "ControllerRevision", "controllerrevisions")
ENDPOINT_SLICE = _in("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
INGRESS = _in(_NETWORKING, "Ingress", "ingresses", short_names=("ing",), subresources=_STATUS)
INGRESS_CLASS = _in(_NETWORKING, "IngressClass", "ingressclasses", namespaced=False)
NETWORK_POLICY = _in(_NETWORKING, "NetworkPolicy", "networkpolicies", short_names=("netpol",))
#: what is not Kubernetes' of a lab: networking, the internet, faults
LAB = _in("kns/v1", "Lab", "labs", namespaced=False)

RESOURCES: tuple[Resource, ...] = (
    POD,
    NODE,
    SERVICE,
    ENDPOINTS,
    NAMESPACE,
    EVENT,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    REPLICATION_CONTROLLER,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    ENDPOINT_SLICE,
    INGRESS,
    INGRESS_CLASS,
    NETWORK_POLICY,
    LAB,
    _in(_RBAC, "Role", "roles"),
    _in(_RBAC, "RoleBinding", "rolebindings"),
    _in(_RBAC, "ClusterRole", "clusterroles", namespaced=False),
    _in(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    # what an application's manifests hold besides, and no network comes of
    _core(
        "PersistentVolume",
        "persistentvolumes",
        namespaced=False,
        short_names=("pv",),
        subresources=_STATUS,
        effective=False,
    ),
    _core(
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        short_names=("pvc",),
        subresources=_STATUS,
        effective=False,
    ),
    _in(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short_names=("hpa",),
        categories=_ALL,
        subresources=_STATUS,
        effective=False,
    ),
    _in(
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        short_names=("pdb",),
        subresources=_STATUS,
        effective=False,
    ),
)

_BY_KIND: Mapping[tuple[str, str], Resource] = {(r.api_version, r.kind): r for r in RESOURCES}
_BY_PLURAL: Mapping[tuple[str, str], Resource] = {(r.api_version, r.plural): r for r in RESOURCES}


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource of such objects, or None."""
    return _BY_KIND.get((api_version, kind))


def by_plural(api_version: str, plural: str) -> Resource | None:
    """The resource at such a path of the API, or None."""
    return _BY_PLURAL.get((api_version, plural))


def resource_of(obj: Object) -> Resource | None:
    """The resource of an object, by what it says that it is."""
    return by_kind(text(obj, "apiVersion"), text(obj, "kind"))


def by_word(word: str) -> Resource | None:
    """What a user means: `deploy`, `Deployment`, `deployments`, `deployments.apps`."""
    lower = word.lower()
    for found in RESOURCES:
        names = (found.plural, found.singular, *found.short_names, found.full_name)
        if lower in names:
            return found
    return None

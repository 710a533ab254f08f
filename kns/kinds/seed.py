"""The objects that a lab file stands for: what an API server would hold once it was applied.

    Lab document ─▶ a Lab object of what Kubernetes has no kind for, a manifest of each list's item
    manifests    ─▶ themselves
    workloads    ─▶ the pods that they make, and a ReplicaSet of each Deployment between the two

`kns.kinds.assemble` is the inverse: its Lab resolves as the file does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from kns.kinds import (
    endpointslice,
    ingress,
    namespace,
    networkpolicy,
    node,
    objects,
    podobject,
    secret,
    service,
)
from kns.kinds.api import is_own, was_removed
from kns.kinds.common import Object, uid_of
from kns.kinds.implied import is_lab
from kns.kinds.lab import OBJECT_LISTS, Lab
from kns.kinds.load import LoadedLab
from kns.kinds.marks import READY, TERMINATING, WRITTEN_STATUS
from kns.kinds.namespace import Namespace
from kns.kinds.objects import key_of, mapping, text
from kns.kinds.owners import without_owned
from kns.kinds.placement import PlacedPod, expand_pods, own_workloads
from kns.kinds.pod import Pod
from kns.kinds.shortform import workload_manifest
from kns.kinds.workload import Workload, WorkloadKind
from kns.labfile.document import Document
from kns.labfile.objects import objects_in
from kns.labfile.parse import parse_stream
from kns.labfile.reader import JSON

_WORKLOADS = frozenset(str(kind) for kind in WorkloadKind)
_CLUSTER_SCOPED = frozenset({
    "Lab", "Namespace", "Node", "IngressClass", "PersistentVolume", "ClusterRole",
    "ClusterRoleBinding",
})  # fmt: skip
APPS = "apps/v1"


def objects_of(loaded: LoadedLab, bound: Mapping[str, str] | None = None) -> tuple[Object, ...]:
    """The objects of a lab's files, each once, with the pods that its workloads make.

    `bound` gives the node of pods that have run before, as for `expand_pods`.
    """
    documents = parse_stream(loaded.text, "lab.yaml").documents
    document = next(filter(is_lab, documents))
    others = [item for item in documents if item is not document]
    data = document.data if isinstance(document.data, dict) else {}
    manifests = tuple(_manifests(others))
    workloads = [workload_manifest(item) for item in data.get("pods") or ()]
    workloads += [item for item in manifests if item["kind"] in _WORKLOADS]
    rest = [item for item in manifests if item["kind"] not in _WORKLOADS]
    pairs = list(zip(workloads, loaded.spec.workloads, strict=True))
    placed = expand_pods(loaded.spec, bound)
    every = (
        _lab_object(data),
        *_listed(data, loaded.spec),
        *rest,
        *_with_pods(pairs, placed, loaded.spec),
    )
    return tuple(_with_uid(loaded.spec.name, item) for item in every)


def _with_uid(lab: str, item: Object) -> Object:
    meta, kind = mapping(item, "metadata"), str(item["kind"])
    where: Object = {} if kind in _CLUSTER_SCOPED else {"namespace": "default"}
    own: Object = {**where, **meta}
    own["uid"] = uid_of(lab, kind, str(own.get("namespace") or ""), str(own["name"]))
    return {**item, "metadata": own}


# -- the Lab document ------------------------------------------------------------------------------


def _lab_object(data: Mapping[str, JSON]) -> Object:
    """What is left of the Lab document without the lists of Kubernetes' objects."""
    return {
        key: value for key, value in data.items() if key not in OBJECT_LISTS and value is not None
    }


def _listed(data: Mapping[str, Any], lab: Lab) -> Iterator[Object]:
    """The items of the Lab document's lists; in `lab` they come before the manifests."""

    def own(name: str, values: Sequence[Any]) -> Sequence[Any]:
        return values[: len(data.get(name) or ())]

    for item in data.get("namespaces") or ():
        short = item if isinstance(item, str) else item["name"]
        labels = {} if isinstance(item, str) else item.get("labels") or {}
        yield namespace.write(Namespace(short, labels))
    yield from map(node.write, own("nodes", lab.nodes))
    for made in own("services", lab.services):
        yield _with_status_mark(service.write(made))
    yield from map(endpointslice.write, own("endpointSlices", lab.endpoint_slices))
    yield from map(ingress.write_class, own("ingressClasses", lab.ingress_classes))
    yield from map(ingress.write, own("ingresses", lab.ingresses))
    yield from map(secret.write, own("secrets", lab.secrets))
    yield from map(networkpolicy.write, own("networkPolicies", lab.network_policies))


# -- manifests -------------------------------------------------------------------------------------


def _manifests(documents: Iterable[Document]) -> Iterator[Object]:
    """The manifests' objects as the API server would take them."""
    items = [item for document in documents for item in objects_in(document)[0]]
    for item in without_owned(items):
        if not is_own(item) or was_removed(item):
            continue
        made: Object = {**item.data, "apiVersion": item.api_version, "kind": item.kind}  # type: ignore[dict-item]
        if item.kind == "Pod":
            made = _with_pod_marks(made)
        elif item.kind == "Service":
            made = _with_status_mark(made)
        elif item.kind == "Secret":
            made = _with_encoded(made)
        yield made


def _with_pod_marks(item: Object) -> Object:
    """A Pod as some server printed it: not ready or on its way out, it stays so."""
    meta, status = mapping(item, "metadata"), mapping(item, "status")
    conditions = status.get("conditions")
    marks: Object = {}
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            marks[READY] = "true" if condition.get("status") == "True" else "false"
    if meta.get("deletionTimestamp"):
        marks[TERMINATING] = "true"
    wanted = {key: value for key, value in marks.items() if value != "true" or key != READY}
    if status.get("phase") == "Pending":
        # it is made here, and runs as every pod of a file does
        item = {**item, "status": {k: v for k, v in status.items() if k != "phase"}}
    if not wanted:
        return item
    gone = {"deletionTimestamp", "deletionGracePeriodSeconds"}
    kept = {key: value for key, value in meta.items() if key not in gone}
    return {**item, "metadata": _annotated(kept, wanted)}


def _with_status_mark(item: Object) -> Object:
    """A Service whose addresses of a load balancer its file has written."""
    balancer = mapping(item, "status").get("loadBalancer")
    if not (isinstance(balancer, dict) and balancer.get("ingress")):
        return item
    return {**item, "metadata": _annotated(mapping(item, "metadata"), {WRITTEN_STATUS: "true"})}


def _annotated(meta: Object, marks: Mapping[str, JSON]) -> Object:
    annotations = meta.get("annotations")
    return {
        **meta,
        "annotations": {**(annotations if isinstance(annotations, dict) else {}), **marks},
    }


def _with_encoded(item: Object) -> Object:
    """A Secret whose `stringData` is in `data`, as the API server keeps it."""
    plain = item.get("stringData")
    if not isinstance(plain, dict):
        return item
    made: Object = {key: secret.encoded(str(value)) for key, value in plain.items()}
    kept = {key: value for key, value in item.items() if key != "stringData"}
    return {**kept, "data": {**mapping(item, "data"), **made}}


# -- workloads and their pods ----------------------------------------------------------------------


def _with_pods(
    pairs: Sequence[tuple[Object, Workload]], placed: Sequence[PlacedPod], lab: Lab
) -> Iterator[Object]:
    """The workloads but for Pods, then every pod in its order; the cluster's own come last."""
    owners: dict[int | str, Object] = {}
    for key, (manifest, item) in chain(enumerate(pairs), _own(lab).items()):
        if item.kind is WorkloadKind.POD:
            continue
        yield manifest
        owners[key] = manifest
        if item.kind is WorkloadKind.DEPLOYMENT:
            owners[key] = replica_set(lab.name, manifest, item)
            yield owners[key]
    for found in placed:
        key = found.workload if found.workload >= 0 else found.pod.namespace
        if key in owners:
            yield owned_pod(lab.name, owners[key], found.pod)
        else:
            yield _bare(pairs[found.workload][0], found.pod)


def _own(lab: Lab) -> dict[int | str, tuple[Object, Workload]]:
    """The cluster's own Deployments by their namespace."""
    return {item.template.namespace: (_own_manifest(item), item) for item in own_workloads(lab)}


def _own_manifest(item: Workload) -> Object:
    template = item.template
    labels: Object = {**template.labels}
    annotations: Object = {**podobject.written_annotations(template)}
    about: Object = {"labels": labels, **({"annotations": annotations} if annotations else {})}
    return {
        "apiVersion": APPS,
        "kind": "Deployment",
        "metadata": {"name": template.name, "namespace": template.namespace, "labels": labels},
        "spec": {
            "replicas": item.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": about, "spec": podobject.write_spec(template)},
        },
    }


def replica_set(lab: str, deployment: Object, item: Workload) -> Object:
    """The ReplicaSet of a Deployment's template (deployment_util.go, getNewReplicaSet)."""
    own = {"pod-template-hash": item.revision, **item.template.labels}
    mark: Object = {"pod-template-hash": own["pod-template-hash"]}
    spec = mapping(deployment, "spec")
    template, selector = mapping(spec, "template"), mapping(spec, "selector")
    about = mapping(template, "metadata")
    labels: Object = {**mapping(about, "labels"), **own}
    return {
        "apiVersion": APPS,
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{item.template.name}-{item.revision}",
            "namespace": item.template.namespace,
            "labels": labels,
            "annotations": {
                "deployment.kubernetes.io/desired-replicas": str(item.replicas),
                "deployment.kubernetes.io/revision": "1",
            },
            "ownerReferences": [owner_reference(lab, deployment)],
        },
        "spec": {
            "replicas": item.replicas,
            "selector": {**selector, "matchLabels": {**mapping(selector, "matchLabels"), **mark}},
            "template": {**template, "metadata": {**about, "labels": labels}},
        },
    }


def owned_pod(lab: str, owner: Object, pod: Pod) -> Object:
    """The Pod that a controller has made of its template, where it is placed."""
    template = mapping(mapping(owner, "spec"), "template")
    about = mapping(template, "metadata")
    annotations = about.get("annotations")
    own: Object = {"nodeName": pod.node} if pod.node else {}
    own |= {"hostname": pod.hostname} if pod.hostname else {}
    own |= {"subdomain": pod.subdomain} if pod.subdomain else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": {**mapping(about, "labels"), **pod.labels},
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [owner_reference(lab, owner)],
        },
        "spec": {**mapping(template, "spec"), **own},
    }


def owner_reference(lab: str, owner: Object) -> Object:
    """What a made object says of its maker."""
    key = key_of(owner)
    uid = uid_of(lab, text(owner, "kind"), key.namespace or "default", key.name)
    return objects.owner_reference(owner, uid)


def _bare(manifest: Object, pod: Pod) -> Object:
    """A Pod that nobody else makes, where it is placed."""
    if not pod.node:
        return manifest
    return {**manifest, "spec": {**mapping(manifest, "spec"), "nodeName": pod.node}}

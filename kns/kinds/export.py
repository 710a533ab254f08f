"""The documents of a lab file that stands for objects as they are now: what `kns up` takes.

Nodes are in the Lab document, all else are manifests. What controllers have made of other objects,
and what the cluster has of its own, `up` makes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kns.kinds.common import Object
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE
from kns.kinds.lab import SHAPE
from kns.kinds.marks import WRITTEN_STATUS
from kns.kinds.namespace import NAME_LABEL
from kns.kinds.objects import (
    flag,
    key_of,
    mapping,
    mappings,
    number,
    part,
    strings,
    text,
    with_part,
)
from kns.labfile.reader import JSON

#: what tells others from the objects' authors
_DERIVED = frozenset({"Event", "Endpoints", "ControllerRevision", "Lab", "Node"})
_OWN = frozenset({
    ("Service", "kube-system", "kube-dns"),
    ("Deployment", "kube-system", "coredns"),
    ("Service", CONTROLLER_NAMESPACE, CONTROLLER_NAME),
    ("Deployment", CONTROLLER_NAMESPACE, CONTROLLER_NAME),
})  # fmt: skip
_ANNOTATIONS = ("deployment.kubernetes.io/", "kubectl.kubernetes.io/last-applied")
#: taints that nodes have as long as nothing is heard of them
_PASSING = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})


def documents(objects: Iterable[Object]) -> Iterator[Object]:
    """The Lab document, then the manifests in the objects' order. ValueError without a Lab."""
    every = tuple(objects)
    lab = next((item for item in every if item.get("kind") == "Lab"), None)
    if lab is None:
        raise ValueError("no object of kind Lab among the objects")
    yield _lab(lab, every)
    for item in every:
        if not _is_made(item):
            yield _manifest(item)


def _lab(lab: Object, every: tuple[Object, ...]) -> Object:
    known = {field.name for field in SHAPE.fields} - {"metadata"}
    made: Object = {
        "apiVersion": lab["apiVersion"],
        "kind": lab["kind"],
        "metadata": _metadata(lab),
        **{key: value for key, value in lab.items() if key in known},
    }
    made["nodes"] = [_node(item) for item in every if item.get("kind") == "Node"]
    for key, path in (
        (("Deployment", "kube-system", "coredns"), ("networking", "dns", "replicas")),
        (
            ("Deployment", CONTROLLER_NAMESPACE, CONTROLLER_NAME),
            ("ingressController", "replicas"),
        ),
    ):
        own = next((item for item in every if (item.get("kind"), *key_of(item)) == key), None)
        if own is not None and (count := number(own, "spec", "replicas")):
            made = with_part(made, count, *path)
    return made


def _node(item: Object) -> JSON:
    """A node in its short form, with the addresses that it has."""
    made: Object = {"name": text(item, "metadata", "name")}
    labels: Object = {
        key: value
        for key, value in strings(item, "metadata", "labels").items()
        if key != "kubernetes.io/hostname"
    }
    addresses: list[JSON] = [
        text(entry, "address")
        for entry in mappings(item, "status", "addresses")
        if entry.get("type") == "InternalIP"
    ]
    taints: list[JSON] = [
        {key: taint[key] for key in ("key", "value", "effect") if key in taint}
        for taint in mappings(item, "spec", "taints")
        if taint.get("key") not in _PASSING
    ]
    cidrs = part(item, "spec", "podCIDRs")
    parts: Object = {"labels": labels, "addresses": addresses, "podCIDRs": cidrs, "taints": taints}
    return {**made, **{key: value for key, value in parts.items() if value}}


def _is_made(item: Object) -> bool:
    """Whether a controller, or the cluster itself, has made it, or it is on its way out."""
    key = (text(item, "kind"), *key_of(item))
    if key[0] in _DERIVED or key in _OWN or text(item, "metadata", "deletionTimestamp"):
        return True
    if key[0] == "Namespace":
        return not set(strings(item, "metadata", "labels")) - {NAME_LABEL}
    return any(flag(owner, "controller") for owner in mappings(item, "metadata", "ownerReferences"))


def _manifest(item: Object) -> Object:
    marked = WRITTEN_STATUS in mapping(item, "metadata", "annotations")
    left_out = set() if marked else {"status"}
    made = {key: value for key, value in item.items() if key not in left_out}
    return {**made, "metadata": _metadata(item)}


def _metadata(item: Object) -> Object:
    meta = mapping(item, "metadata")
    made: Object = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
    annotations: Object = {
        key: value
        for key, value in mapping(meta, "annotations").items()
        if not key.startswith(_ANNOTATIONS)
        and key not in {WRITTEN_STATUS, "kns.dev/last-pod-number"}
    }
    return {**made, "annotations": annotations} if annotations else made

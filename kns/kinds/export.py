"""The documents of a lab file that stands for objects as they are now: what `kns up` takes.

Nodes are in the Lab document, all else are manifests. What controllers have made of other objects,
and what the cluster has of its own, `up` makes again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from kns.kinds.asked import OWN, OWN_OF_API, is_made, metadata, taints
from kns.kinds.common import Object
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE
from kns.kinds.lab import SHAPE
from kns.kinds.marks import WRITTEN_STATUS
from kns.kinds.namespace import NAME_LABEL
from kns.kinds.networking import DNS_DEPLOYMENT, DNS_NAMESPACE
from kns.kinds.objects import (
    Ref,
    mapping,
    mappings,
    number,
    part,
    ref_of,
    strings,
    text,
    with_part,
)
from kns.labfile.reader import JSON

_IN_THE_LAB = frozenset({"Lab", "Node"})


def documents(objects: Iterable[Object]) -> Iterator[Object]:
    """The Lab document, then the manifests in the objects' order. ValueError without a Lab."""
    every = tuple(objects)
    lab = next((item for item in every if item.get("kind") == "Lab"), None)
    if lab is None:
        raise ValueError("no object of kind Lab among the objects")
    yield _lab(lab, every)
    own = OWN if lab.get("apiServer") is not None else OWN - OWN_OF_API
    for item in every:
        if not _is_left_out(item, own):
            yield _manifest(item)


def _lab(lab: Object, every: tuple[Object, ...]) -> Object:
    known = {field.name for field in SHAPE.fields} - {"metadata"}
    made: Object = {
        "apiVersion": lab["apiVersion"],
        "kind": lab["kind"],
        "metadata": metadata(lab),
        **{key: value for key, value in lab.items() if key in known},
    }
    made["nodes"] = [_node(item) for item in every if item.get("kind") == "Node"]
    for key, path in (
        (("Deployment", DNS_NAMESPACE, DNS_DEPLOYMENT), ("networking", "dns", "replicas")),
        (
            ("Deployment", CONTROLLER_NAMESPACE, CONTROLLER_NAME),
            ("ingressController", "replicas"),
        ),
    ):
        own = next((item for item in every if ref_of(item) == key), None)
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
    cidrs = part(item, "spec", "podCIDRs")
    parts: Object = {
        "labels": labels,
        "addresses": addresses,
        "podCIDRs": cidrs,
        "taints": taints(item),
    }
    return {**made, **{key: value for key, value in parts.items() if value}}


def _is_left_out(item: Object, own: Collection[Ref]) -> bool:
    """Whether `up` makes it of the rest, or it is on its way out."""
    ref = ref_of(item)
    if ref[0] in _IN_THE_LAB or ref in own or text(item, "metadata", "deletionTimestamp"):
        return True
    if ref[0] == "Namespace":
        return not set(strings(item, "metadata", "labels")) - {NAME_LABEL}
    return is_made(item)


def _manifest(item: Object) -> Object:
    marked = WRITTEN_STATUS in mapping(item, "metadata", "annotations")
    left_out = set() if marked else {"status"}
    made = {key: value for key, value in item.items() if key not in left_out}
    return {**made, "metadata": metadata(item)}

"""Objects that controllers have made of others: what `kubectl get all -o yaml` prints besides.

A Deployment in the file makes its ReplicaSet's pods, a Service with a selector its EndpointSlices;
those that stand in the file, too, are the ones that it has made before. An EndpointSlice that says
that somebody else manages it is nobody's but his, whatever it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from kns.kinds.common import Object
from kns.kinds.endpointslice import CONTROLLER, MANAGED_BY, MIRRORING_CONTROLLER
from kns.kinds.objects import mappings, text
from kns.labfile.objects import ObjectPlace

_Key = tuple[str, str, str]
_MADE_BY = frozenset({"", CONTROLLER, MIRRORING_CONTROLLER})


def is_made(item: Object) -> bool:
    """Whether it is an EndpointSlice that one of the two controllers has made of another object."""
    return (
        item.get("kind") == "EndpointSlice"
        and bool(mappings(item, "metadata", "ownerReferences"))
        and text(item, "metadata", "labels", MANAGED_BY) in _MADE_BY
    )


def without_owned(objects: Sequence[ObjectPlace]) -> Iterator[ObjectPlace]:
    """The objects whose controller owner (`ownerReferences`) is none of them."""
    known = {(item.kind, *_name(item)) for item in objects}
    yield from (item for item in objects if _owner(item) not in known or _is_others(item))


def _is_others(item: ObjectPlace) -> bool:
    return item.kind == "EndpointSlice" and not is_made(cast("Object", item.data))


def _name(item: ObjectPlace) -> tuple[str, str]:
    metadata = item.data.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    return str(found.get("namespace") or "default"), str(found.get("name"))


def _owner(item: ObjectPlace) -> _Key | None:
    """The one owner that manages it; owners without `controller: true` only keep it alive."""
    metadata = item.data.get("metadata")
    references = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("controller") is True:
            return str(reference.get("kind")), _name(item)[0], str(reference.get("name"))
    return None

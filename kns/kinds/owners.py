"""Objects that controllers have made of others: what `kubectl get all -o yaml` prints besides.

A Deployment in the file makes its ReplicaSet's pods, a Service with a selector its EndpointSlices;
those that stand in the file, too, are the ones that it has made before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.labfile.objects import ObjectPlace

_Key = tuple[str, str, str]


def without_owned(objects: Sequence[ObjectPlace]) -> Iterator[ObjectPlace]:
    """The objects whose controller owner (`ownerReferences`) is none of them."""
    known = {(item.kind, *_name(item)) for item in objects}
    yield from (item for item in objects if _owner(item) not in known)


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

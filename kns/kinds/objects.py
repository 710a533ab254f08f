"""Parts of plain objects, as an API server prints them.

What is absent, or of another type, reads as empty.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from kns.kinds.common import Object
from kns.labfile.reader import JSON

#: what a server writes into `metadata`, and no file does
SERVER_METADATA = frozenset({
    "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink",
    "deletionTimestamp", "deletionGracePeriodSeconds",
})  # fmt: skip


class ObjectKey(NamedTuple):
    """What names an object among those of its resource; the namespace is empty without one."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def part(value: JSON, *path: str) -> JSON:
    """What stands at `path`, or None."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def mapping(value: JSON, *path: str) -> Object:
    """The mapping at `path`."""
    found = part(value, *path)
    return found if isinstance(found, dict) else {}


def items(value: JSON, *path: str) -> list[JSON]:
    """The list at `path`."""
    found = part(value, *path)
    return found if isinstance(found, list) else []


def mappings(value: JSON, *path: str) -> list[Object]:
    """The mappings in the list at `path`."""
    return [item for item in items(value, *path) if isinstance(item, dict)]


def text(value: JSON, *path: str) -> str:
    """The string at `path`."""
    found = part(value, *path)
    return found if isinstance(found, str) else ""


def number(value: JSON, *path: str, default: int = 0) -> int:
    """The integer at `path`."""
    found = part(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def flag(value: JSON, *path: str) -> bool:
    """Whether `true` stands at `path`."""
    return part(value, *path) is True


def key_of(obj: Object) -> ObjectKey:
    """The object's namespace and name."""
    return ObjectKey(text(obj, "metadata", "namespace"), text(obj, "metadata", "name"))


#: kind, namespace, name
Ref = tuple[str, str, str]


def ref_of(obj: Object) -> Ref:
    """What names the object among those of all kinds."""
    return (text(obj, "kind"), *key_of(obj))


def name_of(obj: Object) -> str:
    """`metadata.name`."""
    return text(obj, "metadata", "name")


def controller_kind(obj: Object) -> str:
    """The kind of what has made the object, and looks after it; empty where nothing has."""
    owners = mappings(obj, "metadata", "ownerReferences")
    return next((text(owner, "kind") for owner in owners if flag(owner, "controller")), "")


def owner_reference(owner: Object, uid: str) -> Object:
    """What an object's `ownerReferences` hold of the controller that made it."""
    return {
        "apiVersion": text(owner, "apiVersion"),
        "kind": text(owner, "kind"),
        "name": name_of(owner),
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


@lru_cache(maxsize=8192)
def seconds(written: str) -> float:
    """A time as an API server writes it, in seconds since the epoch; 0 for what is none."""
    try:
        return float(timegm(time.strptime(written[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0


def list_of(found: Iterable[Object]) -> Object:
    """Objects as one document, as kubectl prints several."""
    return {"apiVersion": "v1", "kind": "List", "items": list(found)}


def labels_of(obj: Object) -> dict[str, str]:
    """`metadata.labels`."""
    return strings(obj, "metadata", "labels")


def strings(value: JSON, *path: str) -> dict[str, str]:
    """The strings of the mapping at `path`."""
    return {key: item for key, item in mapping(value, *path).items() if isinstance(item, str)}


def with_part(obj: Object, value: JSON, *path: str) -> Object:
    """A copy in which `value` stands at `path`; None takes it away. The object stays as it is."""
    first, rest = path[0], path[1:]
    if rest:
        value = with_part(mapping(obj, first), value, *rest)
    copy = {key: item for key, item in obj.items() if key != first or value is not None}
    if value is not None:
        copy[first] = value
    return copy

"""The lab's objects as an API server has them: in memory, versioned, watched.

Used from the event loop's thread alone. An object in it is never changed: a write puts another one
in its place. What etcd and the registry's strategies do to each object is done here (uid, creation
time, generation, resource version, graceful deletion); what an object may say is checked by whoever
writes it.

Source of the rules: k8s.io/apiserver/pkg/registry (generic/registry/store.go, rest/delete.go) and
the pod strategy of k8s.io/kubernetes/pkg/registry/core/pod.
"""

from __future__ import annotations

import time
import uuid
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from kns.agent import strategy
from kns.agent.strategy import UpdatePart
from kns.errors import KnsError
from kns.kinds.common import Object
from kns.kinds.namespace import NAME_LABEL
from kns.kinds.objects import (
    SERVER_METADATA,
    ObjectKey,
    items,
    key_of,
    mapping,
    part,
    text,
    with_part,
)
from kns.kinds.resources import NAMESPACE, Resource, resource_of

#: changes that a watch can go back
HISTORY = 4096


class StoreError(KnsError):
    """A write or read that the store refuses; nothing of it was done."""

    def __init__(self, message: str, resource: Resource, name: str = "") -> None:
        super().__init__(message)
        self.resource, self.name = resource, name


class NotFoundError(StoreError):
    """There is no such object."""

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(f'{resource.full_name} "{name}" not found', resource, name)


class AlreadyExistsError(StoreError):
    """An object of that name is there already."""

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(f'{resource.full_name} "{name}" already exists', resource, name)


class ConflictError(StoreError):
    """The object is another one than the writer has read, or changed since."""

    def __init__(self, resource: Resource, name: str, why: str) -> None:
        message = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {why}'
        super().__init__(message, resource, name)


class ExpiredError(KnsError):
    """A watch asks for changes that are no longer kept."""


class ChangeType(StrEnum):
    """What happened to an object, in a watch's words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One write. `object` is what it is now, or was at last; `old` what it was before."""

    type: ChangeType
    resource: Resource
    object: Object
    old: Object | None
    #: the store's version after it
    version: int


#: keeps a change for good before the write is answered; if it raises, nothing is written
Journal = Callable[[ObjectChange], None]


def timestamp(seconds: float) -> str:
    """A time as objects have it: `2026-01-02T03:04:05Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """The objects, by resource, namespace and name."""

    def __init__(
        self, journal: Journal | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._objects: dict[Resource, dict[ObjectKey, Object]] = {}
        self._history: deque[ObjectChange] = deque(maxlen=HISTORY)
        self._version = 1
        #: the version from which on every change is in the history
        self._since = 1
        self._subscribers: list[Callable[[ObjectChange], None]] = []

    # -- reading -----------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The last change's number."""
        return self._version

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get(resource, {}).get(strategy.key(resource, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> tuple[Object, ...]:
        """The objects of a resource, by namespace and name; an empty namespace means all."""
        found = self._objects.get(resource, {})
        return tuple(found[key] for key in sorted(found) if namespace in {"", key.namespace})

    def all(self) -> tuple[Object, ...]:
        """Every object."""
        return tuple(obj for resource in self._objects for obj in self.list(resource))

    def changes_since(self, version: int) -> tuple[ObjectChange, ...]:
        """The changes after `version`. ExpiredError if they are no longer all there."""
        if version < self._since:
            raise ExpiredError(f"too old resource version: {version} ({self._since})")
        first = bisect_right(self._history, version, key=lambda change: change.version)
        return tuple(self._history[index] for index in range(first, len(self._history)))

    def subscribe(self, callback: Callable[[ObjectChange], None]) -> Callable[[], None]:
        """Call `callback` after each change, until what is returned is called."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    # -- writing -----------------------------------------------------------------------------------

    def create(self, resource: Resource, obj: Object) -> Object:
        """Put in a new object, defaulted, with the server's part of `metadata`.

        AlreadyExistsError.
        """
        obj = strategy.complete(resource, obj)
        key = strategy.key(resource, *key_of(obj))
        if key in self._objects.get(resource, {}):
            raise AlreadyExistsError(resource, key.name)
        return self._put(ChangeType.ADDED, resource, self._made(resource, obj, key), None)

    def update(self, resource: Resource, obj: Object, part: UpdatePart = UpdatePart.ALL) -> Object:
        """Write `part` of an object that is there; an equal one writes nothing.

        A `resourceVersion` or `uid` in it must be the present one's. One that is being deleted goes
        with its last finalizer. NotFoundError, ConflictError.
        """
        key = strategy.key(resource, *key_of(obj))
        old = self._there(resource, key)
        self._check(resource, old, mapping(obj, "metadata"))
        made = strategy.updated(old, strategy.complete(resource, obj), part)
        if made == old:
            return old
        if strategy.is_over(made):
            return self._put(ChangeType.DELETED, resource, made, old)
        return self._put(ChangeType.MODIFIED, resource, made, old)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        grace: int | None = None,
        uid: str = "",
        version: str = "",
    ) -> Object:
        """Delete an object, or mark it where somebody has still to do with it.

        A pod on a node gets its grace period (`grace`, or what it says itself, in seconds) and is
        removed by the kubelet's delete with `grace=0`; finalizers hold anything, and a namespace
        goes with the last object in it. Returns what it is now, or was at last. NotFoundError,
        ConflictError.
        """
        old = self._there(resource, strategy.key(resource, namespace, name))
        wanted: Object = {"uid": uid} if uid else {}
        self._check(resource, old, {**wanted, "resourceVersion": version} if version else wanted)
        seconds = strategy.grace(resource, old, grace)
        held = bool(items(old, "metadata", "finalizers")) or self._is_filled(resource, name)
        if not seconds and not held:
            return self._put(ChangeType.DELETED, resource, old, old)
        marked = self._marked(old, seconds)
        if resource is NAMESPACE:
            marked = with_part(marked, "Terminating", "status", "phase")
        return old if marked == old else self._put(ChangeType.MODIFIED, resource, marked, old)

    def restore(self, objects: Iterable[Object], version: int) -> None:
        """Begin with objects that a store had at `version`; nothing is journaled or told."""
        for obj in objects:
            resource = resource_of(obj)
            if resource is not None:
                whole = strategy.complete(resource, obj)
                self._objects.setdefault(resource, {})[strategy.key(resource, *key_of(obj))] = whole
        self._version = self._since = max(version, 1)

    def replace_all(self, objects: Iterable[Object]) -> tuple[ObjectChange, ...]:
        """Have these objects and no others: what is equal stays, the rest becomes changes.

        What a server writes (times, versions) stays with an object, and so does a status of which
        the new one says nothing; a `uid` that is given is taken, as others may refer to it. Missing
        namespaces are made. Returns the changes.
        """
        before = self._version
        wanted: dict[tuple[Resource, ObjectKey], Object] = {}
        for obj in strategy.with_namespaces(objects):
            if (resource := resource_of(obj)) is not None:
                wanted[resource, strategy.key(resource, *key_of(obj))] = strategy.complete(
                    resource, obj
                )
        for resource, found in tuple(self._objects.items()):
            for key in tuple(found):
                if (resource, key) not in wanted:
                    self._put(ChangeType.DELETED, resource, found[key], found[key])
        for (resource, key), obj in wanted.items():
            old = self.get(resource, *key)
            if old is None:
                made = self._made(resource, obj, key, text(obj, "metadata", "uid"))
                self._put(ChangeType.ADDED, resource, made, None)
            elif (made := strategy.replaced(old, obj)) != old:
                self._put(ChangeType.MODIFIED, resource, made, old)
        return tuple(change for change in self._history if change.version > before)

    # -- the steps ---------------------------------------------------------------------------------

    def _there(self, resource: Resource, key: ObjectKey) -> Object:
        found = self._objects.get(resource, {}).get(key)
        if found is None:
            raise NotFoundError(resource, key.name)
        return found

    def _check(self, resource: Resource, old: Object, wanted: Object) -> None:
        """ConflictError if `wanted` metadata is another object's, or another version's."""
        name = text(old, "metadata", "name")
        uid, version = text(old, "metadata", "uid"), text(old, "metadata", "resourceVersion")
        if text(wanted, "uid") not in {"", uid}:
            why = f"Precondition failed: UID in precondition: {text(wanted, 'uid')}, UID in object "
            raise ConflictError(resource, name, f"{why}meta: {uid}")
        if text(wanted, "resourceVersion") not in {"", version}:
            why = "the object has been modified; please apply your changes to the latest version "
            raise ConflictError(resource, name, f"{why}and try again")

    def _made(self, resource: Resource, obj: Object, key: ObjectKey, uid: str = "") -> Object:
        """A new object with what the server writes."""
        own = {
            name: value
            for name, value in mapping(obj, "metadata").items()
            if name not in SERVER_METADATA or name == "managedFields"
        }
        own.pop("namespace", None)
        own.pop("name", None)
        named: Object = {
            "name": key.name,
            **({"namespace": key.namespace} if key.namespace else {}),
        }
        created = timestamp(self._clock())
        own = {**named, **own, "uid": uid or str(uuid.uuid4()), "creationTimestamp": created}
        if strategy.has_generation(resource, obj):
            own["generation"] = 1
        if resource is NAMESPACE:
            own["labels"] = {**mapping(obj, "metadata", "labels"), NAME_LABEL: key.name}
            obj = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}, **obj}
        return {**obj, "metadata": own}

    def _marked(self, old: Object, seconds: int) -> Object:
        """The object being deleted; a second deletion may only shorten its grace period."""
        before = part(old, "metadata", "deletionGracePeriodSeconds")
        if isinstance(before, int) and before <= seconds:
            return old
        own = {
            **mapping(old, "metadata"),
            "deletionTimestamp": timestamp(self._clock() + seconds),
            "deletionGracePeriodSeconds": seconds,
        }
        return {**old, "metadata": own}

    def _put(self, kind: ChangeType, resource: Resource, obj: Object, old: Object | None) -> Object:
        """Write one object: the journal first, then the store, then those who watch."""
        version = self._version + 1
        obj = with_part(obj, str(version), "metadata", "resourceVersion")
        change = ObjectChange(kind, resource, obj, old, version)
        if self._journal is not None:
            self._journal(change)
        self._version = version
        found = self._objects.setdefault(resource, {})
        key = strategy.key(resource, *key_of(obj))
        if kind is ChangeType.DELETED:
            del found[key]
        else:
            found[key] = obj
        if len(self._history) == HISTORY:
            self._since = self._history[0].version
        self._history.append(change)
        for callback in tuple(self._subscribers):
            callback(change)
        if kind is ChangeType.DELETED:
            self._end_namespace(text(obj, "metadata", "namespace"))
        return obj

    def _is_filled(self, resource: Resource, name: str) -> bool:
        """Whether it is a namespace with objects in it."""
        return resource is NAMESPACE and any(
            key.namespace == name for found in self._objects.values() for key in found
        )

    def _end_namespace(self, name: str) -> None:
        """Remove the namespace if it is being deleted, and empty now."""
        found = self.get(NAMESPACE, "", name) if name else None
        if found is not None and strategy.is_over(found) and not self._is_filled(NAMESPACE, name):
            self._put(ChangeType.DELETED, NAMESPACE, found, found)

"""What the options of a DELETE ask for: preconditions, the grace period, what dependents become.

Source: k8s.io/apimachinery meta/v1 (DeleteOptions) and its validation.
"""

from __future__ import annotations

from kns.agent.api.status import bad_request
from kns.agent.controllers import garbage
from kns.agent.store import Store
from kns.kinds.common import Object
from kns.kinds.objects import items, key_of, mapping, part, text, with_part
from kns.kinds.resources import Resource, resource_of
from kns.labfile.reader import JSON


def delete(store: Store, resource: Resource, obj: Object, options: Object) -> tuple[Object, bool]:
    """Delete one object; what it is now, and whether it is still there. StatusError, StoreError."""
    key, policy = key_of(obj), _policy(options)
    wanted = mapping(options, "preconditions")
    uid, version = text(wanted, "uid"), text(wanted, "resourceVersion")
    if policy == "Foreground":
        _hold(store, resource, obj, uid, version)
        version = ""  # it has been checked, and is another one by now
    grace = part(options, "gracePeriodSeconds")
    gone = store.delete(
        resource, *key, grace=grace if isinstance(grace, int) else None, uid=uid, version=version
    )
    if policy == "Orphan":
        # before anybody else has his turn, garbage collection among them
        _orphan(store, text(obj, "metadata", "uid"))
    return gone, store.get(resource, *key) is not None


def _policy(options: Object) -> str:
    policy = text(options, "propagationPolicy")
    if policy not in {"", "Background", "Foreground", "Orphan"}:
        raise bad_request(f'propagationPolicy: Unsupported value: "{policy}"')
    return "Orphan" if part(options, "orphanDependents") is True else policy


def _hold(store: Store, resource: Resource, obj: Object, uid: str, version: str) -> None:
    """Let it wait until its dependents are gone. ConflictError if it is another one."""
    waits = items(obj, "metadata", "finalizers")
    if garbage.FOREGROUND not in waits:
        waits = [*waits, garbage.FOREGROUND]
    held = with_part(obj, waits, "metadata", "finalizers")
    known = text(obj, "metadata", "uid"), text(obj, "metadata", "resourceVersion")
    held = with_part(held, uid or known[0], "metadata", "uid")
    store.update(resource, with_part(held, version or known[1], "metadata", "resourceVersion"))


def _orphan(store: Store, uid: str) -> None:
    """Let what an object owned live on without it."""
    for obj in store.all():
        owners = items(obj, "metadata", "ownerReferences")
        left: list[JSON] = [owner for owner in owners if text(owner, "uid") != uid]
        if len(left) < len(owners) and (found := resource_of(obj)) is not None:
            store.update(found, with_part(obj, left or None, "metadata", "ownerReferences"))

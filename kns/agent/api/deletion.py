"""What the options of a DELETE ask for: preconditions, the grace period, what dependents become.

Source: k8s.io/apimachinery meta/v1 (DeleteOptions) and its validation, k8s.io/apiserver
pkg/endpoints/handlers/delete.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.agent.api.decoding import wrong_type
from kns.agent.api.status import FieldCause, bad_request, invalid_options
from kns.agent.controllers import garbage
from kns.agent.store import Store
from kns.kinds.api_types import type_table
from kns.kinds.common import Object
from kns.kinds.objects import items, key_of, mapping, part, text, with_part
from kns.kinds.resources import Resource, resource_of
from kns.labfile.reader import JSON
from kns.labfile.wording import RefusedError, unsupported

_KIND = "DeleteOptions"
_POLICIES = ("Foreground", "Background", "Orphan")


def options_of(value: JSON) -> Object:
    """The options as a request has them, none at all included.

    StatusError 400 if they are of another form, 422 if they ask for what there is not.
    """
    options: JSON = {} if value is None else value
    if not isinstance(options, dict) or options.get("kind", _KIND) != _KIND:
        raise bad_request(f"decoded object cannot be converted to {_KIND}")
    if wrong := wrong_type(options, type_table()[f"meta.v1.{_KIND}"]):
        raise bad_request(wrong)
    causes = [FieldCause(field, why, reason) for field, why, reason in _refused(options)]
    if causes:
        raise invalid_options("meta.k8s.io", _KIND, causes)
    return options


def _refused(options: Object) -> Iterator[tuple[str, str, str]]:
    """As ValidateDeleteOptions."""
    policy, field = part(options, "propagationPolicy"), "propagationPolicy"
    if policy is not None and part(options, "orphanDependents") is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        yield field, RefusedError.invalid(policy, why).message, "FieldValueInvalid"
    if policy is not None and policy not in _POLICIES:
        yield field, unsupported(policy, (*_POLICIES, "nil")).message, "FieldValueNotSupported"
    dry_run = items(options, "dryRun")
    if any(item != "All" for item in dry_run):
        yield "dryRun", unsupported(dry_run, ("All",)).message, "FieldValueNotSupported"


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
    is_orphaning = part(options, "orphanDependents") is True
    return "Orphan" if is_orphaning else text(options, "propagationPolicy")


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

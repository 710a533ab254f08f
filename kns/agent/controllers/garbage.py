"""Garbage collection: what its owners have left behind is deleted.

    background    the owner is gone: its dependents go
    foreground    the owner waits (finalizer `foregroundDeletion`) until its dependents are gone
    orphan        the owner waits (finalizer `orphan`) until its dependents have forgotten it

An owner is known by its uid: one that was made anew under the same name is another one. Source:
pkg/controller/garbagecollector/garbagecollector.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.agent.controllers import meta
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import DeleteObject, UpdateObject, Write
from kns.kinds import objects
from kns.kinds.common import Object
from kns.labfile.reader import JSON

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def reconcile(view: View, now: float) -> tuple[Write, ...]:  # noqa: ARG001 - a controller's form
    """What owners that are gone, or going, leave to do."""
    writes: dict[str, Write] = {}
    for each in view.deleted():
        for write in _ending(each, view):
            writes.setdefault(_key(write), write)
    for uid in view.owners():
        if view.by_uid(uid) is None:
            for item in view.dependents(uid):
                for write in _abandoned(item, view):
                    writes.setdefault(_key(write), write)
    return tuple(writes.values())


def _key(write: Write) -> str:
    """Each object has one write in a look."""
    return meta.uid(write.object) if isinstance(write, UpdateObject | DeleteObject) else ""


def _ending(owner: Object, view: View) -> Iterator[Write]:
    """What an owner with one of the two finalizers waits for, or that it waits no more."""
    own = view.dependents(meta.uid(owner))
    waits = meta.finalizers(owner)
    if ORPHAN in waits:
        yield from (UpdateObject(_without_owner(item, {meta.uid(owner)})) for item in own)
        if not own:
            yield UpdateObject(_without_finalizer(owner, ORPHAN))
    elif FOREGROUND in waits:
        blocking = [item for item in own if _blocks(item, meta.uid(owner))]
        for item in own:
            if not meta.is_deleted(item):
                yield _in_foreground(item, has_dependents=bool(view.dependents(meta.uid(item))))
        if not blocking:
            yield UpdateObject(_without_finalizer(owner, FOREGROUND))


def _abandoned(item: Object, view: View) -> Iterator[Write]:
    """Deletes what has no owner left; one that has another forgets those that are gone."""
    if meta.is_deleted(item):
        return
    references = objects.mappings(item, "metadata", "ownerReferences")
    gone = {
        objects.text(each, "uid")
        for each in references
        if view.by_uid(objects.text(each, "uid")) is None
    }
    if len(gone) == len({objects.text(each, "uid") for each in references}):
        yield DeleteObject(item)
    else:
        yield UpdateObject(_without_owner(item, gone))


def _in_foreground(item: Object, *, has_dependents: bool) -> Write:
    """Deletes a dependent; one with dependents of its own is to wait for them first."""
    waits = meta.finalizers(item)
    if not has_dependents or FOREGROUND in waits:
        return DeleteObject(item)
    return UpdateObject(objects.with_part(item, [*waits, FOREGROUND], "metadata", "finalizers"))


def _blocks(item: Object, owner: str) -> bool:
    return any(
        each.get("uid") == owner and each.get("blockOwnerDeletion") is True
        for each in objects.mappings(item, "metadata", "ownerReferences")
    )


def _without_owner(item: Object, owners: set[str]) -> Object:
    kept: list[JSON] = [
        each
        for each in objects.mappings(item, "metadata", "ownerReferences")
        if each.get("uid") not in owners
    ]
    return objects.with_part(item, kept or None, "metadata", "ownerReferences")


def _without_finalizer(item: Object, finalizer: str) -> Object:
    kept: list[JSON] = [each for each in meta.finalizers(item) if each != finalizer]
    return objects.with_part(item, kept or None, "metadata", "finalizers")

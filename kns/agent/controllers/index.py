"""All objects of a store by what controllers look them up by; it costs what has changed.

    store ── changes since the last look ─▶ Index ─▶ View

Each object is in several groups: those of its kind, of its owner, of its node, …
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kns.agent.controllers import meta
from kns.agent.store import ChangeType, ExpiredError, Store
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.objects import Ref, ref_of

#: what a group is of, and of which
Group = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Indexed:
    """An object, and by what it is looked up. It is never changed, so this is read once."""

    object: Object
    ref: Ref
    uid: str
    #: the uid of what manages it, empty if nothing does
    controller: str
    is_deleted: bool
    groups: tuple[Group, ...]


class _Members:
    """The objects of a group, read by kind, namespace and name: the same tuple until it changes."""

    __slots__ = ("_by_ref", "_objects", "_sorted")

    def __init__(self) -> None:
        self._by_ref: dict[Ref, Indexed] = {}
        self._sorted: tuple[Indexed, ...] | None = None
        self._objects: tuple[Object, ...] | None = None

    def put(self, item: Indexed) -> None:
        self._by_ref[item.ref] = item
        self._sorted = self._objects = None

    def drop(self, ref: Ref) -> None:
        del self._by_ref[ref]
        self._sorted = self._objects = None

    def __bool__(self) -> bool:
        return bool(self._by_ref)

    def all(self) -> tuple[Indexed, ...]:
        if self._sorted is None:
            self._sorted = tuple(self._by_ref[ref] for ref in sorted(self._by_ref))
        return self._sorted

    def objects(self) -> tuple[Object, ...]:
        if self._objects is None:
            self._objects = tuple(item.object for item in self.all())
        return self._objects


class Index:
    """The objects of a store as they were when it was last followed."""

    def __init__(self) -> None:
        self._version = 0
        self._by_ref: dict[Ref, Indexed] = {}
        self._by_uid: dict[str, Indexed] = {}
        self._groups: dict[Group, _Members] = {}

    def follow(self, store: Store) -> None:
        """Take over what has changed in the store since the last time."""
        try:
            changes = store.changes_since(self._version)
        except ExpiredError:
            self._begin_anew(store.all())
        else:
            for change in changes:
                ref = ref_of(change.object)
                self._drop(ref)
                if change.type is not ChangeType.DELETED:
                    self._put(_indexed(ref, change.object))
        self._version = store.version

    def _begin_anew(self, items: Sequence[Object]) -> None:
        self._by_ref, self._by_uid, self._groups = {}, {}, {}
        for item in items:
            self._put(_indexed(ref_of(item), item))

    def _put(self, item: Indexed) -> None:
        self._by_ref[item.ref] = self._by_uid[item.uid] = item
        for group in item.groups:
            self._groups.setdefault(group, _Members()).put(item)

    def _drop(self, ref: Ref) -> None:
        old = self._by_ref.pop(ref, None)
        if old is None:
            return
        if self._by_uid.get(old.uid) is old:
            del self._by_uid[old.uid]
        for group in old.groups:
            members = self._groups[group]
            members.drop(ref)
            if not members:
                del self._groups[group]

    # -- what is looked up -------------------------------------------------------------------------

    def get(self, ref: Ref) -> Object | None:
        """The object of that kind, namespace and name."""
        found = self._by_ref.get(ref)
        return None if found is None else found.object

    def by_uid(self, uid: str) -> Object | None:
        """The object with that uid."""
        found = self._by_uid.get(uid)
        return None if found is None else found.object

    def of(self, *group: str) -> tuple[Indexed, ...]:
        """The members of a group, by kind, namespace and name."""
        members = self._groups.get(group)
        return () if members is None else members.all()

    def objects_of(self, *group: str) -> tuple[Object, ...]:
        """The members' objects: the very same tuple as long as none has changed, come or gone."""
        members = self._groups.get(group)
        return () if members is None else members.objects()

    def groups_of(self, what: str) -> Iterator[str]:
        """Of which there are groups: `owner` gives the uids that have dependents."""
        return (group[1] for group in self._groups if group[0] == what)


def _indexed(ref: Ref, item: Object) -> Indexed:
    controller, is_deleted = meta.controller_uid(item), meta.is_deleted(item)
    groups = tuple(dict.fromkeys(_groups(ref, item, controller, is_deleted=is_deleted)))
    return Indexed(item, ref, meta.uid(item), controller, is_deleted, groups)


def _groups(ref: Ref, item: Object, controller: str, *, is_deleted: bool) -> Iterator[Group]:
    kind, namespace, name = ref
    yield ("kind", kind)
    yield ("namespace", namespace)
    yield ("controller", controller, kind) if controller else ("orphan", kind, namespace)
    for reference in objects.mappings(item, "metadata", "ownerReferences"):
        yield ("owner", objects.text(reference, "uid"))
    if is_deleted:
        yield ("deleted",)
    if kind == "Pod":
        yield ("node", objects.text(item, "spec", "nodeName"))
        base, number = _numbered(name)
        if number:
            yield ("numbered", namespace, base)


def _numbered(name: str) -> tuple[str, int]:
    """`web-12` is 12 of `web`; a name without a number has 0."""
    base, _, last = name.rpartition("-")
    if last.isascii() and last.isdecimal() and len(last) < 10:
        return base, int(last)
    return name, 0


def last_number(items: Sequence[Indexed]) -> int:
    """The highest number in the names of pods; 0 if there is none."""
    return max((_numbered(item.ref[2])[1] for item in items), default=0)

"""What a controller sees: all objects at one moment, and the indexes that many of them ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import is_

from kns.agent.controllers import meta
from kns.agent.controllers.writes import Write
from kns.kinds import objects
from kns.kinds.common import Object


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What the flags of kube-controller-manager set, in seconds.

    `node_grace`: `--node-monitor-grace-period`; `toleration`: how long a pod stays on a node that
    is not ready or not reachable, if it doesn't say so itself (the admission plugin
    DefaultTolerationSeconds).
    """

    node_grace: float = 50.0
    toleration: int = 300


#: by the uid of an owner, itself and what it looked at when it wanted nothing
Rests = dict[str, tuple[Object, ...]]
_DEFAULTS = ControllerOptions()
_NOBODY: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Indexed:
    """An object, and by what it is looked up. It is never changed, so this is read once."""

    object: Object
    kind: str
    namespace: str
    name: str
    uid: str
    #: the uid of what manages it, empty if nothing does; and of all that it would go with
    controller: str
    owners: tuple[str, ...]
    is_deleted: bool


class Index:
    """Reads of each object once by what it is looked up, as long as it is there."""

    def __init__(self) -> None:
        self._known: dict[int, Indexed] = {}

    def of(self, items: Iterable[Object]) -> tuple[Indexed, ...]:
        """The objects with what they are looked up by; others are forgotten."""
        # an id is an object's own as long as the object is held, and it is held here
        self._known = {id(item): self._known.get(id(item)) or _indexed(item) for item in items}
        return tuple(self._known.values())


def _indexed(item: Object) -> Indexed:
    references = objects.mappings(item, "metadata", "ownerReferences")
    return Indexed(
        item,
        meta.kind(item),
        meta.namespace(item),
        objects.name_of(item),
        meta.uid(item),
        meta.controller_uid(item),
        tuple(objects.text(each, "uid") for each in references),
        meta.is_deleted(item),
    )


@dataclass(frozen=True)
class View:
    """Objects at one moment, of each kind in the order in which they were made.

    `silent`: the nodes of which nothing is heard, and since when.
    """

    indexed: tuple[Indexed, ...]
    silent: Mapping[str, float] = field(default_factory=lambda: _NOBODY)
    options: ControllerOptions = _DEFAULTS
    rests: Rests = field(default_factory=dict)

    def unless_at_rest(
        self,
        owner: Object,
        inputs: Sequence[Object],
        sync: Callable[[Object], Iterable[Write]],
    ) -> tuple[Write, ...]:
        """What an owner wants; nothing where it wanted nothing of the very same objects before.

        A write of which time is a part asks to be asked again, and so is no rest.
        """
        looked = (owner, *inputs)
        key = f"{objects.text(owner, 'kind')}/{meta.uid(owner)}"
        before = self.rests.get(key, ())
        if len(before) == len(looked) and all(map(is_, before, looked)):
            return ()
        writes = tuple(sync(owner))
        if writes:
            self.rests.pop(key, None)
        else:
            self.rests[key] = looked
        return writes

    def of_kind(self, kind: str, namespace: str = "") -> tuple[Object, ...]:
        """The objects of a kind, perhaps of one namespace."""
        found = self._by_kind.get(kind, ())
        if not namespace:
            return tuple(found)
        return tuple(item for item in found if meta.namespace(item) == namespace)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object of that name."""
        return self._by_name.get((kind, namespace, name))

    def by_uid(self, uid: str) -> Object | None:
        """The object with that uid."""
        return self._by_uid.get(uid)

    def controlled(self, owner: Object, kind: str) -> tuple[Object, ...]:
        """The objects of a kind that the owner manages."""
        return tuple(self._controlled.get((meta.uid(owner), kind), ()))

    def orphans(self, kind: str, namespace: str) -> Iterable[Object]:
        """The objects of a kind and namespace that nobody manages."""
        return self._controlled.get(("", kind, namespace), ())

    def pods_on(self, node: str) -> tuple[Object, ...]:
        """The pods that are bound to a node."""
        return tuple(self._pods_on.get(node, ()))

    def last_number(self, namespace: str, base: str) -> int:
        """The highest number of a pod `BASE-NUMBER`, 0 if there is none."""
        return self._numbers.get((namespace, base), 0)

    @cached_property
    def _by_kind(self) -> Mapping[str, tuple[Object, ...]]:
        found: dict[str, list[Object]] = defaultdict(list)
        for item in self.indexed:
            found[item.kind].append(item.object)
        return {kind: tuple(items) for kind, items in found.items()}

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str, str], Object]:
        return {(item.kind, item.namespace, item.name): item.object for item in self.indexed}

    @cached_property
    def _by_uid(self) -> Mapping[str, Object]:
        return {item.uid: item.object for item in self.indexed}

    @cached_property
    def _controlled(self) -> Mapping[tuple[str, ...], list[Object]]:
        found: dict[tuple[str, ...], list[Object]] = defaultdict(list)
        for item in self.indexed:
            owner = item.controller
            key = (owner, item.kind) if owner else ("", item.kind, item.namespace)
            found[key].append(item.object)
        return found

    @cached_property
    def _pods_on(self) -> Mapping[str, list[Object]]:
        found: dict[str, list[Object]] = defaultdict(list)
        for pod in self.of_kind("Pod"):
            found[objects.text(pod, "spec", "nodeName")].append(pod)
        return found

    @cached_property
    def _numbers(self) -> Mapping[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for pod in self.of_kind("Pod"):
            base, _, last = objects.name_of(pod).rpartition("-")
            if last.isascii() and last.isdecimal() and len(last) < 10:
                key = (meta.namespace(pod), base)
                found[key] = max(found.get(key, 0), int(last))
        return found

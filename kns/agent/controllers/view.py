"""What a controller sees: all objects, and what it looked at when it wanted nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_

from kns.agent.controllers import meta
from kns.agent.controllers.index import Index, Indexed, last_number
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
Rests = dict[str, tuple[object, ...]]
_DEFAULTS = ControllerOptions()
_NOBODY: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class View:
    """The objects that there are, of each kind by namespace and name.

    `silent`: the nodes of which nothing is heard, and since when.
    """

    index: Index
    silent: Mapping[str, float] = field(default_factory=lambda: _NOBODY)
    options: ControllerOptions = _DEFAULTS
    rests: Rests = field(default_factory=dict)

    def unless_at_rest(
        self,
        owner: Object,
        inputs: Sequence[tuple[Object, ...]],
        sync: Callable[[Object], Iterable[Write]],
    ) -> tuple[Write, ...]:
        """What an owner wants; nothing where it wanted nothing of the very same groups before.

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
        found = self.index.objects_of("kind", kind)
        if not namespace:
            return found
        return tuple(item for item in found if meta.namespace(item) == namespace)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object of that name."""
        return self.index.get((kind, namespace, name))

    def by_uid(self, uid: str) -> Object | None:
        """The object with that uid."""
        return self.index.by_uid(uid)

    def controlled(self, owner: Object, kind: str) -> tuple[Object, ...]:
        """The objects of a kind that the owner manages."""
        return self.index.objects_of("controller", meta.uid(owner), kind)

    def orphans(self, kind: str, namespace: str) -> tuple[Object, ...]:
        """The objects of a kind and namespace that nobody manages."""
        return self.index.objects_of("orphan", kind, namespace)

    def pods_on(self, node: str) -> tuple[Object, ...]:
        """The pods that are bound to a node; with an empty name those that wait for one."""
        return self.index.objects_of("node", node)

    def indexed_on(self, node: str) -> tuple[Indexed, ...]:
        """The same, each with what it is looked up by."""
        return self.index.of("node", node)

    def inside(self, namespace: str) -> tuple[Object, ...]:
        """All objects of a namespace."""
        return self.index.objects_of("namespace", namespace)

    def deleted(self) -> tuple[Object, ...]:
        """The objects that are on their way out."""
        return self.index.objects_of("deleted")

    def owners(self) -> Iterator[str]:
        """The uids that objects name as their owners', whether those are there or not."""
        return self.index.groups_of("owner")

    def dependents(self, uid: str) -> tuple[Object, ...]:
        """The objects of which that is an owner."""
        return self.index.objects_of("owner", uid)

    def nodes_of_pods(self) -> Iterator[str]:
        """The nodes to which pods are bound, whether they are there or not."""
        return (name for name in self.index.groups_of("node") if name)

    def last_number(self, namespace: str, base: str) -> int:
        """The highest number of a pod `BASE-NUMBER`, 0 if there is none."""
        return last_number(self.index.of("numbered", namespace, base))

"""StatefulSet: pods with a place each, made and removed in order.

OrderedReady waits for each pod before the next; Parallel doesn't. RollingUpdate replaces the pods
from the last to the first, down to `partition`; with OnDelete whoever deletes a pod does.

Source: pkg/controller/statefulset: stateful_set_control.go, stateful_set_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kns.agent.controllers import meta, pods, revisions
from kns.agent.controllers.replicaset import min_ready_seconds, replicas
from kns.agent.controllers.revisions import REVISION_LABEL, Revisions
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import (
    WARNING,
    CreateObject,
    DeleteObject,
    RecordEvent,
    UpdateObject,
    Write,
)
from kns.kinds import objects
from kns.kinds.common import Object

COMPONENT = "statefulset-controller"


def reconcile(view: View, now: float) -> tuple[Write, ...]:
    """What every StatefulSet wants."""
    return tuple(write for item in view.of_kind("StatefulSet") for write in _sync(item, view, now))


def _sync(item: Object, view: View, now: float) -> Iterator[Write]:
    claimed, writes = pods.claim(item, "Pod", view)
    if writes:
        yield from writes
        return
    found = Revisions((), ()) if meta.is_deleted(item) else revisions.revisions(item, view)
    yield from found.writes
    if not found.all:
        return
    current = found.named(objects.text(item, "status", "currentRevision")) or found.newest
    work = _StatefulPods(item, current, found.newest, tuple(claimed), view, now)
    yield from work.steps()
    result = work.with_status()
    if result != item:
        yield UpdateObject(result)
    live = {objects.name_of(current), objects.name_of(found.newest), *revisions.of_pods(claimed)}
    yield from revisions.surplus(item, found.all, live)
    yield from pods.next_available(claimed, min_ready_seconds(item), now)


@dataclass(frozen=True, slots=True)
class _StatefulPods:
    """A StatefulSet with its pods: it goes from the revision `current` to `update`."""

    item: Object
    current: Object
    update: Object
    pods: tuple[Object, ...]
    view: View
    now: float

    # -- what it is --

    @property
    def start(self) -> int:
        """The first pod's number."""
        return objects.number(self.item, "spec", "ordinals", "start")

    @property
    def places(self) -> range:
        """The numbers that its pods have."""
        return range(self.start, self.start + replicas(self.item))

    @property
    def is_ordered(self) -> bool:
        """Whether each pod waits for the one before."""
        return objects.text(self.item, "spec", "podManagementPolicy") != "Parallel"

    @property
    def partition(self) -> int | None:
        """How many of the first pods stay at the current revision, if the set says so."""
        options = objects.mapping(self.item, "spec", "updateStrategy", "rollingUpdate")
        return objects.number(options, "partition") if options else None

    @property
    def rolls(self) -> bool:
        """Whether it replaces pods of an older revision by itself."""
        return objects.text(self.item, "spec", "updateStrategy", "type") != "OnDelete"

    def place(self, pod: Object) -> int:
        """A pod's number, -1 if its name is none of the set's."""
        base, _, number = objects.name_of(pod).rpartition("-")
        is_own = base == objects.name_of(self.item) and number.isascii() and number.isdecimal()
        return int(number) if is_own else -1

    def is_available(self, pod: Object) -> bool:
        """Whether it runs and is ready for long enough."""
        seconds = min_ready_seconds(self.item)
        return pods.phase(pod) == "Running" and pods.is_available(pod, seconds, self.now)

    def _is_healthy(self, pod: Object) -> bool:
        return self.is_available(pod) and not meta.is_deleted(pod)

    def revision(self, pod: Object) -> str:
        """The name of the revision that the pod was made of."""
        return objects.labels_of(pod).get(REVISION_LABEL, "")

    # -- what it wants --

    def steps(self) -> Iterator[Write]:
        """The pods that are made and deleted now."""
        found = {self.place(pod): pod for pod in self.pods}
        surplus = sorted(set(found) - set(self.places) - {-1}, reverse=True)
        steps = list(self._replicas(found))
        if steps and self.is_ordered:
            yield from (step for step in steps if step is not None)
            return
        removed = list(self._condemned([found[place] for place in surplus], found))
        if removed and self.is_ordered:
            yield from (step for step in removed if step is not None)
            return
        yield from (step for step in (*steps, *removed) if step is not None)
        if self.rolls and all(place in found for place in self.places):
            yield from self._roll(found)

    def _replicas(self, found: dict[int, Object]) -> Iterator[Write | None]:
        """What brings each place its pod, in order one at a time; None stands for waiting."""
        for place in self.places:
            pod = found.get(place)
            if pod is None:
                yield from self._create(place)
            elif pods.has_ended(pod):
                yield from () if meta.is_deleted(pod) else self._delete(pod)
            elif self._is_healthy(pod) or not self.is_ordered:
                continue
            if self.is_ordered:
                yield None
                return

    def _condemned(self, surplus: list[Object], found: dict[int, Object]) -> Iterator[Write | None]:
        """What removes the pods beyond the last place, the last first."""
        unhealthy = (
            found[place]
            for place in (*self.places, *sorted(map(self.place, surplus)))
            if place in found and not self._is_healthy(found[place])
        )
        first = next(unhealthy, None)
        for pod in surplus:
            blocked = not self.is_available(pod) and pod is not first
            if not meta.is_deleted(pod) and not (self.is_ordered and blocked):
                yield from self._delete(pod)
            if self.is_ordered:
                yield None
                return

    def _roll(self, found: dict[int, Object]) -> Iterator[Write]:
        """Deletes the last pod of an older revision, once all after it are available again."""
        newest = objects.name_of(self.update)
        for place in reversed(self.places[self.partition or 0 :]):
            pod = found[place]
            if self.revision(pod) != newest and not meta.is_deleted(pod):
                yield from self._delete(pod)
                return
            if not self._is_healthy(pod):
                return

    def _create(self, place: int) -> Iterator[Write]:
        name = f"{objects.name_of(self.item)}-{place}"
        if self.view.get("Pod", meta.namespace(self.item), name) is not None:
            yield self._name_is_taken(name)
            return
        revision = self.current if self._stays(place) else self.update
        labels = {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(place),
            REVISION_LABEL: objects.name_of(revision),
        }
        pod = pods.from_template(self.item, name, revisions.template(revision), labels)
        pod = objects.with_part(pod, name, "spec", "hostname")
        service = objects.text(self.item, "spec", "serviceName")
        if service:
            pod = objects.with_part(pod, service, "spec", "subdomain")
        yield CreateObject(pod)
        message = f"create Pod {name} in StatefulSet {objects.name_of(self.item)} successful"
        yield RecordEvent(self.item, "SuccessfulCreate", message, COMPONENT)

    def _name_is_taken(self, name: str) -> Write:
        """By a pod that is not the set's, which it waits for."""
        who = objects.name_of(self.item)
        why = f'pods "{name}" already exists'
        message = f"create Pod {name} in StatefulSet {who} failed error: {why}"
        return RecordEvent(self.item, "FailedCreate", message, COMPONENT, WARNING, every=60)

    def _stays(self, place: int) -> bool:
        """Whether a new pod there is of the current revision (newVersionedStatefulSetPod)."""
        if not self.rolls:
            return False
        if self.partition is not None:
            return place < self.start + self.partition
        current = objects.name_of(self.current)
        kept = [pod for pod in self.pods if self.revision(pod) == current]
        return place < self.start + sum(not meta.is_deleted(pod) for pod in kept)

    def _delete(self, pod: Object) -> Iterator[Write]:
        name = objects.name_of(pod)
        yield DeleteObject(pod)
        message = f"delete Pod {name} in StatefulSet {objects.name_of(self.item)} successful"
        yield RecordEvent(self.item, "SuccessfulDelete", message, COMPONENT)

    # -- its status --

    def with_status(self) -> Object:
        """The set with its status; a rollout that is done makes its revision the current one."""
        current, newest = objects.name_of(self.current), objects.name_of(self.update)
        ready = [pod for pod in self.pods if pods.phase(pod) == "Running" and pods.is_ready(pod)]
        staying = [self.revision(pod) for pod in self.pods if not meta.is_deleted(pod)]
        counts: Object = {
            "observedGeneration": objects.number(self.item, "metadata", "generation"),
            "replicas": len(self.pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(map(self.is_available, ready)),
            "currentReplicas": staying.count(current),
            "updatedReplicas": staying.count(newest),
        }
        wanted = replicas(self.item)
        numbers = [counts["updatedReplicas"], counts["readyReplicas"], counts["replicas"]]
        if self.rolls and numbers == [wanted] * 3:
            current = newest
            counts["currentReplicas"] = counts["updatedReplicas"]
        written: Object = {
            key: count for key, count in counts.items() if count or key in _ALWAYS_WRITTEN
        }
        names: Object = {"currentRevision": current, "updateRevision": newest, "collisionCount": 0}
        kept = {
            key: each
            for key, each in objects.mapping(self.item, "status").items()
            if key not in counts and key not in names
        }
        return objects.with_part(self.item, {**written, **names, **kept}, "status")


_ALWAYS_WRITTEN = ("replicas", "availableReplicas")

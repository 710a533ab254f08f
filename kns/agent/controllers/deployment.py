"""Deployment: a ReplicaSet for each revision of its template, and the way from one to the next.

Source: pkg/controller/deployment: deployment_controller.go, sync.go, rolling.go, recreate.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kns.agent.controllers import deployment_status, meta, pods, rollout
from kns.agent.controllers.replicaset import min_ready_seconds, replicas
from kns.agent.controllers.templates import HASH_LABEL, template_hash, without_hash
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import (
    CreateObject,
    DeleteObject,
    RecordEvent,
    UpdateObject,
    Write,
)
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.marks import LAST_NUMBER
from kns.labfile.reader import JSON

COMPONENT = "deployment-controller"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
#: annotations of the Deployment that are none of its ReplicaSets'
_OWN = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, rollout.DESIRED,
    rollout.MAXIMUM, "deprecated.deployment.rollback.to", LAST_NUMBER,
})  # fmt: skip


def reconcile(view: View, now: float) -> tuple[Write, ...]:
    """What every Deployment wants."""
    return tuple(
        write
        for item in view.of_kind("Deployment")
        for write in view.unless_at_rest(item, _inputs(item, view), lambda d: _sync(d, view, now))
    )


def _inputs(item: Object, view: View) -> Sequence[tuple[Object, ...]]:
    """What it looks at; with Recreate the pods of its old ReplicaSets, too."""
    sets = view.controlled(item, "ReplicaSet")
    pods_ = () if rollout.is_rolling(item) else [view.controlled(each, "Pod") for each in sets]
    return (sets, view.orphans("ReplicaSet", meta.namespace(item)), *pods_)


def _sync(item: Object, view: View, now: float) -> Iterator[Write]:
    sets, writes = pods.claim(item, "ReplicaSet", view)
    if writes:
        yield from writes
        return
    work = _Rollout(item, tuple(sorted(sets, key=meta.created)), view, now)
    work.carry_out()
    yield from work.writes()


@dataclass(slots=True)
class _Rollout:
    """One look at a Deployment: its ReplicaSets as they are, and as they are to become."""

    before: Object
    sets: tuple[Object, ...]
    view: View
    now: float
    deployment: Object = field(init=False)
    #: the ReplicaSet of today's template, the oldest if there are several
    new: Object | None = field(init=False)
    old: list[Object] = field(init=False)
    #: by uid
    changed: dict[str, Object] = field(default_factory=dict)
    others: list[Write] = field(default_factory=list)
    made: Object | None = None

    def __post_init__(self) -> None:
        self.deployment = self.before
        template = _template(self.before)
        self.new = next((item for item in self.sets if _template(item) == template), None)
        self.old = [item for item in self.sets if item is not self.new]

    def carry_out(self) -> None:
        """Find out what it wants now."""
        if meta.is_deleted(self.before):
            return
        self.deployment = deployment_status.with_paused(self.deployment, self.now)
        if self._is_paused() or self._was_scaled():
            self._sync_revision()
            self._scale()
            if self._is_paused():
                self._clean_up()
        elif rollout.is_rolling(self.deployment):
            self._roll()
        else:
            self._recreate()

    def writes(self) -> Iterator[Write]:
        """The writes that this comes to, the Deployment's own status last."""
        for item in self.sets:
            new = self.changed.get(meta.uid(item), item)
            if new != item:
                yield UpdateObject(new)
        yield from self.others
        estimates = not (meta.is_deleted(self.before) or self._is_paused() or self._was_scaled())
        result = deployment_status.with_status(
            self.deployment, self.sets, self.new or self.made, self.now, estimates=estimates
        )
        if result != self.before:
            yield UpdateObject(result)
        elif estimates:
            yield from deployment_status.next_check(result, self.now)

    # -- its ReplicaSets --

    def _is_paused(self) -> bool:
        return objects.part(self.before, "spec", "paused") is True

    def _was_scaled(self) -> bool:
        """Whether a ReplicaSet was last told of another number of pods (isScalingEvent)."""
        wanted = str(replicas(self.before))
        noted = (meta.annotation(item, rollout.DESIRED) for item in rollout.active(self.sets))
        return any(each and each != wanted for each in noted)

    def _resize(self, item: Object, size: int) -> None:
        """Another size of a ReplicaSet, with the annotations that tell why."""
        before = replicas(item)
        new = self.changed.get(meta.uid(item), item)
        new = objects.with_part(new, size, "spec", "replicas")
        self.changed[meta.uid(item)] = self._with_sizes(new)
        if size != before:
            word = "up" if size > before else "down"
            self._tell(f"Scaled {word} replica set {objects.name_of(item)} from {before} to {size}")

    def _with_sizes(self, item: Object) -> Object:
        wanted = replicas(self.before)
        surge, _ = rollout.resolve_fenceposts(self.before)
        own = objects.mapping(item, "metadata", "annotations")
        sizes: Object = {rollout.DESIRED: str(wanted), rollout.MAXIMUM: str(wanted + surge)}
        return objects.with_part(item, {**own, **sizes}, "metadata", "annotations")

    def _tell(self, message: str) -> None:
        self.others.append(RecordEvent(self.before, "ScalingReplicaSet", message, COMPONENT))

    # -- revisions --

    def _sync_revision(self) -> None:
        """The newest ReplicaSet bears the highest revision, and so does the Deployment."""
        new = self.new
        if new is None:
            return
        following = max((_revision(item) for item in self.old), default=0) + 1
        result = self._with_annotations(new, following)
        if min_ready_seconds(new) != min_ready_seconds(self.before):
            seconds = min_ready_seconds(self.before)
            result = objects.with_part(result, seconds, "spec", "minReadySeconds")
        self.changed[meta.uid(new)] = result
        self._set_revision(meta.annotation(result, REVISION))
        self.deployment = deployment_status.with_found(self.deployment, new, self.now)

    def _with_annotations(self, item: Object, following: int) -> Object:
        """A ReplicaSet with its Deployment's annotations and its revision."""
        own = objects.mapping(self.before, "metadata", "annotations")
        copied = {key: each for key, each in own.items() if key not in _OWN}
        found: Object = {**objects.mapping(item, "metadata", "annotations"), **copied}
        before = meta.annotation(item, REVISION)
        if _revision(item) < following:
            found[REVISION] = str(following)
            if before:
                # it has been the newest before: a rollback
                earlier = meta.annotation(item, HISTORY)
                found[HISTORY] = f"{earlier},{before}" if earlier else before
        return objects.with_part(item, found, "metadata", "annotations")

    def _set_revision(self, revision: str) -> None:
        self.deployment = objects.with_part(
            self.deployment, revision, "metadata", "annotations", REVISION
        )

    def _create(self) -> None:
        """A ReplicaSet for today's template."""
        item = self._with_sizes(
            _replica_set(self.before, rollout.new_size(self.before, self.sets, 0))
        )
        name = objects.name_of(item)
        if self.view.get("ReplicaSet", meta.namespace(item), name) is not None:
            # another template has the same hash: try with the next one
            count = objects.number(self.before, "status", "collisionCount")
            self.deployment = objects.with_part(
                self.deployment, count + 1, "status", "collisionCount"
            )
            return
        following = max(map(_revision, self.sets), default=0) + 1
        item = self._with_annotations(item, following)
        self.made = item
        self.others.append(CreateObject(item))
        if replicas(item):
            self._tell(f"Scaled up replica set {name} from 0 to {replicas(item)}")
        self._set_revision(str(following))
        self.deployment = deployment_status.with_created(self.deployment, item, self.now)

    def _clean_up(self) -> None:
        """Of old ReplicaSets without pods only as many stay as the history may have."""
        limit = objects.number(self.before, "spec", "revisionHistoryLimit", default=10)
        kept = [item for item in self.old if not meta.is_deleted(item)]
        surplus = max(0, len(kept) - limit)
        for item in sorted(kept, key=_revision)[:surplus]:
            if not (replicas(item) or objects.number(item, "status", "replicas") or _is_new(item)):
                self.others.append(DeleteObject(item))

    # -- strategies --

    def _roll(self) -> None:
        """RollingUpdate: grow the new one, then shrink the old ones (rolloutRolling)."""
        self._sync_revision()
        new = self.new
        if new is None:
            self._create()
            return
        size = rollout.new_size(self.before, self.sets, replicas(new))
        if size != replicas(new):
            self._resize(new, size)
            return
        old = rollout.active(self.old)
        sizes = rollout.old_sizes(self.before, old, new)
        for item in old:
            if meta.uid(item) in sizes:
                self._resize(item, sizes[meta.uid(item)])
        if not sizes and deployment_status.is_complete(self.before):
            self._clean_up()

    def _recreate(self) -> None:
        """Recreate: the new one starts when no old pod runs any more (rolloutRecreate)."""
        self._sync_revision()
        old = rollout.active(self.old)
        for item in old:
            self._resize(item, 0)
        if old or any(self._runs(item) for item in self.old):
            return
        new = self.new
        if new is None:
            self._create()
        elif replicas(new) != replicas(self.before):
            self._resize(new, replicas(self.before))
        elif deployment_status.is_complete(self.before):
            self._clean_up()

    def _runs(self, item: Object) -> bool:
        return any(not pods.has_ended(pod) for pod in self.view.controlled(item, "Pod"))

    def _scale(self) -> None:
        """The sizes after a change of `replicas`, or while it is paused (scale)."""
        new, old = self.new, self.old
        acting = rollout.active(self.sets)
        wanted = replicas(self.before)
        if len(acting) < 2:
            latest = acting[0] if acting else new or (old[-1] if old else None)
            if latest is not None and (replicas(latest) != wanted or self._was_scaled()):
                self._resize(latest, wanted)
        elif new is not None and self._is_saturated(new):
            for item in rollout.active(old):
                self._resize(item, 0)
        elif rollout.is_rolling(self.before):
            for key, size in rollout.proportional(self.before, acting).items():
                self._resize(next(each for each in acting if meta.uid(each) == key), size)

    def _is_saturated(self, new: Object) -> bool:
        wanted = replicas(self.before)
        noted = meta.annotation(new, rollout.DESIRED)
        ready = rollout.available([new])
        return replicas(new) == wanted == ready and noted == str(wanted)


def _template(item: Object) -> Object:
    return without_hash(objects.mapping(item, "spec", "template"))


def _revision(item: Object) -> int:
    return meta.annotated_number(item, REVISION)


def _is_new(item: Object) -> bool:
    """Whether its controller has not seen it as it is now."""
    seen = objects.number(item, "status", "observedGeneration")
    return objects.number(item, "metadata", "generation") > seen


def _replica_set(deployment: Object, size: int) -> Object:
    """A ReplicaSet for the Deployment's template, its pods told apart by the hash label."""
    template = objects.mapping(deployment, "spec", "template")
    value = template_hash(template, objects.number(deployment, "status", "collisionCount"))
    labels: dict[str, JSON] = {**meta.template_labels(deployment), HASH_LABEL: value}
    chosen = objects.mapping(deployment, "spec", "selector")
    chosen = objects.with_part(chosen, value, "matchLabels", HASH_LABEL)
    spec: Object = {
        "replicas": size,
        "selector": chosen,
        "template": objects.with_part(template, labels, "metadata", "labels"),
    }
    if min_ready_seconds(deployment):
        spec["minReadySeconds"] = min_ready_seconds(deployment)
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{objects.name_of(deployment)}-{value}",
            "namespace": meta.namespace(deployment),
            "labels": labels,
            "ownerReferences": [meta.owner_reference(deployment)],
        },
        "spec": spec,
    }

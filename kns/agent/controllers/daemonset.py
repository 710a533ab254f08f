"""DaemonSet: a pod on each node that will do.

Source: pkg/controller/daemon: daemon_controller.go, update.go, util/daemonset_util.go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kns.agent.controllers import meta, pods, revisions
from kns.agent.controllers.node_fit import is_going, taints, wishes
from kns.agent.controllers.replicaset import min_ready_seconds
from kns.agent.controllers.revisions import REVISION_LABEL, Revisions
from kns.agent.controllers.rollout import in_pods
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
from kns.kinds.scheduling import TaintEffect, objection
from kns.labfile.reader import JSON

COMPONENT = "daemonset-controller"
#: what a daemon tolerates without saying so (AddOrUpdateDaemonPodTolerations)
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_ON_NODE = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")


def reconcile(view: View, now: float) -> tuple[Write, ...]:
    """What every DaemonSet wants."""
    return tuple(write for item in view.of_kind("DaemonSet") for write in _sync(item, view, now))


def _sync(item: Object, view: View, now: float) -> Iterator[Write]:
    claimed, writes = pods.claim(item, "Pod", view)
    if writes:
        yield from writes
        return
    found = Revisions((), ()) if meta.is_deleted(item) else revisions.revisions(item, view)
    yield from found.writes
    if not found.all:
        return
    newest = revisions.hash_of(item, found.newest)
    work = _DaemonPods(item, newest, tuple(claimed), view, now)
    steps = work.steps()
    yield from steps
    made = sum(isinstance(step, CreateObject) for step in steps)
    result = work.with_status()
    if made:
        last = str(work.last + made)
        result = objects.with_part(result, last, "metadata", "annotations", LAST_NUMBER)
    if result != item:
        yield UpdateObject(result)
    hashes = {*revisions.of_pods(claimed), newest}
    live = {f"{objects.name_of(item)}-{each}" for each in hashes}
    yield from revisions.surplus(item, found.all, live)
    yield from pods.next_available(claimed, min_ready_seconds(item), now)


@dataclass(frozen=True, slots=True)
class _DaemonPods:
    """A DaemonSet with its pods and the hash of its newest revision."""

    item: Object
    newest: str
    pods: tuple[Object, ...]
    view: View
    now: float

    @property
    def last(self) -> int:
        """The highest number that a pod of its name has, or had."""
        seen = self.view.last_number(meta.namespace(self.item), _name(self.item))
        return max(pods.noted_number(self.item), seen)

    @property
    def template(self) -> Object:
        """Its template with the tolerations that every daemon has."""
        own = objects.mapping(self.item, "spec", "template")
        added: list[JSON] = [
            {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
            for key, effect in (
                *_TOLERATED,
                *(
                    [("network-unavailable", "NoSchedule")]
                    if objects.flag(own, "spec", "hostNetwork")
                    else []
                ),
            )
        ]
        written = objects.items(own, "spec", "tolerations")
        more = [each for each in added if each not in written]
        return objects.with_part(own, [*written, *more], "spec", "tolerations")

    def is_available(self, pod: Object) -> bool:
        """Whether it is ready for long enough."""
        return pods.is_available(pod, min_ready_seconds(self.item), self.now)

    # -- the pods it wants --

    def steps(self) -> list[Write]:
        """The pods that are made and deleted now."""
        on_node = self._on_node()
        fits = {_name(node): self._fits(node) for node in self._nodes()}
        going: list[Object] = []
        missing: list[str] = []
        for node, (should_run, may_stay) in fits.items():
            own = on_node.get(node, [])
            if should_run and not own:
                missing.append(node)
            elif may_stay:
                going += self._surplus(own)
            else:
                going += own
        for node, own in on_node.items():
            if node not in fits:
                going += [pod for pod in own if not objects.text(pod, "spec", "nodeName")]
        if self._rolls:
            wanted = {node: on_node.get(node, []) for node, (runs, _) in fits.items() if runs}
            more, old = self._roll(wanted)
            missing += more
            going += old
        named = {objects.name_of(pod): pod for pod in going if not meta.is_deleted(pod)}
        return [*self._creates(missing), *self._deletes(list(named.values()))]

    def _nodes(self) -> Sequence[Object]:
        return [node for node in self.view.of_kind("Node") if not is_going(node)]

    def _on_node(self) -> dict[str, list[Object]]:
        """Its pods by the node that they are on, or meant for."""
        found: dict[str, list[Object]] = defaultdict(list)
        for pod in self.pods:
            found[objects.text(pod, "spec", "nodeName") or _meant_for(pod)].append(pod)
        return found

    def _fits(self, node: Object) -> tuple[bool, bool]:
        """Whether a daemon should run there, and whether one that does may stay."""
        asked = wishes(self.template)
        name, labels = objects.name_of(node), objects.labels_of(node)
        if objection(asked, name, labels, ()):
            return False, False
        repelled = [
            taint.effect
            for taint in taints(node)
            if taint.effect is not TaintEffect.PREFER_NO_SCHEDULE
            and not any(each.tolerates(taint) for each in asked.tolerations)
        ]
        return not repelled, TaintEffect.NO_EXECUTE not in repelled

    def _surplus(self, own: Sequence[Object]) -> list[Object]:
        """Pods of a node that have ended, and all but the oldest of one revision."""
        staying = [pod for pod in own if not meta.is_deleted(pod)]
        ended = [pod for pod in staying if pods.has_ended(pod)]
        running = sorted((pod for pod in staying if pod not in ended), key=meta.created)
        if not self._surge_allowed:
            return [*ended, *running[1:]]
        new = [pod for pod in running if self._is_new(pod)]
        old = [pod for pod in running if not self._is_new(pod)]
        return [*ended, *new[1:], *old[1:]]

    def _is_new(self, pod: Object) -> bool:
        return objects.labels_of(pod).get(REVISION_LABEL) == self.newest

    # -- the rolling update --

    @property
    def _rolls(self) -> bool:
        return objects.text(self.item, "spec", "updateStrategy", "type") != "OnDelete"

    @property
    def _surge_allowed(self) -> bool:
        written = objects.part(self.item, "spec", "updateStrategy", "rollingUpdate", "maxSurge")
        return written not in (None, 0, "0%")

    def _limits(self, total: int) -> tuple[int, int]:
        """maxSurge and maxUnavailable in pods, both rounded up; not both of them 0."""
        options = objects.mapping(self.item, "spec", "updateStrategy", "rollingUpdate")
        surge = in_pods(options.get("maxSurge", 0), total, up=True)
        unavailable = in_pods(options.get("maxUnavailable", 1), total, up=True)
        return surge, 1 if surge == unavailable == 0 else unavailable

    def _roll(self, wanted: dict[str, list[Object]]) -> tuple[list[str], list[Object]]:
        """The nodes that get a second pod, and the old pods that go (rollingUpdate)."""
        surge, unavailable = self._limits(len(wanted))
        if surge:
            return self._roll_by_surge(wanted, surge)
        down, broken, candidates = 0, [], []
        for own in wanted.values():
            old, new = self._pair(own)
            if old is None or new is not None:
                down += new is None or old is not None or not self.is_available(new)
            elif not self.is_available(old):
                down += 1
                broken.append(old)
            else:
                candidates.append(old)
        return [], [*broken, *candidates[: max(0, unavailable - down)]]

    def _roll_by_surge(
        self, wanted: dict[str, list[Object]], surge: int
    ) -> tuple[list[str], list[Object]]:
        doubled, broken, candidates, going = 0, [], [], []
        for node, own in wanted.items():
            old, new = self._pair(own)
            if old is None:
                continue
            if new is None and not self.is_available(old):
                broken.append(node)
            elif new is None:
                candidates.append(node)
            else:
                doubled += 1
                if self.is_available(new):
                    going.append(old)
        return [*broken, *candidates[: max(0, surge - doubled)]], going

    def _pair(self, own: Sequence[Object]) -> tuple[Object | None, Object | None]:
        """The old and the new pod of a node; those on their way out don't count."""
        staying = [pod for pod in own if not meta.is_deleted(pod)]
        old = next((pod for pod in staying if not self._is_new(pod)), None)
        return old, next((pod for pod in staying if self._is_new(pod)), None)

    # -- writes --

    def _creates(self, nodes: Sequence[str]) -> Iterator[Write]:
        labels = {REVISION_LABEL: self.newest}
        for number, node in enumerate(nodes, self.last + 1):
            name = f"{_name(self.item)}-{number}"
            pod = pods.from_template(self.item, name, self.template, labels)
            yield CreateObject(_only_on(pod, node))
            yield RecordEvent(self.item, "SuccessfulCreate", f"Created pod: {name}", COMPONENT)

    def _deletes(self, going: Sequence[Object]) -> Iterator[Write]:
        for pod in going:
            yield DeleteObject(pod)
            message = f"Deleted pod: {objects.name_of(pod)}"
            yield RecordEvent(self.item, "SuccessfulDelete", message, COMPONENT)

    # -- its status --

    def with_status(self) -> Object:
        """The DaemonSet with its status (updateDaemonSetStatus)."""
        on_node = self._on_node()
        counts = dict.fromkeys(_COUNTS, 0)
        for node in self._nodes():
            should_run, _ = self._fits(node)
            own = [pod for pod in on_node.get(_name(node), []) if not pods.has_ended(pod)]
            if not should_run:
                counts["numberMisscheduled"] += bool(own)
                continue
            counts["desiredNumberScheduled"] += 1
            counts["currentNumberScheduled"] += bool(own)
            counts["numberReady"] += any(map(pods.is_ready, own))
            counts["numberAvailable"] += any(map(self.is_available, own))
            counts["updatedNumberScheduled"] += any(map(self._is_new, own))
        counts["numberUnavailable"] = counts["desiredNumberScheduled"] - counts["numberAvailable"]
        counts["observedGeneration"] = objects.number(self.item, "metadata", "generation")
        written: Object = {key: count for key, count in counts.items() if count or key in _ALWAYS}
        kept = {
            key: each
            for key, each in objects.mapping(self.item, "status").items()
            if key not in counts
        }
        return objects.with_part(self.item, {**written, **kept}, "status")


_COUNTS = (
    "currentNumberScheduled", "desiredNumberScheduled", "numberAvailable", "numberMisscheduled",
    "numberReady", "numberUnavailable", "observedGeneration", "updatedNumberScheduled",
)  # fmt: skip
#: the API leaves out the others where they are zero
_ALWAYS = frozenset({
    "currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady",
})  # fmt: skip


def _name(item: Object) -> str:
    return objects.name_of(item)


def _only_on(pod: Object, node: str) -> Object:
    """The pod, which no other node will do for (ReplaceDaemonSetPodNodeNameNodeAffinity)."""
    field: Object = {"key": "metadata.name", "operator": "In", "values": [node]}
    written = objects.mappings(pod, "spec", *_ON_NODE, "nodeSelectorTerms")
    terms: list[JSON] = [{**term, "matchFields": [field]} for term in written]
    terms = terms or [{"matchFields": [field]}]
    return objects.with_part(pod, {"nodeSelectorTerms": terms}, "spec", *_ON_NODE)


def _meant_for(pod: Object) -> str:
    """The node that the pod's affinity names."""
    for term in objects.mappings(pod, "spec", *_ON_NODE, "nodeSelectorTerms"):
        for field in objects.mappings(term, "matchFields"):
            values = objects.items(field, "values")
            if field.get("key") == "metadata.name" and len(values) == 1:
                return str(values[0])
    return ""

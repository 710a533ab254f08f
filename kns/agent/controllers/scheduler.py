"""kube-scheduler: gives each pod without a node the best of those that will do.

That is the node with the fewest pods of the same controller, then with the fewest pods, then the
first one: what the default spreading comes to where no pod asks for resources.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from kns.agent.controllers import meta, pods
from kns.agent.controllers.node_fit import (
    host_ports,
    is_going,
    node_objection,
    pods_held,
    wishes,
)
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import WARNING, RecordEvent, UpdateObject, Write
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.scheduling import TOO_MANY_PODS, HostPort, port_objection, unavailable

COMPONENT = "default-scheduler"


def reconcile(view: View, now: float) -> tuple[Write, ...]:
    """A node for each pod that waits for one, in the order in which they were made."""
    waiting = [pod for pod in view.pods_on("") if pods.is_active(pod)]
    if not waiting:
        return ()
    nodes = [node for node in view.of_kind("Node") if not is_going(node)]
    placing = _Placing(view, nodes, now, with_ports=any(any(host_ports(pod)) for pod in waiting))
    return tuple(placing.place(sorted(waiting, key=_turn)))


def _turn(pod: Object) -> tuple[float, str, list[tuple[int, str]]]:
    """The older first; of one age by name, web-2 before web-10."""
    name = objects.name_of(pod)
    parts = [(int(digits or 0), word) for digits, word in re.findall(r"(\d*)(\D*)", name)]
    return meta.created(pod), meta.namespace(pod), parts


class _Placing:
    """Keeps account of what each node has while it places one pod after the other.

    The ports of the pods that are there matter only to pods that want some, too (`with_ports`).
    """

    def __init__(
        self, view: View, nodes: Sequence[Object], now: float, *, with_ports: bool
    ) -> None:
        self._nodes, self._now = nodes, now
        self._counts: Counter[str] = Counter()
        self._own: Counter[tuple[str, str]] = Counter()
        self._ports: dict[str, list[HostPort]] = {}
        #: for how many more pods there is room; those that are being deleted still take theirs
        self._room = {objects.name_of(node): pods_held(node) for node in nodes}
        for node in map(objects.name_of, nodes):
            self._ports[node] = []
            for item in view.indexed_on(node):
                pod = item.object
                if pods.has_ended(pod):
                    continue
                self._room[node] -= 1
                if with_ports:
                    self._ports[node] += host_ports(pod)
                if not item.is_deleted:
                    self._count(item.controller, node)

    def _count(self, controller: str, node: str) -> None:
        self._counts[node] += 1
        self._own[controller, node] += 1

    def place(self, waiting: Sequence[Object]) -> Iterator[Write]:
        """The pods with their nodes, or with the reason why none will do."""
        for pod in waiting:
            if objects.items(pod, "spec", "schedulingGates"):
                yield from self._gated(pod)
                continue
            wanted, ports = wishes(pod), tuple(host_ports(pod))
            reasons: list[str] = []
            fitting: list[str] = []
            for node in self._nodes:
                name = objects.name_of(node)
                why = node_objection(wanted, node) or port_objection(ports, self._ports[name])
                if not why and self._room[name] < 1:
                    why = TOO_MANY_PODS
                if why:
                    reasons.append(why)
                else:
                    fitting.append(name)
            if fitting:
                yield from self._bound(pod, self._best(pod, fitting), ports)
            else:
                yield from self._unschedulable(pod, reasons)

    def _best(self, pod: Object, fitting: Sequence[str]) -> str:
        owner = meta.controller_uid(pod)
        return min(
            fitting,
            key=lambda node: (self._own[owner, node] if owner else 0, self._counts[node]),
        )

    def _bound(self, pod: Object, node: str, ports: Sequence[HostPort]) -> Iterator[Write]:
        self._count(meta.controller_uid(pod), node)
        self._room[node] -= 1
        self._ports[node] += ports
        bound = objects.with_part(pod, node, "spec", "nodeName")
        condition: Object = {"type": "PodScheduled", "status": "True"}
        # what said why there was no node goes
        cleared = meta.without_condition(bound, "PodScheduled")
        yield UpdateObject(meta.with_condition(cleared, condition, self._now))
        where = f"{meta.namespace(pod)}/{objects.name_of(pod)} to {node}"
        yield RecordEvent(pod, "Scheduled", f"Successfully assigned {where}", COMPONENT)

    def _unschedulable(self, pod: Object, reasons: Sequence[str]) -> Iterator[Write]:
        message = unavailable(reasons) if reasons else "no nodes available to schedule pods"
        condition: Object = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        told = meta.with_condition(pod, condition, self._now)
        if told != pod:
            yield UpdateObject(told)
            yield RecordEvent(pod, "FailedScheduling", message, COMPONENT, WARNING)

    def _gated(self, pod: Object) -> Iterator[Write]:
        condition: Object = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }
        told = meta.with_condition(pod, condition, self._now)
        if told != pod:
            yield UpdateObject(told)

"""Runs the controllers until none wants anything more.

    change ─▶ Index ─▶ each controller ─▶ writes ─▶ store ─▶ Index …    until all of them rest

They look at the whole each time and remember nothing but that there was nothing to do, so that it
does not matter which change called them, or whether one was missed. A lab needs no seed but its
workloads: the ReplicaSets and pods of a Deployment `web` are made here, the pods as web-1, web-2, …
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping

from kns.agent.controllers import (
    clusterroles,
    daemonset,
    deployment,
    garbage,
    namespaces,
    nodes,
    replicaset,
    scheduler,
    serviceaccounts,
    statefulset,
)
from kns.agent.controllers.events import Recorder
from kns.agent.controllers.index import Index
from kns.agent.controllers.view import ControllerOptions, Rests, View
from kns.agent.controllers.writes import (
    CreateObject,
    DeleteObject,
    RecordEvent,
    Requeue,
    UpdateObject,
    Write,
)
from kns.agent.store import Store, StoreError
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import POD, Resource, resource_of

Controller = Callable[[View, float], tuple[Write, ...]]
#: in an order in which a change goes through to the end in few rounds
CONTROLLERS: tuple[Controller, ...] = (
    nodes.reconcile,
    namespaces.reconcile,
    serviceaccounts.reconcile,
    clusterroles.reconcile,
    garbage.reconcile,
    daemonset.reconcile,
    statefulset.reconcile,
    replicaset.reconcile,
    deployment.reconcile,
    scheduler.reconcile,
)
#: what keeps changing after so many rounds changes for ever: two controllers that disagree
MAX_ROUNDS = 200
#: seconds after which those are asked again
_PAUSE = 1.0


def _wanted(reconcile: Controller, view: View, now: float) -> tuple[Write, ...]:
    """What a controller wants. One that trips over an object does not stop the others."""
    try:
        return reconcile(view, now)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        logging.getLogger(__name__).exception("%s", reconcile.__module__)
        return ()


class Controllers:
    """The controllers of one store."""

    def __init__(self, store: Store, options: ControllerOptions | None = None) -> None:
        self._store = store
        #: those of the lab, as it is known
        self.options = options or ControllerOptions()
        self._rests: Rests = {}
        self._index = Index()
        self.recorder = Recorder(store)

    def run(self, now: float, silent: Mapping[str, float] | None = None) -> float:
        """Let all of them have their way; when to ask again, infinite for at the next change.

        `silent`: the nodes whose kubelet is not heard of, and since when.
        """
        store, silent = self._store, silent or {}
        self.recorder.expire(now)
        view = View(self._index, silent, self.options, self._rests)
        self._index.follow(store)
        for _ in range(MAX_ROUNDS):
            before, again = store.version, math.inf
            for reconcile in CONTROLLERS:
                version = store.version
                for write in _wanted(reconcile, view, now):
                    if isinstance(write, Requeue):
                        again = min(again, write.at)
                    else:
                        self._carry_out(write, now)
                if store.version != version:
                    self._index.follow(store)
            if store.version == before:
                self._forget_gone(view)
                return again
        logging.getLogger(__name__).error("the controllers find no end")
        return now + _PAUSE

    @property
    def deleted_pods(self) -> tuple[Object, ...]:
        """The pods that are on their way out, after a run."""
        return tuple(i.object for i in self._index.of("deleted") if i.ref[0] == POD.kind)

    def _forget_gone(self, view: View) -> None:
        """Remember no owner that is no more."""
        for key in [key for key in self._rests if view.by_uid(key.partition("/")[2]) is None]:
            del self._rests[key]

    def _carry_out(
        self, write: CreateObject | UpdateObject | DeleteObject | RecordEvent, now: float
    ) -> None:
        """One write. What came too late is left to the next round."""
        if isinstance(write, RecordEvent):
            self.recorder.record(write, now)
            return
        resource = resource_of(write.object)
        if resource is None:
            return
        with contextlib.suppress(StoreError):
            self._write(resource, write)

    def _write(self, resource: Resource, write: CreateObject | UpdateObject | DeleteObject) -> None:
        match write:
            case CreateObject():
                self._store.create(resource, write.object)
            case UpdateObject():
                self._store.update(resource, write.object)
            case DeleteObject():
                uid = objects.text(write.object, "metadata", "uid")
                grace = 0 if write.now else None
                self._store.delete(resource, *objects.key_of(write.object), grace=grace, uid=uid)

"""A store with its controllers, and a kubelet that says of every pod what the test wants."""

from __future__ import annotations

import math
from collections.abc import Callable

from kns.agent.controllers import meta
from kns.agent.controllers.run import Controllers
from kns.agent.controllers.view import ControllerOptions
from kns.agent.store import Store
from kns.agent.strategy import UpdatePart
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import EVENT, NODE, POD, Resource, by_word
from kns.labfile.reader import JSON

START = 1_800_000_000.0


def resource(word: str) -> Resource:
    found = by_word(word)
    assert found is not None
    return found


def workload(kind: str, name: str = "web", *, image: str = "v1", **spec: JSON) -> Object:
    labels: Object = {"app": name}
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    template: Object = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    selector: JSON = labels if kind == "ReplicationController" else {"matchLabels": labels}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": selector, "template": template, **spec},
    }


def bare_pod(name: str, labels: dict[str, JSON] | None = None, **spec: JSON) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [{"name": "c"}], **spec},
        "status": {"phase": "Pending"},
    }


class Cluster:
    """Time moves by `sleep` alone."""

    def __init__(self, *nodes: str, options: ControllerOptions | None = None) -> None:
        self.now = START
        self.store = Store(clock=lambda: self.now)
        self.controllers = Controllers(self.store, options)
        self.silent: dict[str, float] = {}
        #: called with each pod that runs: whether it is ready
        self.is_ready: Callable[[Object], bool] = lambda _pod: True
        for name in nodes or ("node1", "node2"):
            self.store.create(NODE, {"metadata": {"name": name}})

    def add(self, item: Object) -> None:
        found = resource(meta.kind(item))
        self.store.create(found, item)

    def get(self, word: str, name: str) -> Object:
        kind = resource(word)
        found = self.store.get(kind, "default" if kind.namespaced else "", name)
        assert found is not None, f"{word} {name}"
        return found

    def change(self, word: str, name: str, to: JSON, *path: str) -> None:
        self.store.update(resource(word), objects.with_part(self.get(word, name), to, *path))

    def delete(self, word: str, name: str) -> None:
        self.store.delete(resource(word), "default", name)

    def rest(self) -> float:
        """Controllers alone, to rest."""
        return self.controllers.run(self.now, self.silent)

    def kubelet(self) -> None:
        """Each pod with a node runs; one that was deleted ends."""
        for pod in self.store.list(POD):
            node = objects.text(pod, "spec", "nodeName")
            if not node or node in self.silent:
                continue
            if meta.is_deleted(pod):
                self.store.delete(POD, *objects.key_of(pod), grace=0)
            else:
                self.store.update(POD, self._run(pod), UpdatePart.STATUS)

    def _run(self, pod: Object) -> Object:
        ready: Object = {"type": "Ready", "status": "True" if self.is_ready(pod) else "False"}
        running = objects.with_part(pod, "Running", "status", "phase")
        return meta.with_condition(running, ready, self.now)

    def settle(self, seconds: float = 0.0) -> float:
        """Controllers and kubelet until neither has anything to do, in `seconds` if it takes so."""
        end = self.now + seconds
        for _ in range(500):
            before = self.store.version
            again = self.rest()
            self.kubelet()
            if self.store.version != before:
                continue
            if again > end:
                self.now = end if math.isfinite(end) else self.now
                return again
            self.now = max(self.now, again)
        message = "controllers and kubelet find no end"
        raise AssertionError(message)

    def names(self, word: str = "pods") -> list[str]:
        found = self.store.list(resource(word))
        return [objects.name_of(item) for item in found if not meta.is_deleted(item)]

    def pods_of(self, image: str) -> list[str]:
        return [
            objects.name_of(pod)
            for pod in self.store.list(POD)
            if not meta.is_deleted(pod)
            and objects.mappings(pod, "spec", "containers")[0].get("image") == image
        ]

    def nodes_of_pods(self) -> dict[str, str]:
        return {
            objects.name_of(pod): objects.text(pod, "spec", "nodeName")
            for pod in self.store.list(POD)
        }

    def events(self, reason: str) -> list[str]:
        return [
            objects.text(event, "message")
            for event in self.store.list(EVENT)
            if event.get("reason") == reason
        ]

    def status(self, word: str, name: str = "web") -> Object:
        return objects.mapping(self.get(word, name), "status")

"""From whatever state, the controllers come to rest where the specs are fulfilled."""

from __future__ import annotations

import random

import pytest

from kns.agent.controllers import meta
from kns.agent.controllers.replicaset import replicas
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import NODE, POD
from tests.agent.controllers.cluster import Cluster, bare_pod, workload

NODES = ("n1", "n2", "n3")
WORKLOADS = {"dep": "Deployment", "rs": "ReplicaSet", "sts": "StatefulSet", "ds": "DaemonSet"}
IMAGE = ("spec", "template", "spec", "containers")


class Walk:
    """Random changes by users, and failures."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster = Cluster(*NODES)
        for name, kind in WORKLOADS.items():
            self.cluster.add(workload(kind, name, replicas=self.random.randrange(6)))
        self.changes = (
            self.scale,
            self.roll,
            self.kill,
            self.relabel,
            self.cordon,
            self.stray,
            self.half_way,
        )

    def step(self) -> None:
        self.random.choice(self.changes)()

    def scale(self) -> None:
        name = self.random.choice(("dep", "rs", "sts"))
        count = self.random.randrange(8)
        self.cluster.change(WORKLOADS[name], name, count, "spec", "replicas")

    def roll(self) -> None:
        name = self.random.choice(tuple(WORKLOADS))
        image = f"v{self.random.randrange(4)}"
        self.cluster.change(WORKLOADS[name], name, [{"name": "c", "image": image}], *IMAGE)

    def kill(self) -> None:
        if self.cluster.names():
            self.cluster.delete("pod", self.random.choice(self.cluster.names()))

    def relabel(self) -> None:
        if self.cluster.names():
            name = self.random.choice(self.cluster.names())
            if name.startswith("sts-"):  # nobody else gives its name back
                return
            self.cluster.change("pod", name, "none", "metadata", "labels", "app")

    def cordon(self) -> None:
        cordoned = self.random.random() < 0.3
        self.cluster.change("node", "n1", cordoned, "spec", "unschedulable")

    def stray(self) -> None:
        """A pod that a ReplicaSet adopts, and has one too many by it."""
        name = f"stray{self.random.randrange(10**9)}"
        self.cluster.add(bare_pod(name, {"app": "rs"}))

    def half_way(self) -> None:
        """The controllers are interrupted with some of the pods not ready."""
        broken = self.random.choice(NODES)
        self.cluster.is_ready = lambda pod: objects.text(pod, "spec", "nodeName") != broken
        self.cluster.settle()
        self.cluster.is_ready = lambda _pod: True


def owned(cluster: Cluster, owner: Object) -> list[Object]:
    return [
        pod
        for pod in cluster.store.list(POD)
        if objects.labels_of(pod).get("app") == objects.name_of(owner)
        and meta.controller_of(pod) is not None
    ]


@pytest.mark.parametrize("seed", range(12))
def test_controllers_come_to_rest_at_what_the_specs_say(seed: int) -> None:
    walk = Walk(seed)
    cluster = walk.cluster
    for _ in range(15):
        walk.step()
        if walk.random.random() < 0.5:
            cluster.rest()
    cluster.settle()
    for name, kind in WORKLOADS.items():
        item = cluster.get(kind, name)
        pods = owned(cluster, item)
        wanted = len(cluster.store.list(NODE)) if kind == "DaemonSet" else replicas(item)
        assert len(pods) == wanted, name
        assert all(meta.is_true(pod, "Ready") for pod in pods), name
        if kind != "ReplicaSet":
            image = objects.mappings(item, *IMAGE)[0]["image"]
            assert {objects.mappings(p, "spec", "containers")[0]["image"] for p in pods} <= {image}
        status = objects.mapping(item, "status")
        assert objects.number(status, "observedGeneration") == objects.number(
            item, "metadata", "generation"
        )
    places = [objects.name_of(pod) for pod in owned(cluster, cluster.get("sts", "sts"))]
    assert sorted(places) == [f"sts-{place}" for place in range(len(places))]


@pytest.mark.parametrize("seed", range(3))
def test_controllers_at_rest_write_nothing(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(10):
        walk.step()
    walk.cluster.settle()
    before = walk.cluster.store.version
    walk.cluster.now += 30
    walk.cluster.rest()
    assert walk.cluster.store.version == before


def test_the_order_of_the_objects_does_not_matter() -> None:
    """Ten Deployments at once rest as they do one by one."""
    together, apart = Cluster(*NODES), Cluster(*NODES)
    for number in range(10):
        item = workload("Deployment", f"web{number}", replicas=3)
        together.add(item)
        apart.add(item)
        apart.settle()
    together.settle()
    assert together.names() == apart.names()

"""Which pods a ReplicaSet deletes, and what else it counts."""

from __future__ import annotations

import pytest

from kns.agent.controllers import meta, pods
from kns.kinds import objects
from kns.kinds.common import Object
from kns.labfile.reader import JSON
from tests.agent.controllers.cluster import Cluster, bare_pod, workload

NOW = 1_800_000_000.0


def pod(
    name: str,
    *,
    node: str = "n1",
    phase: str = "Running",
    ready: float | None = 100,
    cost: str = "",
    age: float = 1000,
    restarts: int = 0,
) -> Object:
    """A pod that is ready and there for so many seconds."""
    conditions: list[JSON] = []
    if ready is not None:
        stamp = ago(ready)
        conditions.append({"type": "Ready", "status": "True", "lastTransitionTime": stamp})
    annotations: Object = {pods.DELETION_COST: cost} if cost else {}
    return {
        "metadata": {
            "name": name,
            "annotations": annotations,
            "creationTimestamp": ago(age),
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [{"restartCount": restarts}],
        },
    }


def ago(age: float) -> str:
    return meta.stamp(NOW - age)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(pod("a", node=""), pod("b", phase="Pending", ready=None), id="no node"),
        pytest.param(pod("a", phase="Pending"), pod("b", ready=None), id="pending"),
        pytest.param(pod("a", phase="Unknown"), pod("b"), id="unknown"),
        pytest.param(pod("a", ready=None), pod("b", cost="-5"), id="not ready"),
        pytest.param(pod("a", cost="-1"), pod("b", ready=1), id="deletion cost"),
        pytest.param(pod("a", ready=10), pod("b", ready=1000, restarts=3), id="ready for less"),
        pytest.param(pod("a", restarts=3), pod("b", age=1), id="restarts"),
        pytest.param(pod("a", age=10), pod("b", age=1000), id="younger"),
        pytest.param(pod("a"), pod("b"), id="made last"),
    ],
)
def test_to_delete_prefers(first: Object, second: Object) -> None:
    # the first of two alike is the one that is listed last
    assert pods.to_delete([second, first], [], 1, NOW) == [first]


def test_to_delete_prefers_the_node_with_more_pods() -> None:
    alone, one, two = pod("alone", ready=1), pod("one", node="n2"), pod("two", node="n2")
    assert pods.to_delete([alone, one, two], [alone, one, two], 1, NOW) == [two]


def test_a_replica_set_adopts_what_matches_and_deletes_the_rest() -> None:
    cluster = Cluster()
    for name in ("one", "two", "three"):
        cluster.add(bare_pod(name, {"app": "web"}))
    cluster.add(bare_pod("other", {"app": "db"}))
    cluster.settle()
    cluster.add(workload("ReplicaSet", replicas=2))
    cluster.settle()
    assert len(cluster.names()) == 3
    assert "other" in cluster.names()


def test_a_replication_controller_has_its_pods() -> None:
    cluster = Cluster()
    cluster.add(workload("ReplicationController", replicas=2))
    cluster.settle()
    assert cluster.names() == ["web-1", "web-2"]
    assert cluster.status("rc")["readyReplicas"] == 2


def test_a_pod_that_has_ended_is_no_replica() -> None:
    cluster = Cluster()
    cluster.add(workload("ReplicaSet", replicas=1))
    cluster.settle()
    cluster.change("pod", "web-1", "Failed", "status", "phase")
    cluster.rest()
    assert cluster.names() == ["web-1", "web-2"]


def test_scaling_down_leaves_nodes_evenly_filled() -> None:
    cluster = Cluster("n1", "n2", "n3")
    cluster.add(workload("ReplicaSet", replicas=6))
    cluster.settle()
    cluster.change("rs", "web", 3, "spec", "replicas")
    cluster.settle()
    assert sorted(cluster.nodes_of_pods().values()) == ["n1", "n2", "n3"]


def test_many_pods_are_one_event_after_the_tenth() -> None:
    cluster = Cluster()
    cluster.add(workload("ReplicaSet", replicas=30))
    cluster.settle()
    told = cluster.events("SuccessfulCreate")
    assert len(told) == 11
    assert [message for message in told if message.startswith("(combined from similar events): ")]
    assert objects.number(cluster.get("rs", "web"), "status", "readyReplicas") == 30

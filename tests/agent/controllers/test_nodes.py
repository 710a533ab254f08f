"""The life of nodes: silence, taints, eviction, cordon."""

from __future__ import annotations

from kns.agent.controllers import meta
from kns.agent.controllers.view import ControllerOptions
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import NODE
from kns.labfile.reader import JSON
from tests.agent.controllers.cluster import START, Cluster, bare_pod, workload

OPTIONS = ControllerOptions(node_grace=50.0, toleration=300)
UNREACHABLE = "node.kubernetes.io/unreachable"


def taints(cluster: Cluster, node: str = "node1") -> list[tuple[str, str]]:
    return [
        (objects.text(item, "key"), objects.text(item, "effect"))
        for item in objects.mappings(cluster.get("node", node), "spec", "taints")
    ]


def ready(cluster: Cluster, node: str = "node1") -> JSON:
    return (meta.condition(cluster.get("node", node), "Ready") or {}).get("status")


def silenced(*pods: Object) -> Cluster:
    """Two nodes, of which the first is heard of no more after all rest."""
    cluster = Cluster(options=OPTIONS)
    for item in pods:
        cluster.add(item)
    cluster.settle()
    cluster.silent = {"node1": cluster.now}
    return cluster


def test_a_node_is_ready_as_long_as_it_is_heard_of() -> None:
    cluster = silenced()
    assert ready(cluster) == "True"
    assert cluster.settle() == START + 50
    assert ready(cluster) == "True"
    cluster.settle(seconds=50)
    assert ready(cluster) == "Unknown"
    assert taints(cluster) == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    assert "Node node1 status is now: NodeNotReady" in cluster.events("NodeNotReady")
    cluster.silent = {}
    cluster.settle()
    assert (ready(cluster), taints(cluster)) == ("True", [])


def test_the_pods_of_a_lost_node_are_not_ready() -> None:
    cluster = silenced(bare_pod("web", nodeName="node1"))
    cluster.settle(seconds=50)
    assert not meta.is_true(cluster.get("pod", "web"), "Ready")
    cluster.silent = {}
    cluster.settle()
    assert meta.is_true(cluster.get("pod", "web"), "Ready")


def test_the_pods_of_a_lost_node_are_replaced_after_five_minutes() -> None:
    cluster = silenced(workload("Deployment", replicas=2))
    cluster.settle(seconds=349)
    assert cluster.names() == ["web-1", "web-2"]
    cluster.settle(seconds=1)
    assert cluster.names() == ["web-2", "web-3"]
    assert cluster.nodes_of_pods()["web-3"] == "node2"
    # nobody on its node has ended it
    assert meta.is_deleted(cluster.get("pod", "web-1"))
    cluster.silent = {}
    cluster.settle()
    assert "web-1" not in cluster.nodes_of_pods()


def test_a_pod_stays_for_as_long_as_it_tolerates() -> None:
    limited: JSON = [{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 10}]
    forever: JSON = [{"operator": "Exists"}]
    cluster = silenced(
        bare_pod("limited", nodeName="node1", tolerations=limited),
        bare_pod("forever", nodeName="node1", tolerations=forever),
    )
    cluster.settle(seconds=60)
    assert cluster.names() == ["forever"]
    cluster.settle(seconds=1000)
    assert cluster.names() == ["forever"]


def test_no_execute_drives_away_who_does_not_tolerate_it() -> None:
    cluster = Cluster()
    cluster.add(bare_pod("web", nodeName="node1"))
    cluster.settle()
    cluster.change("node", "node1", [{"key": "k", "effect": "NoExecute"}], "spec", "taints")
    cluster.rest()
    assert cluster.names() == []
    assert cluster.events("TaintManagerEviction") == ["Marking for deletion Pod default/web"]


def test_a_node_that_says_it_is_not_ready_has_the_taint_for_it() -> None:
    cluster = Cluster()
    cluster.settle()
    condition: Object = {"type": "Ready", "status": "False"}
    node = meta.with_condition(cluster.get("node", "node1"), condition, cluster.now)
    cluster.store.update(NODE, node)
    cluster.settle()
    key = "node.kubernetes.io/not-ready"
    assert taints(cluster) == [(key, "NoSchedule"), (key, "NoExecute")]


def test_a_cordoned_node_has_the_taint_for_it_beside_its_own() -> None:
    cluster = Cluster()
    own: JSON = [{"key": "k", "effect": "PreferNoSchedule"}]
    cluster.change("node", "node1", own, "spec", "taints")
    cluster.change("node", "node1", True, "spec", "unschedulable")
    cluster.settle()
    cordoned = ("node.kubernetes.io/unschedulable", "NoSchedule")
    assert taints(cluster) == [("k", "PreferNoSchedule"), cordoned]
    cluster.change("node", "node1", False, "spec", "unschedulable")
    cluster.settle()
    assert taints(cluster) == [("k", "PreferNoSchedule")]

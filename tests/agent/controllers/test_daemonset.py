"""DaemonSets: a pod on each node that will do."""

from __future__ import annotations

from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import NODE
from tests.agent.controllers.cluster import Cluster, workload

NODES = ("n1", "n2", "n3", "n4")
IMAGE = ("spec", "template", "spec", "containers")


def taint(cluster: Cluster, node: str, effect: str) -> None:
    cluster.change("node", node, [{"key": "k", "effect": effect}], "spec", "taints")


def on_nodes(cluster: Cluster) -> list[str]:
    return sorted(cluster.nodes_of_pods().values())


def daemons(strategy: Object | None = None) -> Cluster:
    cluster = Cluster(*NODES)
    cluster.add(workload("DaemonSet", updateStrategy=strategy or {}))
    cluster.settle()
    return cluster


def test_each_node_has_one() -> None:
    cluster = daemons()
    assert on_nodes(cluster) == list(NODES)
    assert cluster.names() == ["web-1", "web-2", "web-3", "web-4"]
    assert cluster.status("ds")["numberAvailable"] == 4


def test_a_new_node_gets_one() -> None:
    cluster = daemons()
    cluster.store.create(NODE, {"metadata": {"name": "n5"}})
    cluster.settle()
    assert "n5" in on_nodes(cluster)


def test_the_pods_of_a_node_that_is_gone_go() -> None:
    cluster = daemons()
    cluster.store.delete(NODE, "", "n1")
    cluster.settle()
    assert on_nodes(cluster) == ["n2", "n3", "n4"]


def test_no_schedule_keeps_what_runs_and_lets_nothing_new_come() -> None:
    cluster = daemons()
    taint(cluster, "n1", "NoSchedule")
    cluster.settle()
    assert on_nodes(cluster) == list(NODES)
    assert cluster.status("ds")["numberMisscheduled"] == 1
    cluster.delete("pod", "web-1")
    cluster.settle()
    assert on_nodes(cluster) == ["n2", "n3", "n4"]


def test_no_execute_drives_it_away() -> None:
    cluster = daemons()
    taint(cluster, "n1", "NoExecute")
    cluster.settle()
    assert on_nodes(cluster) == ["n2", "n3", "n4"]


def test_a_cordoned_node_has_its_daemon() -> None:
    cluster = daemons()
    cluster.change("node", "n1", True, "spec", "unschedulable")
    cluster.settle()
    cluster.delete("pod", "web-1")
    cluster.settle()
    assert on_nodes(cluster) == list(NODES)


def test_the_node_selector_chooses() -> None:
    cluster = Cluster(*NODES)
    cluster.change("node", "n2", "ssd", "metadata", "labels", "disk")
    item = workload("DaemonSet")
    cluster.add(objects.with_part(item, {"disk": "ssd"}, *IMAGE[:-1], "nodeSelector"))
    cluster.settle()
    assert on_nodes(cluster) == ["n2"]


def test_a_rolling_update_takes_one_down_at_a_time() -> None:
    cluster = daemons()
    cluster.is_ready = lambda pod: "v2" not in str(pod)
    cluster.change("ds", "web", [{"name": "c", "image": "v2"}], *IMAGE)
    cluster.settle()
    assert (len(cluster.pods_of("v1")), len(cluster.pods_of("v2"))) == (3, 1)
    cluster.is_ready = lambda _pod: True
    cluster.settle()
    assert len(cluster.pods_of("v2")) == 4
    assert on_nodes(cluster) == list(NODES)


def test_max_surge_starts_the_new_one_beside_the_old() -> None:
    options: Object = {"maxSurge": 1, "maxUnavailable": 0}
    cluster = daemons({"type": "RollingUpdate", "rollingUpdate": options})
    cluster.is_ready = lambda pod: "v2" not in str(pod)
    cluster.change("ds", "web", [{"name": "c", "image": "v2"}], *IMAGE)
    cluster.settle()
    assert (len(cluster.pods_of("v1")), len(cluster.pods_of("v2"))) == (4, 1)
    cluster.is_ready = lambda _pod: True
    cluster.settle()
    assert (len(cluster.pods_of("v1")), len(cluster.pods_of("v2"))) == (0, 4)


def test_on_delete_waits_for_somebody() -> None:
    cluster = daemons({"type": "OnDelete"})
    cluster.change("ds", "web", [{"name": "c", "image": "v2"}], *IMAGE)
    cluster.settle()
    assert cluster.pods_of("v2") == []
    cluster.delete("pod", "web-2")
    cluster.settle()
    assert cluster.pods_of("v2") == ["web-5"]

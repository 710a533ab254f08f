"""Which node a pod gets, or why none."""

from __future__ import annotations

from kns.agent.controllers import meta
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import NODE
from kns.labfile.reader import JSON
from tests.agent.controllers.cluster import Cluster, bare_pod, workload


def web(**spec: JSON) -> Object:
    return bare_pod("web", {"app": "web"}, **spec)


def told(cluster: Cluster) -> str:
    pod = cluster.get("pod", "web")
    return objects.text(meta.condition(pod, "PodScheduled") or {}, "message")


def test_pods_of_a_controller_spread() -> None:
    cluster = Cluster("n1", "n2", "n3")
    cluster.add(bare_pod("first"))
    cluster.add(workload("Deployment", replicas=3))
    cluster.settle()
    assert sorted(cluster.nodes_of_pods().values()) == ["n1", "n1", "n2", "n3"]


def test_two_workloads_fill_the_nodes_in_turn() -> None:
    cluster = Cluster("n1", "n2")
    for name in ("a", "b"):
        cluster.add(workload("Deployment", name, replicas=3))
    cluster.settle()
    assert cluster.nodes_of_pods() == {
        "a-1": "n1",
        "a-2": "n2",
        "a-3": "n1",
        "b-1": "n2",
        "b-2": "n1",
        "b-3": "n2",
    }


def test_a_cordoned_node_gets_no_pod() -> None:
    cluster = Cluster("n1")
    cluster.change("node", "n1", True, "spec", "unschedulable")
    cluster.add(web())
    cluster.settle()
    assert cluster.nodes_of_pods() == {"web": ""}
    assert told(cluster) == "0/1 nodes are available: 1 node(s) were unschedulable"
    assert cluster.events("FailedScheduling") == [told(cluster)]
    cluster.change("node", "n1", None, "spec", "unschedulable")
    cluster.settle()
    assert cluster.nodes_of_pods() == {"web": "n1"}
    assert meta.is_true(cluster.get("pod", "web"), "PodScheduled")


def test_a_host_port_is_had_by_one_pod_of_a_node() -> None:
    cluster = Cluster("n1")
    containers: list[JSON] = [
        {"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]}
    ]
    cluster.add(bare_pod("first", containers=containers))
    cluster.settle()
    cluster.add(web(containers=containers))
    cluster.settle()
    words = "node(s) didn't have free ports for the requested pod ports"
    assert told(cluster) == f"0/1 nodes are available: 1 {words}"
    cluster.delete("pod", "first")
    cluster.settle()
    assert cluster.nodes_of_pods() == {"web": "n1"}


def test_the_reasons_are_counted() -> None:
    cluster = Cluster("n1", "n2", "n3")
    cluster.change("node", "n1", [{"key": "k", "effect": "NoSchedule"}], "spec", "taints")
    cluster.add(web(nodeSelector={"disk": "ssd"}))
    cluster.settle()
    assert told(cluster) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {k: }, "
        "2 node(s) didn't match Pod's node affinity/selector"
    )


def test_a_gate_holds_a_pod() -> None:
    cluster = Cluster("n1")
    cluster.add(web(schedulingGates=[{"name": "later"}]))
    cluster.settle()
    assert cluster.nodes_of_pods() == {"web": ""}
    condition = meta.condition(cluster.get("pod", "web"), "PodScheduled") or {}
    assert condition["reason"] == "SchedulingGated"
    cluster.change("pod", "web", None, "spec", "schedulingGates")
    cluster.settle()
    assert cluster.nodes_of_pods() == {"web": "n1"}


def test_without_nodes_a_pod_waits() -> None:
    cluster = Cluster("n1")
    cluster.store.delete(NODE, "", "n1")
    cluster.add(web())
    cluster.settle()
    assert told(cluster) == "no nodes available to schedule pods"


def test_a_node_holds_as_many_pods_as_it_can() -> None:
    cluster = Cluster("n1")
    cluster.change("node", "n1", {"pods": "2"}, "status", "allocatable")
    for name in ("first", "second"):
        cluster.add(bare_pod(name))
    cluster.settle()
    cluster.add(web())
    cluster.settle()
    assert cluster.nodes_of_pods() == {"first": "n1", "second": "n1", "web": ""}
    assert told(cluster) == "0/1 nodes are available: 1 Too many pods"
    cluster.delete("pod", "first")
    cluster.settle()
    assert cluster.nodes_of_pods() == {"second": "n1", "web": "n1"}


def test_pods_made_at_once_share_the_room() -> None:
    cluster = Cluster("n1")
    cluster.change("node", "n1", {"pods": "2"}, "status", "allocatable")
    cluster.add(workload("Deployment", replicas=3))
    cluster.settle()
    assert sorted(cluster.nodes_of_pods().values()) == ["", "n1", "n1"]

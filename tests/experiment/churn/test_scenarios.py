"""The steps of each scenario, and the files that they write."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.experiment.churn.edits import EditedLab, edited
from kns.experiment.churn.scenarios import ChurnScenario, LabStep, Manner, PodOnNode, steps
from kns.kinds.load import load_lab, load_lab_text

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
services: [{name: web, selector: {app: web}, ports: [{port: 80}]}]
pods: [{name: web, replicas: 2, labels: {app: web}}]
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: shop}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template: {metadata: {labels: {app: api}}, spec: {containers: [{name: c, image: x}]}}
"""
PODS = (PodOnNode("default/web-1", "node1"), PodOnNode("default/web-2", "node2"))
LAB = edited(load_lab_text(TEXT))


def cluster_of(lab: EditedLab) -> Cluster:
    return resolve(load_lab_text(lab.text).spec, Leases()).cluster


def state(step: LabStep) -> dict[str, str]:
    """The service's pods: ready, unready or terminating."""
    found = {}
    for pod in cluster_of(step.lab).pods:
        if pod.labels.get("app") == "web":
            found[pod.name] = (
                "terminating" if pod.terminating else "ready" if pod.ready else "unready"
            )
    return found


def told(
    scenario: ChurnScenario, style: Manner = Manner.GRACEFUL
) -> list[tuple[str, dict[str, str]]]:
    return [(step.text, state(step)) for step in steps(scenario, LAB, PODS, style)]


@pytest.mark.parametrize("file", sorted(Path("labs").glob("*.yaml")), ids=lambda file: file.stem)
def test_files_that_were_taken_apart_make_the_same_lab(file: Path) -> None:
    loaded = load_lab(file)
    before, after = resolve(loaded.spec, Leases()).cluster, cluster_of(edited(loaded))
    assert (after.pods, after.services, after.nodes) == (
        before.pods,
        before.services,
        before.nodes,
    )


def test_pods_stay_where_they_are() -> None:
    bound = {"default/web-1": "node2", "default/web-2": "node2"}
    there = edited(load_lab_text(TEXT), bound)
    assert {p.name: p.node for p in cluster_of(there).pods if p.full_name in bound} == {
        "web-1": "node2",
        "web-2": "node2",
    }


def test_a_new_pod_is_like_the_old_one_under_a_name_never_used() -> None:
    lab, made = LAB.without({"default/web-2"}).with_copies(["default/web-1", "shop/other"])
    assert made == ("default/web-3", "shop/other-1")
    pods = {pod.full_name: pod for pod in cluster_of(lab).pods}
    one, copy = pods["default/web-1"], pods["default/web-3"]
    assert (copy.labels, copy.containers, copy.node) == (one.labels, one.containers, one.node)
    assert "default/web-2" not in pods
    assert {"default/api-1", "default/api-2"} <= set(pods)


def test_a_rolling_update_keeps_as_many_ready_pods_as_there_were() -> None:
    found = told(ChurnScenario.ROLLING_UPDATE)
    assert found[:4] == [
        ("web-3 is made, not ready yet", {"web-1": "ready", "web-2": "ready", "web-3": "unready"}),
        ("web-3 is ready", {"web-1": "ready", "web-2": "ready", "web-3": "ready"}),
        (
            "web-1 terminates, and still serves",
            {"web-1": "terminating", "web-2": "ready", "web-3": "ready"},
        ),
        ("web-1 is gone", {"web-2": "ready", "web-3": "ready"}),
    ]
    assert found[-1] == ("web-2 is gone", {"web-3": "ready", "web-4": "ready"})
    assert min(list(pods.values()).count("ready") for _, pods in found) == 2


def test_an_abrupt_one_replaces_a_pod_in_one_step() -> None:
    assert told(ChurnScenario.ROLLING_UPDATE, Manner.ABRUPT) == [
        ("web-1 is replaced by web-3", {"web-2": "ready", "web-3": "ready"}),
        ("web-2 is replaced by web-4", {"web-3": "ready", "web-4": "ready"}),
    ]


def test_a_killed_pod_is_replaced_by_another() -> None:
    assert told(ChurnScenario.POD_KILL) == [
        ("web-1 is killed, web-3 is made", {"web-2": "ready", "web-3": "unready"}),
        ("web-3 is ready", {"web-2": "ready", "web-3": "ready"}),
    ]


def test_a_node_that_fails_is_noticed_later() -> None:
    found = list(steps(ChurnScenario.NODE_FAIL, LAB, PODS))
    down = [cluster_of(step.lab).faults.nodes_down for step in found]
    assert down == [{"node1"}, {"node1"}, frozenset(), frozenset()]
    assert [state(step)["web-1"] for step in found] == ["ready", "unready", "unready", "ready"]


def test_scaling_adds_and_takes_away() -> None:
    sizes = [list(pods.values()).count("ready") for _, pods in told(ChurnScenario.SCALE)]
    assert sizes == [2, 4, 2, 2]
    assert [len(pods) for _, pods in told(ChurnScenario.SCALE, Manner.ABRUPT)] == [4, 2]


def test_an_endpoint_flaps_three_times() -> None:
    assert [pods["web-1"] for _, pods in told(ChurnScenario.ENDPOINT_FLAP)] == [
        "unready",
        "ready",
    ] * 3


def test_faults_of_a_scenario_are_added_to_those_of_the_file() -> None:
    kept = edited(
        load_lab_text(TEXT.replace("services:", "faults: {linksDown: [node2]}\nservices:"))
    )
    found = cluster_of(kept.without_conntrack_cleanup().with_node_down("node1")).faults.written
    assert found.no_conntrack_cleanup
    assert [str(item) for item in found.links_down] == ["node2", "node/node1"]
    assert not cluster_of(kept.with_node_down("node1")).faults.written.no_conntrack_cleanup

"""What is promised of pods in the host network: they are their node, to everybody."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.compile.lab import compile_lab
from kns.kinds.load import load_lab_text
from kns.probe.names import find
from kns.promise.checks import cluster_checks
from kns.promise.flow import Flow, Outcome
from kns.promise.location import Location, LocationKind
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {podNetwork: vxlan}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: pod1, node: node1}
- {name: pod2, node: node2}
- name: agent
  node: node2
  hostNetwork: true
  labels: {app: agent}
  containers: [{name: web, port: 9100}]
services:
- name: metrics
  type: NodePort
  selector: {app: agent}
  ports: [{port: 80, targetPort: 9100, nodePort: 30100}]
"""
NODE1, NODE2, POD1, POD2 = "172.18.0.2", "172.18.0.3", "10.244.0.2", "10.244.1.2"
INTERNET = "203.0.113.10"


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Cluster:
    return resolve(load_lab_text(TEXT).spec).cluster


def _location(cluster: Cluster, name: str) -> Location:
    return find(cluster, name, (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET))


def test_it_has_the_nodes_addresses_and_takes_none_of_the_pods(cluster: Cluster) -> None:
    agent = cluster.pod("default", "agent")
    assert agent is not None
    assert agent.addresses == cluster.nodes[1].addresses
    assert cluster.owner(agent.addresses[0]) is cluster.nodes[1]
    service = cluster.service("default", "metrics")
    assert service is not None
    (endpoint,) = cluster.slices_of(service)[0].endpoints
    assert (endpoint.addresses, endpoint.pod) == (agent.addresses, "default/agent")


def test_it_has_no_netns_and_listens_in_its_nodes(cluster: Cluster) -> None:
    state = compile_lab(cluster)
    assert "kns.lab.agent" not in {netns.name for netns in state.host.netns}
    sockets = {str(listener.socket) for listener in state.listeners}
    assert "kns.lab.node2 tcp 0.0.0.0:9100" in sockets


@pytest.mark.parametrize(
    ("source", "destination", "port", "answers", "seen"),
    [
        # straight to the node: a pod elsewhere is masqueraded, one of the node isn't
        ("internet", NODE2, 9100, "agent", INTERNET),
        ("pod1", NODE2, 9100, "agent", NODE1),
        ("pod2", NODE2, 9100, "agent", POD2),
        ("node1", NODE2, 9100, "agent", NODE1),
        ("agent", NODE2, 9100, "agent", NODE2),
        ("agent", "127.0.0.1", 9100, "agent", "127.0.0.1"),
        # by the service: a node port of the pod's own node masks nobody, another's everybody
        ("internet", NODE1, 30100, "agent", NODE1),
        ("internet", NODE2, 30100, "agent", INTERNET),
        ("pod1", NODE1, 30100, "agent", NODE1),
        ("pod2", NODE2, 30100, "agent", POD2),
        # as its node it reaches pods by the address of the link: cni0, flannel.1
        ("agent", POD2, 8080, "pod2", "10.244.1.1"),
        ("agent", POD1, 8080, "pod1", "10.244.1.0"),
        ("agent", INTERNET, 80, "internet", NODE2),
    ],
)
def test_flows(
    cluster: Cluster, source: str, destination: str, port: int, answers: str, seen: str
) -> None:
    flow = Flow(_location(cluster, source), ip_address(destination), port)
    found = promise(Lookup(cluster), flow)
    assert (found.names, found.sources) == ((answers,), (ip_address(seen),))


@pytest.mark.parametrize(("source", "seen"), [("pod1", NODE1), ("pod2", POD2), ("node2", NODE2)])
def test_by_the_cluster_ip(cluster: Cluster, source: str, seen: str) -> None:
    service = cluster.service("default", "metrics")
    assert service is not None
    flow = Flow(_location(cluster, source), service.cluster_ips[0], 80)
    found = promise(Lookup(cluster), flow)
    assert (found.names, found.sources) == (("agent",), (ip_address(seen),))


def test_a_port_where_no_pod_listens_is_refused(cluster: Cluster) -> None:
    flow = Flow(_location(cluster, "internet"), ip_address(NODE2), 9101)
    assert promise(Lookup(cluster), flow).outcomes == (Outcome.REFUSED,)


def test_every_pod_is_a_client_and_a_target_of_every_other(cluster: Cluster) -> None:
    ids = {check.id for check in cluster_checks(cluster).checks}
    assert {
        "addressing/agent",
        "pod-to-pod/cross-node/pod1->agent",
        "pod-to-pod/same-node/agent->pod2",
        "pod-to-service/hairpin/agent->metrics",
        "node-to-pod/own/node2->agent",
    } <= ids
    assert "internet-to-pod/unroutable/internet->agent" not in ids

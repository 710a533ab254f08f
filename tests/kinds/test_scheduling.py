"""On which node a pod is, why on none, and which pods can't be together."""

from __future__ import annotations

import pytest

from kns.cluster.resolve import resolve
from kns.errors import UsageError
from kns.kinds.load import LoadedLab
from kns.probe.names import find
from kns.promise.checks import cluster_checks
from kns.promise.location import LocationKind
from tests.kinds.labs import lab, problems

NODES = """\
nodes:
- {name: node1, labels: {disk: ssd, n: "5"}}
- {name: node2, labels: {role: edge}}
- {name: node3, taints: [{key: gpu, value: "true", effect: NoSchedule}]}
"""
TOLERATION = "tolerations: [{key: gpu, operator: Exists}]"


def placed(loaded: LoadedLab) -> dict[str, str]:
    """The node of each pod; none for one that no node will do for."""
    cluster = resolve(loaded.spec).cluster
    pods = (*cluster.pods, *cluster.pending)
    return {pod.name: pod.node for pod in pods if pod.namespace == "default"}


def affinity(terms: str) -> str:
    required = f"requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: {terms}}}"
    return f"affinity: {{nodeAffinity: {{{required}}}}}"


@pytest.mark.parametrize(
    ("wish", "nodes"),
    [
        ("", ["node1", "node2", "node1"]),
        ("nodeSelector: {role: edge}", ["node2", "node2", "node2"]),
        ("nodeSelector: {kubernetes.io/os: linux}", ["node1", "node2", "node1"]),
        ("nodeSelector: {kubernetes.io/hostname: node2}", ["node2", "node2", "node2"]),
        (TOLERATION, ["node1", "node2", "node3"]),
        ("tolerations: [{key: gpu, value: 'true'}]", ["node1", "node2", "node3"]),
        ("tolerations: [{key: gpu, value: 'no'}]", ["node1", "node2", "node1"]),
        ("tolerations: [{operator: Exists}]", ["node1", "node2", "node3"]),
        (
            "tolerations: [{key: gpu, operator: Exists, effect: NoExecute}]",
            ["node1", "node2", "node1"],
        ),
        (affinity("[{matchExpressions: [{key: disk, operator: Exists}]}]"), ["node1"] * 3),
        (
            affinity("[{matchExpressions: [{key: disk, operator: NotIn, values: [ssd]}]}]"),
            ["node2"] * 3,
        ),
        (affinity("[{matchExpressions: [{key: n, operator: Gt, values: ['4']}]}]"), ["node1"] * 3),
        (affinity("[{matchExpressions: [{key: n, operator: Lt, values: ['4']}]}]"), [""] * 3),
        (
            affinity("[{matchFields: [{key: metadata.name, operator: In, values: [node2]}]}]"),
            ["node2"] * 3,
        ),
        # the terms are alternatives, and one without requirements fits no node
        (
            affinity(
                "[{}, {matchExpressions: [{key: role, operator: In, values: [edge, x]}]},"
                " {matchExpressions: [{key: disk, operator: DoesNotExist},"
                " {key: role, operator: DoesNotExist}]}]"
            ),
            ["node2"] * 3,
        ),
        ("nodeSelector: {role: nobody}", ["", "", ""]),
        (
            "containers: [{name: c, ports: [{port: 80, hostPort: 80}]}]",
            ["node1", "node2", ""],
        ),
        (f"hostNetwork: true, {TOLERATION}", ["node1", "node2", "node3"]),
    ],
)
def test_replicas_go_in_turn_to_the_nodes_that_will_do(wish: str, nodes: list[str]) -> None:
    body = f"pods: [{{name: a, replicas: 3{', ' if wish else ''}{wish}}}]"
    assert list(placed(lab(body, nodes=NODES)).values()) == nodes


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (
            "nodeSelector: {role: nobody}",
            "pods[0].nodeSelector: a stays Pending: 0/3 nodes are available: 1 node(s) had"
            " untolerated taint {gpu: true}, 2 node(s) didn't match Pod's node affinity/selector",
        ),
        (
            affinity("[{}]") + f", {TOLERATION}",
            "pods[0].affinity: a stays Pending: 0/3 nodes are available: 3 node(s) didn't match"
            " Pod's node affinity/selector",
        ),
    ],
)
def test_a_pod_that_fits_no_node_is_pending(wish: str, expected: str) -> None:
    loaded = lab(f"pods: [{{name: a, {wish}}}]", nodes=NODES)
    (warning,) = loaded.warnings
    assert f"{warning.path}: {warning.message}" == expected


def test_a_pending_pod_is_told_of() -> None:
    cluster = resolve(lab("pods: [{name: a, nodeSelector: {x: y}}]", nodes=NODES).spec).cluster
    skips = [(skip.what, skip.reason) for skip in cluster_checks(cluster).skips]
    assert ("a", "it is Pending: no node will do for it") in skips
    for text in ("a", "pod/a"):
        with pytest.raises(UsageError) as caught:
            find(cluster, text, (LocationKind.POD, LocationKind.NODE))
        assert caught.value.message == "pod a is Pending: it runs on no node"


def test_who_names_its_node_takes_its_ports_first() -> None:
    port = "containers: [{name: c, ports: [{port: 80, hostPort: 80}]}]"
    body = f"pods: [{{name: a, {port}}}, {{name: b, node: node1, {port}}}]"
    assert placed(lab(body, nodes=NODES)) == {"a": "node2", "b": "node1"}


DAEMON_SET = """\
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {%s, containers: [{name: c, image: x}]}
"""


@pytest.mark.parametrize(
    ("wish", "nodes"),
    [
        ("nodeSelector: {role: edge}", ["node2"]),
        ("hostNetwork: true", ["node1", "node2"]),
        (TOLERATION, ["node1", "node2", "node3"]),
    ],
)
def test_a_daemon_set_has_a_pod_on_each_node_that_will_do(wish: str, nodes: list[str]) -> None:
    assert list(placed(lab(DAEMON_SET % wish, nodes=NODES)).values()) == nodes


def test_a_bound_pod_stays_and_its_turn_counts() -> None:
    body = "pods: [{name: a}, {name: b}]"
    before = resolve(lab(body, nodes=NODES).spec)
    more = resolve(lab("pods: [{name: a}, {name: b}, {name: c}]", nodes=NODES).spec, before.leases)
    nodes = {pod.name: pod.node for pod in more.cluster.pods if pod.namespace == "default"}
    assert nodes == {"a": "node1", "b": "node2", "c": "node1"}


def _pods(*ports: str, more: str = "") -> str:
    containers = ", ".join(
        f"{{name: c{number}, ports: [{port}]}}" for number, port in enumerate(ports)
    )
    return f"{{name: a{len(ports)}, node: node1{more}, containers: [{containers}]}}"


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        (
            _pods("{port: 1, hostPort: 80}", "{port: 2, hostPort: 80}"),
            ['pods[0].containers[1].ports[0].hostPort: Duplicate value: "TCP//80"'],
        ),
        (_pods("{port: 1, hostPort: 80}", "{port: 2, hostPort: 80, protocol: UDP}"), []),
        (
            _pods("{port: 80}", "{port: 80}", more=", hostNetwork: true"),
            ['pods[0].containers[1].ports[0].hostPort: Duplicate value: "TCP//80"'],
        ),
        (
            _pods("{port: 80, hostPort: 81}", more=", hostNetwork: true"),
            [
                "pods[0].containers[0].ports[0].containerPort: Invalid value: 80: must match"
                " `hostPort` when `hostNetwork` is true"
            ],
        ),
        (
            f"{_pods('{port: 1, hostPort: 80}')},"
            f" {_pods('{port: 80}', '{port: 81}', more=', hostNetwork: true')}",
            [
                "pods[1].node: Predicate NodePorts failed: node(s) didn't have free ports for the"
                " requested pod ports"
            ],
        ),
        (
            f"{_pods('{port: 1, hostPort: 80, hostIP: 172.18.0.2}')},"
            f" {_pods('{port: 1, hostPort: 80, hostIP: 172.18.0.9}', '{port: 2}')}",
            [],
        ),
        (
            "{name: a, node: node1, nodeSelector: {role: edge}}",
            [
                "pods[0].nodeSelector: Predicate NodeAffinity failed: node(s) didn't match Pod's"
                " node affinity/selector"
            ],
        ),
        ("{name: a, node: node3}", []),
    ],
)
def test_pods_that_name_their_node_and_can_not_run_there(pods: str, expected: list[str]) -> None:
    assert problems(f"pods: [{pods}]", nodes=NODES) == expected

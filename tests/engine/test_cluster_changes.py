"""What a change does to a network, in lines and as JSON."""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.engine.cluster_changes import ClusterChanges, cluster_changes
from kns.engine.live_change import ChangeOutcome
from kns.engine.object_verbs import ObjectResult
from kns.kinds.load import load_lab_text
from kns.kinds.networking import ProxyMode
from kns.kinds.resources import DEPLOYMENT
from kns.report.cluster_changes import changes_text, outcome_json

LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {kubeProxyMode: MODE, dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: web, replicas: COUNT, labels: {app: web}, containers: [{name: c, port: 8080}]}
services:
- {name: web, clusterIP: 10.96.0.20, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def cluster(count: int, mode: ProxyMode = ProxyMode.IPTABLES, more: str = "") -> Cluster:
    text = LAB.replace("MODE", mode).replace("COUNT", str(count)) + more
    return resolve(load_lab_text(text).spec).cluster


def test_a_pod_more_is_an_endpoint_more_and_rules_on_each_node() -> None:
    # KUBE-SEP-… has two rules, KUBE-SVC-… one jump more, and another chance for the first one
    assert changes_text(cluster_changes(cluster(1), cluster(2))) == (
        "  + pod web-2 on node2: 10.244.1.2\n"
        "  + svc web: endpoint 10.244.1.2:8080 (web-2)\n"
        "  rules of node1, node2 (iptables): 4 new, 1 gone\n"
    )


def test_what_goes_is_told_likewise() -> None:
    found = cluster_changes(cluster(2), cluster(1))
    assert [line[2] for line in changes_text(found).splitlines()] == ["-", "-", "r"]
    assert [(rule.new, rule.gone) for rule in found.rules] == [(1, 4), (1, 4)]


def test_nftables_chooses_by_one_rule_with_a_map() -> None:
    mode = ProxyMode.NFTABLES
    found = cluster_changes(cluster(1, mode), cluster(2, mode))
    # on the pod's own node it is an element of the set hairpin-connections, too
    assert [(rule.new, rule.gone) for rule in found.rules] == [(1, 1), (2, 1)]


def test_ipvs_has_a_real_server_more() -> None:
    mode = ProxyMode.IPVS
    found = cluster_changes(cluster(1, mode), cluster(2, mode))
    # on the pod's own node it is in KUBE-LOOP-BACK, too, for which there is a rule now
    assert [(rule.new, rule.gone) for rule in found.rules] == [(1, 0), (3, 0)]


def test_a_service_and_a_pod_that_is_not_ready() -> None:
    more = "- {name: other, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n"
    lines = changes_text(cluster_changes(cluster(1), cluster(1, more=more))).splitlines()
    assert lines[0].startswith("  + svc other: 10.96.")
    assert lines[1] == "  + svc other: endpoint 10.244.0.2:8080 (web-1)"
    faults = "faults: {unready: [web-1]}\n"
    (line, rules) = changes_text(cluster_changes(cluster(1), cluster(1, more=faults))).splitlines()
    assert line == "  - svc web: endpoint 10.244.0.2:8080 (web-1)"
    assert rules.startswith("  rules of node1, node2 (iptables): ")


def test_nothing_is_nothing() -> None:
    assert cluster_changes(cluster(1), cluster(1)) == ClusterChanges(ProxyMode.IPTABLES)
    assert changes_text(ClusterChanges(ProxyMode.IPTABLES)) == ""


def test_many_lines_are_counted() -> None:
    lines = changes_text(cluster_changes(cluster(1), cluster(40))).splitlines()
    assert lines[7] == "  + 32 more pods"
    assert lines[15] == "  + 32 more endpoints"
    assert len(lines) == 17


def test_as_json() -> None:
    result = ObjectResult(DEPLOYMENT, "default", "web", "scaled: 1 → 2")
    changes = cluster_changes(cluster(1), cluster(2))
    assert outcome_json("lab", [result], ChangeOutcome(changes, ("x",))) == {
        "lab": "lab",
        "objects": [
            {
                "kind": "Deployment",
                "namespace": "default",
                "name": "web",
                "result": "scaled: 1 → 2",
            }
        ],
        "pods": [
            {
                "change": "new",
                "pod": "default/web-2",
                "node": "node2",
                "addresses": ["10.244.1.2"],
            }
        ],
        "services": [],
        "endpoints": [
            {
                "change": "new",
                "service": "default/web",
                "address": "10.244.1.2",
                "ports": [8080],
                "pod": "default/web-2",
            }
        ],
        "rules": [
            {"node": "node1", "new": 4, "gone": 1},
            {"node": "node2", "new": 4, "gone": 1},
        ],
        "waitsFor": ["x"],
    }

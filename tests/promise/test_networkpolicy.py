"""The policy stage: upstream's cases by the promise alone, and what they leave open."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.common import Protocol
from kns.kinds.internet import InternetHost
from kns.kinds.load import load_lab_text
from kns.kinds.networkpolicy import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
    PolicyType,
)
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.promise.checks import cluster_checks
from kns.promise.flow import DROPPED, Flow, Outcome, Promise, Stage
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.networkpolicy import DestinationPort, PolicyIndex, RemoteEnd
from kns.promise.promise import promise
from tests.netpol_cases import VECTORS, Case, Layout, cases, cluster_of

INGRESS, EGRESS = PolicyType.INGRESS, PolicyType.EGRESS
CLIENT = RemoteEnd(ip_address("10.244.7.7"))


def test_upstreams_cases_are_all_there() -> None:
    assert len(cases()) == 45


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_upstreams_case(case: Case, family: str) -> None:
    for step in case.steps:
        cluster = cluster_of(step, Layout(family=family))
        lookup = Lookup(cluster)
        pods = {pod.full_name: pod for pod in cluster.pods}
        for probe in step.probes:
            address = pods[probe.destination].addresses[0]
            source = Location(pods[probe.source])
            found = promise(lookup, Flow(source, address, probe.port, probe.protocol))
            assert (found.stop is None) is probe.allowed, (probe, found.stop)


def test_the_directions_of_cyclonus_table_one_by_one() -> None:
    case = next(case for case in cases() if case.name.startswith("cyclonus"))
    (step,) = case.steps
    cluster = cluster_of(step, Layout())
    index = PolicyIndex(cluster.pods, cluster.namespaces, cluster.network_policies)
    pods = {pod.full_name: pod for pod in cluster.pods}
    (probe,) = step.raw["probes"]
    for source, row in probe["rows"].items():
        for number, name in enumerate(probe["columns"]):
            client, server = pods[source], pods[name]
            port = DestinationPort(80, Protocol.TCP, server)
            sides = (
                ("egress", EGRESS, client, RemoteEnd(server.addresses[0], server)),
                ("ingress", INGRESS, server, RemoteEnd(client.addresses[0], client)),
            )
            for field, direction, pod, remote in sides:
                found = index.ruling(direction, pod, remote, port)
                allowed = found is None or found.rule is not None
                assert allowed is (probe[field][source][number] == "."), (source, name, row)


# -- one rule --------------------------------------------------------------------------------------


def allows(rule: NetworkPolicyRule, remote: RemoteEnd, port: DestinationPort) -> bool:
    pod = port.pod or Pod("default", "a", "node1", ())
    policy = NetworkPolicy("default", "p", ingress=(rule,))
    found = PolicyIndex((pod,), (), (policy,)).ruling(INGRESS, pod, remote, port)
    assert found is not None
    return found.rule is not None


@pytest.mark.parametrize("case", VECTORS["unit"]["ports"], ids=str)
def test_upstreams_ports(case: dict[str, Any]) -> None:
    ports = tuple(
        NetworkPolicyPort(
            Protocol(item.get("protocol", "TCP")), item.get("port"), item.get("endPort")
        )
        for item in case["ports"]
    )
    named = case.get("containerPorts", [])
    own = tuple(ContainerPort(item["containerPort"], item["name"]) for item in named)
    pod = Pod("default", "a", "node1", (), containers=(Container("c", own),))
    wanted = DestinationPort(case["port"], Protocol(case["protocol"]), pod)
    assert allows(NetworkPolicyRule((), ports), CLIENT, wanted) is case["want"]


@pytest.mark.parametrize("case", VECTORS["unit"]["ipBlock"], ids=str)
def test_upstreams_blocks(case: dict[str, Any]) -> None:
    excluded = tuple(ip_network(item) for item in case.get("except", ()))
    peer = NetworkPolicyPeer(ip_block=IPBlock(ip_network(case["cidr"]), excluded))
    remote = RemoteEnd(ip_address(case["ip"]))
    assert allows(NetworkPolicyRule((peer,)), remote, DestinationPort(80)) is case["want"]


def test_an_echo_request_passes_by_a_rule_without_ports_alone() -> None:
    echo = DestinationPort(None)
    assert allows(NetworkPolicyRule(), CLIENT, echo)
    assert not allows(NetworkPolicyRule(ports=(NetworkPolicyPort(),)), CLIENT, echo)


# -- flows -----------------------------------------------------------------------------------------

LAB = """
apiVersion: kns/v1
kind: Lab
metadata: {name: t}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: web, node: node1, labels: {app: web}}
- {name: web2, node: node2, labels: {app: web}}
- {name: client, node: node1, labels: {app: client}}
services:
- name: web
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
networkPolicies:
"""


def lab(*policies: str) -> Cluster:
    text = LAB + "".join(f"- {policy}\n" for policy in policies)
    return resolve(load_lab_text(text).spec).cluster


def flow(cluster: Cluster, source: str, destination: str, port: int | None) -> Promise:
    """A flow between two objects by name; `svc/web` is its cluster IP."""
    lookup = Lookup(cluster)
    items: dict[str, Pod | Node | InternetHost] = {
        **{pod.name: pod for pod in cluster.pods},
        **{node.name: node for node in cluster.nodes},
        **{host.name: host for host in cluster.internet},
    }
    if destination.startswith("svc/"):
        address = next(s for s in cluster.services if s.name == destination[4:]).cluster_ips[0]
    else:
        address = items[destination].addresses[0]
    return promise(lookup, Flow(Location(items[source]), address, port))


DENY = "{name: deny, podSelector: {matchLabels: {app: web}}}"
DENY_EGRESS = "{name: mute, podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}"


def test_a_denied_flow_is_dropped_and_told_with_the_policys_line() -> None:
    found = flow(lab(DENY), "client", "web", 8080)
    assert found.stop is not None
    assert (found.stop.stage, found.stop.outcomes) == (Stage.POLICY, DROPPED)
    assert found.stop.reason == (
        "NetworkPolicy default/deny (lab.yaml:16) isolates web for ingress,"
        " and no rule allows client on TCP 8080"
    )


def test_an_allowed_flow_knows_its_rules_line() -> None:
    rule = (
        "{name: allow, podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 8080}]}]}"
    )
    (answer,) = flow(lab(DENY, rule), "client", "web", 8080).answers
    (ruling,) = answer.rulings
    assert ruling.rule is not None
    assert ruling.rule.words == "default/allow ingress[0] (lab.yaml:17)"
    assert [policy.name for policy in ruling.policies] == ["deny", "allow"]


def test_a_node_reaches_its_own_pods_and_they_reach_it() -> None:
    cluster = lab(DENY, DENY_EGRESS)
    assert flow(cluster, "node1", "web", 8080).stop is None
    assert flow(cluster, "node2", "web", 8080).stop is not None
    assert flow(cluster, "client", "node1", None).stop is None
    assert flow(cluster, "client", "node2", None).stop is not None


def test_a_pod_reaches_itself_also_by_its_service() -> None:
    cluster = lab(DENY, DENY_EGRESS)
    assert flow(cluster, "web", "web", 8080).stop is None
    found = flow(cluster, "web", "svc/web", 80)
    assert found.names == ("web",)
    assert [denial.backend.name for denial in found.denied] == ["web2"]
    assert len(found.outcomes) == 2


def test_policies_look_at_what_a_service_leads_to() -> None:
    """The cluster IP is in no rule's block, the service's port in no rule's ports."""
    peer = "{podSelector: {matchLabels: {app: web}}}"
    to = f"{{name: to, policyTypes: [Egress], egress: [{{to: [{peer}], ports: [{{port: 8080}}]}}]}}"
    cluster = lab(to)
    assert flow(cluster, "client", "svc/web", 80).names == ("web", "web2")
    assert flow(cluster, "client", "svc/web", 80).denied == ()


def test_by_another_nodes_port_a_pod_leaves_for_that_node() -> None:
    to_pods = "{name: p, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}"
    own = flow(lab(to_pods), "client", "node1", 30080)
    other = flow(lab(to_pods), "client", "node2", 30080)
    assert own.stop is None
    assert other.stop is not None
    block = "{name: p, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 172.18.0.0/16}}]}]}"
    assert flow(lab(block), "client", "node2", 30080).stop is None


def test_ingress_sees_the_node_that_masquerades_on_the_way() -> None:
    """At the entry's own node the client is still itself, behind another one it is hidden."""
    client = "{name: p, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}"
    found = flow(lab(client), "internet", "node1", 30080)
    assert found.names == ("web",)
    assert [denial.backend.name for denial in found.denied] == ["web2"]


def test_a_pod_that_no_policy_selects_is_not_isolated() -> None:
    assert flow(lab(DENY), "web", "client", 8080).answers[0].rulings == ()


def test_a_pod_in_the_host_network_is_its_node() -> None:
    host = "- {name: agent, node: node1, hostNetwork: true, labels: {app: web}}\nservices:"
    text = LAB.replace("services:", host) + f"- {DENY}\n- {{name: mute, policyTypes: [Egress]}}\n"
    cluster = resolve(load_lab_text(text).spec).cluster
    assert flow(cluster, "agent", "web", 8080).stop is None
    assert flow(cluster, "agent", "web2", 8080).stop is not None
    assert flow(cluster, "client", "agent", 8080).stop is None


def test_a_host_port_is_translated_before_policies_are_asked() -> None:
    """On the addressed node; a pod of another node still goes to that node."""
    port = "containers: [{ports: [{port: 8080, hostPort: 8081}]}]"
    text = LAB.replace("labels: {app: web}}\n", f"labels: {{app: web}}, {port}}}\n", 1)
    to_web = "egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]"
    policy = f"- {{name: p, policyTypes: [Egress], {to_web}}}\n"
    cluster = resolve(load_lab_text(f"{text}{policy}").spec).cluster
    assert flow(cluster, "client", "node1", 8081).names == ("web",)
    assert flow(cluster, "web2", "node1", 8081).denied != ()
    cluster = resolve(load_lab_text(f"{text}- {DENY}\n").spec).cluster
    assert flow(cluster, "client", "node1", 8081).denied != ()
    assert flow(cluster, "node1", "node1", 8081).names == ("web",)


def test_the_same_without_policies_asks_for_none() -> None:
    cluster = lab(DENY)
    plain = replace(cluster, network_policies=())
    assert flow(plain, "client", "web", 8080).stop is None


# -- what verify tries -----------------------------------------------------------------------------


def test_verify_tries_allowed_and_denied_pairs_port_by_port() -> None:
    web = "podSelector: {matchLabels: {app: web}}"
    rule = "{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}"
    cluster = lab(f"{{name: p, {web}, ingress: [{rule}]}}")
    found = {check.id: check for check in cluster_checks(cluster).checks}
    own = {name.removeprefix("network-policy/"): item for name, item in found.items()
           if name.startswith("network-policy/")}  # fmt: skip
    assert sorted(own) == [
        "allowed/web->web2:8080",
        "allowed/web2->web:8080",
        "denied/client->web2:8080",
        "denied/client->web2:icmp",
        "denied/client->web:8080",
        "denied/client->web:icmp",
        "denied/node1->web2:8080",
        "denied/node1->web2:icmp",
        "denied/node2->web:8080",
        "denied/node2->web:icmp",
        "denied/web->web2:icmp",
        "denied/web2->web:icmp",
    ]
    assert own["allowed/web->web2:8080"].expected == (
        "answers: ingress of web2 allowed by default/p ingress[0] (lab.yaml:16)"
    )
    denied = own["denied/client->web:8080"]
    assert denied.expected == (
        "no answer: NetworkPolicy default/p (lab.yaml:16) isolates web for ingress,"
        " and no rule allows client on TCP 8080"
    )
    assert denied.steps[0].expectation.outcomes == DROPPED
    assert not any("client->web" in name for name in found if name.startswith("pod-to-pod/"))
    assert "pod-to-pod/same-node/web->client" in found


def test_verify_of_a_service_some_of_whose_backends_are_kept_away() -> None:
    only_web2 = "{name: p, policyTypes: [Egress], podSelector: {matchLabels: {app: web}}}"
    found = {check.id: check for check in cluster_checks(lab(only_web2)).checks}
    check = found["pod-to-service/hairpin/web->web"]
    assert check.steps[0].expectation.backends == ("web",)
    assert Outcome.TIMEOUT in check.steps[0].expectation.outcomes
    assert "silence from web2" in check.expected


def test_verify_asks_no_names_where_dns_is_denied() -> None:
    mute = "{name: mute, policyTypes: [Egress]}"
    found = cluster_checks(lab(mute))
    assert not [check for check in found.checks if check.path == "name-resolution"]
    (skip,) = (skip for skip in found.skips if skip.what == "name-resolution")
    assert "NetworkPolicy default/mute (lab.yaml:16) isolates web for egress" in skip.reason

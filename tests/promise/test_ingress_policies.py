"""What network policies do to requests to Ingresses, as verify expects it."""

from __future__ import annotations

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.promise.check import Check, Cover, Http, Skip
from kns.promise.flow import DROPPED, Outcome
from kns.promise.ingress import ingress_checks
from kns.promise.lookup import Lookup

LAB = """
apiVersion: kns/v1
kind: Lab
metadata: {name: shop}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
ingressController: {replicas: 2, service: {type: NodePort, externalTrafficPolicy: TRAFFIC}}
pods:
- {name: web1, node: node1, labels: {app: web, part: a}}
- {name: web2, node: node2, labels: {app: web, part: b}}
- {name: web3, node: node2, labels: {app: web, part: c}}
- {name: web4, node: node2, labels: {app: web, part: d}}
services:
- {name: web, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
ingresses:
- name: web
  rules:
  - host: shop.test
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]
networkPolicies:
"""
REQUEST = "internet->http://shop.test/"
CONTROLLER = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}"


def lab(*policies: str, traffic: str = "Local") -> Cluster:
    lines = "\n".join(f"- {policy}" for policy in policies)
    return resolve(load_lab_text(f"{LAB.replace('TRAFFIC', traffic)}{lines}\n").spec).cluster


def isolate(*parts: str, rule: str = "") -> str:
    """A policy of the pods of these parts; they let in whom the rule says."""
    values = f"{{key: part, operator: In, values: [{', '.join(parts)}]}}"
    ingress = f", ingress: [{rule}]" if rule else ""
    return f"{{name: {''.join(parts)}, podSelector: {{matchExpressions: [{values}]}}{ingress}}}"


def checks(cluster: Cluster) -> dict[str, Check]:
    return {
        check.id.removeprefix("internet-to-ingress/"): check
        for check in ingress_checks(Lookup(cluster))
        if isinstance(check, Check)
    }


def test_a_rule_for_the_controllers_pods_lets_requests_through() -> None:
    cluster = lab(isolate("a", "b", "c", "d", rule=f"{{from: [{{{CONTROLLER}}}]}}"))
    (step,) = checks(cluster)[f"route/{REQUEST}"].steps
    assert step.expectation.backends == ("web1", "web2", "web3", "web4")
    assert (step.expectation.cover, step.expectation.failure) == (Cover.ALL, None)


def test_a_rule_for_the_clients_address_does_not_for_nginx_is_the_client() -> None:
    rule = "{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}"
    check = checks(lab(isolate("a", "b", "c", "d", rule=rule)))[f"unreachable/{REQUEST}"]
    (step,) = check.steps
    assert isinstance(step.ask, Http)
    assert (step.expectation.status, step.ask.delay, step.ask.count) == (504, 15, 1)
    assert check.expected.startswith(
        "504: Ingress web, Prefix /: service web: NetworkPolicy default/abcd (lab.yaml:22) isolates"
        " web1 for ingress, and no rule allows ingress-nginx/"
    )


@pytest.mark.parametrize(
    ("silent", "failure", "delay"), [("a", None, 5), ("ab", None, 10), ("abc", 504, 15)]
)
def test_nginx_asks_another_endpoint_three_in_all(
    silent: str, failure: int | None, delay: float
) -> None:
    check = checks(lab(isolate(*silent)))[f"route/{REQUEST}"]
    (step,) = check.steps
    assert isinstance(step.ask, Http)
    assert step.expectation.backends == ("web1", "web2", "web3", "web4")[len(silent) :]
    assert (step.expectation.failure, step.ask.delay) == (failure, delay)
    assert ("or 504; silence from web1" in check.expected) is (failure is not None)


def test_a_service_with_silent_endpoints_is_tried_once() -> None:
    found = tuple(ingress_checks(Lookup(lab(isolate("a")))))
    assert [item.id for item in found if isinstance(item, Check) if "route" in item.id] == [
        f"internet-to-ingress/route/{REQUEST}"
    ]
    left_out = [item for item in found if isinstance(item, Skip)]
    assert [(item.what, item.reason) for item in left_out] == [
        ("http://shop.test/kns", "as the first one of its service, which takes up to 5 s")
    ]


def test_who_is_kept_from_the_controller_hears_nothing() -> None:
    policy = "{name: p, namespace: ingress-nginx, ingress: [{from: [{ipBlock: {cidr: BLOCK}}]}]}"
    let_in = lab(policy.replace("BLOCK", "203.0.113.0/24"))
    assert f"route/{REQUEST}" in checks(let_in)
    check = checks(lab(policy.replace("BLOCK", "198.51.100.0/24")))[f"kept-out/{REQUEST}"]
    assert check.steps[0].expectation.outcomes == DROPPED
    assert "isolates ingress-nginx/" in check.expected


def test_who_is_led_to_a_controller_behind_another_node_is_that_node() -> None:
    """By policy Cluster: at the node of its entry the client is itself, at the other one not."""
    rule = "[{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]"
    policy = f"{{name: p, namespace: ingress-nginx, ingress: {rule}}}"
    (step,) = checks(lab(policy, traffic="Cluster"))[f"route/{REQUEST}"].steps
    assert step.expectation.outcomes == (Outcome.CONNECTED, Outcome.TIMEOUT)
    assert step.expectation.cover is Cover.SUBSET


def test_egress_of_the_controller_counts_too() -> None:
    mute = "{name: mute, namespace: ingress-nginx, policyTypes: [Egress]}"
    assert f"unreachable/{REQUEST}" in checks(lab(mute))
    to_web = "egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}]"
    allowed = f"{{name: to, namespace: ingress-nginx, policyTypes: [Egress], {to_web}}}"
    assert f"route/{REQUEST}" in checks(lab(mute, allowed))

"""What a failure means: each kind of failure leads to the cause that the lab really has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.common import Protocol
from kns.kinds.load import load_lab_text
from kns.kinds.networking import EgressOptions, ProxyMode
from kns.kinds.service import TrafficPolicy
from kns.probe.ask.curl import CONNECTED_THEN_SILENT
from kns.probe.diagnose import explain
from kns.probe.model import Attempt
from kns.probe.target import TargetOptions, parse_source, parse_target
from kns.promise.flow import Outcome
from kns.promise.lookup import Lookup
from tests.probe.scenes import four_paths, pod, service, with_service

REFUSED = (Attempt(Outcome.REFUSED),)
TIMEOUT = (Attempt(Outcome.TIMEOUT),)
UNREACHABLE = (Attempt(Outcome.UNREACHABLE),)


def answered(*names: str) -> tuple[Attempt, ...]:
    """Some backends answered, and one attempt timed out."""
    return (*(Attempt(Outcome.CONNECTED, backend=name) for name in names), *TIMEOUT)


def said(
    cluster: Cluster,
    source: str,
    target: str,
    attempts: tuple[Attempt, ...],
    protocol: Protocol = Protocol.TCP,
) -> str:
    start = parse_source(cluster, source)
    goal = parse_target(cluster, start, target, TargetOptions(protocol=protocol))
    return explain(Lookup(cluster), start, goal, attempts)


def test_a_port_of_another_protocol_is_told() -> None:
    words = "nothing listens on port 8080/UDP; it listens on 8080/TCP (web)"
    assert words in said(four_paths(), "pod1", "pod3:8080", REFUSED, Protocol.UDP)


@pytest.mark.parametrize(
    ("source", "target", "attempts", "words"),
    [
        ("pod1", "pod3", (Attempt(Outcome.CONNECTED),), ""),
        ("pod1", "pod3:81", REFUSED, "nothing listens on port 81; it listens on 8080 (web)"),
        ("pod1", "pod3", REFUSED, "does the lab's agent run?"),
        ("internet", "node1:31000", REFUSED, "no service has that node port"),
        (
            "internet",
            "node1:30080",
            REFUSED,
            "no rule of node1 catches it (kns rules node1 svc-web)",
        ),
        ("pod1", "svc-empty", REFUSED, "its selector app=nobody matches no pod"),
        ("pod1", "svc-empty", REFUSED, "svc-empty has no ready endpoints, so kube-proxy rejects"),
        ("pod1", "svc-a:81", UNREACHABLE, "svc-a has no port 81/TCP (80/TCP): in iptables mode"),
        ("pod1", "svc-a", UNREACHABLE, "a node needs a default route"),
        ("internet", "pod1", TIMEOUT, "means nothing outside the cluster"),
        ("internet", "svc-a", UNREACHABLE, "a cluster IP means nothing outside the cluster"),
        ("pod1", "pod3", TIMEOUT, "silence between neighbours on node1"),
        ("pod1", "pod2", TIMEOUT, "look for the route to 10.244.1.0/24 on node1"),
        ("node1", "pod1", TIMEOUT, "silence between neighbours on node1"),
        ("pod1", "pod2", UNREACHABLE, "ip route get 10.244.1.2"),
        ("pod1", "internet", TIMEOUT, "without masquerading"),
        ("pod1", "svc-a", TIMEOUT, "kns rules node1 svc-a"),
        ("pod3", "svc-a", answered("pod2", "pod4"), "only pod3 itself never answers: hairpin"),
        ("pod1", "svc-a", answered("pod2", "pod4"), "bridge-nf-call-iptables=0 on node1"),
        ("pod1", "svc-a", answered("pod3"), "the backends on node2 (pod2, pod4) never answer"),
        ("pod1", "svc-a", answered("pod2", "pod3", "pod4"), "some connections are lost"),
        (
            "pod1",
            "svc-a",
            (Attempt(Outcome.TIMEOUT, detail=CONNECTED_THEN_SILENT),),
            "connected, then silence",
        ),
        ("pod1", "www.example.com", (Attempt(Outcome.DNS),), "kns dns pod/pod1 www.example.com"),
        ("pod1", "pod3", (Attempt(Outcome.OTHER, detail="Empty reply"),), "Empty reply"),
    ],
)
def test_explain(source: str, target: str, attempts: tuple[Attempt, ...], words: str) -> None:
    text = said(four_paths(), source, target, attempts)
    assert words in text
    assert bool(text) is bool(words)


def test_explain_selector_of_pods_that_are_not_ready() -> None:
    cluster = four_paths()
    pods = tuple(replace(item, ready=False) for item in cluster.pods)
    cluster = with_service(replace(cluster, pods=pods), service(cluster, "svc-a"), ())
    assert "pod2, pod3, pod4 match but are not ready" in said(cluster, "pod1", "svc-a", REFUSED)


@pytest.mark.parametrize("target", ["10.96.9.9", "10.96.9.9:80"])
def test_explain_an_address_of_the_service_subnet_that_nobody_has(target: str) -> None:
    text = said(four_paths(), "pod1", target, UNREACHABLE)
    assert text.startswith("as it must be: no service has 10.96.9.9")


def test_explain_selector_of_one_pod_that_is_not_ready() -> None:
    cluster = four_paths()
    pods = tuple(replace(item, ready=False) for item in cluster.pods if item.name != "pod2")
    cluster = with_service(replace(cluster, pods=pods[:2]), service(cluster, "svc-a"), ())
    assert "pod3 matches but is not ready" in said(cluster, "pod1", "svc-a", REFUSED)


def test_explain_target_port_that_nobody_serves() -> None:
    cluster = four_paths()
    cluster = with_service(cluster, service(cluster, "svc-a"), cluster.pods[1:2], target=9999)
    text = said(cluster, "pod1", "svc-a", REFUSED)
    assert text == (
        "as it must be: svc-a: it leads to pod2:9999, where nothing listens; is its targetPort"
        " right? Kubernetes doesn't check it"
    )


def test_explain_no_endpoints_in_ipvs_mode() -> None:
    text = said(four_paths(ProxyMode.IPVS), "pod1", "svc-empty", REFUSED)
    assert "its virtual server has no real server" in text


@pytest.mark.parametrize(
    ("source", "target", "field"),
    [
        ("internet", "node1:30080", "external_traffic_policy"),
        ("pod1", "svc-web", "internal_traffic_policy"),
    ],
)
def test_explain_policy_local_without_local_endpoint(source: str, target: str, field: str) -> None:
    cluster = four_paths()
    fields: dict[str, Any] = {field: TrafficPolicy.LOCAL}
    local = replace(service(cluster, "svc-web"), **fields)
    cluster = with_service(cluster, local, (pod(cluster, "pod2"),))
    text = said(cluster, source, target, TIMEOUT)
    policy = field.replace("_t", "T").replace("_p", "P")
    assert text == (
        f"as it must be: {policy} of svc-web is Local and node1 has no ready endpoint: dropped;"
        " node2 has some"
    )


def test_explain_egress_without_masquerade() -> None:
    cluster = four_paths()
    network = replace(cluster.network, egress=EgressOptions(masquerade=False))
    text = said(replace(cluster, network=network), "pod1", "internet", TIMEOUT)
    assert text.startswith("as it must be: egress.masquerade is off: 10.244.0.2 leaves untransl")


NOBODY_SERVES = """
apiVersion: kns/v1
kind: Lab
metadata: {name: hints}
nodes: [{name: node1}]
pods: [{name: web, node: node1, labels: {app: web}, containers: [{ports: [{port: 8080}]}]}]
services: [{name: web, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}]
internet: [{name: internet}]
ingressController: {}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: lost}
spec:
  CLASS
  rules:
  - host: "*.example.com"
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: fast, annotations: {ingressclass.kubernetes.io/is-default-class: "DEFAULT"}}
spec: {controller: example.com/fast}
"""


@pytest.mark.parametrize(
    ("named", "default", "why"),
    [
        ("", "false", "it names no class, and no IngressClass is the default"),
        ("", "true", "its class fast is that of example.com/fast, which the lab does not run"),
        ("ingressClassName: fast", "false", "its class fast is that of example.com/fast"),
        ("ingressClassName: slow", "false", "there is no IngressClass slow"),
    ],
)
def test_explain_host_of_an_ingress_that_nobody_serves(named: str, default: str, why: str) -> None:
    text = NOBODY_SERVES.replace("CLASS", named, 1)
    cluster = resolve(load_lab_text(text.replace("DEFAULT", default)).spec).cluster
    words = said(cluster, "internet", "http://a.example.com/", (Attempt(Outcome.DNS),))
    assert f"Ingress lost has this host, but no controller serves it: {why}" in words
    assert "real internet" not in words


def test_explain_ports_of_a_slice_that_are_named_otherwise() -> None:
    text = """
apiVersion: kns/v1
kind: Lab
metadata: {name: hints}
nodes: [{name: node1}]
pods: [{name: client, node: node1}]
internet: [{name: internet}]
---
apiVersion: v1
kind: Service
metadata: {name: named}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: named-1, labels: {kubernetes.io/service-name: named}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [203.0.113.10]}]
"""
    cluster = resolve(load_lab_text(text).spec).cluster
    wanted = 'EndpointSlice named-1 has the port name "" (TCP), the Service "http" (TCP)'
    assert wanted in said(cluster, "client", "named", REFUSED)

"""The reason of a dropped packet: the policy with its line, and the kernel's rule."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.cluster.policy_objects import of_cluster
from kns.cluster.resolve import resolve
from kns.kinds.common import Protocol
from kns.kinds.load import load_lab_text
from kns.probe.ask import datagram
from kns.probe.ask.places import Places
from kns.probe.diagnose import explain
from kns.probe.model import Attempt, ProbeResult
from kns.probe.policy import why_denied
from kns.probe.policy_proof import prove
from kns.probe.target import TargetOptions, parse_source, parse_target
from kns.probe.trace.model import End, EndKind, Journey, Trace
from kns.probe.trace.packet import CapturedPacket
from kns.probe.trace.policy import with_policy
from kns.promise.flow import Flow, Outcome
from kns.promise.lookup import Lookup
from kns.promise.policy_matrix import PolicyMatrix
from kns.report.policy import matrix_text

LAB = """
apiVersion: kns/v1
kind: Lab
metadata: {name: t}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: web, node: node1, labels: {app: web}}
- {name: client, node: node2}
services:
- {name: svc, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
networkPolicies:
- name: isolate
  podSelector: {matchLabels: {app: web}}
  ingress: [{ports: [{port: 9090}]}]
"""
REASON = (
    "NetworkPolicy default/isolate (lab.yaml:12) isolates web for ingress,"
    " and no rule allows client on {port}"
)


def cluster() -> Cluster:
    return resolve(load_lab_text(LAB).spec).cluster


def explained(target: str, outcome: Outcome, *, is_echo: bool = False) -> str:
    made = cluster()
    source = parse_source(made, "client")
    goal = parse_target(made, source, target, TargetOptions())
    goal = replace(goal, port=None if is_echo else goal.port)
    return explain(Lookup(made), source, goal, (Attempt(outcome),))


def test_silence_is_the_policys() -> None:
    for target in ("web", "svc"):
        text = explained(target, Outcome.TIMEOUT)
        assert text.startswith(f"as it must be: {REASON.format(port='TCP 8080')}")
        assert text.endswith('counter drop comment "isolated by default/isolate"')
        assert "; dropped on node1 by nft network-policy ingress-" in text
    echo = explained("web", Outcome.TIMEOUT, is_echo=True)
    assert echo.startswith(f"as it must be: {REASON.format(port='ICMP')}")


def test_a_refusal_is_not() -> None:
    text = explained("web", Outcome.REFUSED)
    assert text.startswith("TIMEOUT was promised (NetworkPolicy")
    assert text.endswith(", and REFUSED came")


def test_what_passes_has_no_reason() -> None:
    made = cluster()
    client = parse_source(made, "client")
    web = next(pod for pod in made.pods if pod.name == "web")
    assert why_denied(Lookup(made), Flow(client, web.addresses[0], 9090)) == ""
    plain = replace(made, network_policies=())
    assert why_denied(Lookup(plain), Flow(client, web.addresses[0], 8080)) == ""


def test_a_proof_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCTP where the kernel has none, and datagrams to a program that may not answer them."""
    monkeypatch.setattr(datagram, "has_sctp", lambda: False)
    text = LAB.replace("app: web}}", "app: web}, containers: [{command: [sleep]}]}", 1)
    made = resolve(load_lab_text(text).spec).cluster
    matrix = PolicyMatrix(of_cluster(made))
    contacts = [
        contact
        for protocol in (Protocol.SCTP, Protocol.UDP)
        for contact in matrix.contacts(9000, protocol)
        if contact.destination.pod is not None and contact.destination.pod.name == "web"
    ]
    proof = prove(made, Places(str, lambda _: None), contacts)
    assert matrix_text(contacts, proof).splitlines()[-3:] == [
        "tried 0: 0 as predicted, 0 not",
        f"not tried {len(contacts) // 2}: SCTP, which this kernel does not have: modprobe sctp",
        f"not tried {len(contacts) // 2}: datagrams that nothing there may answer",
    ]


def test_a_trace_that_ends_at_the_policies_table_tells_the_policys_line() -> None:
    made = cluster()
    client = parse_source(made, "client")
    web = next(pod for pod in made.pods if pod.name == "web").addresses[0]
    result = ProbeResult(
        "client", "web", "pod-to-pod", Outcome.TIMEOUT, "", web, (), port=8080
    )  # fmt: skip
    packet = CapturedPacket(protocol="tcp", source=ip_address("10.244.1.2"), destination=web)
    for table, told in (("network-policy", True), ("filter", False)):
        end = End(EndKind.DROPPED, "node1", f"node1 dropped it by a rule of {table} x", "drop")
        found = with_policy(made, client, Trace(result, Journey(packet, (), end)))
        assert found.request is not None
        assert found.request.end.text.endswith(REASON.format(port="TCP 8080")) is told

"""What is promised of a lab with faults: which flows get no answer, why, and which go on."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.kinds.service import Service
from kns.probe.names import find
from kns.promise.checks import cluster_checks
from kns.promise.flow import NO_WAY, Flow, Outcome, Promise
from kns.promise.location import LocationKind
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
nodes: [{name: node1}, {name: node2}, {name: node3}]
pods:
- {name: pod1, node: node1, containers: [{name: web, port: 8080}]}
- {name: web-1, node: node1, labels: {app: web}, containers: [{name: web, port: 8080}]}
- {name: web-2, node: node2, labels: {app: web}, containers: [{name: web, port: 8080}]}
- {name: web-3, node: node3, labels: {app: web}, containers: [{name: web, port: 8080}]}
- {name: lost, node: node2, labels: {app: lost}, containers: [{name: web, port: 8080}]}
- {name: agent, node: node3, hostNetwork: true, containers: [{name: web, port: 9100}]}
services:
- name: web
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
- {name: lost, selector: {app: lost}, ports: [{port: 80, targetPort: 8080}]}
- {name: empty, selector: {app: nobody}, ports: [{port: 80}]}
faults:
"""
LINKS = f"{TEXT}  linksDown: [lost, node3]\n"
KINDS = (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET)


def promised(text: str, source: str, target: str) -> Promise:
    """What is promised of a flow to `NAME` (ping) or `NAME:PORT`."""
    cluster = resolve(load_lab_text(text).spec).cluster
    name, _, port = target.partition(":")
    flow = Flow(
        find(cluster, source, KINDS), ip_address(_address(cluster, name)), int(port or 0) or None
    )
    return promise(Lookup(cluster), flow)


def _address(cluster: Cluster, name: str) -> str:
    if name == "localhost":
        return "127.0.0.1"
    kinds = (LocationKind.SERVICE,) if name.startswith("svc/") else KINDS
    item = find(cluster, name, kinds).item
    addresses = item.cluster_ips if isinstance(item, Service) else item.addresses
    return str(addresses[0])


LOST, NODE3 = "lost's link is down", "node3's link is down"


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        # a pod's cable
        ("pod1", "lost", LOST),
        ("pod1", "lost:8080", LOST),
        ("node2", "lost", LOST),
        ("lost", "pod1", LOST),
        ("lost", "svc/lost:80", LOST),
        ("lost", "svc/web:80", LOST),
        ("lost", "node2", LOST),
        ("lost", "internet", LOST),
        ("pod1", "svc/lost:80", LOST),
        # a node's cable
        ("pod1", "web-3", NODE3),
        ("web-3", "pod1", NODE3),
        ("node1", "node3", NODE3),
        ("node3", "node1", NODE3),
        ("node1", "web-3", NODE3),
        ("pod1", "node3", NODE3),
        ("web-3", "internet:80", NODE3),
        ("internet", "node3", NODE3),
        ("internet", "node3:30080", NODE3),
        ("pod1", "node3:30080", NODE3),
        ("pod1", "agent:9100", NODE3),
        ("agent", "pod1", NODE3),
    ],
)
def test_what_a_pulled_cable_cuts_off_gets_no_answer(source: str, target: str, reason: str) -> None:
    found = promised(LINKS, source, target)
    assert found.stop is not None
    assert (found.outcomes, found.stop.reason) == (NO_WAY, reason)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("pod1", "web-2"),
        ("pod1", "pod1:8080"),
        ("lost", "lost:8080"),
        ("lost", "localhost:8080"),
        # what stays on the node does not pass its cable
        ("node3", "web-3"),
        ("web-3", "node3"),
        ("web-3", "agent:9100"),
        ("pod1", "internet:80"),
        ("internet", "node1"),
        ("internet", "node1:9100"),
    ],
)
def test_what_does_not_pass_it_goes_on(source: str, target: str) -> None:
    found, sound = promised(LINKS, source, target), promised(TEXT, source, target)
    assert found == sound or (found.outcomes, found.names) == (sound.outcomes, sound.names)
    assert Outcome.UNREACHABLE not in found.outcomes


@pytest.mark.parametrize(
    ("source", "target", "answer"),
    [
        ("pod1", "svc/web:80", ("web-1", "web-2")),
        ("node1", "svc/web:80", ("web-1", "web-2")),
        ("internet", "node2:30080", ("web-1", "web-2")),
        ("web-3", "svc/web:80", ("web-3",)),
        ("node3", "node3:30080", ("web-3",)),
    ],
)
def test_a_service_still_leads_to_whom_a_fault_cuts_off(
    source: str, target: str, answer: tuple[str, ...]
) -> None:
    """kube-proxy knows nothing of cables: endpoints leave when their node is found not ready."""
    found = promised(LINKS, source, target)
    assert found.names == answer
    assert found.outcomes == (Outcome.CONNECTED, *NO_WAY)
    assert {item.reason for item in found.denied} == {NODE3}
    assert found.kept_out == NODE3


IMPAIRED = f"{TEXT}  netem:\n"


@pytest.mark.parametrize(
    ("fault", "source", "target", "reason"),
    [
        ("from: pod1, to: web-2, loss: 10%", "pod1", "web-2", "netem: 10% loss on its way"),
        ("from: web-2, to: pod1, loss: 10%", "pod1", "web-2", "netem: 10% loss on its way"),
        (
            "from: pod1, to: web-2, corrupt: 2%",
            "pod1",
            "svc/web:80",
            "netem: 2% corrupt on its way",
        ),
        ("from: node1, to: node2, delay: 2s", "pod1", "web-2", "netem: 2000 ms delay on its way"),
        ("from: node2, loss: 1%", "pod1", "web-2", "netem: 1% loss on its way"),
        ("to: node2, rate: 9kbit", "internet", "node2", "netem: no more than 9 kbit/s on its way"),
    ],
)
def test_what_loses_packets_promises_nothing(
    fault: str, source: str, target: str, reason: str
) -> None:
    found = promised(f"{IMPAIRED}  - {{{fault}}}\n", source, target)
    assert found.stop is not None
    assert (found.outcomes, found.stop.reason) == ((), reason)


@pytest.mark.parametrize(
    ("fault", "source", "target"),
    [
        ("from: pod1, to: web-2, loss: 10%", "pod1", "web-3"),
        ("from: pod1, to: web-2, loss: 10%", "web-1", "web-2"),
        ("from: pod1, to: web-2, delay: 50ms, jitter: 10ms", "pod1", "web-2"),
        ("from: pod1, to: web-2, rate: 10mbit", "pod1", "web-2"),
        # what stays on the node does not pass its link
        ("from: node2, loss: 1%", "web-2", "lost"),
        ("from: node1, to: node2, loss: 1%", "web-2", "lost"),
        ("from: lost, loss: 1%", "lost", "lost:8080"),
    ],
)
def test_what_only_takes_longer_or_goes_elsewhere_is_promised(
    fault: str, source: str, target: str
) -> None:
    found = promised(f"{IMPAIRED}  - {{{fault}}}\n", source, target)
    assert (found.stop, found.outcomes) == (None, (Outcome.CONNECTED,))


PARTITION = f"{TEXT}  partitions:\n"


@pytest.mark.parametrize(
    ("between", "other", "source", "target", "ends"),
    [
        # between nodes: on their cables, whatever crosses them
        ("node1", "node2", "pod1", "web-2", ("node1", "node2")),
        ("node1", "node2", "web-2", "pod1:8080", ("node2", "node1")),
        ("node1", "node2, node3", "node1", "node3", ("node1", "node3")),
        ("node1", "node3", "agent", "pod1:8080", ("node3", "node1")),
        ("node1", "node2", "pod1", "node2:30080", ("node1", "node2")),
        ("internet", "node2", "internet", "node2:30080", ("internet", "node2")),
        ("internet", "node2", "web-2", "internet:80", ("node2", "internet")),
        ("node3", "internet", "node3", "internet:80", ("node3", "internet")),
        # at a pod, by whom it comes from
        ("pod1", "web-2", "pod1", "web-2:8080", ("pod1", "web-2")),
        ("pod1", "web-2", "web-2", "pod1", ("web-2", "pod1")),
        ("pod1", "svc/web", "pod1", "svc/web:80", ("pod1", "web-1")),
        ("pod1", "node2", "pod1", "web-2", ("pod1", "node2")),
        ("pod1", "node2", "web-2", "pod1", ("node2", "pod1")),
        ("pod1", "node2", "node2", "pod1:8080", ("node2", "pod1")),
        ("pod1", "node1", "node1", "pod1", ("node1", "pod1")),
        # at a pod, by where it sends to
        ("pod1", "node2", "pod1", "node2", ("pod1", "node2")),
        ("pod1", "node2", "pod1", "node2:30080", ("pod1", "node2")),
        ("pod1", "internet", "pod1", "internet:80", ("pod1", "internet")),
    ],
)
def test_what_a_partition_cuts_off_gets_no_answer(
    between: str, other: str, source: str, target: str, ends: tuple[str, str]
) -> None:
    for sides in (f"between: [{between}], and: [{other}]", f"between: [{other}], and: [{between}]"):
        found = promised(f"{PARTITION}  - {{{sides}}}\n", source, target)
        assert found.stop is not None
        reason = f"a partition keeps {ends[0]} and {ends[1]} apart"
        assert (found.outcomes, found.stop.reason) == (NO_WAY, reason)


@pytest.mark.parametrize(
    ("between", "other", "source", "target"),
    [
        ("node1", "node2", "pod1", "web-1"),
        ("node1", "node2", "pod1", "web-3"),
        ("node1", "node2", "web-2", "lost"),
        ("node1", "node2", "internet", "node1:9100"),
        ("pod1", "web-2", "node1", "web-2"),
        ("pod1", "web-2", "web-1", "web-2:8080"),
        ("pod1", "node1", "pod1", "web-2"),
        ("pod1", "svc/web", "pod1", "lost:8080"),
        ("internet", "node2", "web-1", "internet:80"),
    ],
)
def test_what_passes_no_partition_goes_on(
    between: str, other: str, source: str, target: str
) -> None:
    sides = f"between: [{between}], and: [{other}]"
    found, sound = (
        promised(f"{PARTITION}  - {{{sides}}}\n", source, target),
        promised(TEXT, source, target),
    )
    is_own = (between, other, target) == ("pod1", "node1", "web-2")
    # by its own node's addresses it passes; which of them it meets can't be told
    assert (found.outcomes, found.names) == (((), ()) if is_own else (sound.outcomes, sound.names))


def test_a_service_still_leads_to_whom_a_partition_keeps_away() -> None:
    text = f"{PARTITION}  - {{between: [pod1], and: [web-2]}}\n"
    found = promised(text, "pod1", "svc/web:80")
    assert found.names == ("web-1", "web-3")
    assert found.outcomes == (Outcome.CONNECTED, *NO_WAY)
    # a third node masquerades: the packets bear its address
    found = promised(text, "pod1", "node3:30080")
    assert found.stop is not None
    assert found.outcomes == ()
    assert found.stop.reason == "a partition that pod1 is in may keep it from its way"


@pytest.mark.parametrize(
    ("fault", "source", "target", "reason"),
    [
        # by the port to the pod no packet passes that bears the node's address
        ("partitions: [{between: [node1], and: [pod1]}]", "pod1", "svc/empty:80", "partition"),
        ("partitions: [{between: [node1], and: [svc/web]}]", "web-1", "svc/empty:80", "partition"),
        ("partitions: [{between: [node1], and: [pod1]}]", "pod1", "svc/web:81", "partition"),
        ("netem: [{from: node1, to: pod1, loss: 1%}]", "pod1", "svc/empty:80", "1% loss"),
        ("netem: [{to: pod1, delay: 2s}]", "pod1", "svc/empty:80", "2000 ms delay"),
    ],
)
def test_a_refusal_that_may_not_be_heard_is_not_promised(
    fault: str, source: str, target: str, reason: str
) -> None:
    text = TEXT.replace("\npods:", "\nnetworking: {kubeProxyMode: nftables}\npods:")
    found = promised(f"{text}  {fault}\n", source, target)
    assert found.stop is not None
    assert found.outcomes == ()
    assert reason in found.stop.reason


@pytest.mark.parametrize(
    ("fault", "source"),
    [
        ("partitions: [{between: [node1], and: [pod1]}]", "web-1"),
        ("partitions: [{between: [node2], and: [pod1]}]", "pod1"),
        ("partitions: [{between: [node1], and: [pod1]}]", "node1"),
        ("netem: [{from: node2, to: pod1, loss: 1%}]", "pod1"),
        ("netem: [{from: node1, to: pod1, rate: 10mbit}]", "pod1"),
    ],
)
def test_a_refusal_that_no_fault_meets_is_promised(fault: str, source: str) -> None:
    found = promised(f"{TEXT}  {fault}\n", source, "svc/empty:80")
    assert found.outcomes == (Outcome.REFUSED,)


def test_what_can_not_be_promised_is_left_out_and_told() -> None:
    text = f"{IMPAIRED}  - {{from: node2, loss: 1%}}\n"
    found = cluster_checks(resolve(load_lab_text(text).spec).cluster)
    sound = cluster_checks(resolve(load_lab_text(TEXT.removesuffix("faults:\n")).spec).cluster)
    assert 10 < len(found.checks) < len(sound.checks)
    assert {check.id for check in found.checks} < {check.id for check in sound.checks}
    assert "netem: 1% loss on its way" in {skip.reason for skip in found.skips}


def test_every_check_that_a_fault_ends_says_so() -> None:
    checks = cluster_checks(resolve(load_lab_text(LINKS).spec).cluster).checks
    ended = {check.id for check in checks if "link is down" in check.expected}
    assert "pod-to-pod/same-node/web-2->lost" in ended
    assert "pod-to-pod/cross-node/pod1->web-3" in ended
    assert "node-to-node/ping/node1->node3" in ended
    assert "pod-to-node/ping/web-3->node3" not in ended
    # nobody is asked for a name by a way that is cut, and nothing of it is told as if it worked
    assert all(check.source.label != "lost" for check in checks if check.path == "name-resolution")


def test_an_end_that_is_gone_leaves_its_fault_waiting() -> None:
    spec = load_lab_text(LINKS).spec
    fewer = replace(spec, workloads=tuple(w for w in spec.workloads if w.template.name != "lost"))
    assert resolve(fewer).cluster.faults.pods_down == frozenset()
    assert resolve(fewer).cluster.faults.nodes_down == {"node3"}

"""Labs by kube-proxy's release: promises kept in each, and from any one to any other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.up import dry_run, up
from kns.kernel import netns as netns_names
from kns.kernel import nfacct, processes
from kns.kernel.nfacct import NfacctSupport
from kns.kernel.processes import Context
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from tests.end_to_end.labfiles import broken_promises, write_lab
from tests.end_to_end.test_labs import LABS_FOLDER, prove

pytestmark = pytest.mark.kernel

Proxy = tuple[ProxyMode, Release]
#: each mode in the releases that changed its rules; test_labs.py has the newest
OLDER: tuple[Proxy, ...] = (
    (ProxyMode.IPTABLES, Release.V1_30),
    (ProxyMode.NFTABLES, Release.V1_30),
    (ProxyMode.NFTABLES, Release.V1_34),
    (ProxyMode.NFTABLES, Release.V1_36),
)
#: each structure of the rules, iptables mode with its counters
ALL: tuple[Proxy, ...] = (
    (ProxyMode.IPTABLES, Release.V1_37),
    *OLDER[1:],
    (ProxyMode.NFTABLES, Release.V1_37),
)

#: every kind of address, both policies, nobody there, and who is kept out
LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: releases}
networking: {dns: {enabled: false}, kubeProxy: {nfacct: auto}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: pod1, node: node1, labels: {app: a}}
- {name: pod2, node: node2, labels: {app: a, side: far}}
services:
- {name: web, selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}
- {name: far, type: NodePort, externalTrafficPolicy: Local, selector: {side: far},
   externalIPs: [198.51.100.7], ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
- {name: sticky, selector: {app: a}, sessionAffinity: ClientIP,
   ports: [{port: 80, targetPort: 8080}]}
- {name: empty, type: NodePort, selector: {app: nobody}, ports: [{port: 80, nodePort: 30081}]}
- {name: kept, type: LoadBalancer, selector: {app: a}, loadBalancerSourceRanges: [203.0.113.0/24],
   status: {loadBalancer: {ingress: [{ip: 198.51.100.8}]}}, ports: [{port: 80, targetPort: 8080}]}
internet: [{name: internet}]
"""


@pytest.mark.parametrize("proxy", OLDER, ids="-".join)
@pytest.mark.parametrize("name", ["four-paths", "service-types", "traffic-policies"])
def test_lab_keeps_its_promises_in_an_older_release(name: str, proxy: Proxy) -> None:
    prove(LABS_FOLDER / f"{name}.yaml", *proxy)


def every_change(items: tuple[Proxy, ...]) -> Iterator[Proxy]:
    """A walk over the items in which each follows each other one once, and ends where it began."""
    waiting = {item: [other for other in items if other != item] for item in items}
    stack, walk = [items[0]], []
    while stack:
        if waiting[stack[-1]]:
            stack.append(waiting[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    return reversed(walk)


def test_walk_has_every_ordered_pair() -> None:
    pairs = list(pairwise(every_change(ALL)))
    assert len(pairs) == len(set(pairs)) == len(ALL) * (len(ALL) - 1)


def test_running_lab_converges_from_any_release_and_mode_to_any_other(tmp_path: Path) -> None:
    file = write_lab(tmp_path, LAB)
    try:
        for mode, release in every_change(ALL):
            result = up(file, proxy_mode=mode, release=release)
            assert result.problems == ()
            assert dry_run(file, mode, release).is_empty
            assert left_of_others("kns.releases.node1", mode, release) == []
            places = places_of(result.lab, LabPaths(result.lab))
            report = verify(result.cluster, places, only="node-to-service|pod-to-service")
            broken = broken_promises(report, result.cluster, places)
            assert [(check.id, check.expected, check.actual) for check in broken] == []
    finally:
        down("releases")


def left_of_others(netns: str, mode: ProxyMode, release: Release) -> list[str]:
    """Words in the netns' rules that only another mode or release writes, and counters of it."""
    counts = mode is ProxyMode.IPTABLES and nfacct.support() is NfacctSupport.WHOLE
    counters = counted_objects(netns)
    if counts or counters:
        assert ("ct_state_invalid_dropped_pkts" in counters) is counts
    listing = processes.run(["nft", "list", "ruleset"], context=Context(netns)).stdout
    if mode is not ProxyMode.NFTABLES:
        foreign = {"kube-proxy"}
    else:
        foreign = {"KUBE-SVC", "KUBE-SERVICES"}
        if release < Release.V1_34:
            foreign |= {"pre-dnat", "hairpin-connections"}
        else:
            foreign |= {"post-dnat"}
        if release >= Release.V1_36:
            foreign |= {"mark-for-masquerade", "/web/tcp/__"}
    return [word for word in sorted(foreign) if word in listing]


def counted_objects(netns: str) -> tuple[str, ...]:
    if nfacct.support() is NfacctSupport.NOTHING:
        return ()
    return netns_names.call_in(netns, nfacct.list_here)


#: nobody is behind the Service of the long name, which costs all of them their rules
LONG_NAME = f"""\
apiVersion: kns/v1
kind: Lab
metadata: {{name: refused}}
networking: {{kubeProxyMode: nftables, kubeProxy: {{version: "1.36"}}}}
nodes: [{{name: node1}}, {{name: node2}}]
pods:
- {{name: pod1, node: node1, labels: {{app: a}}}}
- {{name: pod2, node: node2, labels: {{app: a}}}}
services:
- {{name: web, type: NodePort, selector: {{app: a}},
   ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]}}
- {{name: {"s" * 63}, namespace: {"n" * 63}, selector: {{app: nobody}},
   ports: [{{name: http, port: 80}}]}}
internet: [{{name: internet}}]
"""


def test_lab_without_a_rule_keeps_the_promise_that_nobody_answers(tmp_path: Path) -> None:
    file = write_lab(tmp_path, LONG_NAME)
    try:
        result = up(file)
        places = places_of(result.lab, LabPaths(result.lab))
        report = verify(result.cluster, places, only="service|dns")
        broken = broken_promises(report, result.cluster, places)
        assert [(check.id, check.expected, check.actual) for check in broken] == []
        told = [check for check in report.checks if "nft refuses every rule" in check.expected]
        assert {check.id.split("/")[1] for check in told} >= {"cluster-ip", "node-port"}
        # with the next release each of them is served
        result = up(file, release=Release.V1_37)
        report = verify(result.cluster, places, only="cluster-ip|node-port")
        broken = broken_promises(report, result.cluster, places)
        assert [(check.id, check.expected, check.actual) for check in broken] == []
        assert not any("nft refuses" in check.expected for check in report.checks)
    finally:
        down("refused")

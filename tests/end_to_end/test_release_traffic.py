"""What a packet can tell of kube-proxy's releases: real connections, before and after a change.

The numbers are those of docs/releases.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.up import up
from kns.experiment.setting import ProxySetting, proxy_setting
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.release import Release
from kns.probe.addresses import owners
from kns.probe.ask.asking import Asker
from kns.probe.ask.places import places_of
from kns.promise.flow import Flow
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.steps import ask_of
from tests.end_to_end.labfiles import write_lab

pytestmark = pytest.mark.kernel

LAB = "reltraffic"
#: near is with the client on node1, far on node2
TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {{name: reltraffic}}
networking: {{dns: {{enabled: false}}{networking}}}
nodes: [{{name: node1, zone: a}}, {{name: node2, zone: b}}]
pods:
- {{name: client, node: node1}}
- {{name: near, node: node1, labels: {{app: web}}}}
- {{name: far, node: node2, labels: {{app: web, side: far}}}}
services:
- {{name: web{service}, ports: [{{port: 80, targetPort: 8080{node_port}}}]}}
{slices}"""
SLICE = """\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints:
"""
NEAR = "- {{addresses: [10.244.0.3], nodeName: node1{more}}}\n"
FAR = "- {{addresses: [10.244.1.2], nodeName: node2{more}}}\n"
#: of two endpoints each is missed once in eight million times
TRIES = 24
NODE1, NODE1_BRIDGE_SIX = "172.18.0.2", "fd00:10:244::1"
EXTERNAL, CLUSTER_IP, UNALLOCATED = "198.51.100.7", "10.96.7.7", "10.96.200.1"
BOTH, NO_ANSWER, REFUSED, NO_WAY = {"near", "far"}, {"TIMEOUT"}, {"REFUSED"}, {"UNREACHABLE"}


def lab(
    service: str = ", selector: {app: web}",
    *,
    networking: str = "",
    node_port: str = "",
    slices: str = "",
) -> str:
    """A lab with one Service."""
    return TEXT.format(
        service=f", clusterIP: {CLUSTER_IP}{service}" if "dual" not in networking else service,
        networking=f", {networking}" if networking else "",
        node_port=node_port,
        slices=slices,
    )


def hinted(kind: str, *places: str) -> str:
    """A slice whose endpoints are meant for these places."""
    near, far = (f", hints: {{{kind}: [{{name: {place}}}]}}" for place in places)
    return SLICE.format(name="web-1") + NEAR.format(more=near) + FAR.format(more=far)


LOCAL = ", selector: {side: far}, externalIPs: [198.51.100.7], externalTrafficPolicy: Local"
BARRED = (
    ", selector: {app: nobody}, type: LoadBalancer, loadBalancerSourceRanges: [192.0.2.0/24],"
    " status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}"
)
OPEN = ", selector: {app: web}, externalIPs: [198.51.100.7]"
ALL_LOCAL = ", selector: {app: web}, type: NodePort, externalTrafficPolicy: Local"
DUAL = ", selector: {app: web}, type: NodePort, ipFamilyPolicy: RequireDualStack"
#: a pod that is moved from one slice to another, and is gone by the older one
TWO_SLICES = (
    SLICE.format(name="web-1")
    + NEAR.format(more="")
    + SLICE.format(name="web-2")
    + NEAR.format(more=", conditions: {ready: false, serving: false, terminating: true}")
)
CONTESTED = lab("", slices=TWO_SLICES)
UNMASQUERADED = "egress: {nonMasqueradeCIDRs: [10.0.0.0/8, 172.16.0.0/12]}"
PREFIX = "kubeProxy: {detectLocalMode: InterfaceNamePrefix, podInterfaceNamePrefix: cni}"
GATE_OFF = "kubeProxy: {featureGates: {AllowServiceExternalIPs: false}}"
FOUR_ONLY = "ipFamily: dual, kubeProxy: {nodePortAddresses: [172.18.0.0/24]}"


@dataclass(frozen=True, slots=True)
class Side:
    """A lab in a mode and release, and what comes of the connection in it."""

    setting: ProxySetting
    outcomes: frozenset[str]
    text: str

    @property
    def is_told(self) -> bool:
        """False where kube-proxy goes by the order of a map of Go's: nothing can be promised."""
        return self.text != CONTESTED or self.setting.release >= Release.V1_36


@dataclass(frozen=True, slots=True)
class Difference:
    """One connection that ends otherwise."""

    number: int
    name: str
    source: str
    address: str
    port: int
    before: Side
    after: Side


def difference(
    number: int,
    name: str,
    text: str,
    ask: tuple[str, str, int],
    *sides: tuple[str, set[str]],
    text_before: str = "",
) -> Difference:
    """Of one lab, or of two that differ in what the older release can't be told."""
    before, after = sides
    return Difference(
        number,
        name,
        *ask,
        Side(proxy_setting(before[0]), frozenset(before[1]), text_before or text),
        Side(proxy_setting(after[0]), frozenset(after[1]), text),
    )


DIFFERENCES = (
    difference(
        1, "own packets are looked at after their translation", lab(LOCAL),
        ("node1", EXTERNAL, 80),
        ("nftables@1.33", NO_ANSWER), ("nftables@1.34", {"far"}),
    ),
    difference(
        1, "source ranges come before endpoints for own packets too", lab(BARRED),
        ("node1", EXTERNAL, 80),
        ("nftables@1.33", REFUSED), ("nftables@1.34", NO_ANSWER),
    ),
    difference(
        6, "hairpins are those of the node's own endpoints",
        lab(ALL_LOCAL, networking=UNMASQUERADED, node_port=", nodePort: 30080"),
        ("far", NODE1, 30080),
        ("nftables@1.35", BOTH), ("nftables@1.36", {"near", *NO_ANSWER}),
    ),
    difference(
        10, "a family without a CIDR of nodePortAddresses has every address",
        lab(DUAL, networking=FOUR_ONLY, node_port=", nodePort: 30080"),
        ("client", NODE1_BRIDGE_SIX, 30080),
        ("nftables@1.30", REFUSED), ("nftables@1.31", BOTH),
    ),
    difference(
        13, "interfaces by a prefix of their name", lab(networking=PREFIX),
        ("client", CLUSTER_IP, 80),
        ("nftables@1.32", NO_WAY), ("nftables@1.33", BOTH),
    ),
    difference(
        14, "unallocated cluster IPs are dropped", lab(),
        ("client", UNALLOCATED, 80),
        ("nftables@1.32", NO_WAY), ("nftables@1.33", NO_ANSWER),
    ),
    *(
        difference(
            15, f"zone hints count without annotation, {mode}",
            lab("", slices=hinted("forZones", "a", "b")),
            ("client", CLUSTER_IP, 80),
            (f"{mode}@1.30", BOTH), (f"{mode}@1.31", {"near"}),
        )
        for mode in ("iptables", "nftables")
    ),
    *(
        difference(
            16, f"hints for nodes count, {mode}",
            lab("", slices=hinted("forNodes", "node2", "node1")),
            ("client", CLUSTER_IP, 80),
            (f"{mode}@1.33", BOTH), (f"{mode}@1.34", {"far"}),
        )
        for mode in ("iptables", "nftables")
    ),
    *(
        difference(
            17, f"an address in two slices lives if one of them says so, {mode}",
            CONTESTED,
            ("client", CLUSTER_IP, 80),
            (f"{mode}@1.35", REFUSED), (f"{mode}@1.36", {"near"}),
        )
        for mode in ("iptables", "nftables")
    ),
    *(
        difference(
            19, f"external IPs with the gate off, {mode}", lab(OPEN, networking=GATE_OFF),
            ("client", EXTERNAL, 80),
            (f"{mode}@1.35", BOTH), (f"{mode}@1.36", NO_WAY),
            text_before=lab(OPEN),
        )
        for mode in ("iptables", "nftables")
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)


@pytest.mark.parametrize("found", DIFFERENCES, ids=lambda item: f"{item.number}: {item.name}")
def test_connection_ends_otherwise(tmp_path: Path, found: Difference) -> None:
    for side in (found.before, found.after):
        file, setting = write_lab(tmp_path, side.text), side.setting
        cluster = up(file, proxy_mode=setting.mode, release=setting.release).cluster
        ends: tuple[Pod | Node, ...] = (*cluster.pods, *cluster.nodes)
        source = Location(next(item for item in ends if item.name == found.source))
        flow = Flow(source, ip_address(found.address), found.port)
        asker = Asker(places_of(LAB, LabPaths(LAB)), owners(cluster))
        # who is refused hears of it once a second at most
        tries = TRIES if side.outcomes & BOTH else 1
        tried = asker.observe(source, ask_of(flow, tries))
        assert isinstance(tried, tuple)
        assert {attempt.backend or str(attempt.outcome) for attempt in tried} == side.outcomes
        promised = promise(Lookup(cluster), flow)
        if side.is_told:
            assert set(promised.names) == side.outcomes & BOTH
            assert side.outcomes - BOTH <= set(promised.outcomes)
        else:
            assert promised.outcomes == ()

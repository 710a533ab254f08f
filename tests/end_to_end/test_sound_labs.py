"""Sound labs with an unusual option, or after a change: `kns verify` finds nothing broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.up import up
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from tests.end_to_end.labfiles import broken_promises

pytestmark = pytest.mark.kernel

NAME = "sound"
NODES = "[{name: node1}, {name: node2}]"
LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {name}}}
networking: {{{networking}}}
nodes: {nodes}
pods:
- {{name: a1, node: node1, labels: {{app: a}}, containers: [{{name: web, port: 8080}}]}}
- {{name: a2, node: {second}, labels: {{app: a}}, containers: [{{name: web, port: 8080}}]}}
- {{name: client, node: node1}}
services:
- {{name: web, type: NodePort, selector: {{app: a}}, {web}}}
- {{name: other, selector: {{app: a}}, ports: [{{port: 80, targetPort: 8080}}]}}
{more}
"""
WEB = "ports: [{port: 80, targetPort: 8080, nodePort: 30080}]"


def lab(
    folder: Path,
    networking: str = "",
    *,
    web: str = WEB,
    nodes: str = NODES,
    second: str = "node2",
    more: str = "",
) -> Path:
    file = folder / "lab.yaml"
    text = LAB.format(
        name=NAME, networking=networking, nodes=nodes, second=second, web=web, more=more
    )
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(NAME)


def broken_after(file: Path) -> list[str]:
    """What verify calls broken right after `up`; the second `up` has nothing to do."""
    cluster = up(file).cluster
    places = places_of(NAME, LabPaths(NAME))
    found = broken_promises(verify(cluster, places), cluster, places)
    assert up(file).ops == ()
    return [f"{check.id}: {check.actual}" for check in found]


UDP = """\
- {name: nobody, type: NodePort, selector: {app: nobody},
   ports: [{port: 53, protocol: UDP, nodePort: 30053}]}
"""
TWICE = """\
- {name: manual, ports: [{port: 80, targetPort: 8080}]}
endpointSlices:
- {name: m-1, service: manual, ports: [{port: 8080}], endpoints: [{addresses: [10.244.0.2]}]}
- {name: m-2, service: manual, ports: [{port: 8080}], endpoints: [{addresses: [10.244.0.2]}]}
"""
ONE_ADDRESS = """\
- {name: first, selector: {app: a}, externalIPs: [198.51.100.7],
   ports: [{port: 90, targetPort: 8080}]}
- {name: second, selector: {app: a}, externalIPs: [198.51.100.7],
   ports: [{port: 90, targetPort: 8080}]}
"""
OPTIONS = {
    "masqueradeAll, nftables": (
        "kubeProxyMode: nftables, kubeProxy: {nftables: {masqueradeAll: true}}",
        {},
    ),
    "nodePortAddresses without loopback": ("kubeProxy: {nodePortAddresses: [172.18.0.0/24]}", {}),
    "UDP without endpoints, iptables": ("", {"more": UDP}),
    "UDP without endpoints, nftables": ("kubeProxyMode: nftables", {"more": UDP}),
    "no masquerading": ("egress: {masquerade: false}", {}),
    "one external address of two": ("", {"more": ONE_ADDRESS}),
    "an endpoint in two slices": ("", {"more": TWICE}),
    "kube-proxy's health check port": (
        'nodePortRange: "10000-32767"',
        {"web": "ports: [{port: 80, targetPort: 8080, nodePort: 10256}]"},
    ),
}


@pytest.mark.parametrize(("networking", "parts"), OPTIONS.values(), ids=OPTIONS)
def test_unusual_lab(networking: str, parts: dict[str, str], tmp_path: Path) -> None:
    assert broken_after(lab(tmp_path, networking, **parts)) == []


#: each is a change of the one before: both ways of each are tried, what it says and what it leaves
CHANGES = {
    "as it was made": ("", {}),
    "a service's port": ("", {"web": WEB.replace("port: 80,", "port: 81,", 1)}),
    "its cluster IP": ("", {"web": f"clusterIP: 10.96.77.7, {WEB}"}),
    "the service subnet": ("serviceSubnet: 10.97.0.0/16", {}),
    "a node's pod CIDR": ("", {"nodes": "[{name: node1, podCIDR: 10.244.9.0/24}, {name: node2}]"}),
    "the pod subnet": ("podSubnet: 10.250.0.0/16", {}),
    "a node's name": ("", {"nodes": "[{name: node1}, {name: worker}]", "second": "worker"}),
    "both families": ("ipFamily: dual", {}),
    "the other family": ("ipFamily: ipv6", {}),
    "as it was": ("", {}),
}


def test_lab_after_each_change(tmp_path: Path) -> None:
    """Traffic of before is there: what a change makes stale goes with it."""
    wrong = {
        name: broken_after(lab(tmp_path, networking, **parts))
        for name, (networking, parts) in CHANGES.items()
    }
    assert not any(wrong.values()), wrong

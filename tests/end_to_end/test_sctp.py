"""A Service over SCTP: real associations to its cluster IP, its node ports and from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.up import up
from kns.kinds.networking import ProxyMode
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from tests.end_to_end.labfiles import broken_promises, leftovers, write_lab

LAB = "sctp"
TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: sctp}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: client, node: node1}
- name: diameter
  replicas: 2
  labels: {app: diameter}
  containers: [{name: main, ports: [{port: 3868, protocol: SCTP}]}]
services:
- name: diameter
  type: NodePort
  selector: {app: diameter}
  ports: [{port: 3868, protocol: SCTP, nodePort: 30868}]
"""


@pytest.mark.sctp
@pytest.mark.parametrize(
    "mode", [ProxyMode.IPTABLES, pytest.param(ProxyMode.IPVS, marks=pytest.mark.ipvs)]
)
def test_each_association_reaches_an_endpoint(tmp_path: Path, mode: ProxyMode) -> None:
    built = up(write_lab(tmp_path, TEXT), proxy_mode=mode)
    try:
        places = places_of(LAB, LabPaths(LAB))
        report = verify(built.cluster, places)
        assert report.skips == ()
        assert broken_promises(report, built.cluster, places) == ()
        paths = {check.path for check in report.checks if check.id.endswith("/sctp")}
        assert paths == {"pod-to-service", "node-to-service", "internet-to-service"}
    finally:
        down(LAB)
    assert leftovers(LAB) == {}

"""A small lab in iptables and nftables mode: what differs is found, nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.engine.down import down
from kns.engine.labs import lab_netns
from kns.engine.up import up
from kns.errors import UsageError
from kns.experiment.compare import compare
from kns.experiment.setting import ProxyVariant
from kns.kinds.networking import ProxyMode
from kns.kinds.release import NEWEST, Release

pytestmark = pytest.mark.kernel

IPTABLES, NFTABLES = ProxyVariant(ProxyMode.IPTABLES), ProxyVariant(ProxyMode.NFTABLES)
OLD_NFTABLES = ProxyVariant(ProxyMode.NFTABLES, Release.V1_33)
VARIANTS = (IPTABLES, NFTABLES, OLD_NFTABLES)
NAME = "nftcompare"
LAB = f"""\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {NAME}}}
networking: {{dns: {{enabled: false}}}}
nodes: [{{name: node1}}]
pods:
- {{name: client, node: node1}}
- {{name: web, node: node1, labels: {{app: web}}, containers: [{{name: web, port: 8080}}]}}
services:
- name: web
  type: NodePort
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(LAB)
    return file


def test_compare_builds_verifies_and_measures_each_mode(lab: Path) -> None:
    report = compare(lab, VARIANTS)
    assert [result.variant for result in report.results] == list(VARIANTS)
    assert report.failed == 0
    assert report.subject == "client → web:80"
    for result in report.results:
        assert set(result.backends) == {"web"}
        assert result.latency is not None
        assert result.change is not None
        assert result.full.total > 0
    localhost = "node-to-service/localhost/node1->localhost:30080"
    (found,) = [item for item in report.differences if item.check == localhost]
    assert "refused" in found.expected["nftables"]
    assert "refused" not in found.expected["iptables"]
    # the endpoint is a chain of its own before 1.36
    _, newer, older = report.results
    assert (newer.release, older.release) == (NEWEST, Release.V1_33)
    assert newer.ruleset.rules < older.ruleset.rules
    assert lab_netns(NAME) == ()


def test_compare_refuses_while_the_lab_is_up(lab: Path) -> None:
    up(lab)
    try:
        with pytest.raises(UsageError):
            compare(lab, VARIANTS)
        assert lab_netns(NAME) != ()
    finally:
        down(NAME)

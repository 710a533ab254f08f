"""`kns probe` and `kns verify` on a running lab: all is well, then one thing at a time is broken.

A check that can't fail proves nothing: each fault must break the checks of its own and no others.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import Done, kns

pytestmark = pytest.mark.kernel

LAB = "probe-lab"
TEXT = f"""\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {LAB}}}
networking: {{dns: {{enabled: false}}}}
nodes: [{{name: node1}}, {{name: node2}}]
pods:
- name: pod1
  node: node1
  containers:
  - {{name: web, port: 8080}}
  - {{name: sidecar, ports: [{{name: sidecar-port, port: 9090}}]}}
- {{name: pod2, node: node1, labels: {{app: a}}}}
- {{name: pod3, node: node2, labels: {{app: a}}}}
services:
- {{name: svc-a, selector: {{app: a}}, ports: [{{port: 80, targetPort: 8080}}]}}
- {{name: svc-empty, selector: {{app: x}}, ports: [{{port: 80, targetPort: 8080}}]}}
- name: svc-np
  type: NodePort
  externalTrafficPolicy: Local
  selector: {{app: a}}
  ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]
- name: svc-sticky
  selector: {{app: a}}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {{clientIP: {{timeoutSeconds: 1}}}}
  ports: [{{port: 80, targetPort: 8080}}]
internet: [{{name: internet}}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(TEXT, encoding="utf-8")
    try:
        done = kns("up", str(file))
        assert done.returncode == 0, done.stderr
        yield file
    finally:
        kns("down", LAB)


def probe(*arguments: str) -> dict[str, Any]:
    done = kns("probe", "-l", LAB, *arguments, "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    return found


def broken(only: str) -> set[str]:
    """The ids that fail among those that match."""
    done = kns("verify", LAB, "--only", only, "-o", "json")
    found = json.loads(done.stdout)
    failed = {check["id"] for check in found["checks"] if not check["ok"]}
    assert done.returncode == (1 if failed else 0)
    assert found["passed"] + found["failed"] == len(found["checks"])
    return failed


def inside(place: str, *argv: str) -> None:
    command = ["ip", "netns", "exec", f"kns.{LAB}.{place}", *argv]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def mended(lab: Path) -> Iterator[None]:
    """Whatever the block breaks, `up` repairs."""
    try:
        yield
    finally:
        done: Done = kns("up", str(lab))
        assert done.returncode == 0, done.stderr


# -- probe -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "path", "backend", "seen"),
    [
        ("pod1", "pod3", "pod-to-pod", "pod3", "10.244.0.2"),
        ("pod1", "pod1:sidecar-port", "container-to-container", "pod1", "127.0.0.1"),
        ("node1", "pod1", "node-to-pod", "pod1", "10.244.0.1"),
        ("pod1", "internet", "pod-to-internet", "internet", "172.18.0.2"),
        ("internet", "node1:30080", "internet-to-service", "pod2", "203.0.113.10"),
        ("pod2", "http://pod3:8080/hostname", "pod-to-pod", "pod3", None),
    ],
)
def test_probe_says_which_path_it_is_and_who_answered(
    lab: Path, source: str, target: str, path: str, backend: str, seen: str | None
) -> None:
    assert lab.exists()
    found = probe(source, target)
    (attempt,) = found["attempts"]
    assert (found["path"], found["outcome"], found["reason"]) == (path, "CONNECTED", "")
    assert (attempt["backend"], attempt["client_address_seen"]) == (backend, seen)
    assert attempt["status"] == 200
    assert attempt["latency_ms"] > 0


@pytest.mark.parametrize(
    ("arguments", "outcome", "reason"),
    [
        (("pod1", "svc-empty"), "REFUSED", "svc-empty has no ready endpoints"),
        (("pod1", "pod3:81"), "REFUSED", "nothing listens on port 81"),
        (("internet", "pod3", "--timeout", "0.5"), None, "nothing outside the cluster"),
        (("pod1", "no.such.name.example"), "DNS", "does not resolve"),
        (("pod1", "node2", "--port", "31000"), "REFUSED", "no service has that node port"),
    ],
)
def test_probe_says_which_failure_it_is(
    lab: Path, arguments: tuple[str, ...], outcome: str | None, reason: str
) -> None:
    assert lab.exists()
    found = probe(*arguments)
    assert found["outcome"] == outcome or found["outcome"] in ("UNREACHABLE", "TIMEOUT")
    assert reason in found["reason"]


def test_probe_shows_each_backends_share(lab: Path) -> None:
    assert lab.exists()
    found = probe("pod1", "svc-a", "--count", "40")
    assert set(found["backends"]) == {"pod2", "pod3"}
    assert sum(found["backends"].values()) == 40


def test_probe_by_icmp(lab: Path) -> None:
    assert lab.exists()
    found = probe("pod1", "pod3", "--proto", "icmp", "--count", "2")
    assert [a["outcome"] for a in found["attempts"]] == ["CONNECTED"] * 2


def test_probe_of_an_unknown_name(lab: Path) -> None:
    assert lab.exists()
    done = kns("probe", "-l", LAB, "pod1", "svc-emptyy")
    assert done.returncode == 2
    assert done.stderr.endswith("hint: did you mean svc-empty?\n")


# -- verify ----------------------------------------------------------------------------------------


def test_verify_of_a_sound_lab(lab: Path, tmp_path: Path) -> None:
    assert lab.exists()
    junit = tmp_path / "report.xml"
    done = kns("verify", LAB, "--junit", str(junit))
    assert done.returncode == 0, done.stdout
    assert "0 failed" in done.stdout
    root = ET.parse(junit).getroot()
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    assert int(root.get("tests", "0")) > 50


def test_verify_writes_junit_when_there_is_no_lab(tmp_path: Path) -> None:
    junit = tmp_path / "report.xml"
    done = kns("verify", "probe-nowhere", "--junit", str(junit))
    assert done.returncode == 2
    error = next(ET.parse(junit).getroot().iter("error"))
    assert error.get("message") == "no lab named probe-nowhere is running"


def test_verify_finds_a_missing_hairpin(lab: Path) -> None:
    with mended(lab):
        ports = subprocess.run(
            ["ip", "-n", f"kns.{LAB}.node2", "-json", "link", "show", "master", "cni0"],
            check=True,
            capture_output=True,
            timeout=30,
        )
        for link in json.loads(ports.stdout):
            inside("node2", "bridge", "link", "set", "dev", link["ifname"], "hairpin", "off")
        found = broken("pod-to-service/(hairpin|cluster-ip).*svc-a|pod-to-pod")
    assert found == {"pod-to-service/hairpin/pod3->svc-a"}


def test_verify_finds_a_missing_route(lab: Path) -> None:
    with mended(lab):
        inside("node1", "ip", "route", "del", "10.244.1.0/24")
        found = broken("pod-to-pod")
    assert found == {
        f"pod-to-pod/cross-node/{a}->{b}"
        for a, b in (("pod1", "pod3"), ("pod2", "pod3"), ("pod3", "pod1"), ("pod3", "pod2"))
    }


def test_verify_finds_over_masquerading(lab: Path) -> None:
    """All is reachable, yet the servers see the wrong address."""
    with mended(lab):
        rule = ("-t", "nat", "-I", "POSTROUTING", "-s", "10.244.0.2", "-j", "MASQUERADE")
        inside("node1", "iptables", *rule)
        found = broken("pod-to-pod/cross-node|pod-to-internet")
    assert found == {"pod-to-pod/cross-node/pod1->pod3"}


def test_verify_finds_uneven_balancing(lab: Path) -> None:
    """A backend that answers every 28th time is there, but its share is no accident."""
    with mended(lab):
        inside("node1", "sh", "-c", _UNEVEN)
        found = broken("pod-to-service/cluster-ip/pod1->svc-a")
    assert found == {"pod-to-service/cluster-ip/pod1->svc-a"}


_UNEVEN = """\
iptables-save -t nat | grep -- 'svc-a.*--probability' |
  sed 's/-A /-R /; s/\\(-R [^ ]*\\)/\\1 1/
       s/--mode random --probability [0-9.]*/--mode nth ! --every 28 --packet 0/' |
  while read -r rule; do eval "iptables -t nat $rule"; done
"""


def test_verify_finds_an_open_way_in(lab: Path) -> None:
    with mended(lab):
        inside("fabric", "ip", "route", "add", "10.244.0.0/24", "via", "172.18.0.2")
        found = broken("internet-to-pod")
    assert found == {"internet-to-pod/unroutable/internet->pod1"}


def test_verify_finds_a_second_address(lab: Path) -> None:
    with mended(lab):
        inside("pod3", "ip", "address", "add", "10.244.1.99/24", "dev", "eth0")
        found = broken("addressing")
    assert found == {"addressing/pod3"}


def test_verify_finds_a_drop_where_a_refusal_was_promised(lab: Path) -> None:
    with mended(lab):
        inside("node1", "iptables", "-t", "filter", "-F", "KUBE-SERVICES")
        found = broken("cluster-ip/.*->svc-empty")
    assert found >= {"pod-to-service/cluster-ip/pod1->svc-empty"}
    assert not any("pod3" in name or "node2" in name for name in found)

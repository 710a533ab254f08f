"""labs/egress.yaml: how pods leave the cluster, proved, broken and mended, removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.status import status
from kns.engine.up import dry_run, up
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.probe.ask.places import places_of
from kns.probe.probe import ProbeOptions, probe
from kns.probe.verify import verify
from kns.promise.flow import Outcome
from tests.end_to_end.labfiles import leftovers, write_lab

pytestmark = pytest.mark.kernel

LAB = "t-egress"
FILE = Path(__file__).parents[2] / "labs" / "egress.yaml"
TEXT = FILE.read_text(encoding="utf-8").replace("{name: egress}", f"{{name: {LAB}}}")
VXLAN = TEXT.replace("networking:\n", "networking:\n  podNetwork: vxlan\n")
NFTABLES = TEXT.replace("networking:\n", "networking:\n  kubeProxyMode: nftables\n")
GATEWAYS = TEXT[TEXT.index("    gateways:") : TEXT.index("nodes:")]
NON_MASQUERADE = "    nonMasqueradeCIDRs: [10.244.0.0/16, 203.0.113.64/26]\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("lab")
    try:
        up(write_lab(folder, TEXT))
        yield folder / "lab.yaml"
    finally:
        down(LAB)
        assert leftovers(LAB) == {}


@contextlib.contextmanager
def changed(file: Path, text: str) -> Iterator[None]:
    """The lab is as `text` says in the block, and afterwards as it was."""
    up(write_lab(file.parent, text))
    try:
        assert dry_run(file).is_empty
        yield
    finally:
        up(write_lab(file.parent, TEXT))
        assert dry_run(file).is_empty


def broken(only: str = "") -> list[str]:
    lab = running(LAB)
    report = verify(lab.cluster, places_of(lab.name, lab.paths), only=only)
    return [check.id for check in report.checks if not check.ok]


def seen(source: str, target: str) -> tuple[Outcome, str]:
    """How it ended, and the source address that the target saw."""
    lab = running(LAB)
    places = places_of(lab.name, lab.paths)
    result = probe(lab.cluster, places, source, target, ProbeOptions(timeout=0.7))
    return result.outcome, str(result.attempts[0].client_address_seen or "")


def run(place: str, *argv: str) -> str:
    done = processes.run(argv, context=Context(f"kns.{LAB}.{place}"), timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_everything_is_as_promised_and_nothing_is_left_to_change(file: Path) -> None:
    assert broken() == []
    assert dry_run(file).is_empty
    assert status(LAB).drift == ()


@pytest.mark.parametrize(
    ("source", "target", "address"),
    [
        ("shop", "internet", "172.18.0.2"),
        ("crawler-1", "internet", "172.18.0.4"),
        ("crawler-2", "internet", "172.18.0.4"),
        ("crawler-3", "internet", "172.18.0.4"),
    ],
)
def test_the_world_sees_the_node_or_the_gateway(
    file: Path, source: str, target: str, address: str
) -> None:
    assert file.exists()
    assert seen(source, target) == (Outcome.CONNECTED, address)


def test_a_packet_that_is_not_translated_gets_no_answer(file: Path) -> None:
    """It arrives, with the pod's own address; its answer is what finds no way."""
    assert file.exists()
    run("partner", "iptables", "-A", "INPUT", "-s", "10.244.0.2", "-p", "tcp")
    try:
        assert seen("shop", "partner")[0] is Outcome.TIMEOUT
        counted = run("partner", "iptables", "-nvxL", "INPUT").splitlines()[2].split()
        assert int(counted[0]) > 0
        assert seen("crawler-1", "partner")[0] is Outcome.TIMEOUT
    finally:
        run("partner", "iptables", "-F", "INPUT")


def test_a_host_without_a_server_is_there_and_refuses(file: Path) -> None:
    assert file.exists()
    assert seen("shop", "laptop:80")[0] is Outcome.REFUSED
    assert seen("laptop", "node1:30080") == (Outcome.CONNECTED, "203.0.113.20")


def test_what_a_chosen_pod_answers_leaves_by_the_node_that_was_asked(file: Path) -> None:
    """The answer has the pod's address and would be marked, were it not an answer."""
    assert file.exists()
    assert seen("internet", "node1:30080") == (Outcome.CONNECTED, "203.0.113.10")
    run("node1", "iptables", "-t", "mangle", "-F", "PREROUTING")
    run("node1", "iptables", "-t", "mangle", "-A", "PREROUTING", "-j", "EGRESS-GATEWAY")
    try:
        assert seen("internet", "node1:30080")[0] is not Outcome.CONNECTED
    finally:
        up(file)
    assert seen("internet", "node1:30080") == (Outcome.CONNECTED, "203.0.113.10")


def test_a_missing_rule_is_drift_and_found_and_mended(file: Path) -> None:
    run("node1", "ip", "rule", "del", "priority", "110")
    (line,) = status(LAB).drift
    assert line.startswith("node1: rule add")
    assert broken("pod-to-internet") == ["pod-to-internet/egress/crawler-1->internet"]
    up(file)
    assert broken("pod-to-internet") == []


def test_a_lost_gateway_cuts_off_its_pods_from_the_world_alone(file: Path) -> None:
    run("node3", "ip", "link", "set", "eth0", "down")
    try:
        assert seen("crawler-1", "internet")[0] is not Outcome.CONNECTED
        assert seen("shop", "internet") == (Outcome.CONNECTED, "172.18.0.2")
        assert seen("crawler-1", "crawler-2") == (Outcome.CONNECTED, "10.244.0.3")
    finally:
        up(file)
    assert seen("crawler-1", "internet") == (Outcome.CONNECTED, "172.18.0.4")


@pytest.mark.parametrize("text", [VXLAN, NFTABLES], ids=["vxlan", "nftables"])
def test_gateways_work_with_other_networks_and_proxies(file: Path, text: str) -> None:
    with changed(file, text):
        assert broken("pod-to-internet|node-port|pod-to-pod") == []


def test_a_gateway_translates_where_masquerade_is_off(file: Path) -> None:
    with changed(file, TEXT.replace(NON_MASQUERADE, "    masquerade: false\n")):
        assert seen("crawler-1", "internet") == (Outcome.CONNECTED, "172.18.0.4")
        assert seen("shop", "internet")[0] is Outcome.TIMEOUT
        assert broken("pod-to-internet") == []


def test_without_egress_nothing_of_it_is_left(file: Path) -> None:
    plain = TEXT.replace(GATEWAYS, "").replace(NON_MASQUERADE, "    masquerade: true\n")
    with changed(file, plain):
        saved = run("node1", "iptables-save")
        assert "EGRESS-GATEWAY" not in saved
        assert "IP-MASQ-AGENT" not in saved
        assert "FLANNEL-POSTRTG" in saved
        assert "fwmark" not in run("node1", "ip", "rule")
        assert seen("crawler-1", "internet") == (Outcome.CONNECTED, "172.18.0.2")

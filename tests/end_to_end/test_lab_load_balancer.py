"""labs/load-balancer.yaml in each mode: proved, broken and mended, a node lost, removed.

How long an address is gone when its node is lost is measured and printed (`pytest -s`); asserted
is only that it comes back, and that nobody answers who is no backend.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.status import status
from kns.engine.up import dry_run, up
from kns.errors import PlatformError
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from kns.probe.watch import Watch, watch
from kns.probe.watch_model import WatchResult
from tests.cli.process import kns
from tests.end_to_end.labfiles import leftovers

pytestmark = pytest.mark.kernel

TEXT = (Path(__file__).parents[2] / "labs" / "load-balancer.yaml").read_text(encoding="utf-8")
PROGRAMS = {"l2": "curl", "bgp": "bird", "proxy": "haproxy"}
RATE = 200.0
#: seconds within which a lost node's addresses must be taken by others
BOUND = 15.0


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up, its mode, and its file."""

    name: str
    mode: str
    file: Path

    def run(self, place: str, *argv: str) -> str:
        done = processes.run(argv, context=Context(f"kns.{self.name}.{place}"), timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def broken(self, only: str) -> set[str]:
        """`source->address` of the checks that fail among those that match."""
        found = running(self.name)
        report = verify(found.cluster, places_of(found.name, found.paths), only=only)
        assert report.checks
        return {
            check.id.rpartition("/load-balancer/")[2].partition(":")[0]
            for check in report.checks
            if not check.ok
        }

    def takers(self, service: str) -> list[str]:
        """The nodes that take the service's packets now, as the agent tells."""
        found = status(self.name)
        (entry,) = (s for s in found.lab.cluster.services if s.name == service)
        address = str(entry.load_balancer_ingress[0].ip)
        assert found.agent is not None
        return list(found.agent.addresses.get(address, []))

    def watch(self, service: str, seconds: float) -> WatchResult:
        found = running(self.name)
        wanted = Watch(seconds, RATE)
        places = places_of(found.name, found.paths)
        return watch(found.cluster, places, ("internet", service), wanted)

    @contextlib.contextmanager
    def mended(self) -> Iterator[None]:
        """Whatever the block breaks, `up` repairs, and then nothing is left to change."""
        try:
            yield
        finally:
            assert up(self.file).problems == ()
            assert dry_run(self.file).is_empty
            assert status(self.name).healthy


@pytest.fixture(scope="module", params=list(PROGRAMS))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    mode = str(request.param)
    try:
        processes.which(PROGRAMS[mode])
    except PlatformError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    name = f"t-balancer-{mode}"
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    text = TEXT.replace("{name: load-balancer}", f"{{name: {name}}}")
    file.write_text(text.replace("mode: l2, pool", f"mode: {mode}, pool"), encoding="utf-8")
    try:
        result = up(file)
        assert (result.created, result.problems, result.warnings) == (True, (), ())
        yield Lab(name, mode, file)
    finally:
        down(name)
        assert leftovers(name) == {}


def test_everything_is_as_promised_at_once_and_nothing_is_left_to_change(lab: Lab) -> None:
    found = running(lab.name)
    report = verify(found.cluster, places_of(found.name, found.paths))
    assert [check for check in report.checks if not check.ok] == []
    inner = [check.id for check in report.checks if "/load-balancer/" in check.id]
    assert len(inner) == (22 if lab.mode == "proxy" else 4)
    assert not any("nothing outside routes" in skip.reason for skip in report.skips)
    assert dry_run(lab.file).is_empty


def test_status_tells_which_nodes_take_the_packets(lab: Lab) -> None:
    done = kns("status", lab.name)
    assert done.returncode == 0, done.stdout
    everywhere = {"l2": "node1", "bgp": "node1, node2, node3", "proxy": "node1, node2, node3"}
    (line,) = (item for item in done.stdout.splitlines() if item.startswith("  balancer"))
    assert f"balancer {lab.mode}: 198.51.100.1 at {everywhere[lab.mode]};" in line
    shown = json.loads(kns("status", lab.name, "-o", "json").stdout)
    expected = ["node1"] if lab.mode == "l2" else ["node1", "node2"]
    assert shown["agent"]["addresses"]["198.51.100.2"] == expected


def test_probe_from_outside_names_who_is_seen_and_why_not(lab: Lab) -> None:
    done = kns("probe", "-l", lab.name, "stranger", "svc-ranges")
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert "loadBalancerSourceRanges of svc-ranges leaves out 203.0.113.66" in words
    seen = kns("probe", "-l", lab.name, "internet", "svc-local").stdout
    hidden = "203.0.113.2 (cloud-lb)" if lab.mode == "proxy" else "internet's own address"
    assert hidden in seen


def test_a_hidden_client_is_found(lab: Lab) -> None:
    """svc-local is reached all the same, and the pods see an address that they should not."""
    with lab.mended():
        outside = "203.0.113.0/24"
        for node in ("node1", "node2"):
            rule = ("-t", "nat", "-I", "POSTROUTING", "-s", outside, "-o", "cni0")
            lab.run(node, "iptables", *rule, "-j", "MASQUERADE")
        assert lab.broken("internet-to-service/load-balancer") == {"internet->198.51.100.2"}


def test_an_open_door_is_found(lab: Lab) -> None:
    if lab.mode == "proxy":
        pytest.skip("the proxy keeps strangers out by itself")
    with lab.mended():
        for node in ("node1", "node2", "node3"):
            (rule,) = (
                line
                for line in lab.run(node, "iptables", "-t", "nat", "-S").splitlines()
                if line.startswith("-A KUBE-FW-") and "-s 203.0.113.10/32" in line
            )
            opened = shlex.split(rule.replace("-A", "-I", 1).replace(".10/32", ".66/32"))
            lab.run(node, "iptables", "-t", "nat", *opened)
        assert lab.broken("internet-to-service/load-balancer") == {"stranger->198.51.100.3"}


def test_a_way_that_is_not_used_is_found(lab: Lab) -> None:
    if lab.mode != "bgp":
        pytest.skip("only BGP spreads flows over nodes by a hash")
    with lab.mended():
        # by addresses alone: all connections of one client take one way
        lab.run("fabric", "sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=0")
        found = lab.broken("internet-to-service/load-balancer/internet")
    assert found >= {"internet->198.51.100.1", "internet->198.51.100.3"}


def test_a_lost_node_costs_a_while_and_nobody_answers_wrongly(lab: Lab) -> None:
    """200 requests a second; one of the nodes that take them loses its link."""
    lost = lab.takers("svc-local")[0]
    with lab.mended():
        first: list[WatchResult] = []
        client = threading.Thread(target=lambda: first.append(lab.watch("svc-local", 4.0)))
        client.start()
        time.sleep(1.0)
        lab.run(lost, "ip", "link", "set", "eth0", "down")
        gone = time.monotonic()
        client.join()
        results = list(first)
        while not (last := lab.watch("svc-local", 1.0)).ok:
            results.append(last)
            assert time.monotonic() - gone < BOUND, f"{lab.mode}: {last.to_json()}"
        results.append(last)
        windows = [window for result in results for window in result.windows]
        assert windows, "losing the node cost nothing: was it the right one?"
        assert [result.wrong for result in results] == [{}] * len(results)
        assert lost not in lab.takers("svc-local")
        sent = sum(len(result.samples) for result in results)
        lost_requests = sum(result.lost for result in results)
        gap = sum(window.seconds for window in windows)
        print(f"\n{lab.mode}: {lost} lost: {lost_requests} of {sent} requests in {gap:.2f} s")
    assert lab.takers("svc-local") == (["node1"] if lab.mode == "l2" else ["node1", "node2"])
    assert lab.broken("internet-to-service/load-balancer") == set()


def test_layer_2_answers_for_ipv6_addresses_too(tmp_path: Path) -> None:
    name = "t-balancer-dual"
    pools = 'pool: [198.51.100.0/24, "2001:db8:77::/64"]}\nnetworking: {ipFamily: dual}'
    text = TEXT.replace("{name: load-balancer}", f"{{name: {name}}}")
    text = text.replace("pool: 198.51.100.0/24}", pools)
    both = "type: LoadBalancer\n  ipFamilyPolicy: RequireDualStack"
    file = tmp_path / "lab.yaml"
    file.write_text(text.replace("type: LoadBalancer", both), encoding="utf-8")
    try:
        assert up(file).problems == ()
        lab = Lab(name, "l2", file)
        assert lab.broken("internet-to-service/load-balancer") == set()
        agent = status(name).agent
        assert agent is not None
        assert len(agent.addresses) == 6
    finally:
        down(name)

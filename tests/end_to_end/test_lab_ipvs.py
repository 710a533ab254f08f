"""A whole lab in IPVS mode: built, proved, broken and mended, switched to another mode, removed."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from kns.engine import draining
from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.up import dry_run, up
from kns.kernel import ipvs, netns, processes
from kns.kernel.processes import Context
from kns.kinds.networking import ProxyMode
from kns.plan.ops import Add, CleanConntrack, RestoreIpsets, SetVirtualServers
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from kns.state.model import Address
from tests.end_to_end.labfiles import broken_promises, leftovers

pytestmark = pytest.mark.ipvs

FILE = Path(__file__).parents[2] / "labs" / "ipvs.yaml"
LAB, NODE = "ipvs", "kns.ipvs.node1"


@pytest.fixture(scope="module", autouse=True)
def _lab() -> Iterator[None]:
    up(FILE)
    try:
        yield
    finally:
        down(LAB)
        assert leftovers(LAB) == {}


@pytest.fixture(autouse=True)
def _as_its_file_says() -> None:
    up(FILE)


def on_node(*argv: str) -> str:
    done = processes.run(argv, context=Context(NODE), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_is_left_to_change() -> None:
    assert dry_run(FILE).is_empty


def test_verify_finds_everything_as_promised() -> None:
    lab = running(LAB)
    places = places_of(lab.name, lab.paths)
    report = verify(lab.cluster, places)
    assert broken_promises(report, lab.cluster, places) == ()
    assert len(report.checks) > 50


def test_what_somebody_broke_is_mended_and_nothing_else() -> None:
    services = {service.name: service for service in running(LAB).cluster.services}
    address = services["web"].cluster_ips[0]
    on_node("ipvsadm", "-D", "-t", f"{address}:80")
    on_node("ipset", "del", "KUBE-CLUSTER-IP", f"{address},tcp:80")
    on_node("ip", "addr", "del", f"{address}/32", "dev", "kube-ipvs0")
    broken = dry_run(FILE).ops
    assert {op.netns for op in broken} == {NODE}
    kube_ipvs0 = Address("kube-ipvs0", ip_interface((address, 32)))
    assert broken[0] == Add(NODE, kube_ipvs0)
    assert [type(op) for op in broken[1:]] == [RestoreIpsets, SetVirtualServers, CleanConntrack]
    up(FILE)
    assert dry_run(FILE).is_empty
    assert on_node("ipvsadm", "-Sn").count(f"-a -t {address}:80 ") == 2


def test_switching_modes_leaves_nothing_of_the_old_one() -> None:
    up(FILE, proxy_mode=ProxyMode.IPTABLES)
    assert on_node("ipvsadm", "-Sn") == ""
    assert on_node("ipset", "list", "-n") == ""
    assert "kube-ipvs0" not in on_node("ip", "link")
    assert "KUBE-LOAD-BALANCER" not in on_node("iptables-save")
    assert on_node("sysctl", "-n", "net.ipv4.conf.all.arp_ignore") == "0\n"
    up(FILE, proxy_mode=ProxyMode.IPVS)
    assert dry_run(FILE).is_empty
    assert "KUBE-SVC-" not in on_node("iptables-save")


def test_drained_real_server_is_removed_by_the_next_look() -> None:
    cluster = running(LAB).cluster
    service = next(item for item in cluster.services if item.name == "web")
    before = netns.call_in(NODE, ipvs.read_virtual_servers_here)
    server = ("-t", f"{service.cluster_ips[0]}:80", "-r", "10.244.9.9:8080")
    on_node("ipvsadm", "-a", *server, "-m", "-w", "0")
    assert draining.finish(cluster) == 0
    assert netns.call_in(NODE, ipvs.read_virtual_servers_here) == before

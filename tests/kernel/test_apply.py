"""Ops on the kernel: what is built reads back as what was desired; what is broken is mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile.lab import compile_host
from kns.compile.names import lab_prefix
from kns.compile.own_rules import own_rules
from kns.kernel import netns
from kns.kernel.apply import apply
from kns.kernel.observe import Observation, interests, observe
from kns.kernel.processes import Context, run
from kns.kinds.networking import PodNetworkMode, ProxyMode
from kns.plan.diff import plan
from kns.plan.ops import Op
from kns.plan.shell import script
from kns.state.model import HostState
from tests.clusters import make_cluster, make_network

pytestmark = pytest.mark.kernel

LAB = "leadtest"
V4, V6 = IPFamily.IPV4, IPFamily.IPV6


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    netns.delete_all(netns.list_netns(lab_prefix(LAB)))
    netns.remove_folder_if_empty()
    assert netns.list_netns(lab_prefix(LAB)) == ()


def look(state: HostState) -> Observation:
    return observe(netns.list_netns(lab_prefix(LAB)), interests(state, own_rules()))


def build(cluster: Cluster) -> HostState:
    state = compile_host(cluster)
    apply(plan(state, HostState()), {})
    return state


def rest(state: HostState) -> tuple[Op, ...]:
    return plan(state, look(state).state)


def command(node: str, *argv: str) -> str:
    done = run(argv, context=Context(f"kns.{LAB}.{node}"))
    assert done.returncode == 0, done.stderr
    return done.stdout


CASES = {
    "iptables": make_network(),
    "nftables": make_network(mode=ProxyMode.NFTABLES),
    "vxlan": make_network(pod_network=PodNetworkMode.VXLAN),
    "ipv6": make_network((V6,)),
    "dual": make_network((V4, V6)),
    "dual-vxlan": make_network((V6, V4), pod_network=PodNetworkMode.VXLAN),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_built_reads_back_as_desired(case: str) -> None:
    state = build(make_cluster(LAB, network=CASES[case]))
    assert rest(state) == ()


@pytest.mark.parametrize("case", CASES)
def test_pods_reach_each_other(case: str) -> None:
    cluster = make_cluster(LAB, network=CASES[case])
    build(cluster)
    for target in cluster.pods[1:]:
        for address in target.addresses:
            command("pod1", "ping", "-c1", "-W5", str(address))


@pytest.mark.parametrize("case", CASES)
def test_script_builds_the_same(case: str) -> None:
    state = compile_host(make_cluster(LAB, network=CASES[case]))
    done = run(["sh"], input=script(plan(state, HostState())), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert rest(state) == ()


BREAKS = {
    "route": ("node1", ("ip", "route", "del", "10.244.1.0/24")),
    "default route": ("node1", ("ip", "route", "del", "default")),
    "extra route": ("node1", ("ip", "route", "add", "192.0.2.0/24", "dev", "eth0")),
    "address": ("pod1", ("ip", "addr", "flush", "dev", "eth0")),
    "extra address": ("pod1", ("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")),
    "link down": ("pod1", ("ip", "link", "set", "eth0", "down")),
    "lo down": ("pod1", ("ip", "link", "set", "lo", "down")),
    "bridge down": ("node1", ("ip", "link", "set", "cni0", "down")),
    "bridge gone": ("node1", ("ip", "link", "del", "cni0")),
    "uplink gone": ("node2", ("ip", "link", "del", "eth0")),
    "pod cable gone": ("pod1", ("ip", "link", "del", "eth0")),
    "mtu": ("pod1", ("ip", "link", "set", "eth0", "mtu", "1400")),
    "mac": ("pod1", ("ip", "link", "set", "eth0", "address", "02:00:00:00:00:01")),
    "extra link": ("node1", ("ip", "link", "add", "stray", "type", "bridge")),
    "sysctl": ("node1", ("sysctl", "-qw", "net.ipv4.ip_forward=0")),
    "bridge-nf": ("node1", ("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")),
    "flush": ("node1", ("iptables", "-t", "nat", "-F", "KUBE-SERVICES")),
    "policy": ("node1", ("iptables", "-P", "FORWARD", "DROP")),
    "extra rule": ("node1", ("iptables", "-A", "FORWARD", "-j", "DROP")),
    "extra chain": ("node1", ("iptables", "-N", "STRAY")),
    "rules of IPv6": ("node1", ("ip6tables", "-t", "nat", "-F")),
}


@pytest.mark.parametrize("case", BREAKS)
def test_break_is_seen_and_mended(case: str) -> None:
    state = build(make_cluster(LAB))
    node, argv = BREAKS[case]
    command(node, *argv)
    for _ in range(2):  # a route that lived on a link that went comes back with the second look
        observation = look(state)
        ops = plan(state, observation.state)
        assert ops or _ > 0
        apply(ops, observation.indexes)
    assert rest(state) == ()
    command("pod1", "ping", "-c1", "-W5", "10.244.1.2")


def test_hairpin_off_is_seen_and_mended() -> None:
    cluster = make_cluster(LAB)
    state = build(cluster)
    port = next(link.name for link in state.netns[1].links if link.name.startswith("veth"))
    command("node1", "bridge", "link", "set", "dev", port, "hairpin", "off")
    ops = plan(state, look(state).state)
    assert [getattr(op, "fields", None) for op in ops] == [("hairpin",)]
    apply(ops, look(state).indexes)
    assert rest(state) == ()


def test_pod_netns_deleted_by_hand_comes_back() -> None:
    state = build(make_cluster(LAB))
    netns.delete(f"kns.{LAB}.pod1")
    observation = look(state)
    apply(plan(state, observation.state), observation.indexes)
    assert rest(state) == ()
    command("pod1", "ping", "-c1", "-W5", "10.244.1.2")


@pytest.mark.parametrize(("before", "after"), [(3, 6), (6, 2), (4, 0), (0, 3)])
def test_converging_touches_only_what_differs(before: int, after: int) -> None:
    build(make_cluster(LAB, pods=before))
    state = compile_host(make_cluster(LAB, pods=after))
    kept = [f"kns.{LAB}.pod{i + 1}" for i in range(min(before, after))]
    identities = [netns.identity(name) for name in kept]
    observation = look(state)
    ops = plan(state, observation.state)
    apply(ops, observation.indexes)
    assert rest(state) == ()
    assert [netns.identity(name) for name in kept] == identities
    assert not {op.netns for op in ops} & set(kept)


def test_name_left_without_a_netns_is_taken_over() -> None:
    """A crash between making the file and mounting the netns on it leaves the bare file."""
    netns.prepare_folder()
    netns.path_of(f"kns.{LAB}.pod1").touch()
    state = build(make_cluster(LAB))
    assert rest(state) == ()

"""nft itself agrees: what is loaded is what is observed, and every change leads where it should."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.compile.own_rules import own_rules
from kns.compile.proxy.nftables import nft_tables
from kns.compile.proxy.nftables_words import network_set_text
from kns.errors import ApplyError
from kns.kernel import netns, nftables, processes
from kns.kernel.processes import Context
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.release import Release
from kns.kinds.service import (
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.state import nft as nft_state
from kns.state.model import NftChain, NftTable
from kns.state.nft import NftChange, change, table_text

pytestmark = pytest.mark.kernel

NODE = Node("node1", (ip_address("192.168.50.11"),), (ip_network("10.244.1.0/24"),))
OPTIONS = KubeProxyOptions(cluster_cidrs=(ip_network("10.244.0.0/16"),))


@pytest.fixture
def space() -> Iterator[str]:
    """The name of an empty netns."""
    name = f"t-nft-{uuid.uuid4().hex[:8]}"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        yield name
    finally:
        netns.delete(name)


def nft(space: str, *arguments: str) -> str:
    done = processes.run(["nft", *arguments], context=Context(space))
    assert done.stderr == ""
    return done.stdout


def random_services(source: random.Random) -> tuple[list[Service], list[EndpointSlice]]:
    services, slices = [], []
    for index in range(6):
        if source.random() < 0.3:
            continue
        name = f"svc-{index}"
        services.append(
            Service(
                "default",
                name,
                ServiceType.LOAD_BALANCER,
                (IPv4Address(f"10.96.0.{index + 1}"),),
                ports=(ServicePort(80, "http", node_port=30000 + index),),
                session_affinity=source.choice(list(SessionAffinity)),
                session_affinity_timeout=source.choice([60, 10800]),
                external_traffic_policy=source.choice(list(TrafficPolicy)),
                internal_traffic_policy=source.choice(list(TrafficPolicy)),
                load_balancer_ingress=(LoadBalancerIngress(IPv4Address(f"203.0.113.{index + 1}")),),
                load_balancer_source_ranges=source.choice(
                    [(), ("10.0.0.0/8",), ("10.0.0.0/8", "10.1.0.0/16"), ("192.168.50.0/24",)]
                ),
            )
        )
        endpoints = tuple(
            Endpoint(
                (IPv4Address(f"10.244.{host}.{index * 10 + 1}"),), True, node_name=f"node{host}"
            )
            for host in (1, 2, 3)
            if source.random() < 0.5
        )
        slices.append(
            EndpointSlice(
                "default", name, name, IPFamily.IPV4, (EndpointPort(8080, "http"),), endpoints
            )
        )
    return services, slices


def random_table(source: random.Random) -> NftTable:
    (table,) = nft_tables(*random_services(source), NODE, OPTIONS, IPFamily.IPV4)
    return table


def test_observing_an_empty_netns_finds_nothing(space: str) -> None:
    assert nftables.observe(space, own_rules().nft_tables) == ()


def test_observing_leaves_other_tables_out(space: str) -> None:
    nft(space, "add", "table", "inet", "kube-proxy")
    nft(space, "add", "table", "ip", "other")
    assert nftables.observe(space, own_rules().nft_tables) == ()


@pytest.mark.parametrize("seed", range(3))
def test_every_change_leads_to_the_desired_table(space: str, seed: int) -> None:
    """A walk over states: after each transaction the kernel holds the desired value."""
    source = random.Random(seed)
    current: NftTable | None = None
    for _ in range(12):
        desired = random_table(source)
        nftables.apply(space, change(current, desired))
        assert nftables.observe(space, own_rules().nft_tables) == (desired,)
        current = desired
    nftables.apply(space, change(current, None))
    assert nftables.observe(space, own_rules().nft_tables) == ()


def test_drift_is_put_back_without_touching_the_rest(space: str) -> None:
    desired = random_table(random.Random(5))
    nftables.apply(space, change(None, desired))
    handles = nft(space, "-a", "list", "chain", "ip", "kube-proxy", "nat-postrouting")
    nft(space, "flush", "chain", "ip", "kube-proxy", "masquerading")
    nft(space, "flush", "map", "ip", "kube-proxy", "service-nodeports")
    nft(space, "add", "chain", "ip", "kube-proxy", "stranger")
    nft(space, "add", "rule", "ip", "kube-proxy", "services", "drop")
    (observed,) = nftables.observe(space, own_rules().nft_tables)
    wanted = change(observed, desired)
    nftables.apply(space, wanted)
    assert nftables.observe(space, own_rules().nft_tables) == (desired,)
    assert nft(space, "-a", "list", "chain", "ip", "kube-proxy", "nat-postrouting") == handles


def test_changed_hook_is_put_back(space: str) -> None:
    desired = random_table(random.Random(5))
    nftables.apply(space, change(None, desired))
    nft(space, "add chain ip kube-proxy filter-input { policy drop; }")
    (observed,) = nftables.observe(space, own_rules().nft_tables)
    nftables.apply(space, change(observed, desired))
    assert nftables.observe(space, own_rules().nft_tables) == (desired,)


def test_affinity_survives_a_change_of_another_service(space: str) -> None:
    service = Service(
        "default",
        "a",
        cluster_ips=(IPv4Address("10.96.0.1"),),
        ports=(ServicePort(80),),
        session_affinity=SessionAffinity.CLIENT_IP,
    )
    item = EndpointSlice(
        "default",
        "a-1",
        "a",
        IPFamily.IPV4,
        (EndpointPort(8080),),
        (Endpoint((IPv4Address("10.244.1.2"),), ready=True),),
    )
    (before,) = nft_tables((service,), (item,), NODE, OPTIONS, IPFamily.IPV4)
    nftables.apply(space, change(None, before))
    (known,) = [found.name for found in before.sets if found.dynamic]
    nft(space, "add", "element", "ip", "kube-proxy", known, "{ 10.244.1.9 }")
    assert nftables.observe(space, own_rules().nft_tables) == (before,)
    other = replace(service, name="b", cluster_ips=(IPv4Address("10.96.0.2"),))
    (after,) = nft_tables((service, other), (item,), NODE, OPTIONS, IPFamily.IPV4)
    nftables.apply(space, change(before, after))
    assert "10.244.1.9" in nft(space, "list", "set", "ip", "kube-proxy", known)


@pytest.mark.parametrize(
    "ranges",
    [
        ("203.0.113.0/24",),
        ("203.0.113.5/32",),
        ("0.0.0.0/0",),
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("10.0.0.0/9", "10.128.0.0/9"),
        ("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"),
        ("10.0.0.2/32", "10.0.0.1/32"),
        ("10.0.0.3/32", "10.0.0.1/32"),
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("0.0.0.0/0", "203.0.113.10/32"),
        ("10.0.0.0/24", "192.168.0.1/32", "192.168.0.2/32"),
        ("2001:db8::/64", "2001:db8:0:1::/64", "fd00::1/128"),
        ("::ffff:192.0.2.1/128", "2001:db8::/64", "2001:db8:0:1:1:1:1:1/128"),
    ],
)
def test_source_set_comes_back_as_written(space: str, ranges: tuple[str, ...]) -> None:
    """What kube-proxy writes is printed as `network_set_text` says, and loading that is stable."""
    family = IPFamily.IPV6 if ":" in ranges[0] else IPFamily.IPV4
    ip = "ip6" if family is IPFamily.IPV6 else "ip"
    fed = f"{ip} saddr != {{ {', '.join(ranges)} }} drop"
    normal = f"{ip} saddr != {network_set_text([ip_network(text) for text in ranges])} drop"
    nftables.apply(space, NftChange(f"table {ip} kube-proxy {{\n chain fed {{\n{fed}\n}}\n}}\n"))
    expected = NftTable(family, "kube-proxy", chains=(NftChain("fed", rules=(normal,)),))
    assert nftables.observe(space, own_rules().nft_tables) == (expected,)
    nftables.apply(space, NftChange(f"delete table {ip} kube-proxy\n{table_text(expected)}"))
    assert nftables.observe(space, own_rules().nft_tables) == (expected,)


def test_refused_transaction_tells_why_and_changes_nothing(space: str) -> None:
    before = random_table(random.Random(1))
    nftables.apply(space, change(None, before))
    broken = NftChange("add rule ip kube-proxy services jump nowhere\n")
    with pytest.raises(ApplyError) as refusal:
        nftables.apply(space, broken)
    assert refusal.value.netns == space
    assert "nowhere" in refusal.value.message or "No such file" in refusal.value.message
    assert nftables.observe(space, own_rules().nft_tables) == (before,)


def later(function: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.3, function)
    timer.start()
    return timer


def test_chains_that_are_busy_for_a_moment_are_deleted_then(space: str) -> None:
    """Kernels before 6.2 refuse the deletion together with that of the last reference."""
    nft(space, "add table ip t; add chain ip t used; add chain ip t user")
    nft(space, "add rule ip t user jump used")
    timer = later(lambda: nft(space, "flush chain ip t user"))
    nftables.apply(space, NftChange("add chain ip t fresh\n", "delete chain ip t used\n"))
    timer.join()
    (table,) = nftables.observe(space, ("t",))
    assert [chain.name for chain in table.chains] == ["fresh", "user"]


def test_chains_that_stay_busy_are_an_error(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nftables.PATIENCE, "Device or resource busy", 0.2)
    nft(space, "add table ip t; add chain ip t used; add chain ip t user")
    nft(space, "add rule ip t user jump used")
    with pytest.raises(ApplyError, match="busy"):
        nftables.apply(space, NftChange("", "delete chain ip t used\n"))


def test_a_link_that_is_made_just_now_is_waited_for(space: str) -> None:
    """`iif` is resolved when a rule is loaded, while another thread may be making links."""
    add_bridge = ["ip", "link", "add", "cni0", "type", "bridge"]
    timer = later(lambda: processes.run(add_bridge, context=Context(space)))
    rule = NftChain("c", rules=('iif "cni0" accept',))
    table = NftTable(IPFamily.IPV4, "kube-proxy", chains=(rule,))
    nftables.apply(space, change(None, table))
    timer.join()
    assert nftables.observe(space, own_rules().nft_tables) == (table,)


@pytest.mark.parametrize("release", [Release.V1_30, Release.V1_34, Release.V1_36, Release.V1_37])
def test_table_that_comes_in_pieces_is_the_desired_one(
    space: str, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    monkeypatch.setattr(nft_state, "PIECE", 2)
    options = replace(OPTIONS, version=release)
    (table,) = nft_tables(*random_services(random.Random(7)), NODE, options, IPFamily.IPV4)
    wanted = change(None, table)
    assert len(wanted.prepared) > 1
    nftables.apply(space, wanted)
    assert nftables.observe(space, own_rules().nft_tables) == (table,)

"""Shapers on the kernel: what is set reads back as it was set, by netlink and by `tc`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from kns.kernel import netns
from kns.kernel.apply import apply
from kns.kernel.observe import interests, observe
from kns.kernel.processes import Context, run
from kns.plan.diff import plan
from kns.plan.shell import script
from kns.state.model import Bridge, HostState, Link, Netns, RuleNames, loopback
from kns.state.traffic import Discard, Netem, PacketMatch, Shaper, TokenBucket, TrafficClass

NAME = "kns.traffictest.a"
MATCHES = (
    PacketMatch(destination_mac="02:00:5e:10:00:01"),
    PacketMatch(source=ip_network("10.244.1.2/32")),
    PacketMatch(destination=ip_network("10.244.0.0/23")),
    PacketMatch(source=ip_network("fd00:10:244:1::2/128")),
    PacketMatch(destination=ip_network("fd00:10:244::/56")),
)
RATES = Shaper(
    "br0",
    (
        TrafficClass(1, TokenBucket(1_000_000), MATCHES[:3]),
        TrafficClass(2, TokenBucket(12_345_672), MATCHES[3:]),
        TrafficClass(3, TokenBucket(2_000_000_000)),
        TrafficClass(4, Discard(), (PacketMatch(source=ip_network("10.244.0.0/16")),)),
    ),
    default=3,
)
NETEMS = (
    Netem(delay=50_000),
    Netem(delay=1, jitter=1, limit=17),
    Netem(loss=1),
    Netem(loss=1_000_000),
    Netem(delay=100_000, jitter=20_000, delay_correlation=250_000, loss=10_000),
    Netem(loss=3_000, loss_correlation=250_000, duplicate=10_000, duplicate_correlation=123_456),
    Netem(corrupt=1_000, corrupt_correlation=50_000, rate=10_000_000),
    Netem(delay=10_000, reorder=250_000, reorder_correlation=500_000),
)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    netns.delete_all(netns.list_netns("kns.traffictest."))
    netns.remove_folder_if_empty()


def state(*shapers: Shaper) -> HostState:
    bridge = Link("br0", Bridge(), mac="02:00:5e:00:00:01")
    return HostState((Netns(NAME, links=(loopback(), bridge), shapers=shapers),))


def converge(wanted: HostState) -> int:
    """Make it so; how many ops that took."""
    found = observe(netns.list_netns("kns.traffictest."), interests(wanted, RuleNames()))
    ops = plan(wanted, found.state)
    apply(ops, found.indexes)
    return len(ops)


def tc(*words: str) -> None:
    done = run(("tc", *words), context=Context(NAME))
    assert done.returncode == 0, done.stderr


@pytest.mark.kernel
def test_rates_read_back_as_they_were_set() -> None:
    assert converge(state(RATES)) > 0
    assert converge(state(RATES)) == 0
    faster = replace(
        RATES, classes=(*RATES.classes[:2], TrafficClass(3, TokenBucket(8_000)), RATES.classes[3])
    )
    assert converge(state(faster)) == 2
    assert converge(state(faster)) == 0
    assert converge(state()) == 1
    assert converge(state()) == 0


@pytest.mark.kernel
@pytest.mark.parametrize(
    "words",
    [
        "qdisc del dev br0 root",
        "qdisc del dev br0 parent 1:2",
        "qdisc replace dev br0 parent 1:2 handle 9: tbf rate 1mbit burst 16kb limit 99000",
        "qdisc replace dev br0 parent 1:4 handle 5: pfifo limit 10",
        "class add dev br0 parent 1: classid 1:9 htb rate 1mbit",
        "filter del dev br0 parent 1: prio 2",
        "filter add dev br0 parent 1: protocol ip prio 9 u32 match ip src 10.0.0.9 flowid 1:1",
        "filter add dev br0 parent 1: protocol ip prio 9 u32 match ip dport 80 0xffff flowid 1:1",
        "qdisc add dev br0 clsact",
    ],
)
def test_what_somebody_changes_is_mended(words: str) -> None:
    converge(state(RATES))
    tc(*words.split())
    assert converge(state(RATES)) > 0
    assert converge(state(RATES)) == 0


@pytest.mark.kernel
def test_the_commands_do_the_same() -> None:
    done = run(("sh",), input=script(plan(state(RATES), HostState())), timeout=60)
    assert done.returncode == 0, done.stderr
    assert converge(state(RATES)) == 0


@pytest.mark.netem
@pytest.mark.parametrize("netem", NETEMS)
def test_what_netem_does_reads_back_as_it_was_set(netem: Netem) -> None:
    wanted = state(Shaper("br0", (TrafficClass(1, netem, MATCHES),)))
    converge(wanted)
    assert converge(wanted) == 0


@pytest.mark.netem
@pytest.mark.parametrize("netem", NETEMS)
def test_netems_commands_do_the_same(netem: Netem) -> None:
    wanted = state(Shaper("br0", (TrafficClass(1, netem),), default=1))
    done = run(("sh",), input=script(plan(wanted, HostState())), timeout=60)
    assert done.returncode == 0, done.stderr
    assert converge(wanted) == 0

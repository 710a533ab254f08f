"""Shapers on the kernel: what is set reads back as it was set, by netlink and by `tc`."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from kns.kernel import netns
from kns.kernel.apply import apply
from kns.kernel.observe import Observation, interests, observe
from kns.kernel.processes import Context, run
from kns.plan.diff import plan
from kns.plan.ops import Replace
from kns.plan.shell import script
from kns.state.model import Bridge, HostState, Link, Netns, RuleNames, loopback
from kns.state.traffic import (
    WHOLE_LINK,
    Discard,
    Netem,
    PacketMatch,
    Queue,
    Shaper,
    TokenBucket,
    TrafficClass,
)

NAME = "kns.traffictest.a"
MAC = "02:00:5e:00:00:02"
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
        TrafficClass(1, Discard(), (PacketMatch(source=ip_network("10.244.0.0/16")),)),
        TrafficClass(2, TokenBucket(1_000_000), MATCHES[:3]),
        TrafficClass(3, TokenBucket(12_345_672), MATCHES[3:]),
        TrafficClass(WHOLE_LINK, TokenBucket(2_000_000_000)),
    ),
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
    found = observed(wanted)
    ops = plan(wanted, found.state)
    apply(ops, found.indexes)
    return len(ops)


def observed(wanted: HostState) -> Observation:
    return observe(netns.list_netns("kns.traffictest."), interests(wanted, RuleNames()))


def tc(*words: str) -> None:
    done = run(("tc", *words), context=Context(NAME))
    assert done.returncode == 0, done.stderr


@pytest.mark.kernel
def test_rates_read_back_as_they_were_set() -> None:
    assert converge(state(RATES)) > 0
    assert converge(state(RATES)) == 0
    assert converge(state()) == 1
    assert converge(state()) == 0


def others_of(rates: Shaper) -> dict[str, Shaper]:
    """What may become of it."""
    discard, first, second, whole = rates.classes
    slower = replace(first, queue=TokenBucket(8_000))
    return {
        "a value": replace(rates, classes=(discard, slower, second, whole)),
        "the value of the whole link": replace(
            rates, classes=(discard, first, second, replace(whole, queue=TokenBucket(8_000)))
        ),
        "another kind": replace(rates, classes=(discard, replace(first, queue=Discard()), whole)),
        "one more": replace(
            rates, classes=(*rates.classes[:3], TrafficClass(4, first.queue, MATCHES[1:]), whole)
        ),
        "the first gone": replace(rates, classes=(first, second, whole)),
        "all but the whole link gone": replace(rates, classes=(whole,)),
        "the whole link gone": replace(rates, classes=(discard, first, second)),
        "other packets": replace(
            rates, classes=(discard, replace(first, matches=MATCHES[2:4]), second, whole)
        ),
        "none": replace(rates, classes=()),
    }


@pytest.mark.kernel
@pytest.mark.parametrize("what", others_of(RATES))
def test_one_shaper_becomes_another_in_its_place(what: str) -> None:
    other = others_of(RATES)[what]
    converge(state(RATES))
    for wanted in (other, RATES, other):
        found = observed(state(wanted))
        ops = plan(state(wanted), found.state)
        assert [type(op) for op in ops] == [Replace]
        apply(ops, found.indexes)
        assert converge(state(wanted)) == 0
    done = run(("sh",), input=script(plan(state(RATES), observed(state(RATES)).state)), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert converge(state(RATES)) == 0


@pytest.mark.kernel
def test_the_packets_in_a_queue_stay_when_its_value_changes() -> None:
    def rate(bits: int) -> Shaper:
        return Shaper("br0", (TrafficClass(WHOLE_LINK, TokenBucket(bits)),))

    # a byte a second: a packet that has to wait is still there however long this takes
    converge(state(rate(8)))
    for line in (
        "link add port0 master br0 up type veth peer name port1",
        "link set port1 up",
        "addr add 10.9.0.1/24 dev br0",
        f"neigh add 10.9.0.2 lladdr {MAC} dev br0",
    ):
        assert run(("ip", *line.split()), context=Context(NAME)).returncode == 0
    netns.call_in(NAME, send_packets, 40)
    assert counted()[1] > 20
    apply([Replace(NAME, rate(16))], observed(state(rate(8))).indexes)
    # the burst begins anew: some may leave then, but none is lost
    assert sum(counted()) >= 40


def send_packets(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(bytes(1000), ("10.9.0.2", 9))


def counted() -> tuple[int, int]:
    """Packets that br0's token bucket has sent, and those that wait in it."""
    shown = run(("tc", "-s", "qdisc", "show", "dev", "br0"), context=Context(NAME)).stdout
    found = re.search(r"qdisc tbf .*\n Sent \d+ bytes (\d+) pkt .*\n backlog \S+ (\d+)p", shown)
    assert found is not None, shown
    return int(found[1]), int(found[2])


@pytest.mark.kernel
@pytest.mark.parametrize(
    "words",
    [
        "qdisc del dev br0 root",
        "qdisc del dev br0 parent 1:2",
        "qdisc del dev br0 parent 1:fff",
        "qdisc replace dev br0 parent 1:2 handle 9: tbf rate 1mbit burst 16kb limit 99000",
        "qdisc replace dev br0 parent 1:1 handle 2: pfifo limit 10",
        "class add dev br0 parent 1: classid 1:9 htb rate 1mbit",
        "filter del dev br0 parent 1: prio 2",
        "filter add dev br0 parent 1: protocol ip prio 2 u32 match ip src 10.0.0.9 flowid 1:1",
        "filter add dev br0 parent 1: protocol ip prio 5 u32 match ip src 10.0.0.9 flowid 1:1",
        "filter add dev br0 parent 1: protocol ip prio 9 u32 match ip src 10.0.0.9 flowid 1:1",
        "filter add dev br0 parent 1: protocol ip prio 9 u32 match ip dport 80 0xffff flowid 1:1",
        "qdisc add dev br0 clsact",
        "qdisc replace dev br0 root handle 9: pfifo",
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
    wanted = state(Shaper("br0", (TrafficClass(2, netem, MATCHES),)))
    converge(wanted)
    assert converge(wanted) == 0


@pytest.mark.netem
@pytest.mark.parametrize("netem", NETEMS)
def test_netems_commands_do_the_same(netem: Netem) -> None:
    wanted = state(Shaper("br0", (TrafficClass(WHOLE_LINK, netem),)))
    done = run(("sh",), input=script(plan(wanted, HostState())), timeout=60)
    assert done.returncode == 0, done.stderr
    assert converge(wanted) == 0


@pytest.mark.netem
def test_one_netem_becomes_another_in_its_place() -> None:
    queues: tuple[Queue, ...] = (*NETEMS, TokenBucket(8_000), *reversed(NETEMS))
    for queue in queues:
        wanted = state(Shaper("br0", (TrafficClass(2, queue, MATCHES),)))
        found = observed(wanted)
        ops = plan(wanted, found.state)
        assert queue == NETEMS[0] or [type(op) for op in ops] == [Replace]
        apply(ops, found.indexes)
        assert converge(wanted) == 0

"""Rules met, told by what `iptables-save -c` counted before and after."""

from __future__ import annotations

from kns.addresses import IPFamily
from kns.probe.trace.counters import chains_of, traversals
from kns.probe.trace.model import ChainKey
from kns.state.iptables import parse_save
from kns.state.model import Chain
from tests.probe.trace_scenes import ASKED

BEFORE = """\
*nat
:PREROUTING ACCEPT [3:180]
:OUTPUT ACCEPT [0:0]
:SERVICES - [0:0]
:DNS - [0:0]
:SVC - [0:0]
[3:180] -A PREROUTING -j SERVICES
[2:120] -A OUTPUT -j SERVICES
[1:60] -A SERVICES -p udp -m udp --dport 53 -j DNS
[0:0] -A SERVICES -d 10.96.0.1/32 -p tcp -j SVC
[1:60] -A DNS -j DNAT --to-destination 10.244.0.4:53
[0:0] -A SVC -j DNAT --to-destination 10.244.1.2:8080
COMMIT
*filter
:FORWARD DROP [0:0]
[5:300] -A FORWARD -s 192.0.2.0/24 -j ACCEPT
COMMIT
"""
AFTER = (
    BEFORE.replace("[3:180] -A", "[5:300] -A")
    .replace("[1:60]", "[2:120]")
    .replace("[2:120] -A OUTPUT", "[9:500] -A OUTPUT")
    .replace("[0:0] -A", "[1:60] -A")
    .replace("FORWARD DROP [0:0]", "FORWARD DROP [1:60]")
)


def tables(text: str) -> dict[ChainKey, Chain]:
    return chains_of("node1", parse_save(text, IPFamily.IPV4))


def test_rules_that_counted_are_told_in_the_order_of_their_jumps() -> None:
    nat, _ = traversals(tables(BEFORE), tables(AFTER), ASKED, "pod1")
    assert [(rule.depth, rule.chain, rule.verdict) for rule in nat.rules] == [
        (0, "PREROUTING", "jump"),
        (1, "SERVICES", "jump"),
        (2, "SVC", "continue"),
    ]


def test_a_policy_that_counted_dropped_it() -> None:
    _, forward = traversals(tables(BEFORE), tables(AFTER), ASKED, "pod1")
    assert (forward.chain, forward.verdict, forward.by_policy) == ("FORWARD", "drop", True)


def test_output_is_for_packets_of_the_netns_own() -> None:
    found = traversals(tables(BEFORE), tables(AFTER), ASKED, "node1")
    assert [item.chain for item in found] == ["PREROUTING", "OUTPUT", "FORWARD"]


def test_nothing_counted_nothing_met() -> None:
    assert traversals(tables(BEFORE), tables(BEFORE), ASKED, "pod1") == ()

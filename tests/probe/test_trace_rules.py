"""The kernel's messages about rules → traversals."""

from __future__ import annotations

from ipaddress import ip_address

from kns.kernel.nftrace import ChainRules, TraceMessage
from kns.probe.trace.model import RuleMet
from kns.probe.trace.rules import Ruleset, traversals
from tests.probe import frames

HEADERS = (
    frames.ipv4("10.244.0.2", "10.96.0.1", 6, frames.tcp((40000, 80)))[:20],
    frames.tcp((40000, 80)),
)


def ruleset(**chains: tuple[str, tuple[str, ...]]) -> Ruleset:
    """`CHAIN=(hook, rules)`; of table nat, with handles from 11 on."""
    keys = {name: ("node1", 2, "nat", name.replace("_", "-")) for name in chains}
    return Ruleset(
        {
            keys[name]: ChainRules(
                2, "nat", keys[name][3], tuple(range(11, 11 + len(texts))), hook=hook
            )
            for name, (hook, texts) in chains.items()
        },
        {keys[name]: texts for name, (_, texts) in chains.items()},
    )


def step(
    chain: str, handle: int, verdict: str, target: str = "", *, first: bool = False
) -> TraceMessage:
    network, transport = HEADERS if first else (b"", b"")
    return TraceMessage(
        "node1",
        5,
        2,
        "nat",
        chain,
        handle,
        verdict,
        target,
        network=network,
        transport=transport,
    )


RULES = ruleset(
    PREROUTING=("prerouting", ("-j CANARY", "-j SERVICES")),
    CANARY=("", ()),
    SERVICES=("", ("-d 10.96.0.1/32 -j SVC",)),
    SVC=("", ("-j MARK", "-j DNAT --to-destination 10.244.1.2:8080")),
)


def test_jumps_are_followed_and_barren_ones_are_told() -> None:
    steps = [
        step("PREROUTING", 11, "jump", "CANARY", first=True),
        step("CANARY", 0, "continue"),
        step("PREROUTING", 12, "jump", "SERVICES"),
        step("SERVICES", 11, "jump", "SVC"),
        step("SVC", 11, "continue"),
        step("SVC", 12, "accept"),
    ]
    (found,) = traversals(steps, RULES)
    assert found.rules == (
        RuleMet("PREROUTING", "-j CANARY", "jump", "CANARY", 0, led_nowhere=True),
        RuleMet("PREROUTING", "-j SERVICES", "jump", "SERVICES", 0),
        RuleMet("SERVICES", "-d 10.96.0.1/32 -j SVC", "jump", "SVC", 1),
        RuleMet("SVC", "-j MARK", "continue", "", 2),
        RuleMet("SVC", "-j DNAT --to-destination 10.244.1.2:8080", "accept", "", 2),
    )
    assert (found.hook, found.verdict, found.by_policy) == ("prerouting", "accept", False)
    assert found.packet.destination == ip_address("10.96.0.1")


def test_the_policy_decides_at_the_end() -> None:
    policy = TraceMessage("node1", 5, 2, "nat", "PREROUTING", 0, "drop", is_policy=True)
    (found,) = traversals([step("PREROUTING", 0, "continue", first=True), policy], RULES)
    assert (found.rules, found.verdict, found.by_policy) == ((), "drop", True)


def test_each_base_chain_begins_with_the_headers() -> None:
    steps = [step("PREROUTING", 0, "continue", first=True)] * 2
    assert len(traversals(steps, RULES)) == 2


def test_packets_that_are_told_at_once_are_kept_apart() -> None:
    one, other = (step("PREROUTING", 12, "jump", "SERVICES", first=True) for _ in range(2))
    from dataclasses import replace

    other = replace(other, packet=6)
    steps = [one, other, step("SERVICES", 11, "jump", "SVC")]
    assert [len(item.rules) for item in traversals(steps, RULES)] == [2, 1]


def test_rules_that_changed_meanwhile_are_told_by_their_number() -> None:
    (found,) = traversals([step("PREROUTING", 99, "accept", first=True)], RULES)
    assert found.rules[0].text == "rule with handle 99"


def test_messages_without_a_beginning_are_left_out() -> None:
    assert traversals([step("SVC", 12, "accept")], RULES) == ()

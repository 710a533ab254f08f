"""Sightings and rules → hops, what changed before each, and how the way ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.probe.trace.correlate import Sighting, flow_of
from kns.probe.trace.fate import answered, end_of
from kns.probe.trace.model import ChangeKind, End, EndKind, Journey, Traversal
from kns.probe.trace.packet import CapturedPacket, Question
from kns.probe.trace.stitch import Heard, Kernel, LinkLookup, RouteLookup, Scene, stitch
from tests.probe.trace_scenes import (
    ANSWER,
    ASKED,
    CLIENT,
    POD,
    REPLY,
    REQUEST,
    ROUTED,
    SENT_ON,
    SERVICE,
    kernel,
    packet,
    rule,
    scene,
    seen,
    traversal,
)

DNAT = traversal("prerouting", ASKED, rule("-j DNAT --to-destination 10.244.1.2:8080"))
FORWARD = traversal("forward", ROUTED, rule("-j ACCEPT"), table="filter")


def journey(found: Scene, *, forward: bool = True) -> Journey:
    flow = flow_of(found.sightings, ASKED)
    way = flow.request if forward else flow.answer
    assert way is not None
    stitched = stitch(found, way, routes=forward)
    return Journey(
        stitched.first, stitched.hops, end_of(found, way, stitched), stitched.rules, stitched.asked
    )


def test_changes_stand_at_the_hop_that_shows_them_first() -> None:
    found = journey(scene((*REQUEST, *REPLY)))
    assert [[change.kind for change in hop.changes] for hop in found.hops] == [
        [],
        [],
        [ChangeKind.DNAT],
        [ChangeKind.ROUTED],
        [],
    ]
    assert found.hops[2].changes[0].after == "10.244.1.2:8080"


def test_the_way_back_undoes() -> None:
    found = journey(scene((*REQUEST, *REPLY)), forward=False)
    kinds = [change.kind for hop in found.hops for change in hop.changes]
    assert kinds == [ChangeKind.UNDO_DNAT]


def where(found: Journey) -> dict[str, int]:
    """Before which hop the rules of a hook stand; -1: after the last."""
    places = {item.hook: -1 for item in found.rules}
    return places | {
        item.hook: number for number, hop in enumerate(found.hops) for item in hop.rules
    }


@pytest.mark.parametrize(("calls", "place"), [("1", 2), ("0", 3)])
def test_prerouting_of_a_bridged_frame_comes_before_the_bridge(calls: str, place: int) -> None:
    asked = kernel(sysctls={"bridge/bridge-nf-call-iptables": calls})
    found = journey(scene(REQUEST, (DNAT, FORWARD), asked))
    assert where(found) == {"prerouting": place, "forward": 3}


def test_rules_of_a_packet_that_went_no_further_stand_at_the_end() -> None:
    found = journey(scene(REQUEST[:3], (DNAT, replace(FORWARD, packet=SENT_ON))))
    assert where(found) == {"prerouting": 2, "forward": -1}


def test_rules_of_other_packets_are_left_out() -> None:
    other = replace(DNAT, packet=packet(sequence=99))
    assert where(journey(scene(REQUEST, (other,)))) == {}


def test_rules_of_a_packet_that_was_sent_again_are_told_once() -> None:
    found = journey(scene(REQUEST, (DNAT, FORWARD, DNAT, FORWARD)))
    assert sum(len(hop.rules) for hop in found.hops) == 2


def test_arp_before_a_hop() -> None:
    gateway = ip_address("172.18.0.3")
    question = Heard("node1", "eth0", True, 40_000, Question(gateway, None))
    answer = Heard("node1", "eth0", False, 50_000, Question(gateway, None, "02:00:00:00:00:09"))
    route = RouteLookup("10.244.1.0/24 via 172.18.0.3 dev eth0", "eth0", "172.18.0.3", gateway)
    found = replace(scene(REQUEST, asked=kernel({"node1": route})), heard=(question, answer))
    hop = journey(found).hops[3]
    assert [(item.target, item.mac) for item in hop.asked] == [(gateway, "02:00:00:00:00:09")]
    assert hop.route == route.text


# -- ends ------------------------------------------------------------------------------------------

DROP = traversal("forward", SENT_ON, rule("-j DROP", "FORWARD", "drop"), verdict="drop")
POLICY = replace(DROP, rules=(), by_policy=True, table="filter")
REJECT = traversal(
    "forward",
    SENT_ON,
    rule('-m comment --comment "default/x has no endpoints" -j REJECT', verdict="drop"),
    table="filter",
    verdict="drop",
)
TAKEN_IN = REQUEST[:3]
IN_THE_SWITCH = tuple(
    replace(item, packet=replace(item.packet, length=1480))
    for item in (*REQUEST[:4], seen("fabric node1 in", 61, ROUTED))
)


@pytest.mark.parametrize(
    ("sightings", "rules", "asked", "kind", "text"),
    [
        (REQUEST, (), {}, EndKind.DELIVERED, "pod2 takes it"),
        (TAKEN_IN, (DROP,), {}, EndKind.DROPPED, "by a rule of nat FORWARD"),
        (TAKEN_IN, (POLICY,), {}, EndKind.DROPPED, "the policy of filter FORWARD is drop"),
        (TAKEN_IN, (REJECT,), {}, EndKind.REJECTED, "default/x has no endpoints"),
        (
            TAKEN_IN,
            (),
            {"routes": {"node1": RouteLookup("", error="Network is unreachable")}},
            EndKind.UNREACHABLE,
            "no route to 10.244.1.2: Network is unreachable",
        ),
        (
            TAKEN_IN,
            (),
            {"sysctls": {"ipv4/ip_forward": "0"}},
            EndKind.NOT_FORWARDED,
            "ip_forward is 0",
        ),
        (
            TAKEN_IN,
            (),
            {"routes": {"node1": RouteLookup("", "cni0", next_hop=POD)}, "silent": (POD,)},
            EndKind.NO_NEIGHBOR,
            "asked on cni0 who has 10.244.1.2 (pod2)",
        ),
        (TAKEN_IN, (), {}, EndKind.LOST, "no rule dropped it"),
        (REQUEST[:4], (), {}, EndKind.LOST, "left node1 by eth0"),
        (IN_THE_SWITCH, (), {"links": {"node2": LinkLookup(1400)}}, EndKind.LOST, "1500 bytes"),
    ],
)
def test_ends(
    sightings: tuple[Sighting, ...],
    rules: tuple[Traversal, ...],
    asked: Mapping[str, object],
    kind: EndKind,
    text: str,
) -> None:
    end = journey(scene(sightings, rules, kernel(**asked))).end  # type: ignore[arg-type]
    assert end.kind is kind
    assert text in end.text


def test_the_router_that_threw_it_away_has_said_so() -> None:
    error = packet(
        ip_address("10.244.0.1"),
        CLIENT,
        (0, 0),
        protocol="icmp",
        icmp_type=3,
        icmp_code=4,
        quoted=ASKED,
    )
    sightings = (*TAKEN_IN, seen("node1 veth1 out", 50, error))
    end = journey(scene(sightings, asked=kernel())).end
    assert end.text == "node1 threw it away and said so: ICMP fragmentation needed"


def delivered(first: CapturedPacket, *sightings: Sighting) -> Journey:
    hops = journey(scene(REQUEST)).hops[: len(sightings)]
    pairs = zip(hops, sightings, strict=True)
    seen_so = tuple(replace(hop, packet=item.packet) for hop, item in pairs)
    return Journey(first, seen_so, End(EndKind.DELIVERED, "pod1", "pod1 takes it"))


@pytest.mark.parametrize(
    ("sent", "came", "kind", "text"),
    [
        (ASKED, SERVICE, EndKind.DELIVERED, "pod1 takes it"),
        (ASKED, POD, EndKind.MISMATCH, "nobody translated it back"),
        (SENT_ON, POD, EndKind.DELIVERED, "an answer of 10.96.0.1:80: conntrack undoes"),
    ],
)
def test_an_answer_must_come_from_whom_was_asked(
    sent: CapturedPacket, came: object, kind: EndKind, text: str
) -> None:
    request = delivered(ASKED, seen("pod1 eth0 out", 0, sent))
    source = (SERVICE, 80) if came == SERVICE else (POD, 8080)
    back = replace(ANSWER, source=source[0], source_port=source[1])
    end = answered(request, delivered(back, seen("pod1 eth0 in", 9, back)))
    assert end.kind is kind
    assert text in end.text


def test_kernel_is_asked_about_the_translated_address() -> None:
    """The last rule that was met knows it, where no link saw it any more."""
    questions: list[str] = []

    def route(netns: str, _source: object, destination: object, link: str) -> RouteLookup:
        questions.append(f"{netns} {destination} {link}")
        return RouteLookup("", "eth0")

    asked = Kernel(route, lambda *_: "1", lambda *_: False, lambda _: {})
    found = scene(REQUEST[:2], (DNAT, replace(FORWARD, packet=SENT_ON)), asked)
    journey(found)
    assert questions[-1] == "node1 10.244.1.2 veth1"


def test_a_default_route_says_why_it_is_taken() -> None:
    """A pod sends to its gateway what is in none of its link's networks."""
    routes = {
        "pod1": RouteLookup("default via 10.244.0.1 dev eth0", "eth0", "10.244.0.1"),
        "node1": RouteLookup("10.244.1.0/24 via 172.18.0.3 dev eth0", "eth0", "172.18.0.3"),
    }
    networks = ip_network("10.244.0.0/24"), ip_network("fd00::/64")
    asked = kernel(routes, links={"eth0": LinkLookup(1500, networks=networks)})
    found = journey(scene(REQUEST, (DNAT,), asked))
    assert [hop.not_in for hop in found.hops if hop.route] == [networks[:1], ()]


def test_a_bridge_says_which_port_the_mac_address_is_behind() -> None:
    """What comes in by one port of cni0 and goes out by another is shown to iptables."""
    mac = "0a:58:0a:f4:00:03"
    here = replace(SENT_ON, destination_mac=mac)
    way = (
        seen("pod1 eth0 out", 0, ASKED),
        seen("node1 veth1 in", 2, ASKED),
        seen("node1 veth2 out", 9, here),
        seen("pod2 eth0 in", 12, here),
    )
    ports = {"veth1": LinkLookup(1500, "cni0"), "veth2": LinkLookup(1500, "cni0")}
    found = journey(scene(way, (DNAT,), kernel(links=ports)))
    told = f"bridge cni0: {mac} is behind veth2; br_netfilter shows it to iptables"
    assert [hop.bridge for hop in found.hops] == ["", "", told, ""]
    off = {"bridge/bridge-nf-call-iptables": "0"}
    quiet = journey(scene(way, (DNAT,), kernel(links=ports, sysctls=off)))
    assert quiet.hops[2].bridge == f"bridge cni0: {mac} is behind veth2"

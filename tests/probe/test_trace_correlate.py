"""One connection is told from all that is on the links, and its packets from each other."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address

from kns.probe.trace.correlate import flow_of
from tests.probe.trace_scenes import (
    ANSWER,
    ASKED,
    CLIENT,
    POD,
    REPLY,
    REQUEST,
    SERVICE,
    packet,
    seen,
)


def test_ways_are_followed_through_nat() -> None:
    shuffled = [*REQUEST, *REPLY]
    random.Random(1).shuffle(shuffled)
    flow = flow_of(shuffled, ASKED)
    assert [(way.forward, way.sightings) for way in flow.ways] == [
        (True, REQUEST),
        (False, REPLY),
    ]


def test_other_connections_stay_out() -> None:
    """The same client and service, another port; the same backend, another client."""
    other = packet(ports=(40001, 80), sequence=77, ident=8)
    stranger = packet(ip_address("10.244.0.9"), POD, (40000, 8080), sequence=78, ident=9)
    noise = (seen("pod1 eth0 out", 1, other), seen("pod2 eth0 in", 3, stranger))
    flow = flow_of((*REQUEST, *noise), ASKED)
    assert [way.sightings for way in flow.ways] == [REQUEST]


def test_masquerade_changes_even_the_port() -> None:
    hidden = packet(ip_address("172.18.0.2"), POD, (23456, 8080), ttl=63)
    answer = replace(ANSWER, destination=hidden.source, destination_port=23456)
    sightings = (
        seen("pod1 eth0 out", 0, ASKED),
        seen("node1 eth0 out", 5, hidden),
        seen("node1 eth0 in", 9, answer),
    )
    flow = flow_of(sightings, ASKED)
    assert [len(way.sightings) for way in flow.ways] == [2, 1]


def test_icmp_error_is_the_answer() -> None:
    error = packet(
        SERVICE, CLIENT, (0, 0), protocol="icmp", icmp_type=3, icmp_code=3, quoted=ASKED, flags=()
    )
    flow = flow_of((REQUEST[0], seen("pod1 eth0 in", 9, error)), ASKED)
    assert flow.answer is not None
    assert flow.answer.sightings[0].packet is error


def test_a_redirect_is_no_answer() -> None:
    hint = packet(SERVICE, CLIENT, (0, 0), protocol="icmp", icmp_type=5, quoted=ASKED, flags=())
    flow = flow_of((REQUEST[0], seen("pod1 eth0 in", 9, hint)), ASKED)
    assert flow.answer is None


def test_what_is_sent_again_counts_with_the_first_and_the_farthest_is_shown() -> None:
    again = replace(ASKED, ident=8)
    sightings = (
        REQUEST[0],
        seen("pod1 eth0 out", 1_000_000, again),
        seen("node1 veth1 in", 1_000_002, again),
    )
    (way,) = flow_of(sightings, ASKED).ways
    assert (way.sent, len(way.sightings)) == (2, 2)


def test_a_loop_is_one_way() -> None:
    """TTL tells a packet that comes round again from one that was sent again."""
    sightings = tuple(
        seen("node1 eth0 in", n, packet(ttl=64 - n, destination=POD)) for n in range(4)
    )
    (way,) = flow_of(sightings, sightings[0].packet).ways
    assert len(way.sightings) == 4

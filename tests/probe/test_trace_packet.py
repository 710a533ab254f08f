"""Bytes of a frame → Packet."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.probe.trace.packet import Outer, Question, parse_frame, parse_question
from tests.probe import frames

CLIENT, SERVICE, POD = "10.244.0.2", "10.96.0.1", "10.244.1.2"
SYN = frames.ethernet(frames.ipv4(CLIENT, SERVICE, 6, frames.tcp((40000, 80)), ttl=63))


def test_tcp_over_ipv4() -> None:
    packet = parse_frame(SYN)
    assert packet is not None
    ends = (packet.source, packet.source_port, packet.destination, packet.destination_port)
    assert ends == (ip_address(CLIENT), 40000, ip_address(SERVICE), 80)
    assert (packet.word, packet.ttl, packet.ident, packet.sequence) == ("SYN", 63, 7, 1)
    assert (packet.source_mac, packet.destination_mac) == ("02:00:00:00:00:02", "02:00:00:00:00:01")


def test_data_is_said_to_be_there() -> None:
    body = frames.tcp((40000, 80), frames.ACK, data=b"GET /")
    packet = parse_frame(frames.ethernet(frames.ipv4(CLIENT, SERVICE, 6, body)))
    assert packet is not None
    assert (packet.word, packet.payload) == ("ACK with data", b"GET /")


def test_udp_over_ipv6_behind_an_extension_header() -> None:
    """A hop-by-hop header stands between."""
    body = bytes([17, 0, 1, 4, 0, 0, 0, 0]) + frames.udp((5353, 53), b"whoami")
    packet = parse_frame(frames.ethernet(frames.ipv6("fd00::2", "fd00::3", 0, body), 0x86DD))
    assert packet is not None
    found = (packet.protocol, packet.destination_port, packet.payload, packet.length)
    assert found == ("udp", 53, b"whoami", 14)


def test_vxlan_is_opened() -> None:
    carrier = frames.udp((50000, 8472), frames.vxlan(1, SYN))
    outside = frames.ethernet(frames.ipv4("172.18.0.2", "172.18.0.3", 17, carrier))
    packet = parse_frame(outside)
    assert packet is not None
    outer = Outer(ip_address("172.18.0.2"), ip_address("172.18.0.3"), 1, 50000, 7)
    assert (packet.protocol, packet.destination_port, packet.outer) == ("tcp", 80, outer)


def test_icmp_error_quotes_the_packet() -> None:
    quoted = frames.ipv4(CLIENT, SERVICE, 6, frames.tcp((40000, 80)))[:28]
    body = frames.icmp_error(3, 3, quoted + bytes(12))
    packet = parse_frame(frames.ethernet(frames.ipv4("10.244.0.1", CLIENT, 1, body)))
    assert packet is not None
    assert packet.quoted is not None
    assert (packet.word, packet.quoted.source_port) == ("ICMP port unreachable", 40000)


@pytest.mark.parametrize(
    ("version", "kind", "code", "word"),
    [
        (4, 3, 0, "ICMP network unreachable"),
        (4, 3, 4, "ICMP fragmentation needed"),
        (4, 11, 0, "ICMP time exceeded"),
        (4, 8, 0, "echo request"),
        (4, 0, 0, "echo reply"),
        (6, 1, 0, "ICMP no route"),
        (6, 2, 0, "ICMP packet too big"),
        (6, 3, 0, "ICMP time exceeded"),
        (6, 128, 0, "echo request"),
    ],
)
def test_icmp_in_words(version: int, kind: int, code: int, word: str) -> None:
    body = bytes([kind, code]) + bytes(46)
    if version == 4:
        frame = frames.ethernet(frames.ipv4(CLIENT, POD, 1, body))
    else:
        frame = frames.ethernet(frames.ipv6("fd00::2", "fd00::3", 58, body), 0x86DD)
    packet = parse_frame(frame)
    assert packet is not None
    assert packet.word == word


def test_every_prefix_of_a_frame_is_harmless() -> None:
    carrier = frames.udp((50000, 8472), frames.vxlan(1, SYN))
    for whole in (
        frames.ethernet(frames.ipv4("172.18.0.2", "172.18.0.3", 17, carrier)),
        frames.ethernet(frames.ipv6("fd00::2", "fd00::3", 58, bytes([135]) + bytes(40)), 0x86DD),
        frames.ethernet(frames.arp(1, CLIENT, POD), 0x0806),
    ):
        for length in range(len(whole)):
            cut = parse_frame(whole[:length])
            assert cut is None or cut.length > 0
            parse_question(whole[:length])


def test_arp_question_and_answer() -> None:
    question = parse_question(frames.ethernet(frames.arp(1, CLIENT, POD), 0x0806))
    answer = parse_question(frames.ethernet(frames.arp(2, POD, CLIENT), 0x0806))
    assert question == Question(ip_address(POD), ip_address(CLIENT))
    assert answer == Question(ip_address(POD), ip_address(CLIENT), "02:00:00:00:00:02")


def test_neighbor_discovery() -> None:
    target = ip_address("fd00::3").packed
    ask = bytes([135, 0, 0, 0, 0, 0, 0, 0]) + target + bytes([1, 1]) + frames.HOST
    tell = bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + target + bytes([2, 1]) + frames.ROUTER
    question = frames.ethernet(frames.ipv6("fd00::2", "ff02::1:ff00:3", 58, ask, 255), 0x86DD)
    answer = frames.ethernet(frames.ipv6("fd00::3", "fd00::2", 58, tell, 255), 0x86DD)
    assert parse_question(question) == Question(ip_address("fd00::3"), ip_address("fd00::2"))
    found = parse_question(answer)
    assert found is not None
    assert (str(found.target), found.mac) == ("fd00::3", "02:00:00:00:00:01")
    packet = parse_frame(question)
    assert packet is not None
    assert packet.is_discovery

"""ARP frames, byte for byte."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from kns.agent import arp

NODE = bytes.fromhex("02ab00000001")
ROUTER = bytes.fromhex("02cd00000002")
VIP = IPv4Address("198.51.100.1")
#: who-has 198.51.100.1 tell 172.18.0.1, as the kernel sends it (RFC 826)
REQUEST = bytes.fromhex(
    "ffffffffffff02cd000000020806000108000604000102cd00000002ac120001000000000000c6336401"
)


def test_a_request_is_read() -> None:
    found = arp.parse(REQUEST.ljust(60, b"\0"))
    assert found is not None
    assert found.operation == arp.REQUEST
    assert (found.destination, found.sender_mac) == (arp.BROADCAST, ROUTER)
    assert (found.sender, found.target) == (IPv4Address("172.18.0.1"), VIP)


def test_the_answer_goes_to_the_asker_alone() -> None:
    request = arp.parse(REQUEST)
    assert request is not None
    frame = arp.answer(request, NODE).pack()
    assert frame == bytes.fromhex(
        "02cd0000000202ab000000010806000108000604000202ab00000001c633640102cd00000002ac120001"
    ).ljust(60, b"\0")


@pytest.mark.parametrize(("operation", "code"), [(arp.REQUEST, "0001"), (arp.REPLY, "0002")])
def test_gratuitous_announcements_name_the_address_twice(operation: int, code: str) -> None:
    frame = arp.gratuitous(VIP, NODE, operation).pack()
    assert frame == bytes.fromhex(
        f"ffffffffffff02ab000000010806000108000604{code}02ab00000001c6336401ffffffffffffc6336401"
    ).ljust(60, b"\0")


@pytest.mark.parametrize(
    "frame",
    [
        REQUEST[:41],
        REQUEST.replace(b"\x08\x06", b"\x08\x00", 1),
        REQUEST.replace(b"\x00\x01\x08\x00\x06\x04", b"\x00\x01\x08\x00\x08\x04", 1),
        b"",
    ],
)
def test_other_frames_are_passed_over(frame: bytes) -> None:
    assert arp.parse(frame) is None


def test_a_frame_survives_being_read_and_written() -> None:
    found = arp.parse(REQUEST)
    assert found is not None
    assert arp.parse(found.pack()) == found

"""Neighbor discovery frames: what is heard, what is sent."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from kns.agent import ndp

NODE = bytes.fromhex("02ab00000001")
ROUTER = bytes.fromhex("02cd00000002")
OWN = IPv6Address("fc00:172:18::2")
ASKER = IPv6Address("fc00:172:18::1")
VIP = IPv6Address("2001:db8:77::1")
#: who has 2001:db8:77::1, asked by fc00:172:18::1 of the solicited-node group (RFC 4861, 4.3)
REQUEST = bytes.fromhex(
    "3333ff00000102cd0000000286dd"
    "6000000000203aff"
    "fc000172001800000000000000000001"
    "ff0200000000000000000001ff000001"
    "8700000000000000"
    "20010db8007700000000000000000001"
    "010102cd00000002"
)
HEADERS = 14 + 40


def test_a_solicitation_is_read() -> None:
    assert ndp.parse(REQUEST) == ndp.Solicitation(ROUTER, ASKER, VIP)


def changed(place: int, value: bytes) -> bytes:
    return REQUEST[:place] + value + REQUEST[place + len(value) :]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        REQUEST[:70],
        changed(12, b"\x08\x00"),  # not IPv6
        changed(20, b"\x11"),  # UDP
        changed(21, b"\xfe"),  # has been forwarded: from another network
        changed(54, b"\x88"),  # an advertisement
        changed(22, bytes(16)),  # duplicate address detection
    ],
)
def test_other_frames_are_passed_over(frame: bytes) -> None:
    assert ndp.parse(frame) is None


def total(frame: bytes) -> int:
    """The sum that a receiver makes of the pseudo header and the message: all ones if sound."""
    message = frame[HEADERS:]
    data = frame[22:54] + struct.pack("!IHBB", len(message), 0, 0, 58) + message
    value: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def test_the_answer_goes_to_the_asker_alone() -> None:
    frame = ndp.answer(ndp.Solicitation(ROUTER, ASKER, VIP), NODE, OWN)
    assert frame[:14] == ROUTER + NODE + b"\x86\xdd"
    assert frame[14:22] == bytes.fromhex("6000000000203aff")
    assert frame[22:54] == OWN.packed + ASKER.packed
    assert frame[54:56] == b"\x88\x00"
    # solicited, override; the target; its MAC address as an option
    assert frame[58:] == b"\x60\0\0\0" + VIP.packed + b"\x02\x01" + NODE
    assert total(frame) == 0xFFFF


def test_a_take_over_is_told_to_all_nodes() -> None:
    frame = ndp.unsolicited(VIP, NODE, OWN)
    assert frame[:6] == bytes.fromhex("333300000001")
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1")
    assert frame[58:62] == b"\x20\0\0\0"
    assert total(frame) == 0xFFFF

"""ARP frames as bytes (RFC 826, over Ethernet), as MetalLB's speaker reads and writes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

BROADCAST = b"\xff" * 6
ETHERTYPE_ARP = 0x0806
REQUEST, REPLY = 1, 2

_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
#: the shortest Ethernet frame, without its checksum
_MINIMUM = 60


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet and the Ethernet addresses of its frame."""

    destination: bytes
    source: bytes
    operation: int
    sender_mac: bytes
    sender: IPv4Address
    target_mac: bytes
    target: IPv4Address

    def pack(self) -> bytes:
        """The frame."""
        frame = _FRAME.pack(
            self.destination,
            self.source,
            ETHERTYPE_ARP,
            1,  # Ethernet
            0x0800,  # IPv4
            6,
            4,
            self.operation,
            self.sender_mac,
            self.sender.packed,
            self.target_mac,
            self.target.packed,
        )
        return frame.ljust(_MINIMUM, b"\0")


def parse(frame: bytes) -> Arp | None:
    """The ARP packet in a frame; None if it holds none over Ethernet and IPv4."""
    if len(frame) < _FRAME.size:
        return None
    (destination, source, kind, hardware, protocol, hlen, plen, operation,
     sender_mac, sender, target_mac, target) = _FRAME.unpack_from(frame)  # fmt: skip
    if (kind, hardware, protocol, hlen, plen) != (ETHERTYPE_ARP, 1, 0x0800, 6, 4):
        return None
    return Arp(
        destination,
        source,
        operation,
        sender_mac,
        IPv4Address(sender),
        target_mac,
        IPv4Address(target),
    )


def answer(request: Arp, mac: bytes) -> Arp:
    """The reply to a request, by the owner of `mac`."""
    return Arp(
        destination=request.sender_mac,
        source=mac,
        operation=REPLY,
        sender_mac=mac,
        sender=request.target,
        target_mac=request.sender_mac,
        target=request.sender,
    )


def gratuitous(address: IPv4Address, mac: bytes, operation: int) -> Arp:
    """An announcement to all: whoever knows the address learns that it is at `mac` now."""
    return Arp(
        destination=BROADCAST,
        source=mac,
        operation=operation,
        sender_mac=mac,
        sender=address,
        target_mac=BROADCAST,
        target=address,
    )

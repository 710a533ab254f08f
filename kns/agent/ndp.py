"""Neighbor discovery as bytes (RFC 4861, over Ethernet): IPv6's part of what ARP does for IPv4."""

from __future__ import annotations

import array
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

ETHERTYPE_IPV6 = 0x86DD
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
#: what comes from another network has fewer (RFC 4861, 7.1.1)
_HOP_LIMIT = 255
_SOLICITED, _OVERRIDE = 0x40, 0x20
_TARGET_LINK_LAYER = 2
_ETHERNET = struct.Struct("!6s6sH")
_IPV6 = struct.Struct("!IHBB16s16s")
_MESSAGE = struct.Struct("!BBHB3x16s")
_SO_ATTACH_FILTER = 26
#: classic BPF: ICMPv6 neighbor solicitations pass. (code, jump if true, if false, operand)
_FILTER = (
    (0x30, 0, 0, 20),  # load the IPv6 header's next header
    (0x15, 0, 3, _ICMPV6),
    (0x30, 0, 0, 54),  # load the ICMPv6 type
    (0x15, 0, 1, _SOLICITATION),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


@dataclass(frozen=True, slots=True)
class Solicitation:
    """Somebody asks for the MAC address of `target`."""

    mac: bytes
    source: IPv6Address
    target: IPv6Address


def parse(frame: bytes) -> Solicitation | None:
    """The solicitation in a frame; None if it holds none, or one that asks for duplicates."""
    if len(frame) < _ETHERNET.size + _IPV6.size + _MESSAGE.size:
        return None
    _destination, mac, kind = _ETHERNET.unpack_from(frame)
    _version, _length, following, hops, source, _to = _IPV6.unpack_from(frame, _ETHERNET.size)
    message = frame[_ETHERNET.size + _IPV6.size :]
    icmp, code, _checksum, _flags, target = _MESSAGE.unpack_from(message)
    if (kind, following, hops) != (ETHERTYPE_IPV6, _ICMPV6, _HOP_LIMIT):
        return None
    if (icmp, code) != (_SOLICITATION, 0) or source == bytes(16):
        return None
    return Solicitation(mac, IPv6Address(source), IPv6Address(target))


def answer(request: Solicitation, mac: bytes, own: IPv6Address) -> bytes:
    """The frame that tells the asker, sent by the node with the address `own`."""
    flags = _SOLICITED | _OVERRIDE
    return _advertisement(request.target, mac, flags, own, (request.source, request.mac))


def unsolicited(target: IPv6Address, mac: bytes, own: IPv6Address) -> bytes:
    """The frame that tells all: whoever knows the address learns that it is at `mac` now."""
    return _advertisement(target, mac, _OVERRIDE, own, (ALL_NODES, ALL_NODES_MAC))


def _advertisement(
    target: IPv6Address,
    mac: bytes,
    flags: int,
    own: IPv6Address,
    to: tuple[IPv6Address, bytes],
) -> bytes:
    destination, destination_mac = to
    option = struct.pack("!BB6s", _TARGET_LINK_LAYER, 1, mac)
    plain = _MESSAGE.pack(_ADVERTISEMENT, 0, 0, flags, target.packed) + option
    pseudo = own.packed + destination.packed + struct.pack("!I3xB", len(plain), _ICMPV6)
    checksum = _checksum(pseudo + plain)
    message = _MESSAGE.pack(_ADVERTISEMENT, 0, checksum, flags, target.packed) + option
    header = _IPV6.pack(6 << 28, len(message), _ICMPV6, _HOP_LIMIT, own.packed, destination.packed)
    return _ETHERNET.pack(destination_mac, mac, ETHERTYPE_IPV6) + header + message


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def only_solicitations(sock: socket.socket) -> None:
    """Let nothing but neighbor solicitations through to an Ethernet packet socket."""
    program = array.array("B", b"".join(struct.pack("HBBI", *line) for line in _FILTER))
    address, _size = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_FILTER), address))

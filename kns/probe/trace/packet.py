"""Bytes of a frame → Packet: Ethernet, IPv4 and IPv6, TCP, UDP, ICMP, ARP, and VXLAN around them.

Pure. What is cut off or unknown makes a Packet with less in it, or None, never an exception.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

IPAddress = IPv4Address | IPv6Address

ETH_IPV4, ETH_ARP, ETH_VLAN, ETH_IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6", SCTP: "sctp"}
#: flannel's VXLAN port, and the one that IANA assigned
VXLAN_PORTS = (8472, 4789)
#: IPv6 extension headers that may stand before the transport: hop-by-hop, routing, destination
_EXTENSIONS = (0, 43, 60)
_FRAGMENT = 44
_TCP_FLAGS = (
    (0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"), (0x20, "URG"),
)  # fmt: skip
#: how much of the payload tells packets apart
_PAYLOAD = 64
_UNREACHABLE = {
    0: "network unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    4: "fragmentation needed",
    9: "network prohibited",
    10: "host prohibited",
    13: "administratively prohibited",
}
_UNREACHABLE_V6 = {
    0: "no route",
    1: "administratively prohibited",
    3: "address unreachable",
    4: "port unreachable",
    6: "route rejected",
}


@dataclass(frozen=True, slots=True)
class Outer:
    """The packet that carries another one through a tunnel."""

    source: IPAddress
    destination: IPAddress
    vni: int
    source_port: int = 0
    ident: int = 0


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """One packet as it is on a link. Of an echo, both ports are its id."""

    protocol: str
    source: IPAddress
    destination: IPAddress
    source_port: int = 0
    destination_port: int = 0
    ttl: int = 0
    #: IPv4's identification; 0 in IPv6
    ident: int = 0
    #: of the IP payload, headers of the transport included
    length: int = 0
    flags: tuple[str, ...] = ()
    sequence: int = 0
    acknowledged: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    payload: bytes = b""
    #: what an ICMP error quotes
    quoted: CapturedPacket | None = None
    outer: Outer | None = None
    source_mac: str = ""
    destination_mac: str = ""

    @property
    def word(self) -> str:
        """What it is, in a word: `SYN`, `SYN+ACK`, `echo request`, `port unreachable`, …"""
        if self.protocol == "tcp":
            flags = tuple(flag for flag in self.flags if flag != "PSH")
            return ("+".join(flags) or "no flags") + (" with data" if self.payload else "")
        if self.protocol in ("icmp", "icmpv6"):
            return _icmp_word(self)
        return "datagram" if self.protocol == "udp" else self.protocol

    @property
    def is_error(self) -> bool:
        """True for an ICMP error, which quotes the packet that it is about."""
        return self.quoted is not None

    @property
    def is_discovery(self) -> bool:
        """True for router and neighbor discovery, IPv6's ARP."""
        return self.protocol == "icmpv6" and 133 <= self.icmp_type <= 137


@dataclass(frozen=True, slots=True)
class Question:
    """ARP or neighbor discovery: whose is `target`? `mac` is in answers alone."""

    target: IPAddress
    asker: IPAddress | None
    mac: str = ""

    @property
    def is_answer(self) -> bool:
        """True if it tells the MAC address."""
        return bool(self.mac)


def _icmp_word(packet: CapturedPacket) -> str:
    version4 = packet.protocol == "icmp"
    if packet.icmp_type in ((8, 0) if version4 else (128, 129)):
        return "echo request" if packet.icmp_type in (8, 128) else "echo reply"
    if packet.icmp_type == (3 if version4 else 1):
        names = _UNREACHABLE if version4 else _UNREACHABLE_V6
        return f"ICMP {names.get(packet.icmp_code, 'unreachable')}"
    names = {11: "time exceeded", 5: "redirect"} if version4 else {3: "time exceeded"}
    if not version4 and packet.icmp_type == 2:
        return "ICMP packet too big"
    return f"ICMP {names.get(packet.icmp_type, f'type {packet.icmp_type}')}"


def parse_frame(data: bytes, tunnel_ports: Collection[int] = VXLAN_PORTS) -> CapturedPacket | None:
    """The IP packet in an Ethernet frame; that inside a VXLAN tunnel, with its `outer`."""
    kind, offset = _ethertype(data)
    if kind not in (ETH_IPV4, ETH_IPV6):
        return None
    packet = parse_ip(data[offset:])
    if packet is None:
        return None
    packet = replace(packet, source_mac=_mac(data[6:12]), destination_mac=_mac(data[:6]))
    if packet.protocol != "udp" or packet.destination_port not in tunnel_ports:
        return packet
    return _inside(data[offset:], packet) or packet


def _inside(data: bytes, carrier: CapturedPacket) -> CapturedPacket | None:
    """The packet in VXLAN's eight bytes of header and a whole Ethernet frame."""
    start = _transport_offset(data)
    if start is None or len(data) < start + 16 or not data[start + 8] & 0x08:
        return None
    vni = int.from_bytes(data[start + 12 : start + 15], "big")
    inner = parse_frame(data[start + 16 :], ())
    if inner is None:
        return None
    outer = Outer(carrier.source, carrier.destination, vni, carrier.source_port, carrier.ident)
    return replace(inner, outer=outer)


def parse_question(data: bytes) -> Question | None:
    """The ARP or neighbor discovery message in a frame, if it is one."""
    kind, offset = _ethertype(data)
    body = data[offset:]
    if kind == ETH_ARP and len(body) >= 28:
        asker, target = IPv4Address(body[14:18]), IPv4Address(body[24:28])
        if body[7] == 2:  # the answer's sender is what was asked for
            return Question(asker, target, _mac(body[8:14]))
        return Question(target, asker)
    if kind == ETH_IPV6 and len(body) >= 64 and body[6] == ICMPV6 and body[40] in (135, 136):
        wanted = IPv6Address(body[48:64])
        if body[40] == 135:
            return Question(wanted, IPv6Address(body[8:24]))
        return Question(wanted, IPv6Address(body[24:40]), _mac(body[66:72]) or _mac(data[6:12]))
    return None


def _ethertype(data: bytes) -> tuple[int, int]:
    if len(data) < 14:
        return 0, 14
    kind = int.from_bytes(data[12:14], "big")
    if kind == ETH_VLAN and len(data) >= 18:
        return int.from_bytes(data[16:18], "big"), 18
    return kind, 14


# -- IP and what it carries ------------------------------------------------------------------------


def parse_ip(data: bytes) -> CapturedPacket | None:
    """The packet that begins with an IP header."""
    start = _transport_offset(data)
    if start is None:
        return None
    if data[0] >> 4 == 4:
        total, ident = struct.unpack_from("!HH", data, 2)
        fragment = struct.unpack_from("!H", data, 6)[0] & 0x1FFF
        number, length = data[9], total - start
        packet = CapturedPacket(
            PROTOCOLS.get(number, str(number)),
            IPv4Address(data[12:16]),
            IPv4Address(data[16:20]),
            ttl=data[8],
            ident=ident,
            length=length,
        )
        return packet if fragment else _transport(packet, data[start:])
    number = _last_header(data)
    packet = CapturedPacket(
        PROTOCOLS.get(number, str(number)),
        IPv6Address(data[8:24]),
        IPv6Address(data[24:40]),
        ttl=data[7],
        length=40 + int.from_bytes(data[4:6], "big") - start,
    )
    return _transport(packet, data[start:])


def _transport_offset(data: bytes) -> int | None:
    """Where the transport's header begins; None if this is no IP packet."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        return (data[0] & 0xF) * 4
    if len(data) >= 40 and data[0] >> 4 == 6:
        number, offset = data[6], 40
        while number in _EXTENSIONS and len(data) >= offset + 2:
            number, offset = data[offset], offset + (data[offset + 1] + 1) * 8
        return offset + 8 if number == _FRAGMENT else offset
    return None


def _last_header(data: bytes) -> int:
    number, offset = data[6], 40
    while number in _EXTENSIONS and len(data) >= offset + 2:
        number, offset = data[offset], offset + (data[offset + 1] + 1) * 8
    return data[offset] if number == _FRAGMENT and len(data) > offset else number


def _transport(packet: CapturedPacket, data: bytes) -> CapturedPacket:
    match packet.protocol:
        case "tcp" if len(data) >= 14:
            return _tcp(packet, data)
        case "udp" | "sctp" if len(data) >= 8:
            ports = struct.unpack_from("!HH", data)
            return replace(
                packet,
                source_port=ports[0],
                destination_port=ports[1],
                payload=data[8 : 8 + _PAYLOAD],
            )
        case "icmp" | "icmpv6" if len(data) >= 8:
            return _icmp(packet, data)
        case _:
            return packet


def _tcp(packet: CapturedPacket, data: bytes) -> CapturedPacket:
    source, destination, sequence, acknowledged = struct.unpack_from("!HHII", data)
    header = (data[12] >> 4) * 4
    return replace(
        packet,
        source_port=source,
        destination_port=destination,
        sequence=sequence,
        acknowledged=acknowledged,
        flags=tuple(name for bit, name in _TCP_FLAGS if data[13] & bit),
        payload=data[header : header + _PAYLOAD],
    )


def _icmp(packet: CapturedPacket, data: bytes) -> CapturedPacket:
    echo = (0, 8) if packet.protocol == "icmp" else (128, 129)
    errors = (3, 4, 5, 11, 12) if packet.protocol == "icmp" else (1, 2, 3, 4)
    found = replace(packet, icmp_type=data[0], icmp_code=data[1])
    if data[0] in echo:
        ident, sequence = struct.unpack_from("!HH", data, 4)
        return replace(
            found,
            source_port=ident,
            destination_port=ident,
            sequence=sequence,
            payload=data[8 : 8 + _PAYLOAD],
        )
    if data[0] in errors:
        return replace(found, quoted=parse_ip(data[8:]))
    return found


def _mac(raw: bytes) -> str:
    return raw.hex(":") if len(raw) == 6 else ""

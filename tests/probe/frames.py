"""Frames as a link carries them, made by hand: what the parser of traces is tried on."""

from __future__ import annotations

import struct
from ipaddress import ip_address

ROUTER, HOST = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SYN, ACK, RST = 0x02, 0x10, 0x04


def ethernet(payload: bytes, kind: int = 0x0800) -> bytes:
    return ROUTER + HOST + kind.to_bytes(2, "big") + payload


def ipv4(source: str, destination: str, protocol: int, body: bytes, **fields: int) -> bytes:
    """`ttl`, `ident`: the fields of these names."""
    ttl, ident = fields.get("ttl", 64), fields.get("ident", 7)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, 0x4000, ttl, protocol, 0)
    return head + ip_address(source).packed + ip_address(destination).packed + body


def ipv6(source: str, destination: str, protocol: int, body: bytes, ttl: int = 64) -> bytes:
    head = struct.pack("!IHBB", 0x60000000, len(body), protocol, ttl)
    return head + ip_address(source).packed + ip_address(destination).packed + body


def tcp(ports: tuple[int, int], flags: int = SYN, *, sequence: int = 1, data: bytes = b"") -> bytes:
    acknowledged = 5 if flags & ACK else 0
    head = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledged, 0x50, flags, 64240, 0, 0)
    return head + data


def udp(ports: tuple[int, int], data: bytes) -> bytes:
    return struct.pack("!HHHH", *ports, 8 + len(data), 0) + data


def echo(kind: int, ident: int = 9, sequence: int = 1, data: bytes = b"time") -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, ident, sequence) + data


def icmp_error(kind: int, code: int, quoted: bytes) -> bytes:
    return struct.pack("!BBHI", kind, code, 0, 0) + quoted


def vxlan(vni: int, frame: bytes) -> bytes:
    return struct.pack("!II", 0x08000000, vni << 8) + frame


def arp(operation: int, sender: str, target: str) -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + HOST + ip_address(sender).packed + bytes(6) + ip_address(target).packed

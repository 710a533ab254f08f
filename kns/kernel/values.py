"""The bytes of netlink attributes as values."""

from __future__ import annotations

import functools
import socket
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from kns.addresses import IPAddress, IPNetwork


def text(raw: bytes) -> str:
    """A string with its terminating NUL."""
    return raw.rstrip(b"\0").decode(errors="replace")


def number(raw: bytes) -> int:
    """An unsigned number of any width, in host order; 0 for none."""
    return int.from_bytes(raw, sys.byteorder)


def mac(raw: bytes) -> str:
    """A MAC address as text."""
    return raw.hex(":")


@functools.lru_cache(4096)
def ip(raw: bytes) -> IPAddress:
    """An address of four or sixteen bytes."""
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


@functools.lru_cache(4096)
def network(family: int, raw: bytes | None, length: int) -> IPNetwork:
    """A network of the family; without bytes the whole of it."""
    if family == socket.AF_INET:
        return IPv4Network((raw or bytes(4), length))
    return IPv6Network((raw or bytes(16), length))

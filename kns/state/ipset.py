"""Whether a packet is in an ipset."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from kns.state.model import IpSet
from kns.state.packet import Packet


def is_member(item: IpSet, directions: Sequence[str], packet: Packet) -> bool:
    """True if the packet's addresses and port are an entry of the set.

    `directions` are `src` or `dst`, one for each part of the set's type (`hash:ip,port`).
    """
    method, _, parts = item.type.partition(":")
    kinds = parts.split(",")
    return any(
        all(
            _fits(method, kind, direction, text, packet)
            for kind, direction, text in zip(
                kinds, directions, entry.partition(" ")[0].split(","), strict=False
            )
        )
        for entry in item.entries
    )


def _fits(method: str, kind: str, direction: str, text: str, packet: Packet) -> bool:
    if kind == "port":
        port = packet.source_port if direction == "src" else packet.port
        return text == (str(port) if method == "bitmap" else f"{packet.protocol}:{port}")
    address = packet.source if direction == "src" else packet.destination
    return address in ip_network(text)

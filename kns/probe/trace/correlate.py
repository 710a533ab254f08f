"""Sightings on many links → the ways of single packets. Pure.

    sightings ─flow_of─▶ those of the one connection ─ways─▶ one Way a packet, its hops by time

NAT rewrites addresses and ports, a router the TTL and the MACs. What stays is the IP id, TCP's
sequence numbers, an echo's number, the payload: that is a packet's key, by which it is known again
on the next link. Addresses and ports that such a packet had anywhere belong to the flow, and so do
packets between them, and ICMP errors about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kns.probe.trace.packet import CapturedPacket, IPAddress

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet on a link, and when."""

    netns: str
    link: str
    outgoing: bool
    nanoseconds: int
    packet: CapturedPacket


@dataclass(frozen=True, slots=True)
class Way:
    """The sightings of one packet, in order; `forward` if it goes from the client to the server."""

    forward: bool
    sightings: tuple[Sighting, ...]
    #: the sender sent it so many times (TCP's retransmissions)
    sent: int = 1


@dataclass(frozen=True, slots=True)
class TracedConnection:
    """All ways of one connection by the time of their first sighting."""

    ways: tuple[Way, ...]

    @property
    def request(self) -> Way | None:
        """The first packet from the client."""
        return next((way for way in self.ways if way.forward), None)

    @property
    def answer(self) -> Way | None:
        """The first packet back. A router's hint of a better way is none: the packet goes on."""
        back = (way for way in self.ways if not way.forward)
        return next((w for w in back if w.sightings[0].packet.word != "ICMP redirect"), None)


class Ends(NamedTuple):
    """Between whom a packet is."""

    protocol: str
    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    @property
    def reverse(self) -> Ends:
        """The other direction."""
        return Ends(
            self.protocol,
            self.destination,
            self.destination_port,
            self.source,
            self.source_port,
        )


def ends_of(packet: CapturedPacket) -> Ends:
    """The addresses and ports of a packet."""
    return Ends(
        packet.protocol,
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
    )


def header_key(packet: CapturedPacket) -> Key:
    """What its headers alone tell that no NAT and no router changes."""
    match packet.protocol:
        case "tcp":
            return (
                "tcp",
                packet.ident,
                packet.sequence,
                packet.acknowledged,
                packet.flags,
                packet.length,
            )
        case "icmp" | "icmpv6":
            kind = (packet.icmp_type, packet.icmp_code)
            return (packet.protocol, *kind, packet.ident, packet.sequence, packet.length)
        case _:
            return (packet.protocol, packet.ident, packet.length)


def packet_key(packet: CapturedPacket) -> Key:
    """`header_key`, and the payload; of an ICMP error, what it quotes."""
    if packet.quoted is not None:
        quoted = packet.quoted
        return (*header_key(packet), quoted.protocol, quoted.ident, quoted.length)
    return (*header_key(packet), packet.payload)


def flow_of(sightings: Sequence[Sighting], first: CapturedPacket) -> TracedConnection:
    """The flow that `first` begins."""
    directions = _directions(sightings, first)
    by_key: dict[Key, list[Sighting]] = {}
    for item in sorted(sightings, key=lambda item: item.nanoseconds):
        key = packet_key(item.packet)
        if key in directions:
            by_key.setdefault(key, []).append(item)
    ways = [way for key, items in by_key.items() for way in _ways(items, forward=directions[key])]
    ways.sort(key=lambda way: way.sightings[0].nanoseconds)
    return TracedConnection(tuple(_joined(ways)))


def _directions(sightings: Iterable[Sighting], first: CapturedPacket) -> dict[Key, bool]:
    """The keys of the flow's packets, each with whether they go from client to server.

    Grows until nothing is added: a packet known by its key brings in the addresses that it has
    behind a NAT, and those bring in the packets between them.
    """
    known = {packet_key(first): True}
    forward = {ends_of(first)}
    waiting = list(dict.fromkeys(item.packet for item in sightings))
    while True:
        left: list[CapturedPacket] = []
        for packet in waiting:
            is_forward = _direction(packet, known, forward)
            if is_forward is None:
                left.append(packet)
                continue
            known[packet_key(packet)] = is_forward
            if packet.quoted is None:
                ends = ends_of(packet)
                forward.add(ends if is_forward else ends.reverse)
        if len(left) == len(waiting):
            return known
        waiting = left


def _direction(packet: CapturedPacket, known: dict[Key, bool], forward: set[Ends]) -> bool | None:
    """True, False, or None for a packet that is not of the flow as far as it is known."""
    found = known.get(packet_key(packet))
    if found is not None:
        return found
    if packet.quoted is not None:  # an error goes back to the sender of what it quotes
        quoted = ends_of(packet.quoted)
        return False if quoted in forward else True if quoted.reverse in forward else None
    ends = ends_of(packet)
    return True if ends in forward else False if ends.reverse in forward else None


def _ways(items: Sequence[Sighting], *, forward: bool) -> Iterator[Way]:
    """One way, or several where the same packet begins anew at a link it has been on.

    A packet that goes round in a loop comes back with a smaller TTL; one that was sent again
    comes with the same.
    """
    way: list[Sighting] = []
    seen: dict[tuple[str, str, bool], int] = {}
    for item in items:
        place = (item.netns, item.link, item.outgoing)
        if item.packet.ttl >= seen.get(place, 256):
            yield Way(forward, tuple(way))
            way, seen = [], {}
        way.append(item)
        seen[place] = item.packet.ttl
    if way:
        yield Way(forward, tuple(way))


def _joined(ways: Sequence[Way]) -> Iterator[Way]:
    """Packets that were sent again count with the first of them: the one that went farthest."""
    groups: dict[Key, list[Way]] = {}
    for way in ways:
        groups.setdefault((way.forward, *_again_key(way.sightings[0].packet)), []).append(way)
    for group in groups.values():
        farthest = max(group, key=lambda way: len(way.sightings))
        yield Way(farthest.forward, farthest.sightings, len(group))


def _again_key(packet: CapturedPacket) -> Key:
    """What a retransmission shares with the packet it repeats: all but the IP id."""
    if packet.protocol == "tcp" and ("SYN" in packet.flags or packet.payload):
        ends = ends_of(packet)
        return (*ends, packet.sequence, packet.flags, packet.length)
    return packet_key(packet)

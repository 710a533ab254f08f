"""Pieces of what `kns trace` tells people: times, links, questions, entries, folded lines."""

from __future__ import annotations

from kns.probe.trace.model import Asked, Hop, Remembered, endpoint
from kns.state.connection import Tuple


def link_words(hop: Hop) -> str:
    """The link, and whose its far end is, without the namespace, for want of room."""
    peer = hop.peer.rpartition("/")[2]
    return f"{hop.link} ({peer})" if peer and peer != hop.link else hop.link


def time_words(microseconds: float) -> str:
    """`80 µs`, `1.2 ms`, `2.50 s`."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def question_words(item: Asked) -> str:
    """An ARP or NDP question with its answer."""
    kind = "ARP" if item.target.version == 4 else "NDP"
    times = f" (asked {item.times} times)" if item.times > 1 and not item.mac else ""
    answer = item.mac or f"nobody answers{times}"
    return f"{kind}: who has {item.target}? {answer}"


def state_words(item: Remembered) -> str:
    """`tcp TIME_WAIT, for 119 s more`."""
    found = item.connection
    state = f" {found.state}" if found.state else ""
    unanswered = "" if found.answered else ", unanswered"
    return f"{found.protocol}{state}{unanswered}, for {found.timeout} s more"


def tuple_words(item: Remembered, ends: Tuple) -> str:
    """One direction of a connection; ICMP has no ports."""
    ports = "icmp" not in item.connection.protocol
    source = endpoint(ends.source, ends.source_port if ports else 0)
    return f"{source} → {endpoint(ends.destination, ends.destination_port if ports else 0)}"

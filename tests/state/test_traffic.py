"""From one shaper to another: at no step can a packet slip through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from kns.state.traffic import (
    DISCARDED,
    FIRST,
    WHOLE_LINK,
    AddClass,
    AddFilter,
    ChangeQueue,
    DeleteClass,
    DeleteFilters,
    Discard,
    MakeRoot,
    Netem,
    PacketMatch,
    Queue,
    Shaper,
    Step,
    TokenBucket,
    TrafficClass,
    steps,
)

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
NETWORKS = tuple(map(ip_network, ("10.0.0.1/32", "10.0.0.0/24", "10.0.0.2/32")))
MATCHES = (
    *(PacketMatch(destination_mac=mac) for mac in MACS),
    *(PacketMatch(source=network) for network in NETWORKS),
    *(PacketMatch(destination=network) for network in NETWORKS),
)


@dataclass(frozen=True, slots=True)
class Packet:
    mac: str
    source: IPv4Address
    destination: IPv4Address


ADDRESSES = tuple(map(IPv4Address, ("10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1")))
PACKETS = tuple(
    Packet(mac, source, destination)
    for mac in (*MACS, "02:00:00:00:00:03")
    for source in ADDRESSES
    for destination in ADDRESSES
)


def matches(match: PacketMatch, packet: Packet) -> bool:
    if match.source is not None:
        return packet.source in match.source
    if match.destination is not None:
        return packet.destination in match.destination
    return match.destination_mac == packet.mac


@dataclass(slots=True)
class Link:
    """What the kernel makes of steps; it refuses what the kernel refuses."""

    queues: dict[int, Queue] = field(default_factory=dict)
    filters: dict[tuple[int, str], list[tuple[PacketMatch, int]]] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        match step:
            case MakeRoot():
                assert not self.queues
            case AddClass(number, queue):
                assert number not in self.queues
                self.queues[number] = queue
            case ChangeQueue(number, queue):
                assert number in self.queues
                self.queues[number] = queue
            case AddFilter(item, number, priority):
                assert number in self.queues
                protocols = {protocol for prio, protocol in self.filters if prio == priority}
                assert protocols <= {item.protocol}
                self.filters.setdefault((priority, item.protocol), []).append((item, number))
            case DeleteFilters(priority, protocol):
                del self.filters[priority, protocol]
            case DeleteClass(number):
                assert number not in {n for rows in self.filters.values() for _, n in rows}
                del self.queues[number]

    def fate(self, packet: Packet) -> Queue | None:
        """What is done to a packet; None: nothing."""
        for key in sorted(self.filters):
            for match, number in self.filters[key]:
                if matches(match, packet):
                    return self.queues[number]
        return self.queues.get(WHOLE_LINK)

    @property
    def contents(self) -> tuple[object, ...]:
        rows = [row for key in sorted(self.filters) for row in self.filters[key]]
        return self.queues, rows

    @property
    def band(self) -> int:
        return int(any(priority > 3 for priority, _ in self.filters))


@st.composite
def shapers(draw: st.DrawFn) -> Shaper:
    """A shaper as faults make one: each match chooses at most one class."""
    chosen = draw(st.lists(st.sampled_from(MATCHES), unique=True))
    places = [draw(st.integers(0, 3)) for _ in chosen]
    classes: list[TrafficClass] = []
    for place in range(4):
        own = tuple(match for match, at in zip(chosen, places, strict=True) if at == place)
        if own:
            queue = draw(queues())
            number = FIRST + len([item for item in classes if item.number != DISCARDED])
            classes.append(
                TrafficClass(DISCARDED, Discard(), own) if place == 0
                else TrafficClass(number, queue, own)
            )  # fmt: skip
    if draw(st.booleans()):
        classes.append(TrafficClass(WHOLE_LINK, draw(queues())))
    return Shaper("eth0", tuple(classes))


def queues() -> st.SearchStrategy[Queue]:
    return st.sampled_from([TokenBucket(1), TokenBucket(2), Netem(delay=1), Netem(loss=2)])


def built(shaper: Shaper) -> Link:
    link = Link()
    for step in steps(None, shaper):
        link.take(step)
    return link


@given(st.lists(shapers(), min_size=2, max_size=4))
def test_no_packet_slips_through_while_one_shaper_becomes_another(wanted: list[Shaper]) -> None:
    link, now = built(wanted[0]), wanted[0]
    for after in wanted[1:]:
        old = {packet: link.fate(packet) for packet in PACKETS}
        new = {packet: built(after).fate(packet) for packet in PACKETS}
        for step in steps(replace(now, band=link.band), after):
            link.take(step)
            for packet in PACKETS:
                fates = {type(old[packet]), type(new[packet])}
                fate = link.fate(packet)
                if fates == {Discard}:
                    assert isinstance(fate, Discard), (step, packet)
                if type(None) not in fates:
                    assert fate is not None, (step, packet)
                if Discard not in fates:
                    assert not isinstance(fate, Discard), (step, packet)
        assert link.contents == built(after).contents
        now = after


@given(shapers())
def test_from_a_shaper_to_itself_there_is_no_step(shaper: Shaper) -> None:
    assert list(steps(shaper, shaper)) == []


def changed_values(shaper: Shaper) -> Iterator[Shaper]:
    for number, item in enumerate(shaper.classes):
        if item.number == DISCARDED:
            continue
        classes = list(shaper.classes)
        classes[number] = replace(item, queue=TokenBucket(7))
        yield replace(shaper, classes=tuple(classes))


@given(shapers())
def test_a_value_is_changed_in_one_step(shaper: Shaper) -> None:
    for other in changed_values(shaper):
        assert [type(step) for step in steps(shaper, other)] == [ChangeQueue]
